// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What an operator asks of a running server, and is told.

use std::time::Duration;

use hickory_proto::rr::{Name, RecordType};

use super::*;
use crate::dns::DumpForm;
use crate::dns::client::query;
use crate::dns::running::{Running, replicate, with_binder, zone};
use crate::dns::secondary::fake::{FakePrimary, Mood, record, zone_name};

const LIMIT: Duration = Duration::from_secs(10);

async fn with_zone(dir: &tempfile::TempDir) -> (FakePrimary, Running) {
    let primary = FakePrimary::start(7, &zone()).await;
    let server = Running::start(dir.path(), replicate(&[primary.addr])).await;
    server.until("the zone", |s| s.serial() == Some(7)).await;
    (primary, server)
}

#[tokio::test]
async fn a_refresh_waits_for_its_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let (primary, server) = with_zone(&dir).await;
    primary.set(8, &zone());
    let handle = server.handle.clone();
    let zone = zone_name();
    let status = handle.refresh(&zone, LIMIT).await.unwrap().unwrap();
    assert_eq!(status.serial.map(|serial| serial.0), Some(8));
    primary.feel(Mood::Failing);
    let status = handle.refresh(&zone, LIMIT).await.unwrap().unwrap();
    assert!(status.last_error.is_some(), "{status:?}");
    let other = ZoneName::parse("other.example").unwrap();
    assert!(handle.refresh(&other, LIMIT).await.is_none());
    server.end().await;
}

#[tokio::test]
async fn a_dump_has_every_record_once_and_the_soa_first() {
    let dir = tempfile::tempdir().unwrap();
    let (_primary, server) = with_zone(&dir).await;
    let dump = server.handle.dump(&zone_name()).unwrap();
    let mut text = String::new();
    dump.write(DumpForm::ZoneFile, |chunk| {
        text.push_str(&chunk);
        true
    });
    let lines: Vec<&str> =
        text.lines().filter(|line| !line.starts_with(';')).collect();
    assert!(lines[0].contains(" IN SOA "), "{text}");
    let records = server.handle.records(&zone_name()).unwrap();
    assert_eq!(lines.len(), records.len(), "{text}");
    let wanted = "s.svc.o.dc1.cns.example. 30 IN SRV 0 10 9163 a.inst.o.dc1.cns.example.";
    assert!(lines.contains(&wanted), "{text}");
    let mut json = String::new();
    dump.write(DumpForm::JsonLines, |chunk| {
        json.push_str(&chunk);
        true
    });
    for line in json.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(record["data"].is_string(), "{line}");
    }
    assert_eq!(json.lines().count(), lines.len());
    server.end().await;
}

#[tokio::test]
async fn a_dump_ends_when_nobody_wants_more() {
    let dir = tempfile::tempdir().unwrap();
    let many: Vec<_> =
        (0..4000).map(|n| record(&format!("n{n}"), 30, "A 10.0.0.1")).collect();
    let primary = FakePrimary::start(7, &many).await;
    let server = Running::start(dir.path(), replicate(&[primary.addr])).await;
    server.until("the zone", |s| s.serial() == Some(7)).await;
    let dump = server.handle.dump(&zone_name()).unwrap();
    let mut chunks = Vec::new();
    dump.write(DumpForm::ZoneFile, |chunk| {
        chunks.push(chunk.len());
        chunks.len() < 2
    });
    assert_eq!(chunks.len(), 2);
    assert!(chunks.iter().all(|size| *size < 80 << 10), "{chunks:?}");
    server.end().await;
}

#[tokio::test]
async fn ways_are_those_that_questions_go() {
    let dir = tempfile::tempdir().unwrap();
    let (server, _primary, _binder) = with_binder(dir.path()).await;
    let ways = |name: &str| -> Vec<(Answerer, bool)> {
        let ways = server.handle.ways(name, "A").unwrap();
        ways.iter().map(|way| (way.by, way.cached)).collect()
    };
    let host = (Answerer::Binder, false);
    assert_eq!(ways("cmon.dc1.cns.example"), [(Answerer::Zone, false)]);
    // An alias out of the zone.
    let alias = "V2.cmon.dc1.cns.example.";
    assert_eq!(ways(alias), [(Answerer::Zone, false), host]);
    assert_eq!(ways("localhost"), [(Answerer::Local, false)]);
    assert_eq!(ways("www.example.org"), [(Answerer::Nobody, false)]);
    // Loops end.
    let turns = ways("loop1.dc1.cns.example").len();
    assert!((2..=MAX_WAYS).contains(&turns), "{turns}");

    let name = Name::from_ascii("host.dc1.example.").unwrap();
    server.ask(name.clone(), RecordType::A).await;
    assert_eq!(ways("host.dc1.example"), [(Answerer::Binder, true)]);
    assert_eq!(server.handle.flush(Some("other.example")).unwrap(), 0);
    assert_eq!(server.handle.flush(Some("Example.")).unwrap(), 1);
    assert_eq!(ways("host.dc1.example"), [host]);
    server.ask(name, RecordType::A).await;
    assert_eq!(server.handle.flush(None).unwrap(), 1);
    assert!(server.handle.flush(Some("a..b")).is_err());
    assert!(server.handle.ways("a", "NOTYPE").is_err());
    server.end().await;
}

#[tokio::test]
async fn a_question_comes_back_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let (_primary, server) = with_zone(&dir).await;
    let ask = async |name: &str, rtype: &str, tcp| {
        query(server.addr, name, rtype, tcp, LIMIT).await.unwrap()
    };
    for (tcp, over) in [(false, "udp"), (true, "tcp")] {
        let reply = ask("v1.cmon.dc1.cns.example", "a", tcp).await;
        assert_eq!((reply.rcode.as_str(), reply.over), ("NOERROR", over));
        assert!(reply.flags.contains(&"aa") && reply.bytes > 40);
        let records: Vec<(&str, &str)> = reply
            .answer
            .iter()
            .map(|record| (record.rtype.as_str(), record.data.as_str()))
            .collect();
        let wanted = [("CNAME", "cmon.dc1.cns.example."), ("A", "10.0.0.9")];
        assert_eq!(records, wanted);
    }
    let none = ask("gone.dc1.cns.example", "TYPE28", false).await;
    assert_eq!(none.rcode, "NXDOMAIN");
    assert_eq!(none.authority[0].rtype, "SOA");
    server.end().await;
}
