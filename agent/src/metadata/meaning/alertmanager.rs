// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The keys of Alertmanager, which runs in Prometheus or Thanos zones.

use std::marker::PhantomData;
use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Map, Value, json};

use super::super::grammar::{is_duration, is_host_port, with_port};
use super::super::setting::{
    About, Change, Setting, Switch, Text, Texts, Tree,
};
use super::super::wire::Reader;
use super::About as Zone;
use crate::model::{Alertmanager, Peer, Secret};

/// Alertmanager has one of so many shares of a zone's memory.
const SHARES: u64 = 16;

static ALERTMANAGER: Switch = Switch {
    about: About::derived(
        "alertmanager",
        "Whether an Alertmanager runs in this zone. Two zones or more form a \
         cluster.",
        "true where alertmanager_config is set",
        Change::Restart,
    ),
};
static ALERTMANAGER_CONFIG: Tree<Map<String, Value>> = Tree {
    about: About::derived(
        "alertmanager_config",
        "Receivers, routes and what else alertmanager.yml holds, as \
         Alertmanager has it. The same for every member of the cluster.",
        "one receiver that tells nobody",
        Change::Reload,
    ),
    wanted: "an object with route and receivers",
    schema: || {
        json!({"type": "object", "required": ["route", "receivers"],
        "properties": {
            "global": {"type": "object"},
            "route": {"type": "object", "required": ["receiver"]},
            "receivers": {"type": "array", "minItems": 1},
            "inhibit_rules": {"type": "array"},
            "time_intervals": {"type": "array"},
            "templates": {"type": "array"},
        }})
    },
    check: |config| {
        if !config.get("route").is_some_and(Value::is_object) {
            return Err("route must be an object".to_owned());
        }
        match config.get("receivers") {
            Some(Value::Array(list)) if !list.is_empty() => Ok(()),
            _ => Err("receivers must be a list with one at least".to_owned()),
        }
    },
    of: PhantomData,
};
static ALERTMANAGER_PEERS: Texts = Texts {
    about: About::derived(
        "alertmanager_peers",
        "The other members of the cluster; port 9094 unless given.",
        "those that run in this datacenter's monitoring zones",
        Change::Restart,
    ),
    wanted: "host or host:port",
    accept: |text| is_host_port(&with_port(text, 9094)),
    most: 100,
};
static ALERTMANAGER_RETENTION: Text = Text {
    about: About::value(
        "alertmanager_retention",
        "How long silences and resolved alerts are kept.",
        "\"120h\"",
        Change::Restart,
    ),
    wanted: "a Prometheus duration of 6h or more, such as 120h",
    accept: is_duration,
};
static ALERTMANAGER_URL: Text = Text {
    about: About::derived(
        "alertmanager_url",
        "The URL that its messages link to.",
        "the zone's host name, port 9093",
        Change::Restart,
    ),
    wanted: "a URL with http:// or https://",
    accept: |url| {
        (url.starts_with("http://") || url.starts_with("https://"))
            && !url.chars().any(|c| c.is_whitespace() || c.is_control())
    },
};

/// The keys of this file.
pub(crate) static SETTINGS: &[&dyn Setting] = &[
    &ALERTMANAGER,
    &ALERTMANAGER_CONFIG,
    &ALERTMANAGER_PEERS,
    &ALERTMANAGER_RETENTION,
    &ALERTMANAGER_URL,
];

/// Whether a zone with this metadata runs one. A configuration with a fault
/// in it counts: the zone goes on with the one before.
pub(crate) fn runs(reader: &mut Reader<'_>) -> bool {
    let told = reader.get(&ALERTMANAGER);
    told.unwrap_or_else(|| reader.is_set(&ALERTMANAGER_CONFIG))
}

/// The zone's Alertmanager, if it is to run one.
pub(super) fn alertmanager(
    reader: &mut Reader<'_>,
    about: &Zone<'_>,
) -> Option<Alertmanager> {
    let config = reader.get(&ALERTMANAGER_CONFIG);
    let wanted = runs(reader);
    let peers = reader.get(&ALERTMANAGER_PEERS).map_or_else(
        || cluster(about),
        |list| list.iter().map(|peer| with_port(peer, 9094)).collect(),
    );
    let retention = reader.or_default(&ALERTMANAGER_RETENTION);
    let external_url = reader.get(&ALERTMANAGER_URL);
    if !wanted {
        return None;
    }
    let config = config.unwrap_or_else(|| {
        let quiet = json!({
            "route": {"receiver": "nobody", "group_by": ["alertname"]},
            "receivers": [{"name": "nobody"}],
        });
        quiet.as_object().cloned().unwrap_or_default()
    });
    // Gossip says its own address to others, so it must be one they reach.
    let own = about.site.peers.own().and_then(|own| own.address);
    let host = own.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    let gossip = SocketAddr::new(host, 9094);
    let root = &about.site.root;
    Some(Alertmanager {
        etc: root.join("opt/triton/alertmanager/etc"),
        data: root.join("data/alertmanager"),
        listen_address: "0.0.0.0:9093".to_owned(),
        cluster_address: (!peers.is_empty()).then(|| gossip.to_string()),
        peers,
        retention,
        config: Secret::new(Value::Object(config)),
        external_url,
        limits: about.site.caps.go_limits(1, SHARES),
    })
}

/// The other members: every other one of this datacenter, Triton's and
/// Manta's alike, `host:port` of the gossip.
fn cluster(about: &Zone<'_>) -> Vec<String> {
    let here = |peer: &&Peer| peer.datacenter == about.place.datacenter;
    let other =
        |peer: &&Peer| !peer.own && peer.instance != about.site.instance;
    let peers = about.site.peers.alertmanagers().filter(here).filter(other);
    peers
        .filter_map(|peer| Some(SocketAddr::new(peer.address?, 9094)))
        .map(|address| address.to_string())
        .collect()
}
