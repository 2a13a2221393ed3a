// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Where a zone ends before its names do: at the NS of another zone below
//! (RFC 1034 §4.2.1), whose names are found elsewhere; at a DNAME (RFC 6672),
//! whose names are all aliases. CNS's zones have neither, so this costs them
//! nothing.

use hickory_proto::ProtoError;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::answer::{Answer, Step, addresses};
use crate::dns::names::{WireName, suffixes};
use crate::dns::store::ZoneVersion;
use crate::dns::store::rrset::RrSet;

/// Bytes of a name with its root label (RFC 1035 §2.3.4).
const MAX_NAME: usize = 255;

/// What becomes of a name behind the first cut on the way down to it; `None`
/// for a name that is the zone's own.
///
/// Errors: stored rdata that cannot be decoded.
pub(super) fn step(
    zone: &ZoneVersion,
    key: &WireName,
    name: &Name,
    rtype: RecordType,
) -> Result<Option<Step>, ProtoError> {
    if zone.cuts == 0 {
        return Ok(None);
    }
    let way: Vec<&[u8]> = key
        .suffixes()
        .take_while(|suffix| suffix.len() >= zone.apex.as_bytes().len())
        .collect();
    for here in way.into_iter().rev() {
        let Some(node) = zone.node(here) else { return Ok(None) };
        let is_apex = here == zone.apex.as_bytes();
        let is_name = here == key.as_bytes();
        // The parent knows how the child's keys are vouched for.
        let is_parents = is_name && rtype == RecordType::DS;
        let owner = || ending(name, here);
        if let Some(set) = node.set(RecordType::NS)
            && !is_apex
        {
            return match is_parents {
                true => Ok(None),
                false => referral(zone, set, &owner()).map(Some),
            };
        }
        // Not for the name itself.
        if let Some(set) = node.set(RecordType::DNAME)
            && !is_name
        {
            return alias(set, &owner(), name, rtype).map(Some);
        }
    }
    Ok(None)
}

/// Whether the zone may end on the way down to a name in lower-case wire form.
pub(super) fn may_be_behind(zone: &ZoneVersion, key: &[u8]) -> bool {
    let apex = zone.apex.as_bytes();
    zone.cuts > 0
        && suffixes(key).take_while(|here| here.len() >= apex.len()).any(
            |here| {
                let node = zone.node(here).unwrap_or_default();
                node.is_cut(here == apex)
            },
        )
}

/// The end of `name` that is as long as `key`, in the name's own spelling.
fn ending(name: &Name, key: &[u8]) -> Name {
    let labels = WireName::read(key).map(|key| key.to_name().num_labels());
    name.trim_to(labels.unwrap_or_default().into())
}

fn referral(
    zone: &ZoneVersion,
    set: RrSet<'_>,
    owner: &Name,
) -> Result<Step, ProtoError> {
    let authorities = set.records(owner)?;
    let mut additionals = Vec::new();
    for record in &authorities {
        let RData::NS(target) = &record.data else { continue };
        additionals.extend(addresses(zone, &target.0)?);
    }
    Ok(Step::Away(Answer { authorities, additionals, ..Answer::default() }))
}

/// The DNAME, and the alias that it makes of `name` (RFC 6672 §2.2, §3.1).
fn alias(
    set: RrSet<'_>,
    owner: &Name,
    name: &Name,
    rtype: RecordType,
) -> Result<Step, ProtoError> {
    let target = set.rdata().next().and_then(WireName::read);
    let Some(target) = target.map(|target| target.to_name()) else {
        return Err("a DNAME without a name".into());
    };
    let mut answer = Answer {
        authoritative: true,
        answers: set.records(owner)?,
        ..Answer::default()
    };
    // Two at one name are against the rules; the first counts.
    answer.answers.truncate(1);
    let own = usize::from(name.num_labels() - owner.num_labels());
    let labels = name.iter().take(own).chain(target.iter());
    let whole = Name::from_labels(labels).ok();
    let whole = whole.filter(|name| name.len() <= MAX_NAME);
    let Some(mut target) = whole else {
        answer.rcode = ResponseCode::YXDomain;
        return Ok(Step::Done(answer));
    };
    target.set_fqdn(true);
    let data = RData::CNAME(CNAME(target.clone()));
    answer.answers.push(Record::from_rdata(name.clone(), set.ttl, data));
    Ok(match rtype {
        RecordType::CNAME | RecordType::ANY => Step::Done(answer),
        _ => Step::Alias(answer, target),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::secondary::fake::{name, record, version};
    use crate::dns::serve::answer::from_zone;

    fn zone() -> ZoneVersion {
        version(
            1,
            &[
                record("a", 30, "A 10.0.0.1"),
                record("child", 30, "NS ns.child"),
                record("ns.child", 30, "A 10.0.0.2"),
                record("deep.below.child", 30, "A 10.0.0.3"),
                record("away", 30, "DNAME other.example."),
                record("back", 30, "CNAME x.away"),
            ],
        )
    }

    fn ask(text: &str, rtype: RecordType) -> Step {
        from_zone(&zone(), &name(text), rtype).unwrap()
    }

    #[test]
    fn what_is_delegated_is_others() {
        for text in ["child", "no.child", "ns.child", "Deep.Below.Child"] {
            let Step::Away(referral) = ask(text, RecordType::A) else {
                panic!("{text}");
            };
            assert!(!referral.authoritative && referral.answers.is_empty());
            assert_eq!(referral.authorities[0].name, name("child"));
            assert_eq!(referral.additionals.len(), 1, "{text}");
        }
        // The parent's own, and there is none.
        let Step::Done(ds) = ask("child", RecordType::DS) else { panic!() };
        assert!(ds.authoritative && ds.answers.is_empty());
        let Step::Done(own) = ask("a", RecordType::A) else { panic!() };
        assert_eq!(own.answers.len(), 1);
        let Step::Done(apex) = ask("", RecordType::NS) else { panic!() };
        assert!(apex.authoritative);
    }

    #[test]
    fn below_a_dname_all_names_are_aliases() {
        let step = ask("X.away", RecordType::A);
        let Step::Alias(answer, target) = step else { panic!("{step:?}") };
        assert_eq!(target, Name::from_ascii("x.other.example.").unwrap());
        let types = answer.answers.iter().map(Record::record_type);
        assert!(types.eq([RecordType::DNAME, RecordType::CNAME]));
        assert_eq!(answer.answers[1].name, name("x.away"));
        let Step::Done(asked) = ask("x.away", RecordType::CNAME) else {
            panic!();
        };
        assert_eq!(asked.answers.len(), 2);
        // The name itself is not: it has no address.
        let Step::Done(own) = ask("away", RecordType::A) else { panic!() };
        assert_eq!((own.rcode, own.answers.len()), (ResponseCode::NoError, 0));
        let label = "l".repeat(60);
        let long = name(&format!("{label}.{label}.{label}.away"));
        let zone = version(
            1,
            &[record("away", 30, &format!("DNAME {label}.{label}.example."))],
        );
        let Step::Done(long) = from_zone(&zone, &long, RecordType::A).unwrap()
        else {
            panic!();
        };
        assert_eq!(long.rcode, ResponseCode::YXDomain);
        assert_eq!(long.answers.len(), 1);
    }
}
