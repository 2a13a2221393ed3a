// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A real primary on a loopback address of its own: started, stopped, changed
//! and asked. What its configuration looks like is each server's own file.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use localdc::measure::family;
use monitoring_agent::model::primary::{Primary, TsigKey};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::history::{Edit, History, TTL, zone_file};
use super::ours::LIMIT;
use super::{bind, knot, nsd};

pub(super) const ZONE: &str = "dc1.cns.example.test";
pub(super) const SECRET: &str = "c29tZSBzZWNyZXQgdGhhdCBpcyBsb25nIGVub3VnaC4=";

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bind,
    Knot,
    Nsd,
}

/// Whether transfers and NOTIFY are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signed {
    No,
    Sha256,
    Sha512,
}

impl Signed {
    pub(super) fn algorithm(self) -> Option<&'static str> {
        match self {
            Self::No => None,
            Self::Sha256 => Some("hmac-sha256"),
            Self::Sha512 => Some("hmac-sha512"),
        }
    }
}

/// What a configuration is made of.
pub(super) struct Site<'a> {
    pub(super) dir: &'a Path,
    pub(super) at: SocketAddr,
    pub(super) notify: SocketAddr,
    pub(super) algorithm: Option<&'static str>,
}

pub(super) struct Real {
    kind: Kind,
    signed: Signed,
    dir: tempfile::TempDir,
    at: SocketAddr,
    child: Option<Child>,
    pub(super) history: History,
    serial: u32,
}

/// An address nobody else uses: by this process's number, which no other test
/// has, and a count. BIND listens on addresses that an interface has, so on
/// 127.0.0.1 alone; there it gets a free port.
async fn own_address(kind: Kind) -> SocketAddr {
    static COUNT: AtomicU8 = AtomicU8::new(64);
    if kind == Kind::Bind {
        let (udp, _tcp) =
            localdc::bind_both(Ipv4Addr::LOCALHOST.into()).await.unwrap();
        return udp.local_addr().unwrap();
    }
    let pid = std::process::id().to_be_bytes();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from(([127, count, pid[2], pid[3]], 5353))
}

impl Real {
    pub(super) async fn start(
        kind: Kind,
        signed: Signed,
        notify: SocketAddr,
        seed: u64,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut real = Self {
            kind,
            signed,
            dir,
            at: own_address(kind).await,
            child: None,
            history: History::new(seed),
            serial: 1,
        };
        let text = zone_file(&real.history.records, 1);
        real.write("zone.db", &text);
        let site = Site {
            dir: real.dir.path(),
            at: real.at,
            notify,
            algorithm: signed.algorithm(),
        };
        let config = match kind {
            Kind::Bind => bind::config(&site),
            Kind::Knot => knot::config(&site),
            Kind::Nsd => nsd::config(&site),
        };
        real.write("server.conf", &config);
        real.run().await;
        real
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Starts the daemon and waits until it answers.
    #[expect(clippy::disallowed_methods, reason = "the primary starts here")]
    pub(super) async fn run(&mut self) {
        let config = self.path("server.conf");
        let config = config.to_str().unwrap();
        let argv: &[&str] = match self.kind {
            Kind::Bind => &["named", "-g", "-4", "-n", "1", "-c", config],
            Kind::Knot => &["knotd", "-c", config],
            Kind::Nsd => &["nsd", "-d", "-c", config],
        };
        let log = std::fs::File::create(self.path("log")).unwrap();
        let child = Command::new(argv[0])
            .args(&argv[1..])
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        self.wait(|real| real.try_serial().is_some(), "answers").await;
    }

    async fn wait(&mut self, mut holds: impl FnMut(&Self) -> bool, what: &str) {
        let begin = Instant::now();
        while !holds(self) {
            let ended = match &mut self.child {
                Some(child) => child.try_wait().unwrap(),
                None => None,
            };
            if ended.is_some() || begin.elapsed() > LIMIT {
                panic!("{what}: {ended:?}\n{}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends the daemon; its zone and journal stay.
    pub(super) fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = kill(pid(&child), Signal::SIGTERM);
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_secs(10) {
                if child.try_wait().unwrap().is_some() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it in its tracks: connections stay, nobody speaks.
    pub(super) fn freeze(&self, frozen: bool) {
        let signal = if frozen { Signal::SIGSTOP } else { Signal::SIGCONT };
        for pid in self.processes() {
            kill(pid, signal).unwrap();
        }
    }

    fn processes(&self) -> Vec<Pid> {
        let child = self.child.as_ref();
        child.map(|child| family(pid(child))).unwrap_or_default()
    }

    pub(super) fn primary(&self) -> Primary {
        let mut primary = Primary::from(self.at);
        primary.key = self.signed.algorithm().map(|algorithm| {
            let text = format!(
                "key \"k.test\" {{ algorithm {algorithm}; secret \"{SECRET}\"; }};"
            );
            Arc::new(TsigKey::parse(&text).unwrap())
        });
        primary
    }

    /// One change, of random records; returns the serial after it.
    pub(super) async fn change(&mut self) -> u32 {
        let edit = self.history.step();
        let before = self.try_serial().unwrap();
        match self.kind {
            Kind::Bind | Kind::Knot => self.update(&edit),
            Kind::Nsd => {
                self.serial += 1;
                let text = zone_file(&self.history.records, self.serial);
                self.write("zone.db", &text);
                let config = self.path("server.conf");
                let config = config.to_str().unwrap();
                let argv = ["nsd-control", "-c", config, "reload", ZONE];
                output(&argv, "");
            }
        }
        self.wait(
            |real| real.try_serial().is_some_and(|now| now != before),
            "changes",
        )
        .await;
        self.try_serial().unwrap()
    }

    /// By dynamic update (RFC 2136), which leaves differences.
    fn update(&self, edit: &Edit) {
        let mut script = format!(
            "server {} {}\nzone {ZONE}\n",
            self.at.ip(),
            self.at.port()
        );
        for (owner, rtype, data) in &edit.removed {
            let line =
                format!("update delete {owner}.{ZONE}. {rtype} {data}\n");
            script.push_str(&line);
        }
        for (owner, rtype, data) in &edit.added {
            let line =
                format!("update add {owner}.{ZONE}. {TTL} {rtype} {data}\n");
            script.push_str(&line);
        }
        script.push_str("send\n");
        let mut argv = vec!["nsupdate".to_owned()];
        if let Some(key) = self.key_argument() {
            argv.extend(["-y".to_owned(), key]);
        }
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        output(&argv, &script);
    }

    fn key_argument(&self) -> Option<String> {
        let algorithm = self.signed.algorithm()?;
        Some(format!("{algorithm}:k.test:{SECRET}"))
    }

    fn dig(&self, words: &[&str]) -> Option<String> {
        let at = format!("@{}", self.at.ip());
        let port = self.at.port().to_string();
        let key = self.key_argument();
        let mut argv = vec!["dig", &at, "-p", &port, ZONE];
        argv.extend(words);
        if let Some(key) = &key {
            argv.extend(["-y", key]);
        }
        try_output(&argv, "")
    }

    pub(super) fn try_serial(&self) -> Option<u32> {
        let words = ["SOA", "+short", "+time=1", "+tries=1"];
        self.dig(&words)?.split_whitespace().nth(2)?.parse().ok()
    }

    /// All records as `owner ttl type hex`, each once.
    pub(super) fn axfr(&self) -> Vec<String> {
        let words = ["AXFR", "+onesoa", "+unknownformat", "+noall", "+answer"];
        let text = self.dig(&words).expect("dig AXFR");
        let mut lines: Vec<String> =
            text.lines().filter_map(unknown_format).collect();
        lines.sort();
        assert!(lines.len() > 1, "{text}");
        lines
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.freeze(false);
        self.end();
        if std::thread::panicking() {
            println!("{:?}:\n{}", self.kind, self.log());
        }
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// `owner ttl CLASS1 TYPE1 \# 4 0A000001`; long data comes in pieces.
fn unknown_format(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let (owner, ttl, _) = (words.next()?, words.next()?, words.next()?);
    let rtype = words.next()?.strip_prefix("TYPE")?;
    let hex: String = words.skip(2).collect();
    let (owner, hex) = (owner.to_lowercase(), hex.to_lowercase());
    Some(format!("{owner} {ttl} {rtype} {hex}"))
}

/// What a program prints; it must succeed.
fn output(argv: &[&str], input: &str) -> String {
    try_output(argv, input).unwrap_or_else(|| panic!("{argv:?}\n{input}"))
}

#[expect(clippy::disallowed_methods, reason = "dig and others, in a test")]
fn try_output(argv: &[&str], input: &str) -> Option<String> {
    use std::io::Write;
    let mut child = Command::new(argv[0])
        .args(&argv[1..])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may have ended without reading.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let done = child.wait_with_output().unwrap();
    if !done.status.success() {
        println!("{argv:?}: {}", String::from_utf8_lossy(&done.stderr));
        return None;
    }
    Some(String::from_utf8_lossy(&done.stdout).into_owned())
}
