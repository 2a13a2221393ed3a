// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! CNS over real sockets: names and answers here, transfers and faults in
//! `transfers`, known secondaries and REST in `citizens`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, OpCode, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use serde_json::{Map, Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::zone::ForwardZone;
use super::*;
use crate::bind_both;
use crate::datacenter::{Account, Facts, Nic, Server, Vm};
use crate::dns_test_client::{Client, ask, ask_tcp, is_silent, query};

const ZONE: &str = "dc1.cns.triton.test";
const ADMIN: &str = "00000000-0000-4000-8000-0000000000ad";
const USER: &str = "00000000-0000-4000-8000-0000000000cc";
const NODE: &str = "8d1f0c1e-0000-4000-8000-00000000c001";
/// The vector of the serial formula: 2026-01-01.
const START: i64 = 1_767_225_600;
const START_SERIAL: u32 = 404_974_080;
const LIMIT: Duration = Duration::from_secs(10);

fn vm(n: u8, owner: &str, tags: Value, nics: &[(&str, [u8; 4])]) -> Vm {
    Vm {
        uuid: format!("11111111-1111-4111-8111-1111111111{n:02x}"),
        alias: format!("vm{n}"),
        owner_uuid: owner.to_owned(),
        server_uuid: NODE.to_owned(),
        state: "running".to_owned(),
        brand: "lx".to_owned(),
        image_uuid: "5a0e0000-0000-4000-8000-0000000000aa".to_owned(),
        tags: match tags {
            Value::Object(tags) => tags,
            _ => Map::new(),
        },
        nics: nics
            .iter()
            .map(|(tag, ip)| Nic {
                nic_tag: (*tag).to_owned(),
                ip: Ipv4Addr::from(*ip),
                network_uuid: format!("net-{tag}"),
            })
            .collect(),
    }
}

fn facts() -> Facts {
    let account = |uuid: &str, login: &str| Account {
        uuid: uuid.to_owned(),
        login: login.to_owned(),
        operator: login == "admin",
        keys: Vec::new(),
    };
    let both = [("admin", [10, 0, 0, 7]), ("external", [10, 9, 1, 7])];
    let tag = |service: &str| json!({"triton.cns.services": service});
    Facts {
        datacenter_name: "dc1".to_owned(),
        dns_domain: "triton.test".to_owned(),
        region_name: "region1".to_owned(),
        accounts: vec![account(ADMIN, "admin"), account(USER, "Jo.Doe")],
        servers: vec![Server {
            uuid: NODE.to_owned(),
            hostname: "headnode".to_owned(),
        }],
        vms: vec![
            vm(1, ADMIN, json!({"smartdc_role": "cmon"}), &both),
            vm(2, ADMIN, json!({"smartdc_role": "imgapi"}), &both[..1]),
            vm(3, USER, tag("web:8080"), &[("external", [10, 9, 1, 8])]),
            vm(4, ADMIN, json!({"smartdc_role": "nat"}), &both[1..]),
        ],
    }
}

struct Rig {
    cns: Cns,
    datacenter: Arc<Datacenter>,
    at: SocketAddr,
    now: Arc<AtomicI64>,
    _stop: DropGuard,
}

impl Rig {
    async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    async fn start_with(change: impl FnOnce(&mut CnsConfig)) -> Self {
        let datacenter = Arc::new(Datacenter::new(facts()));
        let now = Arc::new(AtomicI64::new(START));
        let clock = Arc::clone(&now);
        let mut config = CnsConfig::new(&facts());
        config.clock = Arc::new(move || {
            let now = clock.load(Ordering::Relaxed);
            OffsetDateTime::from_unix_timestamp(now).unwrap()
        });
        config.naming.enabled_owners.insert(USER.to_owned());
        config.batch = Duration::from_millis(1);
        change(&mut config);
        let cns = Cns::new(Arc::clone(&datacenter), config);
        let stop = CancellationToken::new();
        let (udp, tcp) = bind_both(Ipv4Addr::LOCALHOST.into()).await.unwrap();
        let at = udp.local_addr().unwrap();
        tokio::spawn(cns.clone().serve_dns(udp, tcp, stop.clone()));
        Self { cns, datacenter, at, now, _stop: stop.drop_guard() }
    }

    /// One more commit, `seconds` later: a VM of the user under a new name.
    fn change(&self, seconds: i64, alias: &str) -> u32 {
        self.now.fetch_add(seconds, Ordering::Relaxed);
        self.datacenter
            .update(|facts| alias.clone_into(&mut facts.vms[2].alias));
        self.cns.commit_now();
        self.cns.serial(ZONE).unwrap()
    }

    async fn ask(&self, name: &str, record_type: RecordType) -> Message {
        ask(self.at, &query(name, record_type)).await
    }

    async fn axfr(&self) -> Vec<Message> {
        let mut client = Client::connect(self.at, "127.0.0.1").await;
        client.send(&query(ZONE, RecordType::AXFR)).await;
        client.transfer().await.unwrap()
    }

    async fn ixfr(&self, serial: u32) -> Vec<Record> {
        let mut client = Client::connect(self.at, "127.0.0.1").await;
        client.send(&self.ixfr_query(serial)).await;
        let messages = client.transfer().await.unwrap();
        messages.into_iter().flat_map(|message| message.answers).collect()
    }

    fn ixfr_query(&self, serial: u32) -> Message {
        let mut message = query(ZONE, RecordType::IXFR);
        let state = self.cns.state();
        let view = state.view_for(ZONE).unwrap();
        message.authorities.push(view.soa(serial));
        message
    }
}

fn uuid(n: u8) -> String {
    format!("11111111-1111-4111-8111-1111111111{n:02x}")
}

fn data(records: &[Record]) -> Vec<String> {
    let mut data: Vec<_> = records.iter().map(|r| r.data.to_string()).collect();
    data.sort();
    data
}

/// Serials of the SOA records in order.
fn serials(records: &[Record]) -> Vec<u32> {
    records
        .iter()
        .filter_map(|record| match &record.data {
            RData::SOA(soa) => Some(soa.serial),
            _ => None,
        })
        .collect()
}

fn is_whole_zone(records: &[Record]) -> bool {
    serials(records).len() == 2 && records[1].record_type() == RecordType::NS
}

#[tokio::test]
async fn names_follow_the_rules() {
    let rig = Rig::start().await;
    let instance = format!("vm1.inst.{ADMIN}.{ZONE}");
    let by_uuid = format!("{}.inst.{ADMIN}.{ZONE}", uuid(1));
    let web = format!("web.svc.{USER}.{ZONE}");
    let cmon = format!("cmon.{ZONE}");
    for name in [&instance, &by_uuid, &cmon] {
        let reply = rig.ask(name, RecordType::A).await;
        assert_eq!(data(&reply.answers), ["10.9.1.7"], "{name}");
        assert!(reply.metadata.authoritative);
        assert_eq!(reply.answers[0].ttl, 30);
        assert_eq!(reply.authorities[0].record_type(), RecordType::NS);
        assert_eq!(reply.authorities[0].ttl, 3600);
        let reply = rig.ask(name, RecordType::TXT).await;
        assert_eq!(data(&reply.answers), [uuid(1)], "{name}");
    }
    let reply = rig.ask(&web, RecordType::SRV).await;
    let target = format!("vm3.inst.{USER}.{ZONE}.");
    assert_eq!(data(&reply.answers), [format!("0 10 8080 {target}")]);
    assert_eq!(data(&reply.additionals), ["10.9.1.8"]);
    for gone in [
        format!("imgapi.{ZONE}"),
        format!("vm2.inst.{ADMIN}.{ZONE}"),
        format!("vm4.inst.{ADMIN}.{ZONE}"),
        format!("{}.cmon.{ZONE}", uuid(4)),
        format!("web.{ZONE}"),
        format!("vm3.inst.jo-doe.{ZONE}"),
    ] {
        let reply = rig.ask(&gone, RecordType::A).await;
        let code = reply.metadata.response_code;
        assert_eq!(code, ResponseCode::NXDomain, "{gone}");
    }
    let ptr = rig.ask("8.1.9.10.in-addr.arpa", RecordType::PTR).await;
    assert_eq!(data(&ptr.answers), [target]);
}

#[tokio::test]
async fn logins_status_acme_and_disable_change_the_names() {
    let rig = Rig::start().await;
    rig.cns.reconfigure(|config| {
        config.naming.use_login = true;
        let metadata = config.naming.metadata.entry(uuid(3)).or_default();
        metadata.acme_challenge = Some("one  two".to_owned());
    });
    let login = format!("vm3.inst.jo-doe.{ZONE}");
    let reply = rig.ask(&login, RecordType::A).await;
    assert_eq!(data(&reply.answers), ["10.9.1.8"]);
    let web = format!("web.svc.jo-doe.{ZONE}");
    let reply = rig.ask(&web, RecordType::SRV).await;
    assert_eq!(data(&reply.answers), [format!("0 10 8080 {login}.")]);
    let acme = format!("_acme-challenge.{web}");
    let reply = rig.ask(&acme, RecordType::TXT).await;
    assert_eq!(data(&reply.answers), ["one", "two"]);

    rig.cns.reconfigure(|config| {
        let metadata = config.naming.metadata.entry(uuid(3)).or_default();
        metadata.status = Some("down".to_owned());
    });
    let reply = rig.ask(&web, RecordType::TXT).await;
    assert_eq!(data(&reply.answers), [format!("verifying:{}", uuid(3))]);
    assert!(rig.ask(&web, RecordType::A).await.answers.is_empty());
    assert_eq!(rig.ask(&login, RecordType::A).await.answers.len(), 1);

    rig.datacenter.update(|facts| {
        let tags = &mut facts.vms[2].tags;
        tags.insert("triton.cns.disable".to_owned(), true.into());
    });
    rig.cns.commit_now();
    let reply = rig.ask(&login, RecordType::A).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
}

#[tokio::test]
async fn a_zone_may_have_its_own_network_and_a_hidden_primary() {
    let rig = Rig::start().await;
    let own = "public.test";
    rig.cns.reconfigure(|config| {
        config.naming.forward_zones.push(ForwardZone {
            name: own.to_owned(),
            networks: vec!["net-external".to_owned()],
            peers: vec!["ns.public.test".to_owned()],
            hidden_primary: true,
        });
    });
    let reply = rig.ask(&format!("cmon.{own}"), RecordType::A).await;
    assert_eq!(data(&reply.answers), ["10.9.1.7"]);
    // The network is named, so the zone for the rest has it no more; the
    // aliases are in every zone all the same.
    let reply = rig.ask(&format!("cmon.{ZONE}"), RecordType::A).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
    for zone in [own, ZONE] {
        let name = format!("{}.cmon.{zone}", uuid(2));
        let reply = rig.ask(&name, RecordType::CNAME).await;
        assert_eq!(data(&reply.answers), [format!("cmon.{zone}.")]);
    }
    let ns = rig.ask(own, RecordType::NS).await;
    assert_eq!(data(&ns.answers), ["ns.public.test."]);
    let soa = rig.ask(own, RecordType::SOA).await;
    let text = soa.answers[0].data.to_string();
    assert!(text.starts_with("ns.public.test. "), "{text}");
    rig.cns.reconfigure(|config| {
        config.naming.forward_zones.pop();
    });
    let gone = rig.ask(own, RecordType::SOA).await;
    assert_eq!(gone.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn cmon_names_point_at_cmon_even_if_nothing_is_there() {
    let rig = Rig::start().await;
    for owner in [uuid(1), uuid(2), uuid(3), NODE.to_owned()] {
        let name = format!("{owner}.cmon.{ZONE}");
        let reply = rig.ask(&name, RecordType::A).await;
        let wanted = ["10.9.1.7".to_owned(), format!("cmon.{ZONE}.")];
        assert_eq!(data(&reply.answers), wanted);
    }
    rig.datacenter.update(|facts| facts.vms.remove(0));
    rig.cns.commit_now();
    let name = format!("{NODE}.cmon.{ZONE}");
    let reply = rig.ask(&name, RecordType::A).await;
    assert_eq!(data(&reply.answers), [format!("cmon.{ZONE}.")]);
    assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
}

#[tokio::test]
async fn queries_get_the_wrong_codes_of_the_real_one() {
    use RecordType as T;
    use ResponseCode::{NXDomain, NoError, ServFail};
    let rig = Rig::start().await;
    let instance = format!("vm1.inst.{ADMIN}.{ZONE}");
    for (name, record_type, code, aa) in [
        (ZONE.to_owned(), T::SOA, NoError, true),
        (ZONE.to_owned(), T::NS, NoError, false),
        (ZONE.to_owned(), T::A, NXDomain, true),
        (ZONE.to_owned(), T::TXT, NXDomain, true),
        (format!("inst.{ADMIN}.{ZONE}"), T::A, NXDomain, true),
        (format!("nothing.{ZONE}"), T::A, NXDomain, true),
        (format!("x{ZONE}"), T::A, NXDomain, true),
        (instance.clone(), T::AAAA, NoError, true),
        (instance.clone(), T::ANY, NoError, true),
        (instance.clone(), T::Unknown(4711), NoError, true),
        ("example.org".to_owned(), T::A, ServFail, false),
    ] {
        let reply = rig.ask(&name, record_type).await;
        let what = format!("{name} {record_type}");
        assert_eq!(reply.metadata.response_code, code, "{what}");
        assert_eq!(reply.metadata.authoritative, aa, "{what}");
        assert!(!reply.metadata.recursion_available, "{what}");
        assert!(reply.metadata.recursion_desired, "{what}");
        let apex = matches!(record_type, T::SOA | T::NS);
        assert_eq!(reply.answers.len(), usize::from(apex), "{what}");
        if !apex && code != ServFail {
            assert_eq!(serials(&reply.authorities), [START_SERIAL], "{what}");
        }
    }
    let reply = rig.ask(ZONE, T::SOA).await;
    let soa = "cns.dc1.triton.test. hostmaster.triton.test. 404974080 \
               30 60 2592000 30";
    assert_eq!(reply.answers[0].data.to_string(), soa);
    let version = rig.ask("version._cns_meta", T::TXT).await;
    assert_eq!(version.answers.len(), 1);
}

#[tokio::test]
async fn the_answer_repeats_the_case_of_the_query() {
    let rig = Rig::start().await;
    let mixed = format!("CmOn.{}", ZONE.to_uppercase());
    let reply = rig.ask(&mixed, RecordType::A).await;
    assert_eq!(reply.answers[0].name.to_ascii(), format!("{mixed}."));
}

#[tokio::test]
async fn edns_is_echoed_up_to_1470_and_overflow_is_empty() {
    let rig = Rig::start().await;
    rig.datacenter.update(|facts| {
        for n in 20..60 {
            let nic = [("external", [10, 9, 2, n])];
            let tags = json!({"smartdc_role": "cmon"});
            facts.vms.push(vm(n, ADMIN, tags, &nic));
        }
    });
    rig.cns.commit_now();
    let mut asked = query(&format!("cmon.{ZONE}"), RecordType::A);
    let reply = ask(rig.at, &asked).await;
    assert!(reply.metadata.truncation && reply.edns.is_none());
    assert!(reply.answers.is_empty() && reply.authorities.is_empty());
    for (theirs, ours) in [(4096, 1470), (1232, 1232)] {
        let mut edns = Edns::new();
        edns.set_max_payload(theirs).set_dnssec_ok(true).set_version(7);
        asked.edns = Some(edns);
        let reply = ask(rig.at, &asked).await;
        assert_eq!(reply.answers.len(), 41);
        let edns = reply.edns.unwrap();
        assert_eq!(edns.max_payload(), ours);
        assert!(!edns.flags().dnssec_ok);
        assert_eq!((edns.version(), edns.rcode_high()), (0, 0));
    }
}

#[tokio::test]
async fn notify_update_and_unreadable_additionals_are_dropped() {
    let rig = Rig::start().await;
    for opcode in [OpCode::Notify, OpCode::Update] {
        let mut asked = query(ZONE, RecordType::SOA);
        asked.metadata.op_code = opcode;
        assert!(is_silent(rig.at, &asked).await, "{opcode}");
    }
    let mut asked = query(ZONE, RecordType::SOA);
    let odd = RData::Unknown {
        code: RecordType::Unknown(65_280),
        rdata: hickory_proto::rr::rdata::NULL::with(vec![1]),
    };
    let name = crate::dns_server::name_of("x.test").unwrap();
    asked.additionals.push(Record::from_rdata(name, 0, odd));
    assert!(is_silent(rig.at, &asked).await);
    assert!(ask_tcp(rig.at, &asked).await.is_none(), "closed");
    assert_eq!(rig.cns.counters().soa, 0);
}

#[tokio::test]
async fn tcp_takes_many_queries_and_ends_idle_connections() {
    let idle = Duration::from_secs(1);
    let rig = Rig::start_with(|config| config.tcp_idle = idle).await;
    let mut client = Client::connect(rig.at, "127.0.0.1").await;
    let first = query(ZONE, RecordType::SOA);
    let second = query(ZONE, RecordType::NS);
    client.send(&first).await;
    client.send(&second).await;
    for asked in [&first, &second] {
        let reply = client.read().await.unwrap();
        assert_eq!(reply.metadata.id, asked.metadata.id);
    }
    let mut byte = [0];
    let end = timeout(LIMIT, client.0.read(&mut byte)).await.unwrap();
    assert_eq!(end.unwrap(), 0, "FIN");
}

#[tokio::test]
async fn the_updater_commits_in_batches() {
    let rig = Rig::start().await;
    let mut commits = rig.cns.subscribe();
    commits.mark_unchanged();
    let stop = CancellationToken::new();
    let task = tokio::spawn(rig.cns.clone().run_updater(stop.clone()));
    rig.now.fetch_add(50, Ordering::Relaxed);
    rig.datacenter.update(|facts| facts.vms[2].alias = "renamed".to_owned());
    timeout(LIMIT, commits.changed()).await.unwrap().unwrap();
    let name = format!("renamed.inst.{USER}.{ZONE}");
    assert!(rig.cns.contents(ZONE).unwrap().contains_key(&name));
    assert_eq!(rig.cns.serial(ZONE), Some(START_SERIAL + 6), "next step");
    stop.cancel();
    task.await.unwrap();
}

#[test]
fn networks_hold_their_addresses() {
    for (net, ip, holds) in [
        ("10.9.0.0/24", "10.9.0.77", true),
        ("10.9.0.0/24", "10.9.1.77", false),
        ("10.9.0.5", "10.9.0.5", true),
        ("10.9.0.5", "10.9.0.4", false),
        ("0.0.0.0/0", "192.0.2.1", true),
        ("fd00::/8", "fd12::1", true),
        ("fd00::/8", "10.0.0.1", false),
    ] {
        let net: Cidr = net.parse().unwrap();
        assert_eq!(net.holds(ip.parse().unwrap()), holds, "{net:?} {ip}");
    }
    for bad in ["10.0.0.0/33", "ten", "10.0.0.0/", ""] {
        assert!(bad.parse::<Cidr>().is_err(), "{bad}");
    }
}

mod citizens;
mod transfers;
