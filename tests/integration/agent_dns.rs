// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb dns against a running agent that follows a zone of CNS's, what other
//! programs may ask of it on loopback, and what a kill leaves on disk.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::net::SocketAddr;

use localdc::agent_bench::{Agent, Bench, Ended, eventually};
use localdc::cns::ClockedCns;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::{CancellationToken, DropGuard};

const ZONE: &str = ClockedCns::ZONE;
const USER: &str = ClockedCns::USER;

/// A CNS on loopback whose clock the test moves, and an agent that follows it.
struct Rig {
    bench: Bench,
    cns: ClockedCns,
    at: SocketAddr,
    stop: Option<DropGuard>,
}

impl Rig {
    async fn new() -> Self {
        let cns = ClockedCns::new((0..4).map(ClockedCns::vm).collect());
        let mut bench = Bench::new().await;
        let at = SocketAddr::from((bench.other_address(), 53));
        bench.configure(json!({
            "dnsListen": [SocketAddr::from((bench.address, 53))],
            "dns": {"saveGapMin": 600_000, "saveGapMax": 600_000},
            "secondary": {"zones": [{
                "name": ZONE,
                "primaries": [{"address": at.ip(), "port": at.port()}],
            }]},
        }));
        let mut rig = Self { bench, cns, at, stop: None };
        rig.serve().await;
        rig
    }

    /// CNS answers.
    async fn serve(&mut self) {
        let udp = UdpSocket::bind(self.at).await.unwrap();
        let tcp = TcpListener::bind(self.at).await.unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(self.cns.cns.clone().serve_dns(udp, tcp, stop.clone()));
        self.stop = Some(stop.drop_guard());
    }

    /// One VM more, ten seconds later; the zone's serial then.
    fn change(&self, n: u8) -> u32 {
        self.cns.change(10, |vms| vms.push(ClockedCns::vm(n)));
        self.cns.cns.serial(ZONE).unwrap()
    }

    async fn start(&self) -> Agent {
        let agent = self.bench.start();
        eventually("the zone", async || self.serial().await).await;
        agent
    }

    async fn dns(&self, words: &[&str]) -> Ended {
        let config = self.bench.config_path().display().to_string();
        let words = [&["dns"], words, &["-f", &config]].concat();
        self.bench.verb(&words).await
    }

    /// The verb's JSON.
    async fn told(&self, words: &[&str]) -> Value {
        let ended = self.dns(&[words, &["--json"]].concat()).await;
        serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|_| panic!("{words:?}: {ended:?}"))
    }

    /// The serial served.
    async fn serial(&self) -> Option<u64> {
        let page = self.bench.page("/status.json").await?.1;
        let report: Value = serde_json::from_str(&page).ok()?;
        report["zones"][0]["serial"].as_u64()
    }
}

fn name(n: u8) -> String {
    format!("vm{n}.inst.{USER}.{ZONE}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verb_shows_zones_dumps_asks_and_refreshes() {
    let rig = Rig::new().await;
    let none = rig.dns(&["zones"]).await;
    assert_eq!(none.code, Some(1), "{none:?}");
    assert!(none.stderr.contains("does it run?"), "{none:?}");
    let _agent = rig.start().await;

    let zones = rig.dns(&["zones"]).await;
    assert_eq!(zones.code, Some(0), "{zones:?}");
    let row = zones.stdout.lines().find(|line| line.starts_with(ZONE));
    assert!(row.is_some_and(|row| row.ends_with("current")), "{zones:?}");

    // The dump is a zone file that BIND's checker takes.
    let dump = rig.dns(&["dump", ZONE]).await;
    assert_eq!(dump.code, Some(0), "{dump:?}");
    let file = rig.bench.path("dumped");
    rig.bench.write(&file, &dump.stdout);
    let check = format!("named-checkzone -i none {ZONE} {}", file.display());
    let checked = rig.bench.shell(&check).await;
    assert_eq!(checked.code, Some(0), "{checked:?} {}", dump.stdout);
    let serial = rig.serial().await.unwrap();
    assert!(checked.stdout.contains(&format!("serial {serial}")));
    let lines = dump.stdout.lines().filter(|line| !line.starts_with(';'));
    let records = rig.told(&["zones"]).await[0]["records"].as_u64();
    assert_eq!(Some(lines.count() as u64), records);
    let other = rig.dns(&["dump", "other.example"]).await;
    assert_eq!(other.code, Some(1), "{other:?}");
    assert!(other.stderr.contains("no copy of a zone other"), "{other:?}");
    assert_eq!(rig.dns(&["dump", "a..b"]).await.code, Some(64));

    // Each answer comes with its way.
    let asked = rig.told(&["query", &name(1)]).await;
    assert_eq!(asked["ways"][0]["by"], "zone", "{asked}");
    assert_eq!(asked["ways"][0]["serial"], serial, "{asked}");
    assert_eq!(asked["reply"]["answer"][0]["data"], "10.9.0.1", "{asked}");
    let local = rig.dns(&["query", "localhost", "AAAA", "--tcp"]).await;
    assert_eq!(local.code, Some(0), "{local:?}");
    assert!(local.stdout.contains("local, by rule"), "{local:?}");
    assert!(local.stdout.contains("over tcp"), "{local:?}");
    let nobody = rig.dns(&["query", "www.example.org"]).await;
    assert_eq!(nobody.code, Some(1), "{nobody:?}");
    assert!(nobody.stdout.contains("REFUSED"), "{nobody:?}");
    let bad = rig.dns(&["query", "a", "NOTYPE"]).await;
    assert!(bad.stderr.contains("is not a type"), "{bad:?}");

    let newer = rig.change(9);
    let refreshed = rig.told(&["refresh", ZONE]).await;
    assert_eq!(refreshed["serial"], newer, "{refreshed}");
    let flushed = rig.dns(&["flush"]).await;
    assert_eq!(flushed.stdout, "0 answers forgotten\n", "{flushed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_of_somebody_elses_changes_anything() {
    let rig = Rig::new().await;
    let _agent = rig.start().await;
    let page = rig.bench.status_address();
    let refresh = format!("http://{page}/dns/refresh?zone={ZONE}");
    let flush = format!("http://{page}/dns/flush");
    let sign = "-H 'x-config-agent: 1'";
    let dump = format!("http://{page}/dns/zone/{ZONE}");
    for (more, url, status) in [
        (format!("-X POST {sign}"), &refresh, "200"),
        (format!("-X POST {sign}"), &flush, "200"),
        // A form; a script; a name of theirs that leads here.
        ("-X POST".to_owned(), &refresh, "403"),
        ("-X POST".to_owned(), &flush, "403"),
        (format!("-X POST {sign} -H 'Origin: http://e.test'"), &flush, "403"),
        (format!("-X POST {sign} -H 'Host: e.test'"), &flush, "403"),
        ("-H 'Host: e.test'".to_owned(), &dump, "403"),
        (String::new(), &dump, "200"),
        // What asks for leave gets none, and no GET changes anything.
        ("-X OPTIONS -H 'Origin: http://e.test'".to_owned(), &flush, "405"),
        (sign.to_owned(), &flush, "405"),
    ] {
        let script =
            format!("curl -s {more} -o /dev/null -w '%{{http_code}}' '{url}'");
        let said = rig.bench.shell(&script).await;
        assert_eq!(said.stdout, status, "{more} {url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_as_prometheus_likes_them() {
    let rig = Rig::new().await;
    let _agent = rig.start().await;
    for asked in [&name(1), &name(2), "nobody.example.org", "localhost"] {
        rig.dns(&["query", asked]).await;
    }
    let metrics = eventually("the zone on disk", async || {
        let (_, metrics) = rig.bench.page("/metrics").await?;
        let written =
            format!("config_agent_zone_writes_total{{zone=\"{ZONE}\"}} 1");
        metrics.contains(&written).then_some(metrics)
    })
    .await;
    let file = rig.bench.path("metrics");
    rig.bench.write(&file, &metrics);
    let check = format!("promtool check metrics <{}", file.display());
    let checked = rig.bench.shell(&check).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let zone = format!("zone=\"{ZONE}\"");
    for line in [
        format!(
            "config_agent_dns_queries_total{{source=\"zone\",{zone},\
             type=\"A\",rcode=\"NOERROR\"}} 2"
        ),
        format!(
            "config_agent_zone_transfers_total{{{zone},outcome=\"axfr\"}} 1"
        ),
    ] {
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
    let count = "config_agent_dns_query_duration_seconds_count";
    assert!(metrics.contains(count), "{metrics}");
}

/// The first version is written at once, the next ones not for ten minutes
/// here: a kill loses them, an orderly end does not.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_an_older_version_answers_and_catches_up() {
    let mut rig = Rig::new().await;
    let agent = rig.start().await;
    let first = rig.serial().await.unwrap();
    let written = async || {
        let writes = rig.told(&["zones"]).await[0]["writes"].as_u64();
        writes.filter(|writes| *writes == 1)
    };
    eventually("the first version on disk", written).await;
    let mut last = 0;
    // CNS keeps two serials back for those it does not know.
    for n in 20..22 {
        last = u64::from(rig.change(n));
        rig.told(&["refresh", ZONE]).await;
    }
    assert_eq!(rig.serial().await, Some(last));
    agent.signal(Signal::SIGKILL);
    drop(agent);

    rig.stop = None;
    let agent = rig.start().await;
    assert_eq!(rig.serial().await, Some(first), "older, and no primary");
    let old = rig.told(&["query", &name(1)]).await;
    assert_eq!(old["reply"]["answer"][0]["data"], "10.9.0.1", "{old}");
    rig.serve().await;
    let refreshed = rig.told(&["refresh", ZONE]).await;
    assert_eq!(refreshed["serial"], last, "{refreshed}");
    assert_eq!(refreshed["transfers"]["ixfr"], 1, "{refreshed}");
    assert_eq!(refreshed["transfers"]["axfr"], 0, "{refreshed}");
    let new = rig.told(&["query", &name(21)]).await;
    assert_eq!(new["reply"]["rcode"], "NOERROR", "{new}");
    let end = u64::from(rig.change(24));
    rig.told(&["refresh", ZONE]).await;
    agent.stop().await;

    rig.stop = None;
    let _agent = rig.start().await;
    assert_eq!(rig.serial().await, Some(end), "an orderly end loses nothing");
}
