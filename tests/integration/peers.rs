// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The agent learns from SAPI who else monitors and from binder where, and
//! forgets nobody because somebody else is silent.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use localdc::agent_bench::{Agent, Bench, MARKERS, eventually};
use localdc::binder::Binder;
use localdc::http::Fault;
use localdc::sapi::{Kind, Sapi, ids};
use serde_json::{Value, json};
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::{CancellationToken, DropGuard};

const DOMAIN: &str = "triton.test";
/// The pair's other half.
const SECOND: &str = "c0000000-0000-4000-8000-0000000000b1";
const THANOS: &str = "c0000000-0000-4000-8000-0000000000b2";
const MANTA: &str = "c0000000-0000-4000-8000-0000000000b3";
const THERE: &str = "c0000000-0000-4000-8000-0000000000b4";

/// A bench with a binder on its own address, whose agent asks that binder.
struct World {
    bench: Bench,
    binder: Binder,
    /// Tells revisions of the metadata apart.
    revision: u32,
    stop: CancellationToken,
    _stop: DropGuard,
}

impl World {
    async fn new() -> Self {
        let mut bench = Bench::new().await;
        let at = bench.address;
        bench.configure(json!({"dnsListen": [format!("{at}:5353")]}));
        let binder = Binder::new(DOMAIN);
        let stop = CancellationToken::new();
        let udp = UdpSocket::bind((at, 53)).await.unwrap();
        let tcp = TcpListener::bind((at, 53)).await.unwrap();
        tokio::spawn(binder.clone().serve(udp, tcp, stop.clone()));
        bench.sapi.edit_metadata(Kind::Application, ids::SDC, |metadata| {
            metadata.extend([
                ("datacenter_name".to_owned(), json!("dc1")),
                ("dns_domain".to_owned(), json!(DOMAIN)),
                ("ZK_SERVERS".to_owned(), json!([{"host": at}])),
                ("ufds_ldap_root_pw".to_owned(), json!(MARKERS[0])),
            ]);
        });
        let _stop = stop.clone().drop_guard();
        Self { bench, binder, revision: 0, stop, _stop }
    }

    /// Changes the agent's own metadata, which makes it ask at once.
    fn nudge(&mut self) {
        self.revision += 1;
        self.bench.metadata(json!({"revision": self.revision}));
    }

    fn live(&self, service: &str, instances: &[(&str, [u8; 4])]) {
        let named = instances.iter();
        let named =
            named.map(|(host, ip)| ((*host).to_owned(), Ipv4Addr::from(*ip)));
        self.binder
            .set_instances(&format!("{service}.{DOMAIN}"), named.collect());
    }

    /// Addresses by instance, as the status page has them; null for none.
    async fn peers(&self) -> Option<BTreeMap<String, Value>> {
        let report = self.bench.report().await?;
        let peers = report["peers"].as_array()?.iter().map(|peer| {
            let uuid = peer["instance"].as_str().unwrap().to_owned();
            (uuid, peer["address"].clone())
        });
        Some(peers.collect())
    }

    async fn knows(&self, wanted: &[(&str, Value)]) {
        let wanted: BTreeMap<String, Value> = wanted
            .iter()
            .map(|(uuid, ip)| ((*uuid).to_owned(), ip.clone()))
            .collect();
        let mut last = None;
        let what = format!("peers {wanted:?}");
        let known = eventually(&what, async || {
            let now = self.peers().await?;
            if last.as_ref() != Some(&now) {
                eprintln!("peers: {now:?}");
            }
            last = Some(now.clone());
            (now == wanted).then_some(())
        });
        known.await;
    }

    /// Waits for a whole round of lists that begins after this call.
    async fn listed(&self, sapi: &Sapi) {
        let pings = || sapi.front().requests_of("GET", "/ping").len();
        let before = pings();
        eventually("SAPI lists", async || (pings() > before).then_some(()))
            .await;
    }

    async fn restart(&self, agent: Agent) -> Agent {
        assert_eq!(agent.stop().await, Some(0));
        self.bench.start()
    }
}

fn service(sapi: &Sapi, uuid: &str, application: &str, name: &str) {
    sapi.put(
        Kind::Service,
        json!({"uuid": uuid, "name": name, "type": "vm",
            "application_uuid": application}),
    );
}

fn instance(sapi: &Sapi, uuid: &str, service: &str, alias: &str) {
    sapi.put(
        Kind::Instance,
        json!({"uuid": uuid, "service_uuid": service, "type": "vm",
            "params": {"alias": alias}}),
    );
}

const OWN: (&str, &str) = (ids::PROMETHEUS0, "192.0.2.10");

#[tokio::test]
async fn peers_are_found_kept_and_let_go() {
    let mut world = World::new().await;
    let sapi = world.bench.sapi.clone();
    let thanos = "b0000000-0000-4000-8000-0000000000b0";
    service(&sapi, thanos, ids::SDC, "thanos");
    service(&sapi, ids::CNS, ids::SDC, "cns");
    instance(&sapi, SECOND, ids::PROMETHEUS, "prometheus1");
    instance(&sapi, THANOS, thanos, "thanos0");
    instance(&sapi, ids::CNS0, ids::CNS, "cns0");
    world.live("prometheus.dc1", &[(SECOND, [10, 9, 0, 31])]);
    let agent = world.bench.start();
    let own = (OWN.0, json!(OWN.1));
    let second = (SECOND, json!("10.9.0.31"));
    let nowhere = [own.clone(), second.clone(), (THANOS, Value::Null)];
    world.knows(&nowhere).await;
    let file = world.bench.config_path().display().to_string();
    let ended = world.bench.verb(&["status", "-f", &file]).await;
    let line = |uuid: &str| {
        let line = ended.stdout.lines().find(|line| line.starts_with(uuid));
        let words = line.unwrap().split_whitespace().skip(1);
        words.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line(SECOND), "prometheus1 prometheus dc1 10.9.0.31");
    assert_eq!(line(THANOS), "thanos0 thanos dc1 no address");
    assert!(line(OWN.0).ends_with("192.0.2.10 (this)"), "{ended:?}");
    let (_, metrics) = world.bench.page("/metrics").await.unwrap();
    let place = r#"{service="thanos",peer_datacenter="dc1"} 1"#;
    for name in ["config_agent_peers", "config_agent_peers_without_address"] {
        assert!(metrics.contains(&format!("{name}{place}")), "{metrics}");
    }

    // A name that comes later is found without anything else happening.
    world.live("thanos.dc1", &[(THANOS, [10, 9, 0, 40])]);
    let all = [own.clone(), second, (THANOS, json!("10.9.0.40"))];
    world.knows(&all).await;

    // The second one dies: its name goes, its address stays, even for an
    // agent that starts without having seen it alive.
    world.live("prometheus.dc1", &[]);
    let agent = world.restart(agent).await;
    let name = format!("{SECOND}.prometheus.dc1.{DOMAIN}");
    let asked = world.binder.count(&name, "A");
    eventually("the dead one is looked up", async || {
        (world.binder.count(&name, "A") > asked).then_some(())
    })
    .await;
    world.nudge();
    world.listed(&sapi).await;
    world.knows(&all).await;

    // SAPI refuses lists, so that nobody may go.
    sapi.front().add_fault("/instances", None, Fault::Status(500));
    assert!(sapi.remove(Kind::Instance, SECOND));
    world.nudge();
    let words = ["peers in dc1", "instances of sdc", "500"];
    world.bench.said("warnings", &words).await;
    world.knows(&all).await;

    // Until it lists again.
    sapi.front().clear_faults();
    world.nudge();
    world.knows(&[own, (THANOS, json!("10.9.0.40"))]).await;
    let kept = std::fs::read_to_string(world.bench.path("state/found.json"));
    for text in [kept.unwrap(), agent.log()] {
        assert!(!text.contains(MARKERS[0]), "{text}");
    }
    assert_eq!(agent.stop().await, Some(0));
}

#[tokio::test]
async fn mantas_instances_are_found_by_mantas_names_and_outlive_moray() {
    let mut world = World::new().await;
    let sapi = world.bench.sapi.clone();
    let at = world.bench.address;
    sapi.put(
        Kind::Application,
        json!({"uuid": ids::MANTA, "name": "manta", "master": true,
            "metadata": {"REGION": "r1", "DNS_DOMAIN": DOMAIN,
                "DOMAIN_NAME": format!("r1.{DOMAIN}"),
                "ZK_SERVERS": [{"host": at}]}}),
    );
    service(&sapi, ids::MANTA_PROMETHEUS, ids::MANTA, "prometheus");
    instance(&sapi, MANTA, ids::MANTA_PROMETHEUS, "prometheus.manta");
    world.live("prometheus.r1", &[(MANTA, [10, 8, 0, 31])]);
    let agent = world.bench.start();
    let both = [(OWN.0, json!(OWN.1)), (MANTA, json!("10.8.0.31"))];
    world.knows(&both).await;
    let report = world.bench.report().await.unwrap();
    let routed = report["upstreams"].as_array().unwrap().iter();
    let routed = routed.map(|u| u["suffix"].as_str().unwrap());
    assert!(routed.collect::<Vec<_>>().contains(&"r1.triton.test"));

    // Without its store SAPI lists nothing of Manta, and says so in a ping
    // only.
    sapi.set_store_down(true);
    let agent = world.restart(agent).await;
    world.bench.said("warnings", &["peers in dc1", "remembers"]).await;
    world.knows(&both).await;
    sapi.set_store_down(false);
    assert!(sapi.remove(Kind::Instance, MANTA));
    world.nudge();
    world.knows(&both[..1]).await;
    assert_eq!(agent.stop().await, Some(0));
}

#[tokio::test]
async fn another_datacenters_silence_is_its_own() {
    let mut world = World::new().await;
    let sapi = world.bench.sapi.clone();
    let there = Sapi::new("90000000-0000-4000-8000-000000000002");
    let application = "a0000000-0000-4000-8000-0000000000b0";
    let prometheus = "b0000000-0000-4000-8000-0000000000b1";
    let sdc = |name: &str| {
        json!({"uuid": application, "name": "sdc",
            "metadata": {"datacenter_name": name}})
    };
    there.put(Kind::Application, sdc("dc2"));
    service(&there, prometheus, application, "prometheus");
    instance(&there, THERE, prometheus, "prometheus0");
    let at = world.bench.address;
    let listener = TcpListener::bind((at, 80)).await.unwrap();
    tokio::spawn(there.clone().serve(listener, world.stop.clone()));
    world.live("sapi.dc2", &[("sapi0", at.octets())]);
    world.live("prometheus.dc2", &[(THERE, [10, 7, 0, 30])]);
    instance(&sapi, SECOND, ids::PROMETHEUS, "prometheus1");
    world.live("prometheus.dc1", &[(SECOND, [10, 9, 0, 31])]);
    world.bench.metadata(json!({"region_datacenters": "dc1,dc2"}));
    let agent = world.bench.start();
    let own = (OWN.0, json!(OWN.1));
    let second = (SECOND, json!("10.9.0.31"));
    let other = (THERE, json!("10.7.0.30"));
    world.knows(&[own.clone(), second, other.clone()]).await;
    let report = world.bench.report().await.unwrap();
    let peers = report["peers"].as_array().unwrap();
    let one = peers.iter().find(|peer| peer["instance"] == THERE).unwrap();
    assert_eq!(one["datacenter"], "dc2");
    let accepted = there.front().requests();
    let version = accepted[0].header("accept-version");
    assert_eq!(version, Some("~2"));

    // There nobody answers; here all goes on, at once.
    there.front().set_fault(Fault::Hang);
    assert!(sapi.remove(Kind::Instance, SECOND));
    let asked = there.front().total();
    world.nudge();
    eventually("it is asked", async || {
        (there.front().total() > asked).then_some(())
    })
    .await;
    // The agent gives up on it after ten seconds.
    let begin = Instant::now();
    world.knows(&[own.clone(), other.clone()]).await;
    let took = begin.elapsed();
    assert!(took < Duration::from_millis(9_500), "held up for {took:?}");
    world.bench.said("warnings", &["peers in dc2", "sapi.dc2"]).await;
    world.knows(&[own.clone(), other.clone()]).await;

    // Whoever answers in its stead is not believed.
    assert!(there.remove(Kind::Instance, THERE));
    there.put(Kind::Application, sdc("dc9"));
    there.front().clear_faults();
    world.nudge();
    world.bench.said("warnings", &["peers in dc2", "SAPI of dc9"]).await;
    world.knows(&[own.clone(), other]).await;

    // It leaves the region.
    world.bench.metadata(json!({"region_datacenters": null}));
    world.knows(&[own]).await;
    let report = world.bench.report().await.unwrap();
    assert!(!report["warnings"].to_string().contains("dc2"), "{report}");
    assert_eq!(agent.stop().await, Some(0));
}
