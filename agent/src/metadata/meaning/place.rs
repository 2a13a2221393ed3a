// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Where a zone stands: keys of the `sdc` application (lower case) and of
//! Manta's (upper case), which every role reads.

use serde_json::{Map, Value};

use super::super::setting::{
    About, Change, Default, Setting, Switch, Text, Texts,
};
use super::super::wire::Reader;
use crate::model::dns::ZoneName;
use crate::model::{Flavor, Place};

const fn derived(
    key: &'static str,
    text: &'static str,
    default: &'static str,
) -> About {
    About {
        key,
        text,
        default: Default::Derived(default),
        change: Change::Restart,
    }
}

fn is_name(text: &str) -> bool {
    ZoneName::parse(text).is_ok()
}

const DOMAIN: &str = "a DNS domain";

pub(crate) static DATACENTER_NAME: Text = Text {
    about: derived(
        "datacenter_name",
        "The datacenter; part of every label set and of binder's names.",
        "DATACENTER, then what the platform says",
    ),
    wanted: "the datacenter's name, a DNS label",
    accept: is_name,
};
pub(crate) static DATACENTER: Text = Text {
    about: derived(
        "DATACENTER",
        "The datacenter, as Manta spells it.",
        "what the platform says",
    ),
    wanted: "the datacenter's name, a DNS label",
    accept: is_name,
};
pub(crate) static REGION_NAME: Text = Text {
    about: derived(
        "region_name",
        "The region that several datacenters share; becomes label region.",
        "no label region",
    ),
    wanted: "any text",
    accept: |_| true,
};
pub(crate) static REGION: Text = Text {
    about: derived(
        "REGION",
        "The region, as Manta spells it.",
        "no label region",
    ),
    wanted: "any text",
    accept: |_| true,
};
pub(crate) static DNS_DOMAIN: Text = Text {
    about: About {
        key: "dns_domain",
        text: "The domain that the datacenter's own names hang below.",
        default: Default::Required,
        change: Change::Restart,
    },
    wanted: DOMAIN,
    accept: is_name,
};
pub(crate) static MANTA_DNS_DOMAIN: Text = Text {
    about: derived(
        "DNS_DOMAIN",
        "The same in a Manta zone, where it must be set.",
        "dns_domain, in a Triton zone",
    ),
    wanted: DOMAIN,
    accept: is_name,
};
pub(crate) static DOMAIN_NAME: Text = Text {
    about: derived(
        "DOMAIN_NAME",
        "Manta's own domain, <region>.<domain>; the search domain there.",
        "DNS_DOMAIN",
    ),
    wanted: DOMAIN,
    accept: is_name,
};
pub(crate) static IS_MANTA_SERVICE: Switch = Switch {
    about: derived(
        "is_manta_service",
        "Watches Manta's zones (account poseidon) and not Triton's.",
        "true in a zone with a manta_role tag",
    ),
};
pub(crate) static ADMIN_LOGIN: Text = Text {
    about: About {
        key: "ufds_admin_login",
        text: "Login of the account whose zones are watched.",
        default: Default::Value("\"admin\""),
        change: Change::Reload,
    },
    wanted: "a login",
    accept: is_login,
};
pub(crate) static MANTA_ADMIN_LOGIN: Text = Text {
    about: About {
        key: "ADMIN_USERNAME",
        text: "The same in a Manta zone.",
        default: Default::Value("\"poseidon\""),
        change: Change::Reload,
    },
    wanted: "a login",
    accept: is_login,
};
pub(crate) static DNS_RESOLVERS: Texts = Texts {
    about: derived(
        "dns_resolvers",
        "Who resolves names outside the datacenter.",
        "the resolvers of the zone's NICs that are not binders",
    ),
    wanted: "IP addresses",
    accept: |text| text.split_whitespace().all(is_address),
    most: 64,
};
pub(crate) static REGION_DATACENTERS: Texts = Texts {
    about: derived(
        "region_datacenters",
        "Datacenters of the region, this one included: their Prometheus and \
         Thanos instances are found through their own SAPI. The same in all \
         of them; while one cannot be asked, nobody compacts their bucket.",
        "this datacenter alone",
    ),
    wanted: "datacenter names",
    accept: is_name,
    most: 100,
};

/// Keys that say whose zones are watched.
pub(super) static ACCOUNT: &[&dyn Setting] =
    &[&ADMIN_LOGIN, &MANTA_ADMIN_LOGIN];

/// The keys that every role reads.
pub(super) static SETTINGS: &[&dyn Setting] = &[
    &DATACENTER_NAME,
    &DATACENTER,
    &REGION_NAME,
    &REGION,
    &DNS_DOMAIN,
    &MANTA_DNS_DOMAIN,
    &DOMAIN_NAME,
    &IS_MANTA_SERVICE,
    &DNS_RESOLVERS,
    &REGION_DATACENTERS,
];

fn is_address(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}

/// UFDS' own grammar for logins, as far as YAML and URLs care.
fn is_login(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.@-".contains(&b))
}

/// Whether the metadata is that of a Manta zone.
pub fn flavor(metadata: &Map<String, Value>, otherwise: Flavor) -> Flavor {
    match Reader::new(metadata).get(&IS_MANTA_SERVICE) {
        Some(true) => Flavor::Manta,
        _ => otherwise,
    }
}

/// The datacenter, by either spelling; the platform knows it too, whatever
/// SAPI says.
pub(crate) fn datacenter(
    reader: &mut Reader<'_>,
    metadata: &Map<String, Value>,
) -> Option<String> {
    reader.get(&DATACENTER_NAME).or_else(|| reader.get(&DATACENTER)).or_else(
        || {
            let auto = metadata.get("auto")?.get("DATACENTER_NAME")?;
            auto.as_str().filter(|s| is_name(s)).map(str::to_owned)
        },
    )
}

pub(super) fn place(
    reader: &mut Reader<'_>,
    metadata: &Map<String, Value>,
    flavor: Flavor,
) -> Place {
    let datacenter = datacenter(reader, metadata);
    if datacenter.is_none() && !reader.rejected(&DATACENTER_NAME) {
        reader.reject(&DATACENTER_NAME, DATACENTER_NAME.wanted);
    }
    let (region, domain) = match flavor {
        Flavor::Triton => (&REGION_NAME, &DNS_DOMAIN),
        Flavor::Manta => (&REGION, &MANTA_DNS_DOMAIN),
    };
    let region = reader.get(region);
    let dns_domain = reader.get(domain);
    if dns_domain.is_none() && !reader.rejected(domain) {
        reader.reject(domain, DOMAIN);
    }
    let dns_domain = dns_domain.unwrap_or_default();
    let search_domain = match flavor {
        Flavor::Triton => dns_domain.clone(),
        Flavor::Manta => {
            reader.get(&DOMAIN_NAME).unwrap_or_else(|| dns_domain.clone())
        }
    };
    // What does not parse is passed over where names are served; here it is
    // a fault that someone reads.
    reader.get(&DNS_RESOLVERS);
    let datacenter = datacenter.unwrap_or_default();
    Place { datacenter, region, dns_domain, search_domain }
}

/// Login of the account whose key signs the client certificate.
pub(crate) fn account(reader: &mut Reader<'_>, flavor: Flavor) -> String {
    reader.or_default(match flavor {
        Flavor::Triton => &ADMIN_LOGIN,
        Flavor::Manta => &MANTA_ADMIN_LOGIN,
    })
}
