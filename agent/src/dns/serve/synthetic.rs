// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A suffix of our own under which every VM has a name: `UUID.SUFFIX`, and
//! `cmon.SUFFIX`, are aliases of a name with CMON's addresses.
//!
//! CMON looks at the first label of `Host` alone, so any suffix will do; with
//! this one Prometheus reaches CMON on the admin network, of which CNS
//! publishes no names.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record};

use super::answer::{Answer, Step, synthetic_soa};
use crate::dns::names::WireName;
use crate::model::dns::Synthetic;

/// Seconds; what binder's records live.
const TTL: u32 = 30;

/// See the module.
#[derive(Debug)]
pub(crate) struct SyntheticZone {
    suffix: WireName,
    target: Name,
}

impl SyntheticZone {
    pub(crate) fn new(synthetic: &Synthetic) -> Self {
        Self {
            suffix: WireName::from_zone(&synthetic.suffix),
            target: WireName::from_zone(&synthetic.target).to_name(),
        }
    }

    /// Whether a name in lower-case wire form may be below the suffix; a
    /// name of others hardly ever.
    pub(crate) fn may_hold(&self, name: &[u8]) -> bool {
        name.ends_with(self.suffix.as_bytes())
    }

    /// What it says to a question of any type, if the name is its own.
    pub(crate) fn step(&self, key: &WireName, name: &Name) -> Option<Step> {
        if !self.may_hold(key.as_bytes()) || !key.is_within(&self.suffix) {
            return None;
        }
        let below = key.as_bytes().len() - self.suffix.as_bytes().len();
        let label = key.as_bytes().get(1..below).unwrap_or_default();
        if !(label == b"cmon" || is_uuid(label)) {
            let rcode = match below {
                0 => ResponseCode::NoError,
                _ => ResponseCode::NXDomain,
            };
            let soa = synthetic_soa(self.suffix.to_name(), TTL);
            let answer = Answer::negative(rcode, soa);
            return Some(Step::Done(Answer { authoritative: true, ..answer }));
        }
        let data = RData::CNAME(CNAME(self.target.clone()));
        let answer = Answer {
            authoritative: true,
            answers: vec![Record::from_rdata(name.clone(), TTL, data)],
            ..Answer::default()
        };
        Some(Step::Alias(answer, self.target.clone()))
    }
}

/// Whether a label is a uuid in text form (RFC 9562 §4), lower case.
fn is_uuid(label: &[u8]) -> bool {
    label.len() == 36
        && label.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::dns::ZoneName;

    const UUID: &str = "8d1f0c1e-0000-4000-8000-00000000c001";

    fn synthetic() -> SyntheticZone {
        let zone = |text| ZoneName::parse(text).unwrap();
        SyntheticZone::new(&Synthetic {
            suffix: zone("vm.cmon"),
            target: zone("cmon.dc1.example"),
        })
    }

    fn step(text: &str) -> Option<Step> {
        let name = Name::from_ascii(text).unwrap();
        synthetic().step(&WireName::from_name(&name), &name)
    }

    #[test]
    fn vms_and_cmon_lead_to_the_target() {
        let upper = UUID.to_ascii_uppercase();
        for first in [UUID, "cmon", "CMON", &upper] {
            let text = format!("{first}.vm.cmon.");
            let Some(Step::Alias(answer, target)) = step(&text) else {
                panic!("{text} is an alias");
            };
            assert_eq!(target.to_string(), "cmon.dc1.example.");
            assert_eq!(answer.answers[0].name.to_string(), text);
        }
    }

    #[test]
    fn nothing_else_is_there() {
        let rcode = |text: &str| match step(text) {
            Some(Step::Done(answer)) => Some(answer.rcode),
            _ => None,
        };
        for first in ["x", &format!("a.{UUID}"), &UUID.replace('-', "0")] {
            let text = format!("{first}.vm.cmon.");
            assert_eq!(rcode(&text), Some(ResponseCode::NXDomain), "{text}");
        }
        assert_eq!(rcode("vm.cmon."), Some(ResponseCode::NoError));
        assert!(step("xvm.cmon.").is_none() && step("cmon.").is_none());
        // One label, in spite of its last bytes.
        let odd = WireName::read(b"\x04a\x02vm\x04cmon\0").unwrap();
        assert!(synthetic().step(&odd, &odd.to_name()).is_none());
    }
}
