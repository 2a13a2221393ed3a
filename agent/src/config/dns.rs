// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Section `dns` of the agent's file: how the name server answers.

use std::time::Duration;

use serde::Deserialize;

use crate::dns::{DnsConfig, SavePolicy};
use crate::model::dns::{Synthetic, ZoneName};

/// The section as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct DnsSection {
    /// Whether the addresses of one name take turns at being first.
    pub round_robin: bool,
    /// Special names (`corp.local`) and reverse zones of private addresses
    /// (`10.in-addr.arpa`) that the public resolvers do know: asked of them
    /// rather than answered by rule.
    pub known_special: Vec<ZoneName>,
    /// A suffix of our own under which each VM's name leads to CMON, as
    /// CMON's clients want it; none when absent.
    pub synthetic: Option<SyntheticSection>,
    /// Bounds of the time between two writes of a zone to disk, milliseconds;
    /// the upper one is what a kill may lose.
    pub save_gap_min: f64,
    /// See `save_gap_min`.
    pub save_gap_max: f64,
}

/// Where `UUID.SUFFIX` leads.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SyntheticSection {
    /// Suffix; nobody else's name.
    pub suffix: ZoneName,
    /// A name that has CMON's addresses: binder's `cmon.DATACENTER.DOMAIN`
    /// has those of the admin network.
    pub target: ZoneName,
}

impl Default for DnsSection {
    fn default() -> Self {
        let save = SavePolicy::default();
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        Self {
            round_robin: false,
            known_special: Vec::new(),
            synthetic: None,
            save_gap_min: ms(save.gap_min),
            save_gap_max: ms(save.gap_max),
        }
    }
}

/// An hour: more would make a file that is hardly ever right.
const MAX_MS: f64 = 3_600_000.0;

impl DnsSection {
    /// Key, value seen and value wanted of the first that makes no sense.
    pub(super) fn check(
        &self,
    ) -> Result<(), (&'static str, String, &'static str)> {
        for (key, ms) in [
            ("dns.saveGapMin", self.save_gap_min),
            ("dns.saveGapMax", self.save_gap_max),
        ] {
            if !(1.0..=MAX_MS).contains(&ms) {
                let wanted = "milliseconds, from 1 to an hour";
                return Err((key, ms.to_string(), wanted));
            }
        }
        if self.save_gap_min > self.save_gap_max {
            let seen = self.save_gap_min.to_string();
            let wanted = "no more than dns.saveGapMax";
            return Err(("dns.saveGapMin", seen, wanted));
        }
        match &self.synthetic {
            Some(own) if is_below(&own.target, &own.suffix) => Err((
                "dns.synthetic.target",
                own.target.to_string(),
                "a name that is not below dns.synthetic.suffix",
            )),
            Some(own) if own.suffix.as_str() == "." => Err((
                "dns.synthetic.suffix",
                own.suffix.to_string(),
                "a suffix of one label at least",
            )),
            _ => Ok(()),
        }
    }

    /// Sets `config` up so.
    pub fn apply(&self, config: &mut DnsConfig) {
        let time = |ms: f64| Duration::from_secs_f64(ms / 1000.0);
        config.round_robin = self.round_robin;
        config.known_special.clone_from(&self.known_special);
        config.synthetic = self.synthetic.as_ref().map(|own| Synthetic {
            suffix: own.suffix.clone(),
            target: own.target.clone(),
        });
        config.save.gap_min = time(self.save_gap_min);
        config.save.gap_max = time(self.save_gap_max);
    }
}

fn is_below(name: &ZoneName, suffix: &ZoneName) -> bool {
    let rest = name.as_str().strip_suffix(suffix.as_str());
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn section(value: serde_json::Value) -> DnsSection {
        serde_json::from_value(value).unwrap()
    }

    fn config() -> DnsConfig {
        DnsConfig::new(Vec::new(), "/nowhere".into())
    }

    #[test]
    fn nothing_said_changes_nothing() {
        let mut applied = config();
        section(json!({})).apply(&mut applied);
        assert_eq!(format!("{applied:?}"), format!("{:?}", config()));
        assert_eq!(section(json!({})).check(), Ok(()));
    }

    #[test]
    fn what_is_said_arrives() {
        let said = section(json!({
            "roundRobin": true,
            "knownSpecial": ["corp.local", "10.in-addr.arpa"],
            "synthetic": {
                "suffix": "vm.cmon", "target": "cmon.dc1.triton.example",
            },
            "saveGapMin": 1000, "saveGapMax": 2000,
        }));
        assert_eq!(said.check(), Ok(()));
        let mut applied = config();
        said.apply(&mut applied);
        assert!(applied.round_robin);
        assert_eq!(applied.known_special.len(), 2);
        assert_eq!(applied.synthetic.unwrap().suffix.as_str(), "vm.cmon");
        assert_eq!(applied.save.gap_min, Duration::from_secs(1));
        assert_eq!(applied.save.gap_max, Duration::from_secs(2));
    }

    #[test]
    fn values_out_of_bounds_are_told() {
        let own = |suffix: &str, target: &str| json!({"synthetic": {"suffix": suffix, "target": target}});
        for (said, key) in [
            (json!({"saveGapMin": 0}), "dns.saveGapMin"),
            (json!({"saveGapMin": 60_000}), "dns.saveGapMin"),
            (json!({"saveGapMax": f64::MAX}), "dns.saveGapMax"),
            (own("cmon", "x.cmon"), "dns.synthetic.target"),
            (own("cmon", "cmon"), "dns.synthetic.target"),
            (own(".", "cmon.dc1"), "dns.synthetic.suffix"),
        ] {
            let told = section(said.clone()).check();
            assert!(told.is_err_and(|told| told.0 == key), "{said}");
        }
        assert_eq!(section(own("cmon", "acmon.example")).check(), Ok(()));
        assert_eq!(section(own("mon", "x.cmon")).check(), Ok(()));
    }
}
