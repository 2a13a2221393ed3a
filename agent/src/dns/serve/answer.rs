// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a zone version says to a question, one step at a time: plain
//! functions over plain data. Following an alias, and every name that is not
//! in a zone of ours, is the business of `resolve.rs`.
//!
//! Right where CNS is not: an empty non-terminal and an existing name of
//! another type are NODATA, not NXDOMAIN (RFC 8020, RFC 2308).
//!
//! CNS writes NS records at the apex only. What a zone of another primary
//! delegates is not ours to answer: `cut.rs`.

use std::sync::OnceLock;

use hickory_proto::ProtoError;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::cut;
use crate::dns::names::{WireName, suffixes};
use crate::dns::store::ZoneVersion;
use crate::dns::store::rrset::Node;

/// The content of a response; header bits of the transport are left to
/// `front.rs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) rcode: ResponseCode,
    pub(crate) authoritative: bool,
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
    pub(crate) additionals: Vec<Record>,
}

impl Answer {
    /// No records, just a response code.
    pub(crate) fn failure(rcode: ResponseCode) -> Self {
        Self { rcode, ..Self::default() }
    }

    /// NODATA or NXDOMAIN with the SOA that says for how long.
    pub(crate) fn negative(rcode: ResponseCode, soa: Record) -> Self {
        Self { rcode, authorities: vec![soa], ..Self::default() }
    }

    /// Puts another one of the addresses of each name first, by `turn`.
    pub(crate) fn take_turns(&mut self, turn: usize) {
        let is_address = |record: &Record| {
            matches!(record.record_type(), RecordType::A | RecordType::AAAA)
        };
        let sets = self.answers.chunk_by_mut(|a, b| {
            is_address(a)
                && a.record_type() == b.record_type()
                && a.name == b.name
        });
        for set in sets {
            let len = set.len();
            set.rotate_left(turn % len);
        }
    }

    /// Records of all sections.
    pub(crate) fn records_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        self.answers
            .iter_mut()
            .chain(&mut self.authorities)
            .chain(&mut self.additionals)
    }
}

/// One step towards an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// This is it.
    Done(Answer),
    /// The name is an alias: what was found, and the name to go on with.
    Alias(Answer, Name),
    /// Others answer the name: the referral to them.
    Away(Answer),
}

/// Looks `name` up in `zone`. The answer repeats the name's own spelling.
///
/// Errors: stored rdata that cannot be decoded.
pub(crate) fn from_zone(
    zone: &ZoneVersion,
    name: &Name,
    rtype: RecordType,
) -> Result<Step, ProtoError> {
    let key = WireName::from_name(name);
    if let Some(step) = cut::step(zone, &key, name, rtype)? {
        return Ok(step);
    }
    let negative = |rcode| {
        Step::Done(Answer {
            authoritative: true,
            ..Answer::negative(rcode, zone.negative_soa())
        })
    };
    let Some(node) = zone
        .node(key.as_bytes())
        .or_else(|| from_wildcard(zone, key.as_bytes()))
    else {
        return Ok(negative(ResponseCode::NXDomain));
    };
    let found = match rtype {
        // One set is answer enough (RFC 8482 §4.1).
        RecordType::ANY => node.iter().next(),
        _ => node.set(rtype),
    };
    if let Some(set) = found {
        let answers = set.records(name)?;
        let additionals = additionals(zone, &answers)?;
        return Ok(Step::Done(Answer {
            authoritative: true,
            answers,
            additionals,
            ..Answer::default()
        }));
    }
    if let Some(set) = node.set(RecordType::CNAME) {
        let mut answers = set.records(name)?;
        // Two CNAMEs at one name are against the rules; the first counts.
        answers.truncate(1);
        if let Some(RData::CNAME(target)) = answers.first().map(|r| &r.data) {
            let target = target.0.clone();
            let answer =
                Answer { authoritative: true, answers, ..Answer::default() };
            return Ok(Step::Alias(answer, target));
        }
    }
    Ok(negative(ResponseCode::NoError))
}

/// The wildcard below the closest encloser, if any (RFC 4592 §3.3).
pub(crate) fn from_wildcard<'z>(
    zone: &'z ZoneVersion,
    key: &[u8],
) -> Option<Node<'z>> {
    let encloser =
        suffixes(key).skip(1).find(|parent| zone.node(parent).is_some())?;
    zone.node(WireName::child(b"*", encloser).as_bytes())
}

/// Addresses of SRV targets that the zone knows (RFC 2782).
fn additionals(
    zone: &ZoneVersion,
    answers: &[Record],
) -> Result<Vec<Record>, ProtoError> {
    let mut seen: Vec<&Name> = Vec::new();
    let mut additionals = Vec::new();
    for record in answers {
        let RData::SRV(srv) = &record.data else { continue };
        if seen.contains(&&srv.target) {
            continue;
        }
        seen.push(&srv.target);
        additionals.extend(addresses(zone, &srv.target)?);
    }
    Ok(additionals)
}

/// The addresses of a name that stand in the zone itself.
pub(super) fn addresses(
    zone: &ZoneVersion,
    name: &Name,
) -> Result<Vec<Record>, ProtoError> {
    let key = WireName::from_name(name);
    let mut addresses = Vec::new();
    for set in zone.node(key.as_bytes()).unwrap_or_default().iter() {
        if matches!(set.rtype, RecordType::A | RecordType::AAAA) {
            addresses.extend(set.records(name)?);
        }
    }
    Ok(addresses)
}

/// A SOA of our own making, for negative answers that come without one.
pub(crate) fn synthetic_soa(owner: Name, ttl: u32) -> Record {
    // RFC 6303 §3 uses this mailbox for zones that nobody keeps.
    static MAILBOX: OnceLock<Name> = OnceLock::new();
    let mailbox = MAILBOX.get_or_init(|| {
        Name::from_ascii("nobody.invalid.").expect("a valid name")
    });
    let soa =
        SOA::new(owner.clone(), mailbox.clone(), 1, 3600, 1200, 604_800, ttl);
    Record::from_rdata(owner, ttl, RData::SOA(soa))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dns::secondary::fake::{any_records, name, record, version};

    fn zone() -> ZoneVersion {
        version(
            9,
            &[
                record("cmon", 30, "A 10.0.0.9"),
                record("cmon", 30, "TXT x"),
                record("v1.cmon", 30, "CNAME cmon"),
                record("gone.cmon", 30, "CNAME nowhere"),
                record("a.inst.o", 30, "A 10.0.0.1"),
                record("a.inst.o", 30, "AAAA fd00::1"),
                record("s.svc.o", 30, "SRV 0 10 9163 a.inst.o"),
                record("*.wild", 30, "A 10.0.0.7"),
                record("x.under.wild", 30, "A 10.0.0.8"),
            ],
        )
    }

    fn ask(text: &str, rtype: RecordType) -> Step {
        from_zone(&zone(), &name(text), rtype).unwrap()
    }

    fn done(text: &str, rtype: RecordType) -> Answer {
        match ask(text, rtype) {
            Step::Done(answer) => answer,
            Step::Alias(..) => panic!("{text} is an alias"),
            Step::Away(..) => panic!("{text} is delegated"),
        }
    }

    fn is_negative(answer: &Answer, rcode: ResponseCode) -> bool {
        answer.rcode == rcode
            && answer.answers.is_empty()
            && answer.authoritative
            && matches!(
                answer.authorities[..],
                [Record { data: RData::SOA(_), ttl: 30, .. }]
            )
    }

    #[test]
    fn the_spelling_of_the_question_is_kept() {
        let answer = done("CMon", RecordType::A);
        assert!(answer.authoritative);
        assert_eq!(answer.answers.len(), 1);
        assert!(answer.answers[0].name.eq_case(&name("CMon")));
    }

    #[test]
    fn negative_answers_tell_names_from_types() {
        use RecordType::{A, AAAA, MX};
        for (what, rtype) in [
            ("cmon", AAAA),
            ("inst.o", A),
            ("o", A),
            ("", A),
            ("cmon", MX),
            ("cmon", RecordType::Unknown(65_300)),
        ] {
            let answer = done(what, rtype);
            assert!(
                is_negative(&answer, ResponseCode::NoError),
                "{what} {rtype}: {answer:?}"
            );
        }
        for what in ["nowhere", "x.cmon", "b.inst.o"] {
            let answer = done(what, A);
            assert!(is_negative(&answer, ResponseCode::NXDomain), "{what}");
        }
    }

    #[test]
    fn aliases_are_steps() {
        let Step::Alias(answer, target) = ask("v1.cmon", RecordType::A) else {
            panic!("not an alias");
        };
        assert_eq!(answer.answers.len(), 1);
        assert_eq!(target, name("cmon"));
        let asked_for = done("v1.cmon", RecordType::CNAME);
        assert_eq!(asked_for.answers.len(), 1);
    }

    #[test]
    fn srv_brings_addresses() {
        let answer = done("s.svc.o", RecordType::SRV);
        assert_eq!(answer.answers.len(), 1);
        assert_eq!(answer.additionals.len(), 2);
    }

    #[test]
    fn any_is_one_set() {
        let answer = done("cmon", RecordType::ANY);
        assert_eq!(answer.answers.len(), 1);
        assert!(is_negative(
            &done("inst.o", RecordType::ANY),
            ResponseCode::NoError
        ));
    }

    #[test]
    fn wildcards_stop_at_existing_names() {
        assert_eq!(done("new.wild", RecordType::A).answers.len(), 1);
        assert_eq!(done("a.b.wild", RecordType::A).answers.len(), 1);
        assert!(is_negative(
            &done("y.under.wild", RecordType::A),
            ResponseCode::NXDomain
        ));
        assert!(is_negative(
            &done("new.wild", RecordType::AAAA),
            ResponseCode::NoError
        ));
    }

    /// The rules of RFC 1034 §4.3.2 and RFC 4592 said slowly: the set of an
    /// owner and type; `None` when the name does not exist.
    fn slowly(
        records: &[Record],
        asked: &Name,
        rtype: RecordType,
    ) -> Option<usize> {
        let exists =
            |name: &Name| records.iter().any(|r| name.zone_of(&r.name));
        let owner = if exists(asked) {
            asked.clone()
        } else {
            let mut encloser = asked.base_name();
            while !exists(&encloser) && encloser != name("") {
                encloser = encloser.base_name();
            }
            let wildcard = encloser.prepend_label("*").unwrap();
            exists(&wildcard).then_some(wildcard)?
        };
        let mut found: Vec<String> = records
            .iter()
            .filter(|r| r.name == owner && r.record_type() == rtype)
            .map(|r| r.data.to_string())
            .collect();
        found.sort();
        found.dedup();
        Some(found.len())
    }

    proptest! {
        #[test]
        fn lookups_agree_with_the_rules(
            records in any_records(),
            labels in prop::collection::vec(
                prop::sample::select(vec!["A", "b", "c", "zz"]), 1..5),
        ) {
            let zone = version(1, &records);
            let asked = name(&labels.join("."));
            for rtype in [RecordType::A, RecordType::TXT] {
                let step = from_zone(&zone, &asked, rtype).unwrap();
                let Step::Done(answer) = step else {
                    panic!("no aliases here");
                };
                let found = match answer.rcode {
                    ResponseCode::NXDomain => None,
                    _ => Some(answer.answers.len()),
                };
                prop_assert_eq!(found, slowly(&records, &asked, rtype));
                let is_negative = answer.answers.is_empty();
                prop_assert_eq!(answer.authorities.len() == 1, is_negative);
            }
        }
    }
}
