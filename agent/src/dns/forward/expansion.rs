// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A second look at answers made from a wildcard (RFC 4035 §5.3.4), which
//! hickory-net 0.26 calls bogus when the NSEC that comes with them is the
//! wildcard's own: it wants one that lies across the wildcard (hickory-dns
//! pull request 3812). Plain functions over records that it has judged.

use hickory_proto::dnssec::Proof;
use hickory_proto::dnssec::rdata::{DNSSECRData, NSEC, RRSIG};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// Whether the answer has what was asked for, all of it signed well, and for
/// each name in it that came from a wildcard a proof that nothing closer
/// exists.
pub(super) fn is_proven(message: &Message, rtype: RecordType) -> bool {
    let is_signed = |record: &Record| {
        record.proof == Proof::Secure || record.record_type().is_rrsig()
    };
    let has_it = |record: &Record| record.record_type() == rtype;
    let mut expanded = message.answers.iter().filter_map(expansion).peekable();
    message.metadata.response_code == ResponseCode::NoError
        && message.answers.iter().all(is_signed)
        && message.answers.iter().any(has_it)
        && expanded.peek().is_some()
        && expanded.all(|(next_closer, signer)| {
            nsecs(message).any(|(owner, nsec)| {
                signer.zone_of(owner) && covers(owner, nsec, &next_closer)
            })
        })
}

/// The name right below what the wildcard stands under, and who signed, of a
/// signature that was made for fewer labels than the name has.
fn expansion(record: &Record) -> Option<(Name, Name)> {
    let RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) = &record.data else {
        return None;
    };
    let rrsig: &RRSIG = rrsig;
    let labels = rrsig.input().num_labels;
    if record.proof != Proof::Secure || labels >= record.name.num_labels() {
        return None;
    }
    let next_closer = record.name.trim_to(usize::from(labels) + 1);
    Some((next_closer, rrsig.input().signer_name.clone()))
}

fn nsecs(message: &Message) -> impl Iterator<Item = (&Name, &NSEC)> {
    message.authorities.iter().filter_map(|record| match &record.data {
        RData::DNSSEC(DNSSECRData::NSEC(nsec))
            if record.proof == Proof::Secure =>
        {
            Some((&record.name, nsec))
        }
        _ => None,
    })
}

/// Whether the NSEC says that there is no such name (RFC 4034 §4.1.1, §6.1),
/// and may (RFC 6840 §4.1).
fn covers(owner: &Name, nsec: &NSEC, name: &Name) -> bool {
    let types = nsec.type_set();
    let is_cut =
        types.contains(RecordType::NS) && !types.contains(RecordType::SOA);
    let next = nsec.next_domain_name();
    let is_last = next <= owner && next.zone_of(name);
    !(is_cut && owner.zone_of(name)) && name > owner && (name < next || is_last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn nsec(next: &str, types: &[RecordType]) -> NSEC {
        NSEC::new(name(next), types.iter().copied())
    }

    #[test]
    fn only_what_lies_between_is_denied() {
        let a = [RecordType::A];
        let covered = |owner: &str, next: &str, asked: &str| {
            covers(&name(owner), &nsec(next, &a), &name(asked))
        };
        assert!(covered("*.w.z.", "x.z.", "any.w.z."));
        assert!(covered("x.z.", "z.", "y.z."), "the last one goes round");
        assert!(!covered("x.z.", "z.", "y.other."), "but not past the zone");
        assert!(!covered("*.w.z.", "b.w.z.", "c.w.z."));
        assert!(!covered("c.w.z.", "d.w.z.", "c.w.z."), "itself exists");
        let cut = nsec("x.z.", &[RecordType::NS]);
        assert!(!covers(&name("w.z."), &cut, &name("any.w.z.")));
    }
}
