// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A real primary on a loopback address of its own: started, stopped, changed
//! and asked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use localdc::name_server::Kind;
use localdc::name_server::{
    Changing, Daemon, From, KEY, SECRET, Setup, own_place,
};
use monitoring_agent::model::primary::{Primary, TsigKey};

use super::history::{Edit, History, TTL, zone_file};
use super::ours::LIMIT;

pub(crate) const ZONE: &str = "dc1.cns.example.test";

/// Whether transfers and NOTIFY are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signed {
    No,
    Sha256,
    Sha512,
}

impl Signed {
    pub(crate) fn algorithm(self) -> Option<&'static str> {
        match self {
            Self::No => None,
            Self::Sha256 => Some("hmac-sha256"),
            Self::Sha512 => Some("hmac-sha512"),
        }
    }
}

pub(crate) struct Real {
    kind: Kind,
    signed: Signed,
    dir: tempfile::TempDir,
    at: SocketAddr,
    daemon: Option<Daemon>,
    pub(super) history: History,
    serial: u32,
}

impl Real {
    pub(crate) async fn start(
        kind: Kind,
        signed: Signed,
        notify: SocketAddr,
        seed: u64,
    ) -> Self {
        Self::large(kind, signed, notify, seed, 0).await
    }

    /// With so many records more, which do not change.
    pub(crate) async fn large(
        kind: Kind,
        signed: Signed,
        notify: SocketAddr,
        seed: u64,
        filler: usize,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut real = Self {
            kind,
            signed,
            dir,
            at: own_place(kind).unwrap(),
            daemon: None,
            history: History::new(seed),
            serial: 1,
        };
        let mut text = zone_file(&real.history.records, 1);
        for n in 0..filler {
            let line = format!("f{n}.filler A 10.{}.{}.1\n", n >> 8, n & 255);
            text.push_str(&line);
        }
        real.write("zone.db", &text);
        let setup = Setup {
            dir: real.dir.path(),
            at: real.at,
            zone: ZONE,
            from: From::File(&real.path("zone.db")),
            changing: Some(Changing {
                notify: Some(notify),
                algorithm: signed.algorithm(),
            }),
        };
        let config = setup.config(kind);
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

    /// Starts the daemon and waits until it answers.
    pub(crate) async fn run(&mut self) {
        let daemon = Daemon::start(self.kind, self.dir.path());
        self.daemon = Some(daemon.unwrap());
        self.wait(|real| real.try_serial().is_some(), "answers").await;
    }

    async fn wait(&mut self, mut holds: impl FnMut(&Self) -> bool, what: &str) {
        let begin = Instant::now();
        while !holds(self) {
            let daemon = self.daemon.as_mut().unwrap();
            let ended = daemon.ended();
            if ended.is_some() || begin.elapsed() > LIMIT {
                panic!("{what}: {ended:?}\n{}", daemon.log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends the daemon; its zone and journal stay.
    pub(crate) fn end(&mut self) {
        self.daemon = None;
    }

    /// Stops it in its tracks: connections stay, nobody speaks.
    pub(crate) fn freeze(&self, frozen: bool) {
        self.daemon.as_ref().unwrap().freeze(frozen);
    }

    pub(crate) fn at(&self) -> SocketAddr {
        self.at
    }

    pub(crate) fn primary(&self) -> Primary {
        let mut primary = Primary::from(self.at);
        primary.key = self.signed.algorithm().map(|algorithm| {
            let text = format!(
                "key \"{KEY}\" {{ algorithm {algorithm}; secret \"{SECRET}\"; }};"
            );
            Arc::new(TsigKey::parse(&text).unwrap())
        });
        primary
    }

    /// The primary as it is found over a line of the test's own.
    pub(crate) fn primary_over(&self, line: SocketAddr) -> Primary {
        Primary { address: line, ..self.primary() }
    }

    /// One change, of random records; returns the serial after it.
    pub(crate) async fn change(&mut self) -> u32 {
        let edit = self.history.step();
        let before = self.serial().await;
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
        self.serial().await
    }

    /// The serial, as soon as a busy server says it.
    async fn serial(&mut self) -> u32 {
        let mut serial = None;
        self.wait(
            |real| {
                serial = real.try_serial();
                serial.is_some()
            },
            "answers",
        )
        .await;
        serial.unwrap()
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
        Some(format!("{algorithm}:{KEY}:{SECRET}"))
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

    pub(crate) fn try_serial(&self) -> Option<u32> {
        let words = ["SOA", "+short", "+time=1", "+tries=1"];
        self.dig(&words)?.split_whitespace().nth(2)?.parse().ok()
    }

    /// All records as `owner ttl type hex`, each once.
    pub(crate) fn axfr(&self) -> Vec<String> {
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
        if let Some(daemon) = &self.daemon
            && std::thread::panicking()
        {
            println!("{:?}:\n{}", self.kind, daemon.log());
        }
    }
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
