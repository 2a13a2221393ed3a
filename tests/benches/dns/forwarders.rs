// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The forwarders compared: each with one worker on the server's core, and a
//! port of its own on 127.0.0.1.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use localdc::measure::Measured;
use localdc::name_server::{self, bind};
use serde_json::json;

use crate::Cores;
use crate::probe::{A, RECURSION, question};
use crate::servers::{LIMIT, Place};
use crate::zone::ORIGIN;
use localdc::loopback::own_port;

/// Who has no answer by then has none.
pub(crate) const GIVE_UP: Duration = Duration::from_secs(10);
/// When a stub asks again.
const AGAIN: Duration = Duration::from_secs(2);
/// Room for all answers: 64 MiB.
const CACHE: usize = 64 << 20;

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Ours,
    Unbound,
    Bind,
}

impl Program {
    pub(crate) const ALL: [Self; 3] = [Self::Ours, Self::Unbound, Self::Bind];
}

/// A forwarder that runs.
pub(crate) struct Forwarder {
    pub(crate) program: Program,
    pub(crate) at: SocketAddr,
    pub(crate) running: Measured,
    _place: Place,
}

impl Forwarder {
    /// Starts it; it answers names of its own when this returns.
    pub(crate) fn start(
        program: Program,
        upstreams: &[SocketAddr],
        cores: Cores,
    ) -> Result<Self> {
        let at = own_port()?;
        let core = cores.server.to_string();
        let pin = ["taskset", "--cpu-list", &core];
        let place = place(program, at, upstreams)?;
        let mut running = place.start(&pin)?;
        let begin = Instant::now();
        let wait = Duration::from_millis(5);
        while exchange(at, "localhost", wait).is_none() {
            let ended = running.try_wait()?;
            if ended.is_some() || begin.elapsed() > LIMIT {
                let log = place.log();
                bail!("{program:?} does not answer: {ended:?}\n{log}");
            }
        }
        Ok(Self { program, at, running, _place: place })
    }

    /// Milliseconds until the name's address is there; those of `GIVE_UP` if
    /// it is not by then. Asked as a stub asks, again and again.
    pub(crate) fn time(&self, name: &str) -> f64 {
        let begin = Instant::now();
        while begin.elapsed() < GIVE_UP
            && exchange(self.at, name, AGAIN) != Some(true)
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        begin.elapsed().min(GIVE_UP).as_secs_f64() * 1e3
    }
}

fn place(
    program: Program,
    at: SocketAddr,
    upstreams: &[SocketAddr],
) -> Result<Place> {
    match program {
        Program::Ours => ours(at, upstreams),
        Program::Unbound => Place::peer(&["unbound", "-d", "-p"], |dir| {
            unbound(dir, at, upstreams)
        }),
        Program::Bind => {
            Place::peer(name_server::argv(name_server::Kind::Bind), |dir| {
                named(dir, at, upstreams)
            })
        }
    }
}

fn ours(at: SocketAddr, upstreams: &[SocketAddr]) -> Result<Place> {
    let upstreams: Vec<_> = upstreams
        .iter()
        .map(|one| json!({"address": one.ip(), "port": one.port()}))
        .collect();
    let forward = json!({"cacheBytes": CACHE, "ttlMin": 3_600_000,
        "zones": [{"name": ORIGIN, "upstreams": upstreams}]});
    let secondary = json!({"notify": false});
    Place::ours(at, [("secondary", secondary), ("forward", forward)])
}

/// Knot is no resolver: for unbound it is a stub zone, asked without RD.
fn unbound(dir: &Path, at: SocketAddr, upstreams: &[SocketAddr]) -> String {
    let (dir, ip, port) = (dir.display(), at.ip(), at.port());
    let addrs: String = upstreams
        .iter()
        .map(|one| format!("    stub-addr: {}@{}\n", one.ip(), one.port()))
        .collect();
    format!(
        r#"server:
    interface: {ip}@{port}
    num-threads: 1
    username: ""
    chroot: ""
    directory: "{dir}"
    pidfile: ""
    use-syslog: no
    do-not-query-localhost: no
    module-config: "iterator"
    msg-cache-size: {CACHE}
    rrset-cache-size: {CACHE}
    cache-min-ttl: 3600
    cache-max-negative-ttl: 3600
remote-control:
    control-enable: no
stub-zone:
    name: "{ORIGIN}"
{addrs}"#
    )
}

fn named(dir: &Path, at: SocketAddr, upstreams: &[SocketAddr]) -> String {
    let options = bind::options(dir, at);
    let addrs: String = upstreams
        .iter()
        .map(|one| format!("{} port {}; ", one.ip(), one.port()))
        .collect();
    format!(
        r#"options {{
{options}    recursion yes;
    max-cache-size {CACHE};
    min-cache-ttl 90;
    min-ncache-ttl 90;
}};
controls {{}};
zone "localhost" {{ type primary; file "/etc/bind/db.local"; }};
zone "{ORIGIN}" {{ type forward; forward only; forwarders {{ {addrs}}}; }};
"#
    )
}

/// One question for an address; whether there was one, if there was a reply.
fn exchange(to: SocketAddr, name: &str, wait: Duration) -> Option<bool> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    socket.connect(to).ok()?;
    socket.set_read_timeout(Some(wait)).ok()?;
    socket.send(&question(0x5aa5, RECURSION, name, A)).ok()?;
    let mut reply = [0; 512];
    let length = socket.recv(&mut reply).ok()?;
    let good = length >= 12 && reply[3] & 0x0f == 0 && reply[6..8] != [0, 0];
    Some(good)
}
