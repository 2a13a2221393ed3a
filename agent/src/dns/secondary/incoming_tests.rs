// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Transfers without sockets: what is taken, each trap of CNS's, and that
//! any cut into messages means the same.

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record};
use proptest::prelude::*;

use super::*;
use crate::dns::secondary::fake::{
    any_records, apex, name, record, soa_record, version, wire_record,
};
use crate::dns::store::ZoneVersion;
use crate::dns::store::changes::apply;

const ID: u16 = 7;

/// `SOA 3`, or an owner and data as in `fake::record`.
fn one(text: &str) -> Record {
    match text.strip_prefix("SOA ") {
        Some(serial) => soa_record(serial.parse().unwrap()),
        None => {
            let (owner, data) = text.split_once(' ').unwrap();
            record(owner.trim_end_matches('@'), 30, data)
        }
    }
}

fn message(records: &[Record], ask: Ask, with_question: bool) -> Message {
    let mut message = Message::response(ID, OpCode::Query);
    if with_question {
        message.add_query(Query::query(name(""), ask.rtype()));
    }
    message.add_answers(records.iter().cloned());
    message
}

fn read(message: &Message) -> WireMessage {
    WireMessage::read(&message.to_vec().unwrap()).unwrap()
}

fn receiver(ask: Ask) -> Receiver {
    Receiver::new(apex(), ID, ask, ZoneLimits::default())
}

/// What these records, so many a message, come to.
fn received(
    ask: Ask,
    records: &[Record],
    per_message: usize,
) -> Result<Incoming, Refusal> {
    let mut receiver = receiver(ask);
    let chunks = records.chunks(per_message);
    let last = chunks.len() - 1;
    for (n, chunk) in chunks.enumerate() {
        let message = read(&message(chunk, ask, n == 0));
        match receiver.take(message)? {
            Progress::More => {}
            Progress::Complete if n < last => {
                return Err(Refusal::Broken("complete too early"));
            }
            Progress::Complete => return receiver.finish(),
        }
    }
    receiver.finish()
}

fn ixfr(texts: &[&str]) -> Result<Incoming, Refusal> {
    let records: Vec<Record> = texts.iter().map(|text| one(text)).collect();
    received(Ask::Since(Serial(1)), &records, records.len())
}

/// Why these differences from serial 1 are not used.
fn odd(texts: &[&str]) -> Refusal {
    match ixfr(texts) {
        Err(refusal) => refusal,
        Ok(_) => panic!("taken: {texts:?}"),
    }
}

fn changes(texts: &[&str]) -> Changes {
    match ixfr(texts) {
        Ok(Incoming::Changes(changes)) => changes,
        Ok(_) => panic!("no changes: {texts:?}"),
        Err(refusal) => panic!("{refusal:?}: {texts:?}"),
    }
}

fn whole(incoming: Result<Incoming, Refusal>) -> ZoneVersion {
    match incoming {
        Ok(Incoming::Full(builder)) => {
            builder.finish(version(1, &[]).provenance).unwrap()
        }
        Ok(_) => panic!("not a whole zone"),
        Err(refusal) => panic!("{refusal:?}"),
    }
}

#[test]
fn a_chain_of_differences_is_read() {
    let read = changes(&[
        "SOA 3",
        "SOA 1",
        "a A 10.0.0.1",
        "SOA 2",
        "b A 10.0.0.2",
        "c A 10.0.0.3",
        "SOA 2",
        "c A 10.0.0.3",
        "SOA 3",
        "SOA 3",
    ]);
    assert_eq!((read.from, read.to), (Serial(1), Serial(3)));
    assert_eq!(read.soa, wire_record(&soa_record(3)));
    let sizes: Vec<_> = read
        .steps
        .iter()
        .map(|s| (s.from, s.to, s.removed.len(), s.added.len()))
        .collect();
    assert_eq!(sizes, [(1, 2, 1, 2), (2, 3, 1, 0)]);
}

#[test]
fn a_whole_zone_may_come_where_differences_were_asked_for() {
    // At an equal, newer or unknown serial; the empty zone, too.
    for texts in [
        &["SOA 1", "@ NS ns.example.", "a A 10.0.0.1", "SOA 1"][..],
        &["SOA 0", "@ NS ns.example.", "SOA 0"],
        &["SOA 9", "@ NS ns.example.", "a A 10.0.0.1", "SOA 9"],
    ] {
        let zone = whole(ixfr(texts));
        assert_eq!(zone.records, texts.len() - 1);
    }
    // CNS's empty zone, whatever the serial.
    assert!(
        whole(ixfr(&["SOA 9", "@ NS ns.example.", "SOA 9"])).is_apex_only()
    );
}

#[test]
fn a_lone_soa_that_is_not_newer_means_nothing_to_do() {
    for texts in [&["SOA 1"], &["SOA 0"]] {
        assert!(matches!(ixfr(texts), Ok(Incoming::Current)), "{texts:?}");
    }
    // A newer one is the beginning of something.
    assert_eq!(odd(&["SOA 2"]), Refusal::Broken("the transfer did not end"));
}

#[test]
fn a_chain_that_begins_elsewhere_is_odd() {
    for begin in ["SOA 0", "SOA 2"] {
        let why = odd(&[
            "SOA 3",
            begin,
            "a A 10.0.0.1",
            "SOA 3",
            "b A 10.0.0.2",
            "SOA 3",
        ]);
        assert_eq!(why, Refusal::Odd("the chain begins at another serial"));
    }
}

#[test]
fn an_empty_step_is_odd() {
    let why = odd(&["SOA 2", "SOA 1", "SOA 2", "SOA 2"]);
    assert_eq!(why, Refusal::Odd("a step without records"));
    let why = odd(&[
        "SOA 3",
        "SOA 1",
        "SOA 2",
        "SOA 2",
        "SOA 3",
        "b A 10.0.0.2",
        "SOA 3",
    ]);
    assert_eq!(why, Refusal::Odd("a step without records"));
    // Removals or additions alone are none.
    changes(&["SOA 2", "SOA 1", "a A 10.0.0.1", "SOA 2", "SOA 2"]);
    changes(&["SOA 2", "SOA 1", "SOA 2", "a A 10.0.0.1", "SOA 2"]);
}

#[test]
fn a_chain_past_its_announced_serial_is_odd() {
    // A commit came between two reads of the primary's: the first SOA lacks
    // the last step.
    let why = odd(&[
        "SOA 2",
        "SOA 1",
        "a A 10.0.0.1",
        "SOA 2",
        "b A 10.0.0.2",
        "SOA 2",
        "c A 10.0.0.1",
        "SOA 3",
        "d A 10.0.0.2",
        "SOA 3",
    ]);
    assert_eq!(why, Refusal::Odd("records after the closing SOA"));
    // With a single step the first SOA is ours.
    let why = odd(&["SOA 1", "SOA 1", "SOA 2", "b A 10.0.0.2", "SOA 2"]);
    let same = Refusal::Odd("a second SOA with the first one's serial");
    assert_eq!(why, same);
    // Over the announced one in one step.
    let why = odd(&[
        "SOA 2",
        "SOA 1",
        "a A 10.0.0.1",
        "SOA 3",
        "b A 10.0.0.2",
        "SOA 3",
    ]);
    assert_eq!(why, Refusal::Odd("the chain passes the announced serial"));
}

#[test]
fn other_broken_chains_are_odd() {
    for (what, texts) in [
        (
            "the chain has a gap",
            &[
                "SOA 9",
                "SOA 1",
                "a A 10.0.0.1",
                "SOA 2",
                "b A 10.0.0.2",
                "SOA 3",
                "c A 10.0.0.2",
                "SOA 9",
                "d A 10.0.0.2",
                "SOA 9",
            ][..],
        ),
        (
            "a step that leads to no newer serial",
            &["SOA 9", "SOA 1", "a A 10.0.0.1", "SOA 1", "SOA 9"],
        ),
        (
            "the chain begins at another serial",
            &["SOA 0", "SOA 7", "a A 10.0.0.1", "SOA 0", "SOA 0"],
        ),
        (
            "the chain leads to no newer serial",
            &["SOA 0", "SOA 1", "a A 10.0.0.1", "SOA 0", "SOA 0"],
        ),
    ] {
        assert_eq!(odd(texts), Refusal::Odd(what));
    }
}

#[test]
fn closing_soas_must_be_the_opening_one() {
    let mut records: Vec<Record> =
        ["SOA 2", "SOA 1", "a A 10.0.0.1", "SOA 2", "SOA 2"].map(one).to_vec();
    if let RData::SOA(soa) = &mut records[4].data {
        soa.refresh += 1;
    }
    let why = received(Ask::Since(Serial(1)), &records, 5).err();
    assert_eq!(why, Some(Refusal::Odd("first and last SOA differ")));
    let records = ["SOA 2", "a A 10.0.0.1", "SOA 3"].map(one);
    let why = received(Ask::Full, &records, 3).err();
    assert_eq!(why, Some(Refusal::Broken("first and last SOA differ")));
}

#[test]
fn serials_wrap() {
    let top = u32::MAX;
    let soa = |serial: u32| soa_record(serial);
    let records = [
        soa(3),
        soa(top),
        one("a A 10.0.0.1"),
        soa(3),
        one("b A 10.0.0.1"),
        soa(3),
    ];
    let read = received(Ask::Since(Serial(top)), &records, 6);
    assert!(matches!(read, Ok(Incoming::Changes(_))));
}

#[test]
fn cns_habits_are_accepted_in_a_full_transfer() {
    // No AA, no question after the first message, a record twice.
    let texts =
        ["SOA 9", "a A 10.0.0.1", "b A 10.0.0.2", "a A 10.0.0.1", "SOA 9"];
    let records = texts.map(one);
    for per_message in 1..=records.len() {
        let zone = whole(received(Ask::Full, &records, per_message));
        assert_eq!(zone.records, 3);
    }
}

#[test]
fn broken_rules_end_the_transfer() {
    let soa = || one("SOA 9");
    let a = || one("a A 10.0.0.1");
    let good = message(&[soa(), a(), soa()], Ask::Full, true);
    assert_eq!(receiver(Ask::Full).take(read(&good)), Ok(Progress::Complete));
    let mut other_id = good.clone();
    other_id.metadata.id += 1;
    let mut query = good.clone();
    query.metadata.message_type = hickory_proto::op::MessageType::Query;
    let mut other_question = good.clone();
    other_question.queries[0].set_name(Name::root());
    let mut other_type = good.clone();
    other_type.queries[0].set_query_type(RecordType::IXFR);
    let mut cut = good.clone();
    cut.metadata.truncation = true;
    let mut outside = good.clone();
    outside.answers[1].name = Name::from_ascii("www.example.net.").unwrap();
    let mut class = good.clone();
    class.answers[1].dns_class = hickory_proto::rr::DNSClass::CH;
    let mut deep = good.clone();
    deep.answers[1].name =
        Name::from_ascii(format!("{}dc1.cns.example.", "a.".repeat(41)))
            .unwrap();
    for (what, message) in [
        ("id", other_id),
        ("query", query),
        ("question", other_question),
        ("type", other_type),
        ("TC", cut),
        ("outside the zone", outside),
        ("class", class),
        ("labels", deep),
        ("empty", message(&[], Ask::Full, true)),
        ("no SOA first", message(&[a()], Ask::Full, true)),
        ("trailing", message(&[soa(), soa(), a()], Ask::Full, true)),
    ] {
        let refused = receiver(Ask::Full).take(read(&message));
        assert!(matches!(refused, Err(Refusal::Broken(_))), "{what}");
    }
    for (code, refusal) in [
        (ResponseCode::Refused, Refusal::NotAllowed),
        (ResponseCode::NotImp, Refusal::Rcode(4)),
        (ResponseCode::ServFail, Refusal::Rcode(2)),
    ] {
        let mut failed = message(&[], Ask::Full, true);
        failed.metadata.response_code = code;
        let refused = receiver(Ask::Full).take(read(&failed));
        assert_eq!(refused, Err(refusal));
    }
}

#[test]
fn an_endless_primary_is_stopped() {
    let limits = ZoneLimits { max_records: 100, ..ZoneLimits::default() };
    for ask in [Ask::Full, Ask::Since(Serial(1))] {
        let mut receiver = Receiver::new(apex(), ID, ask, limits);
        let begin: &[Record] = match ask {
            Ask::Full => &[one("SOA 9")],
            Ask::Since(_) => &[one("SOA 9"), one("SOA 1")],
        };
        let mut outcome = receiver.take(read(&message(begin, ask, true)));
        let mut sent = 0;
        while outcome == Ok(Progress::More) && sent < 1000 {
            let next = one(&format!("h{sent} A 10.0.0.1"));
            outcome = receiver.take(read(&message(&[next], ask, false)));
            sent += 1;
        }
        assert!(matches!(outcome, Err(Refusal::Limit(_))), "{ask:?}");
        assert!(sent <= 201, "{ask:?}: {sent}");
    }
    let limits = ZoneLimits { max_bytes: 2000, ..ZoneLimits::default() };
    let ask = Ask::Since(Serial(1));
    let mut receiver = Receiver::new(apex(), ID, ask, limits);
    let text = format!("a TXT {}", "t".repeat(200));
    let records = [vec![one("SOA 9"), one("SOA 1")], vec![one(&text); 30]];
    let taken = receiver.take(read(&message(&records.concat(), ask, true)));
    assert!(matches!(taken, Err(Refusal::Limit(BuildError::TooManyBytes(_)))));
}

/// One version after the other, and the differences between them.
fn history() -> impl Strategy<Value = Vec<Vec<Record>>> {
    // One TTL for each owner and type, as RFC 2181 wants it.
    let records = any_records().prop_map(|mut records| {
        for record in &mut records {
            record.ttl = 30;
        }
        records.sort();
        records.dedup();
        records
    });
    prop::collection::vec(records, 2..6)
}

fn missing(from: &[Record], to: &[Record]) -> Vec<Record> {
    from.iter().filter(|record| !to.contains(record)).cloned().collect()
}

fn chain(versions: &[Vec<Record>]) -> Vec<Record> {
    let serial = |n: usize| soa_record(u32::try_from(n).unwrap() + 1);
    let last = serial(versions.len() - 1);
    let mut records = vec![last.clone()];
    for (n, pair) in versions.windows(2).enumerate() {
        records.push(serial(n));
        records.extend(missing(&pair[0], &pair[1]));
        records.push(serial(n + 1));
        records.extend(missing(&pair[1], &pair[0]));
    }
    records.push(last);
    records
}

proptest! {
    /// A chain of differences, cut anywhere, equals the whole zone.
    #[test]
    fn a_chain_equals_the_whole(
        mut versions in history(),
        per_message in 1..20_usize,
    ) {
        // Names that differ in case only are one owner; equal steps are odd.
        versions.dedup();
        prop_assume!(versions.len() > 1);
        let base = version(1, &versions[0]);
        let records = chain(&versions);
        let ask = Ask::Since(Serial(1));
        let read = received(ask, &records, per_message);
        let Ok(Incoming::Changes(changes)) = read else {
            return Err(TestCaseError::fail(format!("{:?}", read.err())));
        };
        let limits = ZoneLimits::default();
        let done = apply(&base, &changes, limits, base.provenance).unwrap();
        let end = u32::try_from(versions.len()).unwrap();
        let expected = version(end, &versions[versions.len() - 1]);
        prop_assert!(done.version.same_content(&expected));
        prop_assert_eq!((done.absent, done.present), (0, 0));
        prop_assert_eq!(done.version.records, expected.records);
    }

    /// A chain with records dropped, doubled or swapped is refused, or is
    /// complete and then counts what does not fit; it never panics.
    #[test]
    fn a_mangled_chain_does_no_harm(
        versions in history(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8), 1..4),
        per_message in 1..20_usize,
    ) {
        let mut records = chain(&versions);
        for (index, kind) in edits {
            let at = index.index(records.len());
            match kind {
                0 if records.len() > 1 => drop(records.remove(at)),
                1 => records.insert(at, records[at].clone()),
                _ => records.swap(0, at),
            }
        }
        let base = version(1, &versions[0]);
        let ask = Ask::Since(Serial(1));
        if let Ok(Incoming::Changes(changes)) =
            received(ask, &records, per_message)
        {
            prop_assert_eq!(changes.from, Serial(1));
            prop_assert!(changes.to.is_newer_than(changes.from));
            let limits = ZoneLimits::default();
            let _ = apply(&base, &changes, limits, base.provenance);
        }
    }
}
