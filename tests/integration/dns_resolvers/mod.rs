// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Go's resolver, glibc's and musl's ask us, in a zone whose resolv.conf names
//! 127.0.0.1: addresses of both families, SRV, the search domain, aliases,
//! wildcards, what is too large for a datagram, and what does not exist.
#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use localdc::name_server::{Daemon, From, Kind, Setup};
use localdc::zone::{Network, Zone, ZoneSpec};
use monitoring_agent::model::primary::Primary;

use crate::dns_answers::zone::{ZONE, zone_file};
use crate::dns_secondary::ours::{Ours, policy};

const UUID: &str = "5f1a0f6e-6a4b-4c0e-9a54-0d8f2b7c0053";
const IP: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 53);
/// A resolver that was not answered asks again after [`AGAIN`]: one that comes
/// within this was answered.
const LIMIT: Duration = Duration::from_secs(15);
const AGAIN: &str = "echo 'options timeout:20 attempts:1' >>/etc/resolv.conf";

/// Builds one of the programs beside this file into `dir`.
#[expect(clippy::disallowed_methods, reason = "compilers, in a test")]
fn build(dir: &Path, argv: &[&str], source: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("integration/dns_resolvers")
        .join(source);
    let program = dir.join(argv[0]);
    let built = Command::new(argv[0])
        .args(&argv[1..])
        .arg("-o")
        .arg(&program)
        .arg(source)
        // C's libraries come after what needs them.
        .args(if argv[0] == "gcc" { &["-lresolv"][..] } else { &[] })
        .env("CGO_ENABLED", "0")
        .env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{argv:?}: {said}");
    program
}

fn lines(prefix: &str, numbers: std::ops::Range<u8>) -> Vec<String> {
    numbers.map(|n| format!("{prefix}{n}")).collect()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// What is asked, and what must come, in any order.
fn cases() -> Vec<(&'static str, String, Vec<String>)> {
    let whole = |name: &str| format!("{name}.{ZONE}");
    let none = || vec!["not found".to_owned()];
    vec![
        ("4", whole("host2"), words("10.0.1.2")),
        ("6", whole("host2"), words("fd00::1:2")),
        ("a", whole("host2"), words("10.0.1.2 fd00::1:2")),
        // By the search domain.
        ("a", "host2".to_owned(), words("10.0.1.2 fd00::1:2")),
        ("4", whole("v1.cmon"), words("10.0.0.9 10.0.0.10 10.0.0.11")),
        // No AAAA there: that must cost nothing.
        ("a", whole("HOST1"), words("10.0.1.1")),
        ("6", whole("host1"), none()),
        ("a", whole("c1"), words("10.0.5.9")),
        ("a", whole("any.wild"), words("10.0.4.1")),
        ("a", whole("any.alias"), words("10.0.1.2 fd00::1:2")),
        ("a", whole("many"), lines("10.1.0.", 0..60)),
        ("a", whole("toomany"), lines("10.1.0.", 0..100)),
        ("a", whole("absent"), none()),
        ("a", whole("b.c.deep"), none()),
        ("a", whole("to-none"), none()),
        (
            "srv",
            whole("_out._tcp"),
            words(&format!("www.example.net:443 absent.{ZONE}:443")),
        ),
        ("srv", whole("_many._tcp"), {
            let target = |n| format!("node{n}.{ZONE}:{}", 8000 + n);
            (0..12).map(target).collect()
        }),
        ("srv", whole("_none._tcp"), none()),
    ]
}

/// A primary and us in the zone's network.
async fn serve(zone: &Zone, dir: &Path) -> (Daemon, Ours, impl Drop) {
    let file = dir.join("zone");
    std::fs::write(&file, zone_file()).unwrap();
    let at = SocketAddr::from(([127, 0, 0, 53], 5353));
    let setup =
        Setup { dir, at, zone: ZONE, from: From::File(&file), changing: None };
    let config = setup.config(Kind::Knot);
    std::fs::write(dir.join("server.conf"), config).unwrap();
    let namespace = zone.namespace();
    let daemon = namespace.run(|| Daemon::start(Kind::Knot, dir)).unwrap();
    let runtime = Background(Some(namespace.runtime().unwrap()));
    let starting = runtime.0.as_ref().unwrap().spawn(async move {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
        Ours::start_at(ZONE, policy(), listen).await
    });
    let ours = starting.await.unwrap();
    ours.follow(vec![Primary::from(at)]);
    ours.until_serial(7).await;
    (daemon.unwrap(), ours, runtime)
}

/// A runtime that may be dropped within another.
struct Background(Option<tokio::runtime::Runtime>);

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[tokio::test]
async fn go_glibc_and_musl_resolve_through_us() {
    let data = tempfile::tempdir().unwrap();
    let programs = [
        build(data.path(), &["go", "build"], "resolve.go"),
        build(data.path(), &["gcc", "-D_GNU_SOURCE"], "resolve.c"),
        build(
            data.path(),
            &["musl-gcc", "-D_GNU_SOURCE", "-static"],
            "resolve.c",
        ),
    ];
    let network = Network::create("resolvers").unwrap();
    let mut spec = ZoneSpec::new("prometheus0", UUID, IP);
    spec.resolvers = vec![Ipv4Addr::LOCALHOST.into()];
    spec.dns_domain = ZONE.to_owned();
    spec.data = Some(data.path().to_owned());
    let localdc = Path::new(env!("CARGO_BIN_EXE_localdc"));
    let zone = Zone::boot(localdc, &network, spec).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (_daemon, _ours, _runtime) = serve(&zone, dir.path()).await;
    let patient = zone.exec(["sh", "-c", AGAIN], LIMIT).await.unwrap();
    assert!(patient.success(), "{patient:?}");
    let mut wrong = Vec::new();
    for program in &programs {
        let program = program.file_name().unwrap().to_str().unwrap();
        for (what, name, mut wanted) in cases() {
            let inside = format!("/data/{program}");
            let argv = [inside.as_str(), what, &name];
            let said = zone.exec(argv, LIMIT).await;
            let said = said.unwrap_or_else(|error| panic!("{argv:?}: {error}"));
            let mut found: Vec<String> = said
                .stdout
                .lines()
                // Go ends names with their dot.
                .map(|line| line.replace(".:", ":"))
                .collect();
            found.sort();
            wanted.sort();
            // Before 1.2.4 musl knew no TCP: it takes what fits a datagram.
            let musl = program.starts_with("musl") && wanted.len() > 10;
            if musl && found.len() > 4 {
                wanted.retain(|line| found.contains(line));
            }
            if found != wanted {
                wrong.push(format!("{argv:?}: {found:?}, wanted {wanted:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
