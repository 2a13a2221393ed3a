// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Networks of one datacenter: a namespace for the stand-ins with the admin
//! bridge, and one per zone, joined by veth pairs.
//!
//! The namespaces have no name in the file system: an open descriptor of
//! this process keeps each alive. A name below /run/netns would be a mount in
//! the host's own mount namespace that outlives a SIGKILL; a descriptor
//! cannot. The names below are for people and messages.
//!
//! A socket keeps the namespace it was made in, so a listener bound by
//! [`Namespace::run`] can be served by a runtime that lives elsewhere.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::geteuid;
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;

use super::folder::{Folder, sweep_stale};
use super::{ZoneError, check_name};

const IP_LIMIT: Duration = Duration::from_secs(30);
const BRIDGE: &str = "admin0";
/// Locally administered.
const BRIDGE_MAC: &str = "02:00:00:00:00:01";

/// A network namespace; clones share it, the last one ends it.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: Arc<str>,
    handle: Arc<OwnedFd>,
}

impl Namespace {
    /// A fresh namespace with only its loopback, which is up.
    fn create(name: String) -> Result<Self, ZoneError> {
        let made = thread::scope(|scope| {
            let worker = thread::Builder::new().spawn_scoped(scope, || {
                unshare(CloneFlags::CLONE_NEWNET)?;
                File::open("/proc/thread-self/ns/net").map(OwnedFd::from)
            })?;
            worker.join().expect("the worker does not panic")
        });
        let handle = made.map_err(|source| ZoneError::Namespace {
            step: "create".into(),
            namespace: name.clone(),
            source,
        })?;
        let made = Self { name: name.into(), handle: Arc::new(handle) };
        made.ip(&["link set lo up".into()])?;
        Ok(made)
    }

    /// `tm-<pid>-<n>-dc` or `tm-<pid>-<n>-<zone>`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where other processes find it while this one lives, for instance
    /// `nsenter --net=PATH`.
    pub fn path(&self) -> PathBuf {
        let fd = self.handle.as_raw_fd();
        format!("/proc/{}/fd/{fd}", std::process::id()).into()
    }

    /// Moves the calling thread into this namespace, for good.
    ///
    /// Not for a thread that a runtime or a test harness uses again.
    pub fn enter(&self) -> io::Result<()> {
        Ok(setns(&*self.handle, CloneFlags::CLONE_NEWNET)?)
    }

    /// Runs `work` on a thread of its own inside this namespace.
    ///
    /// Errors: the thread cannot start or enter. A panic of `work` goes on
    /// in the caller.
    pub fn run<T: Send>(
        &self,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, ZoneError> {
        let done = thread::scope(|scope| {
            let worker = thread::Builder::new().spawn_scoped(scope, || {
                self.enter()?;
                Ok(work())
            })?;
            match worker.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        });
        done.map_err(|source| self.failed("enter".into(), source))
    }

    /// A runtime whose threads all live in this namespace: what it binds
    /// and connects happens here. Give it work by `spawn`: `block_on` would
    /// run it on the caller's thread, which lives elsewhere.
    pub fn runtime(&self) -> Result<Runtime, ZoneError> {
        let namespace = self.clone();
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .thread_name(self.name())
            .on_thread_start(move || {
                namespace.enter().expect("the namespace is open, we are root");
            })
            .build()
            .map_err(|source| self.failed("start a runtime".into(), source))
    }

    /// A TCP listener made here, ready for `tokio::net::TcpListener::from_std`.
    pub fn bind_tcp(&self, at: SocketAddr) -> Result<TcpListener, ZoneError> {
        let bound = self.run(|| {
            let listener = TcpListener::bind(at)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })?;
        bound.map_err(|source| self.failed(format!("bind tcp {at}"), source))
    }

    /// A UDP socket made here, ready for `tokio::net::UdpSocket::from_std`.
    pub fn bind_udp(&self, at: SocketAddr) -> Result<UdpSocket, ZoneError> {
        let bound = self.run(|| {
            let socket = UdpSocket::bind(at)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })?;
        bound.map_err(|source| self.failed(format!("bind udp {at}"), source))
    }

    /// Connects from here to `to` within `limit`.
    pub async fn connect(
        &self,
        to: SocketAddr,
        limit: Duration,
    ) -> Result<TcpStream, ZoneError> {
        let failed = |source| self.failed(format!("connect to {to}"), source);
        let socket = self
            .run(move || match to {
                SocketAddr::V4(_) => TcpSocket::new_v4(),
                SocketAddr::V6(_) => TcpSocket::new_v6(),
            })?
            .map_err(failed)?;
        match tokio::time::timeout(limit, socket.connect(to)).await {
            Ok(connected) => connected.map_err(failed),
            Err(_) => Err(failed(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Runs iproute2 commands here, stopping at the first that fails.
    fn ip(&self, commands: &[String]) -> Result<(), ZoneError> {
        let batch = commands.join("\n");
        let stderr = self
            .run(|| run_ip(&batch))?
            .map_err(|e| self.failed("run ip".into(), e))?;
        match stderr {
            None => Ok(()),
            Some(stderr) => {
                Err(ZoneError::Ip { namespace: self.name.to_string(), stderr })
            }
        }
    }

    fn failed(&self, step: String, source: io::Error) -> ZoneError {
        ZoneError::Namespace { step, namespace: self.name.to_string(), source }
    }
}

/// What `ip` said on stderr when it failed, else none.
#[expect(clippy::disallowed_methods, reason = "iproute2 makes the links")]
fn run_ip(batch: &str) -> io::Result<Option<String>> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    // A child that ended early is judged by its status below.
    let _ = stdin.write_all(batch.as_bytes());
    drop(stdin);
    let deadline = Instant::now() + IP_LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(Duration::from_millis(1));
    };
    if status.success() {
        return Ok(None);
    }
    let mut said = Vec::new();
    let stderr = child.stderr.take().expect("stderr is a pipe");
    stderr.take(4096).read_to_end(&mut said)?;
    Ok(Some(String::from_utf8_lossy(&said).trim().replace('\n', "; ")))
}

/// The networks of one datacenter; dropping it (and its zones) ends them.
#[derive(Debug)]
pub struct Network {
    dc: Namespace,
    folder: Arc<Folder>,
    links: AtomicU32,
}

impl Network {
    /// The admin network, a /24.
    pub const ADMIN: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 0);
    /// The datacenter's first address; the zones' default route.
    pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);

    /// A datacenter namespace with its admin bridge, and a folder named
    /// after `tag` for the zones to come. Sweeps leftovers first.
    ///
    /// Networks do not see each other, so all use the same addresses.
    /// Errors: `NotRoot`, `BadName`, or the step that failed.
    pub fn create(tag: &str) -> Result<Self, ZoneError> {
        check_name(tag)?;
        let uid = geteuid();
        if !uid.is_root() {
            return Err(ZoneError::NotRoot { uid: uid.as_raw() });
        }
        sweep_stale()?;
        let folder = Arc::new(Folder::create(tag)?);
        let dc = Namespace::create(format!("{}-dc", folder.id()))?;
        dc.ip(&[
            // Else it takes the lowest address of its ports: a zone that
            // joins may change it, and those before are cut off until they
            // ask for it again, most of a minute.
            format!("link add {BRIDGE} address {BRIDGE_MAC} type bridge"),
            format!("addr add {}/24 dev {BRIDGE}", Self::GATEWAY),
            format!("link set {BRIDGE} up"),
        ])?;
        Ok(Self { dc, folder, links: AtomicU32::new(0) })
    }

    /// The datacenter's own namespace, where the stand-ins listen.
    pub fn dc(&self) -> &Namespace {
        &self.dc
    }

    /// Gives the datacenter one more address.
    ///
    /// Within the admin network it goes on the bridge; any other (a public
    /// resolver, say) is reached by the zones' default route.
    pub fn add_address(&self, ip: Ipv4Addr) -> Result<(), ZoneError> {
        let command = if is_admin(ip) {
            format!("addr replace {ip}/24 dev {BRIDGE}")
        } else {
            format!("addr replace {ip}/32 dev lo")
        };
        self.dc.ip(&[command])
    }

    /// Takes an address away again: packets to it are lost, as when a
    /// machine is switched off.
    pub fn remove_address(&self, ip: Ipv4Addr) -> Result<(), ZoneError> {
        let command = if is_admin(ip) {
            format!("addr del {ip}/24 dev {BRIDGE}")
        } else {
            format!("addr del {ip}/32 dev lo")
        };
        self.dc.ip(&[command])
    }

    /// A namespace for zone `name` whose `eth0` has address `ip` on the
    /// admin network. The link ends with the namespace.
    pub fn attach_zone(
        &self,
        name: &str,
        ip: Ipv4Addr,
    ) -> Result<Namespace, ZoneError> {
        check_name(name)?;
        let zone = Namespace::create(format!("{}-{name}", self.folder.id()))?;
        let link = format!("z{}", self.links.fetch_add(1, Ordering::Relaxed));
        let path = zone.path();
        let path = path.display();
        self.dc.ip(&[
            format!("link add {link} type veth peer name eth0 netns {path}"),
            format!("link set {link} master {BRIDGE} up"),
        ])?;
        zone.ip(&[
            format!("addr add {ip}/24 dev eth0"),
            "link set eth0 up".into(),
            format!("route add default via {}", Self::GATEWAY),
        ])?;
        Ok(zone)
    }

    /// A new host folder for the `/data` of zone `name`, gone with the
    /// network: for a caller that fills it before the zone boots.
    pub fn data_folder(&self, name: &str) -> Result<PathBuf, ZoneError> {
        check_name(name)?;
        let path = self.folder.path().join(format!("{name}.data"));
        match fs::create_dir(&path) {
            Ok(()) => Ok(path),
            Err(source) => Err(ZoneError::Folder { path, source }),
        }
    }

    pub(crate) fn folder(&self) -> &Arc<Folder> {
        &self.folder
    }
}

fn is_admin(ip: Ipv4Addr) -> bool {
    ip.octets()[..3] == Network::ADMIN.octets()[..3]
}
