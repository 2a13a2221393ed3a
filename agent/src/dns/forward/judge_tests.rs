// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Which records of a reply are believed, and for how long.

use hickory_proto::op::{OpCode, Query};

use super::*;
use crate::dns::secondary::fake::{name, record, soa_record, zone_name};

const BINDER: Upstreams = Upstreams::Binder { fallback: false };

/// What a resolver said, to the question for an address of `a`.
fn reply(rcode: ResponseCode, answers: Vec<Record>) -> Message {
    let mut reply = Message::response(0, OpCode::Query);
    reply.metadata.response_code = rcode;
    reply.metadata.recursion_available = true;
    reply.add_query(Query::query(name("a"), RecordType::A));
    reply.insert_answers(answers);
    reply
}

fn judged(kind: Upstreams, reply: Message) -> Verdict {
    judge(kind, &zone_name(), &name("a"), RecordType::A, reply)
}

fn taken(reply: Message) -> Taken {
    match judged(Upstreams::Recursive, reply) {
        Verdict::Take(taken) => taken,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_what_the_question_leads_to_is_believed() {
    let wanted =
        [record("a", 60, "CNAME b"), record("b", 40, "CNAME c.other.example.")];
    let mut end = record("x", 50, "A 10.0.0.1");
    end.name = Name::from_ascii("C.other.example.").unwrap();
    let mut answers = vec![
        record("victim", 9, "A 10.6.6.6"),
        end.clone(),
        record("b", 9, "A 10.6.6.6"),
        wanted[1].clone(),
        record("a", 9, "TXT x"),
        wanted[0].clone(),
    ];
    // An address beside an alias is against the rules.
    answers.swap_remove(2);
    let mut reply = reply(ResponseCode::NoError, answers);
    let mut strange = soa_record(1);
    strange.name = Name::from_ascii("victim.example.").unwrap();
    reply.add_authority(strange);
    reply.add_authority(record("", 60, "NS ns"));
    reply.add_additional(record("ns", 60, "A 10.6.6.6"));
    let taken = taken(reply);
    let [one, two] = wanted;
    assert_eq!(taken.answer.answers, [one, two, end]);
    assert!(taken.answer.authorities.is_empty());
    assert!(taken.answer.additionals.is_empty());
    assert_eq!((taken.ttl, taken.brief), (40, false));
}

#[test]
fn aliases_without_an_end_are_refused() {
    let loops = vec![record("a", 9, "CNAME b"), record("b", 9, "CNAME a")];
    let selfish = vec![record("a", 9, "CNAME a")];
    let long = |last: usize| {
        let mut chain = vec![record("a", 9, "CNAME n0")];
        chain.extend((0..last).map(|n| {
            record(&format!("n{n}"), 9, &format!("CNAME n{}", n + 1))
        }));
        chain.push(record(&format!("n{last}"), 9, "A 10.0.0.1"));
        chain
    };
    for answers in [loops, selfish, long(16)] {
        let reply = reply(ResponseCode::NoError, answers);
        assert_eq!(judged(Upstreams::Recursive, reply), Verdict::Failed);
    }
    let taken = taken(reply(ResponseCode::NoError, long(14)));
    assert_eq!(taken.answer.answers.len(), 16);
}

#[test]
fn another_class_and_another_type_are_no_answer() {
    let mut chaos = record("a", 9, "A 10.0.0.1");
    chaos.dns_class = DNSClass::CH;
    let answers = vec![chaos, record("a", 9, "TXT x")];
    let taken = taken(reply(ResponseCode::NoError, answers));
    assert!(taken.answer.answers.is_empty() && taken.brief);
}

#[test]
fn addresses_of_services_are_kept_but_not_of_strangers() {
    let srv = record("a", 30, "SRV 0 10 80 h");
    let mut reply = reply(ResponseCode::NoError, vec![srv]);
    let mut outside = record("x", 30, "A 10.6.6.6");
    outside.name = Name::from_ascii("www.example.net.").unwrap();
    reply.add_additional(record("h", 30, "A 10.0.0.1"));
    reply.add_additional(record("victim", 30, "A 10.6.6.6"));
    reply.add_additional(outside);
    let (zone, asked) = (zone_name(), name("a"));
    let verdict = judge(BINDER, &zone, &asked, RecordType::SRV, reply);
    let Verdict::Take(taken) = verdict else { panic!("{verdict:?}") };
    assert_eq!(taken.answer.additionals, [record("h", 30, "A 10.0.0.1")]);
}

#[test]
fn a_negative_answer_lasts_as_its_soa_says() {
    let negative = |minimum, ttl, owner: &str| {
        let mut soa = soa_record(1);
        soa.name = Name::from_ascii(owner).unwrap();
        soa.ttl = ttl;
        if let RData::SOA(data) = &mut soa.data {
            data.minimum = minimum;
        }
        let mut reply = reply(ResponseCode::NXDomain, Vec::new());
        reply.add_authority(soa);
        taken(reply)
    };
    for (minimum, ttl, lasts) in
        [(30, 9000, 30), (9000, 20, 20), (9000, 9000, MAX_NEGATIVE)]
    {
        let taken = negative(minimum, ttl, "example.");
        assert_eq!((taken.ttl, taken.brief), (lasts, false));
        assert_eq!(taken.answer.rcode, ResponseCode::NXDomain);
        assert_eq!(taken.answer.authorities[0].ttl, lasts);
    }
    // A zone that the name is not in says nothing about it.
    let taken = negative(30, 30, "example.net.");
    assert_eq!((taken.ttl, taken.brief), (BRIEF, true));
}

#[test]
fn an_alias_to_nothing_is_vague_without_a_soa() {
    let answers = vec![record("a", 60, "CNAME b")];
    let taken = taken(reply(ResponseCode::NXDomain, answers));
    assert_eq!((taken.ttl, taken.brief), (BRIEF, true));
    assert_eq!(taken.answer.answers.len(), 1);
}

#[test]
fn a_code_means_what_its_sender_means() {
    use ResponseCode::{FormErr, NotImp, Refused, ServFail};
    use Verdict::{Failed, Unknown};
    let said = |kind, rcode| judged(kind, reply(rcode, Vec::new()));
    for rcode in [Refused, NotImp, ServFail, FormErr] {
        assert_eq!(said(Upstreams::Recursive, rcode), Failed);
    }
    assert_eq!(said(BINDER, Refused), Unknown);
    assert_eq!(said(BINDER, ServFail), Failed);
    assert_eq!(said(Upstreams::Primaries, Refused), Failed);
    let Verdict::Take(taken) = said(BINDER, NotImp) else { panic!() };
    assert_eq!(taken.answer.rcode, ResponseCode::NoError);
    // A service without a live instance: neither AA nor RA, no SOA.
    let mut empty = reply(ResponseCode::NoError, Vec::new());
    empty.metadata.recursion_available = false;
    assert_eq!(judged(Upstreams::Recursive, empty.clone()), Failed);
    assert!(matches!(judged(BINDER, empty), Verdict::Take(_)));
}
