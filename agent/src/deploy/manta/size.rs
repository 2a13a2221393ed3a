// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What service `prometheus` of application `manta` is made of, by the size of
//! the deployment: `service.json`, overlaid with `service.json.<size>`, as
//! manta-init does it. Pure.
//!
//! Source: sdc-manta, config/services/prometheus/service.json; that one has no
//! sizes. Ours: a laptop's Prometheus scrapes seldom and forgets soon, and a
//! production's has memory for some hundred zones.

use serde_json::{Map, Value, json};

/// How large a deployment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// All on a laptop.
    Coal,
    /// One server, or few.
    Lab,
    /// The real thing.
    Production,
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "coal" => Self::Coal,
            "lab" => Self::Lab,
            "production" => Self::Production,
            _ => return Err("wanted coal, lab or production".to_owned()),
        })
    }
}

/// The service's params and metadata.
pub fn definition(size: Size) -> Value {
    // External first: it becomes the primary NIC.
    let mut whole = json!({
        "params": {
            "networks": ["external", "manta", "admin"],
            "ram": 1024,
            "firewall_enabled": true,
        },
        "metadata": {
            "is_manta_service": true,
            "OVERRIDE_RESOLVERS": [{"host": "127.0.0.1"}],
        },
    });
    let overlay = match size {
        Size::Coal => json!({
            "params": {"ram": 512},
            "metadata": {"scrape_interval": 60, "evaluation_interval": 60},
        }),
        Size::Lab => json!({}),
        Size::Production => json!({"params": {"ram": 8192, "quota": 100}}),
    };
    for field in ["params", "metadata"] {
        let more = overlay[field].as_object().cloned().unwrap_or_default();
        let fields: &mut Map<String, Value> =
            whole[field].as_object_mut().expect("both are objects above");
        fields.extend(more);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_lays_over_what_all_have() {
        let coal = definition(Size::Coal);
        assert_eq!(coal["params"]["ram"], 512);
        assert_eq!(coal["metadata"]["is_manta_service"], true);
        for (text, memory) in [("lab", 1024), ("production", 8192)] {
            let size = text.parse().unwrap();
            assert_eq!(definition(size)["params"]["ram"], memory);
        }
        assert!("huge".parse::<Size>().is_err());
    }
}
