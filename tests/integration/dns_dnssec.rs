// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Our name server checks the signatures of what a real BIND says, which is
//! root and child of a small tree: one zone well signed, one unsigned, and
//! three with something wrong.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use localdc::name_server::{Daemon, Kind, own_place};
use monitoring_agent::dns::{
    DnsConfig, Dnssec, ForwardLimits, NameServer, NamesHandle, UpstreamStatus,
};
use monitoring_agent::model::dns::{
    ForwardZone, Routes, UpstreamKind, ZoneName,
};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

const LIMIT: Duration = Duration::from_secs(40);
/// Below the root: signed as it should be, not signed at all, changed after it
/// was signed, signed until yesterday, signatures taken away.
const ZONES: [&str; 5] = ["good", "plain", "bad", "old", "bare"];

#[expect(clippy::disallowed_methods, reason = "BIND's tools start here")]
fn tool(dir: &Path, words: &[&str]) -> String {
    let output = Command::new(words[0])
        .args(&words[1..])
        .current_dir(dir)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {told}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The name of the key's files, without ending.
fn key(dir: &Path, zone: &str) -> String {
    let algorithm = ["-a", "ECDSAP256SHA256", "-f", "KSK"];
    let words = [&["dnssec-keygen", "-q"], &algorithm[..], &[zone]].concat();
    tool(dir, &words)
}

/// Signs `FILE` into `FILE.signed` with the one key; does not look at what
/// came out.
fn sign(dir: &Path, zone: &str, file: &str, key: &str, times: &[&str]) {
    let with = ["-P", "-o", zone, "-z", "-S", "-K", "."];
    let words = [&["dnssec-signzone"], times, &with[..], &[file, key]].concat();
    tool(dir, &words[..words.len() - 1]);
    assert!(dir.join(format!("{key}.key")).exists());
}

fn child(zone: &str) -> String {
    format!(
        "$ORIGIN {zone}.\n$TTL 60\n@ SOA ns h 1 60 60 3600 60\n@ NS ns\n\
         ns A 127.0.0.1\nwww A 192.0.2.1\nalias CNAME www\n\
         *.wild A 192.0.2.2\nout CNAME www.plain.\n"
    )
}

/// A root with five zones below, and the file of its key.
struct Tree {
    bind: Daemon,
    at: SocketAddr,
    anchors: PathBuf,
    dir: tempfile::TempDir,
}

impl Tree {
    async fn plant() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let mut root = String::from(
            "$ORIGIN .\n$TTL 60\n@ SOA ns.good. h.good. 1 60 60 3600 60\n\
             @ NS ns.good.\n",
        );
        for zone in ZONES {
            root.push_str(&format!("{zone}. NS ns.{zone}.\n"));
            root.push_str(&format!("ns.{zone}. A 127.0.0.1\n"));
            fs::write(dir.join(zone), child(zone)).unwrap();
            if zone == "plain" {
                continue;
            }
            let key = key(dir, zone);
            let over = ["-s", "20200101000000", "-e", "20200201000000"];
            let times = if zone == "old" { &over[..] } else { &[] };
            sign(dir, zone, zone, &key, times);
            let ds = ["dnssec-dsfromkey", "-2", &format!("{key}.key")];
            root.push_str(&tool(dir, &ds));
            root.push('\n');
        }
        let bad = dir.join("bad.signed");
        let text = fs::read_to_string(&bad).unwrap();
        fs::write(&bad, text.replace("192.0.2.1", "192.0.2.66")).unwrap();
        fs::write(dir.join("root"), root).unwrap();
        let root = key(dir, ".");
        sign(dir, ".", "root", &root, &[]);
        let anchors = dir.join(format!("{root}.key"));
        let at = own_place(Kind::Bind).unwrap();
        fs::write(dir.join("server.conf"), config(dir, at)).unwrap();
        let bind = Daemon::start(Kind::Bind, dir).unwrap();
        let mut tree = Self { bind, at, anchors, dir: folder };
        tree.grown().await;
        tree
    }

    async fn grown(&mut self) {
        let begin = Instant::now();
        while !self.bind.log().contains("all zones loaded") {
            let ended = self.bind.ended();
            if ended.is_some() || begin.elapsed() > LIMIT {
                panic!("{ended:?}: {}", self.bind.log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn config(dir: &Path, at: SocketAddr) -> String {
    let (dir, port) = (dir.display(), at.port());
    let mut text = format!(
        r#"options {{
    directory "{dir}";
    pid-file "{dir}/pid";
    session-keyfile "{dir}/session.key";
    lock-file none;
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    recursion yes;
    dnssec-validation no;
}};
controls {{}};
zone "." {{ type primary; file "root.signed"; }};
"#
    );
    for zone in ZONES {
        let signed = !["plain", "bare"].contains(&zone);
        let ending = if signed { ".signed" } else { "" };
        text.push_str(&format!(
            "zone \"{zone}\" {{ type primary; file \"{zone}{ending}\"; }};\n"
        ));
    }
    text
}

struct Ours {
    handle: NamesHandle,
    _stop: DropGuard,
    _dir: tempfile::TempDir,
}

impl Ours {
    async fn start(suffix: &str, at: SocketAddr, dnssec: Dnssec) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut config = DnsConfig::new(vec![any], dir.path().to_owned());
        // One upstream, on a machine that has much else to do.
        config.forward = ForwardLimits {
            each: Duration::from_secs(10),
            whole: Duration::from_secs(20),
            ..ForwardLimits::default()
        };
        config.dnssec = dnssec;
        let routes = Routes {
            secondaries: Vec::new(),
            forwards: vec![ForwardZone {
                suffix: ZoneName::parse(suffix).unwrap(),
                upstreams: vec![at],
                kind: UpstreamKind::Recursive,
                fallback: false,
            }],
        };
        let (_, routes) = watch::channel(std::sync::Arc::new(routes));
        let server = NameServer::start(config, routes).await.unwrap();
        let handle = server.handle();
        let stop = CancellationToken::new();
        tokio::spawn(server.run(stop.clone()));
        Self { handle, _stop: stop.drop_guard(), _dir: dir }
    }

    /// The last number of the address, or what was said instead.
    async fn ask(&self, name: &str) -> Result<u8, String> {
        let found = self.handle.lookup_ipv4(name).await;
        let found = found.map_err(|error| error.to_string())?;
        Ok(found.first().map_or(0, |addr: &Ipv4Addr| addr.octets()[3]))
    }

    async fn fails(&self, name: &str) {
        let found = self.ask(name).await;
        let fails = |error: &String| error.contains("Server Failure");
        assert!(found.as_ref().is_err_and(fails), "{name}: {found:?}");
    }

    fn upstream(&self) -> UpstreamStatus {
        self.handle.upstreams().remove(0)
    }
}

#[tokio::test]
async fn what_is_signed_must_be_signed_well() {
    let tree = Tree::plant().await;
    let anchors = Dnssec::Anchors(tree.anchors.clone());
    let ours = Ours::start(".", tree.at, anchors).await;
    for (name, last) in [
        ("www.good", 1),
        ("alias.good", 1),
        ("any.wild.good", 2),
        ("out.good", 1),
        ("www.plain", 1),
        ("alias.plain", 1),
    ] {
        assert_eq!(ours.ask(name).await, Ok(last), "{name}");
    }
    for name in ["no.good", "no.plain", "nosuchzone"] {
        let found = ours.ask(name).await.unwrap_err();
        assert!(found.contains("Non-Existent Domain"), "{name}: {found}");
    }
    assert_eq!(ours.upstream().counts.bogus, 0);
    for name in ["www.bad", "alias.bad", "www.old", "www.bare", "no.bare"] {
        ours.fails(name).await;
    }
    let counts = ours.upstream().counts;
    assert_eq!((counts.bogus, counts.no_answer), (5, 5));
    // The chain is known by now: one question, one more to the upstream.
    let before = counts.asked;
    assert_eq!(ours.ask("other.wild.good").await, Ok(2));
    let after = ours.upstream().counts.asked;
    assert!(after - before <= 2, "{} questions", after - before);
}

#[tokio::test]
async fn unasked_for_and_in_private_domains_nothing_is_checked() {
    let tree = Tree::plant().await;
    let ours = Ours::start(".", tree.at, Dnssec::Off).await;
    assert_eq!(ours.ask("www.bad").await, Ok(66));
    let anchors = || Dnssec::Anchors(tree.anchors.clone());
    let ours = Ours::start("bad", tree.at, anchors()).await;
    assert_eq!(ours.ask("www.bad").await, Ok(66));
    // From the keys of the real root, nothing here is true.
    let ours = Ours::start(".", tree.at, Dnssec::Root).await;
    ours.fails("www.good").await;
    // And no file of keys is not the same as no keys.
    let (none, other) =
        (tree.dir.path().join("none"), tree.dir.path().join("root"));
    for path in [none, other] {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let dir = tree.dir.path().join("store");
        let mut config = DnsConfig::new(vec![any], dir);
        config.dnssec = Dnssec::Anchors(path.clone());
        let (_, routes) = watch::channel(Default::default());
        let error = NameServer::start(config, routes).await.err().unwrap();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}
