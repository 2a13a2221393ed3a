// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Answers in wire form, given again.

use hickory_proto::rr::Record;

use super::*;
use crate::dns::secondary::fake::{name, record, soa_record};

fn kept(answers: Vec<Record>, authorities: Vec<Record>) -> Kept {
    let answer = Answer { answers, authorities, ..Answer::default() };
    let ttl = Duration::from_secs(60);
    let question = Question::new(&name("a"), RecordType::A);
    Kept::new(&question, &answer, ttl, false, Instant::now()).unwrap()
}

fn alias() -> Vec<Record> {
    vec![
        record("a", 60, "CNAME b.other.example."),
        record("x", 20, "A 10.0.0.1"),
        record("a", 5, "SRV 0 10 80 a"),
    ]
}

#[test]
fn a_question_is_its_name_and_type() {
    let question = Question::new(&name("A.b"), RecordType::SRV);
    assert_eq!(question.name(), name("a.B"));
    assert!(question.name().eq_case(&name("a.b")));
    assert_eq!(question.rtype(), RecordType::SRV);
    assert_eq!(question, Question::new(&name("a.B"), RecordType::SRV));
    assert_ne!(question, Question::new(&name("a.b"), RecordType::A));
    let bytes = question.as_bytes();
    assert_eq!(Question::from_bytes(bytes), Some(question.clone()));
    assert_eq!(Question::from_bytes(&bytes[1..]), None);
    assert_eq!(Question::from_bytes(&bytes[..bytes.len() - 1]), None);
}

#[test]
fn ttls_count_down_and_end_at_zero() {
    let kept = kept(alias(), vec![soa_record(1)]);
    let ttls = |ttl| {
        let mut answer = kept.answer(ttl);
        answer.records_mut().map(|r| r.ttl).collect::<Vec<u32>>()
    };
    assert_eq!(ttls(Ttl::Less(0)), [60, 20, 5, 30]);
    assert_eq!(ttls(Ttl::Less(15)), [45, 5, 0, 15]);
    assert_eq!(ttls(Ttl::Fixed(30)), [30; 4]);
    let answer = kept.answer(Ttl::Less(0));
    assert_eq!(answer.answers, alias());
    assert_eq!(answer.authorities, [soa_record(1)]);
}

#[test]
fn a_response_has_the_askers_id_flags_and_spelling() {
    let kept = kept(alias(), Vec::new());
    let mut query = crate::dns::exchange::query(name("A"), RecordType::A);
    query.metadata.checking_disabled = true;
    let bytes = query.to_vec().unwrap();
    let question = Question::new(&name("a"), RecordType::A);
    // Behind what is there already, which stays.
    let mut out = vec![7; 3];
    let ttl = Ttl::Less(5);
    kept.write(&bytes, question.as_bytes(), ttl, &mut out).unwrap();
    assert_eq!(out[..3], [7; 3]);
    let response = Message::from_vec(&out[3..]).unwrap();
    assert_eq!(response.metadata.id, query.metadata.id);
    let head = response.metadata;
    assert!(head.recursion_desired && head.recursion_available);
    assert!(head.checking_disabled && !head.authentic_data);
    assert!(response.queries[0].name().eq_case(&name("A")));
    assert!(response.answers[0].name.eq_case(&name("A")));
    assert!(response.answers[1].name.eq_case(&name("x")));
    let ttls: Vec<u32> = response.answers.iter().map(|r| r.ttl).collect();
    assert_eq!(ttls, [55, 15, 0]);
    // A query that is cut short is none of ours.
    let short = &bytes[..20];
    assert_eq!(kept.write(short, question.as_bytes(), ttl, &mut out), None);
}

#[test]
fn what_no_message_holds_is_not_kept() {
    let answers =
        (0..5000).map(|_| record("a", 9, "A 10.0.0.1")).collect::<Vec<_>>();
    let answer = Answer { answers, ..Answer::default() };
    let question = Question::new(&name("a"), RecordType::A);
    let (ttl, now) = (Duration::from_secs(9), Instant::now());
    assert!(Kept::new(&question, &answer, ttl, false, now).is_none());
}
