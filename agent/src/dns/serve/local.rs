// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Names that never leave the zone: localhost (RFC 6761 §6.3), its reverse,
//! the private and reserved reverse zones of RFC 6303 and RFC 7793, and names
//! that mean "no such thing" (`invalid`, `onion`).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::answer::{Answer, synthetic_soa};
use crate::dns::names::WireName;

/// TTL of what we say here, positive and negative, in seconds.
const TTL: u32 = 3600;

/// Answers about this machine itself; no configuration overrides them.
pub(crate) fn localhost(
    key: &WireName,
    name: &Name,
    rtype: RecordType,
) -> Option<Answer> {
    let loopback = || {
        let own = Name::from_ascii("localhost.").expect("a valid name");
        RData::PTR(PTR(own))
    };
    let zone = ["localhost.", REVERSE_V4_ZONE, REVERSE_V6]
        .into_iter()
        .find(|zone| key.is_within(&wire(zone)))?;
    let data = match (zone, rtype) {
        ("localhost.", RecordType::A) => Some(RData::A(A(Ipv4Addr::LOCALHOST))),
        ("localhost.", RecordType::AAAA) => {
            Some(RData::AAAA(AAAA(Ipv6Addr::LOCALHOST)))
        }
        (_, RecordType::PTR)
            if *key == wire(REVERSE_V4) || *key == wire(REVERSE_V6) =>
        {
            Some(loopback())
        }
        _ => None,
    };
    let exists = zone == "localhost."
        || wire(REVERSE_V4).is_within(key)
        || wire(REVERSE_V6).is_within(key);
    let rcode = match exists {
        true => ResponseCode::NoError,
        false => ResponseCode::NXDomain,
    };
    let mut answer = match data {
        Some(data) => Answer {
            answers: vec![Record::from_rdata(name.clone(), TTL, data)],
            ..Answer::default()
        },
        None => {
            Answer::negative(rcode, synthetic_soa(wire(zone).to_name(), TTL))
        }
    };
    answer.authoritative = true;
    Some(answer)
}

/// NXDOMAIN for names that must not be asked of the Internet. Only for names
/// which no zone of ours and no forward zone but the root covers.
pub(crate) fn unforwarded(key: &WireName) -> Option<Answer> {
    let zone = special_zones()
        .iter()
        .filter(|zone| key.is_within(zone))
        .max_by_key(|zone| zone.as_bytes().len())?;
    let soa = synthetic_soa(zone.to_name(), TTL);
    let rcode = match key == zone {
        true => ResponseCode::NoError,
        false => ResponseCode::NXDomain,
    };
    Some(Answer { authoritative: true, ..Answer::negative(rcode, soa) })
}

const REVERSE_V4_ZONE: &str = "127.in-addr.arpa.";
const REVERSE_V4: &str = "1.0.0.127.in-addr.arpa.";
const REVERSE_V6: &str = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.\
                          0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.";

fn special_zones() -> &'static [WireName] {
    static ZONES: OnceLock<Vec<WireName>> = OnceLock::new();
    ZONES.get_or_init(|| {
        let fixed = [
            "invalid.",
            "onion.",
            // RFC 6303 §4.1, §4.2
            "10.in-addr.arpa.",
            "168.192.in-addr.arpa.",
            "0.in-addr.arpa.",
            "254.169.in-addr.arpa.",
            "2.0.192.in-addr.arpa.",
            "100.51.198.in-addr.arpa.",
            "113.0.203.in-addr.arpa.",
            "255.255.255.255.in-addr.arpa.",
            // §4.3 to §4.6
            "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.\
             0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.",
            "d.f.ip6.arpa.",
            "8.e.f.ip6.arpa.",
            "9.e.f.ip6.arpa.",
            "a.e.f.ip6.arpa.",
            "b.e.f.ip6.arpa.",
            "8.b.d.0.1.0.0.2.ip6.arpa.",
        ];
        let private = (16..32).map(|n| format!("{n}.172.in-addr.arpa."));
        // RFC 7793: shared address space
        let shared = (64..128).map(|n| format!("{n}.100.in-addr.arpa."));
        fixed
            .iter()
            .map(|zone| (*zone).to_owned())
            .chain(private)
            .chain(shared)
            .map(|zone| wire(&zone))
            .collect()
    })
}

fn wire(text: &str) -> WireName {
    WireName::from_name(&Name::from_ascii(text).expect("a valid name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(text: &str, rtype: RecordType) -> Option<Answer> {
        localhost(&wire(text), &Name::from_ascii(text).unwrap(), rtype)
    }

    #[test]
    fn localhost_is_here() {
        use RecordType::{A, AAAA, MX, PTR};
        for (text, rtype) in [
            ("localhost.", A),
            ("db.LocalHost.", AAAA),
            (REVERSE_V4, PTR),
            (REVERSE_V6, PTR),
        ] {
            let answer = local(text, rtype).unwrap();
            assert_eq!(answer.answers.len(), 1, "{text}");
        }
        let nodata = local("localhost.", MX).unwrap();
        assert_eq!(nodata.rcode, ResponseCode::NoError);
        assert_eq!(nodata.authorities.len(), 1);
        let none = local("9.9.9.127.in-addr.arpa.", PTR).unwrap();
        assert_eq!(none.rcode, ResponseCode::NXDomain);
        let between = local("0.0.127.in-addr.arpa.", PTR).unwrap();
        assert_eq!(between.rcode, ResponseCode::NoError);
        assert!(local("notlocalhost.", A).is_none());
    }

    #[test]
    fn private_reverse_stays_here() {
        for text in [
            "5.0.9.10.in-addr.arpa.",
            "1.31.172.in-addr.arpa.",
            "1.64.100.in-addr.arpa.",
            "x.d.f.ip6.arpa.",
            "foo.invalid.",
        ] {
            let answer = unforwarded(&wire(text)).unwrap();
            assert_eq!(answer.rcode, ResponseCode::NXDomain, "{text}");
        }
        for text in
            ["8.8.8.8.in-addr.arpa.", "1.32.172.in-addr.arpa.", "example."]
        {
            assert!(unforwarded(&wire(text)).is_none(), "{text}");
        }
    }
}
