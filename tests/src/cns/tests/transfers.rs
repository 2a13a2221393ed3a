// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Transfers with each of their oddities, and the faults.

use super::*;

#[tokio::test]
async fn axfr_has_its_order_and_no_aa_and_the_connection_stays() {
    let rig = Rig::start().await;
    let mut client = Client::connect(rig.at, "127.0.0.1").await;
    client.send(&query(ZONE, RecordType::AXFR)).await;
    let messages = client.transfer().await.unwrap();
    let [message] = messages.as_slice() else { panic!("one message") };
    assert!(!message.metadata.authoritative);
    let records = &message.answers;
    assert!(is_whole_zone(records));
    assert_eq!(serials(records), [START_SERIAL; 2]);
    let contents = rig.cns.contents(ZONE).unwrap();
    let total: usize = contents.values().map(|records| records.len()).sum();
    assert_eq!(records.len(), total + 3);
    let owners: Vec<_> =
        records.iter().map(|record| record.name.to_string()).collect();
    let mut grouped = owners.clone();
    grouped.dedup();
    assert_eq!(grouped.len(), contents.len() + 2, "owners are grouped");
    client.send(&query(ZONE, RecordType::SOA)).await;
    assert!(client.read().await.is_ok(), "still open");
}

#[tokio::test]
async fn long_transfers_have_the_question_only_once() {
    let rig = Rig::start().await;
    rig.datacenter.update(|facts| {
        for n in 0..=255 {
            let nic = [("external", [10, 9, 3, n])];
            facts.vms.push(vm(n, USER, json!({}), &nic));
            let last = facts.vms.last_mut().unwrap();
            last.uuid = format!("22222222-2222-4222-8222-2222222222{n:02x}");
            last.alias = format!("bulk{n}");
        }
    });
    rig.cns.commit_now();
    let messages = rig.axfr().await;
    assert_eq!(messages.len(), 3, "256 VMs of 5 records and some");
    for (at, message) in messages.iter().enumerate() {
        assert_eq!(message.queries.len(), usize::from(at == 0));
        assert_eq!(message.metadata.id, messages[0].metadata.id);
        assert!(!message.metadata.authoritative);
        let count = message.answers.len();
        assert!(count <= 520 && (at == 2 || count > 500), "{count}");
    }
    // Over UDP one query gets one empty TC datagram for each of them.
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let asked = query(ZONE, RecordType::AXFR).to_vec().unwrap();
    socket.send_to(&asked, rig.at).await.unwrap();
    for _ in 0..3 {
        let mut bytes = [0; 2000];
        let length = timeout(LIMIT, socket.recv(&mut bytes)).await.unwrap();
        let reply = Message::from_vec(&bytes[..length.unwrap()]).unwrap();
        assert!(reply.metadata.truncation && reply.answers.is_empty());
    }
}

#[tokio::test]
async fn transfers_are_for_allowed_addresses_only() {
    let rig = Rig::start().await;
    let asked = query(ZONE, RecordType::AXFR);
    for (list, code) in [
        ("10.0.0.0/8", ResponseCode::Refused),
        ("127.0.0.0/24", ResponseCode::NoError),
        ("127.0.0.2", ResponseCode::NoError),
    ] {
        rig.cns.reconfigure(|config| {
            config.allow_transfer = vec![list.parse().unwrap()];
        });
        // Not 127.0.0.1, so not loopback to CNS.
        let mut client = Client::connect(rig.at, "127.0.0.2").await;
        client.send(&asked).await;
        let reply = client.read().await.unwrap();
        assert_eq!(reply.metadata.response_code, code, "{list}");
        let refused = code == ResponseCode::Refused;
        assert_eq!(rig.cns.counters().refused, u64::from(refused));
    }
    rig.cns.update_faults(|faults| faults.refuse_transfer = true);
    let reply = ask_tcp(rig.at, &asked).await.unwrap();
    assert_eq!(reply.metadata.response_code, ResponseCode::Refused);
    let unknown = query("dc2.cns.triton.test", RecordType::AXFR);
    let reply = ask_tcp(rig.at, &unknown).await.unwrap();
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn ixfr_sends_steps_or_the_whole_zone() {
    let rig = Rig::start().await;
    let middle = rig.change(100, "middle");
    let last = rig.change(100, "last");
    assert_eq!((middle, last), (START_SERIAL + 11, START_SERIAL + 21));

    let records = rig.ixfr(START_SERIAL).await;
    let chain = [last, START_SERIAL, middle, middle, last, last];
    assert_eq!(serials(&records), chain);
    let removed = &records[2];
    assert!(removed.name.to_string().starts_with("vm3.inst."), "{removed}");
    assert_eq!(removed.ttl, 30);
    let chain = [last, middle, last, last];
    assert_eq!(serials(&rig.ixfr(middle).await), chain);
    assert_eq!(serials(&rig.ixfr(middle + 3).await), chain, "between");
    for whole in [last, last + 1, START_SERIAL - 1] {
        assert!(is_whole_zone(&rig.ixfr(whole).await), "{whole}");
    }
    let counters = rig.cns.counters();
    assert_eq!((counters.ixfr, counters.ixfr_differences), (6, 3));
}

#[tokio::test]
async fn a_chain_of_steps_leads_to_the_full_transfer() {
    let rig = Rig::start().await;
    let mut zone: Vec<String> = as_text(&rig.axfr().await[0].answers);
    rig.change(10, "a");
    rig.datacenter.update(|facts| facts.vms.remove(1));
    rig.change(0, "b");
    rig.change(10, "c");
    let records = rig.ixfr(START_SERIAL).await;
    let mut adding = true;
    for record in &records[1..records.len() - 1] {
        if record.record_type() == RecordType::SOA {
            adding = !adding;
            continue;
        }
        let text = record.to_string();
        if adding {
            zone.push(text);
        } else {
            let at = zone.iter().position(|known| *known == text).unwrap();
            zone.swap_remove(at);
        }
    }
    zone.sort();
    assert_eq!(zone, as_text(&rig.axfr().await[0].answers));
}

/// All but the SOA, sorted.
fn as_text(records: &[Record]) -> Vec<String> {
    let mut text: Vec<_> = records
        .iter()
        .filter(|record| record.record_type() != RecordType::SOA)
        .map(Record::to_string)
        .collect();
    text.sort();
    text
}

#[tokio::test]
async fn history_is_trimmed_by_the_cycle() {
    let rig = Rig::start_with(|config| {
        config.peers.notify_interval = Duration::from_millis(5);
    })
    .await;
    for n in 1..=4 {
        rig.change(10, &format!("name{n}"));
    }
    let forgotten = timeout(LIMIT, async {
        while !is_whole_zone(&rig.ixfr(START_SERIAL).await) {}
    });
    forgotten.await.expect("never trimmed");
    let last = rig.cns.serial(ZONE).unwrap();
    assert_eq!(serials(&rig.ixfr(START_SERIAL + 3).await)[1], last - 2);
}

#[tokio::test]
async fn an_ixfr_without_soa_kills_it() {
    let rig = Rig::start().await;
    assert!(!rig.cns.crashed());
    let asked = query(ZONE, RecordType::IXFR);
    assert!(ask_tcp(rig.at, &asked).await.is_none(), "cut");
    assert!(rig.cns.crashed());
    let soa = query(ZONE, RecordType::SOA);
    assert!(is_silent(rig.at, &soa).await, "dead");

    rig.cns.restart();
    assert_eq!(rig.cns.counters(), Counters::default());
    let (udp, tcp) = bind_both(Ipv4Addr::LOCALHOST.into()).await.unwrap();
    let at = udp.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(rig.cns.clone().serve_dns(udp, tcp, stop.clone()));
    let reply = ask(at, &soa).await;
    assert_eq!(serials(&reply.answers), [START_SERIAL]);
    stop.cancel();
}

#[tokio::test]
async fn a_wiped_cns_serves_an_empty_zone_and_steps_back() {
    let rig = Rig::start().await;
    rig.cns.update_faults(|faults| faults.wiped = true);
    rig.now.fetch_add(600, Ordering::Relaxed);
    for moved in [60, 61] {
        let records = rig.ixfr(START_SERIAL).await;
        assert_eq!(serials(&records), [START_SERIAL + moved; 2]);
        assert!(is_whole_zone(&records) && records.len() == 3);
        rig.now.fetch_add(10, Ordering::Relaxed);
    }
    let reply = rig.ask(&format!("cmon.{ZONE}"), RecordType::A).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
    let reverse = rig.ask("8.1.9.10.in-addr.arpa", RecordType::PTR).await;
    assert_eq!(reverse.metadata.response_code, ResponseCode::ServFail);

    rig.cns.update_faults(|faults| faults.wiped = false);
    let soa = rig.ask(ZONE, RecordType::SOA).await;
    assert_eq!(serials(&soa.answers), [START_SERIAL + 1], "back in time");
    assert!(rig.axfr().await[0].answers.len() > 3);
}

#[tokio::test]
async fn faults_change_transfers() {
    let rig = Rig::start().await;
    let honest = rig.axfr().await[0].answers.len();
    rig.cns.update_faults(|faults| faults.duplicate_records = true);
    let records = rig.axfr().await.remove(0).answers;
    assert!(records.len() > honest);
    assert!(is_whole_zone(&records));

    let last = rig.change(10, "new");
    rig.cns.update_faults(|faults| faults.empty_diff = true);
    let records = rig.ixfr(START_SERIAL).await;
    assert_eq!(serials(&records), [last, START_SERIAL, last, last]);
    assert_eq!(records.len(), 4);

    rig.cns.update_faults(|faults| {
        *faults = Faults { late_commit: true, ..Faults::default() };
    });
    let mut client = Client::connect(rig.at, "127.0.0.1").await;
    client.send(&rig.ixfr_query(START_SERIAL)).await;
    let records = client.read().await.unwrap().answers;
    let broken = [START_SERIAL, START_SERIAL, last, last];
    assert_eq!(serials(&records), broken);

    rig.cns.update_faults(|faults| {
        *faults = Faults { same_serial: true, ..Faults::default() };
    });
    assert_eq!(rig.change(10, "newer"), last);
    let newer = format!("newer.inst.{USER}.{ZONE}");
    assert_eq!(rig.ask(&newer, RecordType::A).await.answers.len(), 1);

    rig.cns.update_faults(|faults| faults.cut_transfer_after = Some(0));
    let cut = ask_tcp(rig.at, &query(ZONE, RecordType::AXFR)).await;
    assert!(cut.is_none());
    rig.cns.update_faults(|faults| faults.servfail_all = true);
    let reply = rig.ask(ZONE, RecordType::SOA).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    rig.cns.update_faults(|faults| faults.silent = true);
    let soa = query(ZONE, RecordType::SOA);
    assert!(is_silent(rig.at, &soa).await);
}
