// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What is answered by rule. Names about this machine: localhost (RFC 6761
//! §6.3) and its reverse. Names that never leave the zone: the reverse zones
//! of private and reserved addresses (RFC 6303, RFC 7793, RFC 9637) and the
//! names that are special (RFC 6761 and the registry it began). And what this
//! server says of itself in class CHAOS.
//!
//! Everything here works on names in wire form and looks at the last labels
//! first: a name that is not special costs a few comparisons.

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA, NS, PTR, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::answer::{Answer, synthetic_soa};
use crate::dns::names::{WireName, suffixes};

/// TTL of what we say here, positive and negative, in seconds.
const TTL: u32 = 3600;

const LOCALHOST: &[u8] = b"\x09localhost\0";
const LOOPBACK_V4: &[u8] = b"\x03127\x07in-addr\x04arpa\0";
const REVERSE_V4: &[u8] = b"\x011\x010\x010\x03127\x07in-addr\x04arpa\0";
const REVERSE_V6: &[u8] = b"\x011\x010\x010\x010\x010\x010\x010\x010\
    \x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\
    \x010\x010\x010\x010\x010\x010\x010\x010\x010\x010\x03ip6\x04arpa\0";

/// Answers about this machine itself; no configuration overrides them.
pub(crate) fn localhost(
    key: &WireName,
    name: &Name,
    rtype: RecordType,
) -> Option<Answer> {
    let key = key.as_bytes();
    // Names of others end here.
    let zone = [LOCALHOST, LOOPBACK_V4, REVERSE_V6]
        .into_iter()
        .find(|zone| key.ends_with(zone))?;
    // A label may end in the same bytes.
    suffixes(key).find(|suffix| *suffix == zone)?;
    let data = match rtype {
        RecordType::A if zone == LOCALHOST => {
            Some(RData::A(A(Ipv4Addr::LOCALHOST)))
        }
        RecordType::AAAA if zone == LOCALHOST => {
            Some(RData::AAAA(AAAA(Ipv6Addr::LOCALHOST)))
        }
        RecordType::PTR if key == REVERSE_V4 || key == REVERSE_V6 => {
            Some(RData::PTR(PTR(name_of(LOCALHOST))))
        }
        _ if key == zone => apex(zone, rtype),
        _ => None,
    };
    let exists = zone == LOCALHOST
        || suffixes(REVERSE_V4).any(|above| above == key)
        || key == REVERSE_V6;
    Some(answer(name, zone, data, exists))
}

/// The answer for a name that must not be asked of the Internet. Only for
/// names which no zone of ours and no forward zone but the root covers, and
/// none of `known`: what the resolvers know all the same.
pub(crate) fn unforwarded(
    key: &WireName,
    name: &Name,
    rtype: RecordType,
    known: &[WireName],
) -> Option<Answer> {
    let zone = special(key.as_bytes())?;
    if known.iter().any(|known| key.is_within(known)) {
        return None;
    }
    let is_apex = key.as_bytes() == zone;
    let data = if is_apex { apex(zone, rtype) } else { None };
    Some(answer(name, zone, data, is_apex))
}

/// What stands at the top of such a zone (RFC 6303 §3).
fn apex(zone: &[u8], rtype: RecordType) -> Option<RData> {
    let owner = name_of(zone);
    match rtype {
        RecordType::SOA => Some(synthetic_soa(owner, TTL).data),
        RecordType::NS => Some(RData::NS(NS(owner))),
        _ => None,
    }
}

fn answer(
    name: &Name,
    zone: &[u8],
    data: Option<RData>,
    exists: bool,
) -> Answer {
    let mut answer = match (data, exists) {
        (Some(data), _) => Answer {
            answers: vec![Record::from_rdata(name.clone(), TTL, data)],
            ..Answer::default()
        },
        (None, exists) => {
            let soa = synthetic_soa(name_of(zone), TTL);
            let rcode = match exists {
                true => ResponseCode::NoError,
                false => ResponseCode::NXDomain,
            };
            Answer::negative(rcode, soa)
        }
    };
    answer.authoritative = true;
    answer
}

fn name_of(wire: &[u8]) -> Name {
    WireName::read(wire).map(|name| name.to_name()).unwrap_or_default()
}

/// Special names, with whose word it is. `example` is an ordinary name to a
/// resolver (RFC 6761 §6.5); private top levels that nobody registered are
/// the operator's resolvers' business.
const SPECIAL: [&[u8]; 9] = [
    b"\x07invalid\0",          // RFC 6761 §6.4
    b"\x04test\0",             // RFC 6761 §6.2
    b"\x05local\0",            // RFC 6762 §22.1
    b"\x05onion\0",            // RFC 7686 §2
    b"\x03alt\0",              // RFC 9476 §2
    b"\x04home\x04arpa\0",     // RFC 8375 §4
    b"\x08resolver\x04arpa\0", // RFC 9462 §8.1
    b"\x07service\x04arpa\0",  // RFC 9665 §10.1
    b"\x08eap-noob\x04arpa\0", // RFC 9140 §5.6
];

/// Reverse zones, as IANA's registry of locally-served zones has them.
const REVERSE: [&str; 18] = [
    // RFC 6303 §4.1, §4.2; 172.16/12 and 100.64/10 are made below.
    "10.in-addr.arpa",
    "168.192.in-addr.arpa",
    "0.in-addr.arpa",
    "127.in-addr.arpa",
    "254.169.in-addr.arpa",
    "2.0.192.in-addr.arpa",
    "100.51.198.in-addr.arpa",
    "113.0.203.in-addr.arpa",
    "255.255.255.255.in-addr.arpa",
    // §4.3 to §4.6
    "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "d.f.ip6.arpa",
    "8.e.f.ip6.arpa",
    "9.e.f.ip6.arpa",
    "a.e.f.ip6.arpa",
    "b.e.f.ip6.arpa",
    "8.b.d.0.1.0.0.2.ip6.arpa",
    // RFC 9637: 3fff::/20, documentation
    "0.f.f.f.3.ip6.arpa",
];

/// The special zone at or above a name in wire form.
fn special(key: &[u8]) -> Option<&[u8]> {
    // All of them end so, and next to no name that is asked of the Internet.
    let may_be = key.ends_with(b"\x04arpa\0")
        || SPECIAL.iter().any(|zone| key.ends_with(zone));
    if !may_be {
        return None;
    }
    suffixes(key).find(|suffix| zones().contains(*suffix))
}

fn zones() -> &'static HashSet<WireName> {
    static ZONES: OnceLock<HashSet<WireName>> = OnceLock::new();
    ZONES.get_or_init(|| {
        let private = (16..32).map(|n| format!("{n}.172.in-addr.arpa"));
        // RFC 7793: shared address space
        let shared = (64..128).map(|n| format!("{n}.100.in-addr.arpa"));
        let reverse = REVERSE.iter().map(|zone| (*zone).to_owned());
        reverse
            .chain(private)
            .chain(shared)
            .map(|zone| wire(&zone))
            .chain(SPECIAL.iter().filter_map(|zone| WireName::read(zone)))
            .collect()
    })
}

fn wire(text: &str) -> WireName {
    WireName::from_name(&Name::from_ascii(text).unwrap_or_default())
}

/// What this server says of itself (class CHAOS, type TXT): which program it
/// is, as CNS asks its secondaries (RFC 4892 §2 for the names), and where it
/// runs. Only this zone can ask.
pub(crate) fn chaos(name: &Name) -> Answer {
    let text = match WireName::from_name(name).as_bytes() {
        b"\x07version\x06server\0" | b"\x07version\x04bind\0" => {
            concat!("config-agent ", env!("CARGO_PKG_VERSION")).to_owned()
        }
        b"\x08hostname\x04bind\0" | b"\x02id\x06server\0" => {
            let host = nix::unistd::gethostname().unwrap_or_default();
            // A character string has 255 bytes at most (RFC 1035 §3.3).
            host.to_string_lossy().chars().take(63).collect()
        }
        _ => return Answer::failure(ResponseCode::Refused),
    };
    let data = RData::TXT(TXT::new(vec![text]));
    let mut record = Record::from_rdata(name.clone(), 0, data);
    record.dns_class = DNSClass::CH;
    Answer { authoritative: true, answers: vec![record], ..Answer::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> (WireName, Name) {
        let name = Name::from_ascii(text).unwrap();
        (WireName::from_name(&name), name)
    }

    fn local(text: &str, rtype: RecordType) -> Option<Answer> {
        let (key, name) = asked(text);
        localhost(&key, &name, rtype)
    }

    fn kept(text: &str, rtype: RecordType) -> Option<Answer> {
        let (key, name) = asked(text);
        unforwarded(&key, &name, rtype, &[])
    }

    const V4: &str = "1.0.0.127.in-addr.arpa.";
    const V6: &str = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.\
                      0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.";

    #[test]
    fn localhost_is_here() {
        use RecordType::{A, AAAA, MX, NS, PTR, SOA};
        for (text, rtype) in [
            ("localhost.", A),
            ("db.LocalHost.", AAAA),
            (V4, PTR),
            (V6, PTR),
            ("localhost.", SOA),
            ("127.in-addr.arpa.", NS),
            (V6, SOA),
        ] {
            let answer = local(text, rtype).unwrap();
            assert_eq!(answer.answers.len(), 1, "{text}");
            assert_eq!(answer.answers[0].record_type(), rtype, "{text}");
        }
        let nodata = local("localhost.", MX).unwrap();
        assert_eq!(nodata.rcode, ResponseCode::NoError);
        assert_eq!(nodata.authorities.len(), 1);
        let none = local("9.9.9.127.in-addr.arpa.", PTR).unwrap();
        assert_eq!(none.rcode, ResponseCode::NXDomain);
        let between = local("0.0.127.in-addr.arpa.", PTR).unwrap();
        assert_eq!(between.rcode, ResponseCode::NoError);
        for text in
            ["notlocalhost.", "localhost.a.", "ip6.arpa.", "a.in-addr.arpa."]
        {
            assert!(local(text, A).is_none(), "{text}");
        }
        // One label, in spite of its last bytes.
        let odd = WireName::read(b"\x0ba\x09localhost\0").unwrap();
        assert!(localhost(&odd, &odd.to_name(), A).is_none());
    }

    #[test]
    fn special_names_stay_here() {
        for text in [
            "5.0.9.10.in-addr.arpa.",
            "1.16.172.in-addr.arpa.",
            "1.31.172.in-addr.arpa.",
            "1.64.100.in-addr.arpa.",
            "1.127.100.in-addr.arpa.",
            "x.d.f.ip6.arpa.",
            "X.Invalid.",
            "a.test.",
            "printer.local.",
            "x.onion.",
            "x.alt.",
            "nas.home.arpa.",
            "_dns.resolver.arpa.",
        ] {
            let answer = kept(text, RecordType::A).unwrap();
            assert_eq!(answer.rcode, ResponseCode::NXDomain, "{text}");
            assert_eq!(answer.authorities.len(), 1, "{text}");
            assert!(answer.authoritative);
        }
        for text in [
            "8.8.8.8.in-addr.arpa.",
            "1.32.172.in-addr.arpa.",
            "1.128.100.in-addr.arpa.",
            "1.63.100.in-addr.arpa.",
            "example.",
            "latest.",
            "local.example.",
            "arpa.",
            "ns.arpa.",
            ".",
        ] {
            assert!(kept(text, RecordType::A).is_none(), "{text}");
        }
        assert_eq!(special(b"\x06a\x04test\0"), None, "one label");
    }

    #[test]
    fn such_a_zone_has_a_soa_and_a_server_at_its_top() {
        for rtype in [RecordType::SOA, RecordType::NS] {
            let answer = kept("10.in-addr.arpa.", rtype).unwrap();
            assert_eq!(answer.answers[0].record_type(), rtype);
        }
        let nodata = kept("home.arpa.", RecordType::A).unwrap();
        assert_eq!(nodata.rcode, ResponseCode::NoError);
        assert!(nodata.answers.is_empty());
    }

    #[test]
    fn what_the_resolvers_know_is_asked_of_them() {
        let known = [asked("corp.local.").0, asked("10.in-addr.arpa.").0];
        let kept = |text| {
            let (key, name) = asked(text);
            unforwarded(&key, &name, RecordType::A, &known).is_some()
        };
        assert!(!kept("s3.corp.local.") && !kept("1.0.0.10.in-addr.arpa."));
        assert!(kept("printer.local.") && kept("1.168.192.in-addr.arpa."));
    }

    #[test]
    fn the_lists_are_names() {
        assert_eq!(zones().len(), SPECIAL.len() + REVERSE.len() + 16 + 64);
        assert!(zones().iter().all(|zone| special(zone.as_bytes()).is_some()));
    }

    #[test]
    fn chaos_tells_program_and_host() {
        let said = |text: &str| chaos(&Name::from_ascii(text).unwrap());
        for text in ["version.bind.", "VERSION.server."] {
            let answer = said(text);
            let RData::TXT(txt) = &answer.answers[0].data else { panic!() };
            assert!(txt.to_string().contains("config-agent "), "{text}");
        }
        for text in ["hostname.bind.", "id.server."] {
            assert_eq!(said(text).answers.len(), 1, "{text}");
        }
        assert_eq!(said("authors.bind.").rcode, ResponseCode::Refused);
    }
}
