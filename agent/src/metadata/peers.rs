// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What SAPI metadata says of other monitoring instances. Lenient where the
//! zone's own metadata is judged strictly: a fault in theirs is theirs to
//! show, and here only leaves a fact unknown.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::meaning::alertmanager;
use super::names;
use super::wire::Reader;
use crate::model::Flavor;
use crate::model::dns::ZoneName;

/// Datacenters of a region that are asked; more is a mistake.
const MAX_DATACENTERS: usize = 100;

/// Longest text taken over from another instance, bytes.
const MAX_TEXT: usize = 255;

/// Components taken over from another instance.
const MAX_COMPONENTS: usize = 16;

/// Metadata of one instance, merged as `/configs` does it, key by key: the
/// instance's own over the service's over the application's.
#[derive(Clone, Copy)]
pub struct Merged<'a> {
    /// Application, service, instance.
    pub levels: [&'a Map<String, Value>; 3],
}

impl Merged<'_> {
    /// The value in force; null, if the last to set the key set it so.
    fn value(&self, key: &str) -> Option<&Value> {
        self.levels.iter().rev().find_map(|level| level.get(key))
    }

    fn text(&self, key: &str) -> Option<String> {
        text(self.value(key)?)
    }

    /// Datacenter it runs in, where Manta says so.
    pub fn datacenter(&self) -> Option<String> {
        self.text("DATACENTER").filter(|name| is_label(name))
    }

    /// Region it runs in.
    pub fn region(&self, flavor: Flavor) -> Option<String> {
        self.text(match flavor {
            Flavor::Triton => "region_name",
            Flavor::Manta => "REGION",
        })
    }

    /// The domain its service registers under, where the metadata has it in
    /// full, as Manta's has.
    pub fn service_domain(&self) -> Option<ZoneName> {
        let name = self.text("SERVICE_NAME").filter(|n| n.contains('.'))?;
        ZoneName::parse(&name).ok()
    }

    /// Manta's domain.
    pub fn manta_domain(&self) -> Option<ZoneName> {
        ZoneName::parse(&self.text("DOMAIN_NAME")?).ok()
    }

    /// `shard`.
    pub fn shard(&self) -> Option<String> {
        self.text("shard")
    }

    /// `replica`.
    pub fn replica(&self) -> Option<String> {
        self.text("replica")
    }

    /// `thanos_components`.
    pub fn components(&self) -> Vec<String> {
        let mut found = self.value("thanos_components").map(texts);
        if let Some(list) = &mut found {
            list.truncate(MAX_COMPONENTS);
        }
        found.unwrap_or_default()
    }

    /// Whether an Alertmanager runs there, by the rule that the zone itself
    /// goes by.
    pub fn alertmanager(&self) -> bool {
        let keys: Map<String, Value> = alertmanager::SETTINGS
            .iter()
            .filter_map(|setting| {
                let key = setting.about().key;
                Some((key.to_owned(), self.value(key)?.clone()))
            })
            .collect();
        alertmanager::runs(&mut Reader::new(&keys))
    }

    /// Whether `thanos_sidecar` is off.
    pub fn no_sidecar(&self) -> bool {
        self.switch("thanos_sidecar") == Some(false)
    }

    fn switch(&self, key: &str) -> Option<bool> {
        match self.value(key)? {
            Value::Bool(told) => Some(*told),
            Value::String(told) => told.trim().parse().ok(),
            _ => None,
        }
    }

    /// Which bucket `object_store` names.
    pub fn bucket(&self) -> Option<String> {
        bucket(|key| self.value(key))
    }
}

/// Which bucket metadata names, without the keys to it: two with the same
/// answer have the same. A store on a folder is each zone's own and has no
/// name; one in a file of the operator is taken for that of every such file.
pub fn bucket<'a>(value: impl Fn(&str) -> Option<&'a Value>) -> Option<String> {
    if let Some(Value::String(path)) = value("object_store_file")
        && !path.trim().is_empty()
    {
        return Some("object_store_file".to_owned());
    }
    let parsed;
    let store = match value("object_store")? {
        Value::String(text) => {
            parsed = serde_json::from_str::<Value>(text).ok()?;
            &parsed
        }
        other => other,
    };
    let kind = store.get("type")?.as_str()?.to_ascii_uppercase();
    if kind == "FILESYSTEM" {
        return None;
    }
    let config = store.get("config")?;
    let parts = [
        "endpoint",
        "storage_account",
        "project",
        "bucket",
        "container",
        "container_name",
    ];
    let parts = parts.iter().filter_map(|part| text(config.get(*part)?));
    let prefix = store.get("prefix").and_then(text);
    let all: Vec<String> =
        std::iter::once(kind).chain(parts).chain(prefix).collect();
    Some(all.join(" "))
}

/// The datacenters of the region, this one first whether named or not, and
/// the domain that Triton's names of all of them hang below. `None` while
/// metadata does not say where the zone stands.
pub fn datacenters(
    metadata: &Map<String, Value>,
) -> Option<(Vec<String>, ZoneName)> {
    let domain = names::triton_domain(metadata)?;
    let own = names::binder_domain(metadata)?;
    let own = own.as_str().strip_suffix(domain.as_str())?;
    let own = own.strip_suffix('.').filter(|name| is_label(name))?;
    let mut all = vec![own.to_owned()];
    let named = metadata.get("region_datacenters").map(texts);
    for name in named.unwrap_or_default() {
        let name = name.to_ascii_lowercase();
        if is_label(&name) && !all.contains(&name) {
            all.push(name);
        }
    }
    all.truncate(MAX_DATACENTERS);
    Some((all, domain))
}

/// The datacenter that metadata of application `sdc` is of.
pub fn datacenter_of(application: &Map<String, Value>) -> Option<String> {
    text(application.get("datacenter_name")?)
}

/// Manta's domain and who serves it, by the metadata of application `manta`.
pub fn manta_names(
    application: &Map<String, Value>,
) -> Option<(ZoneName, Vec<IpAddr>)> {
    let domain = names::manta_domain(application)?;
    let servers = names::manta_nameservers(application, Flavor::Manta);
    (!servers.is_empty()).then_some((domain, servers))
}

/// The zone's own address in binder: registrar registers the admin NIC's,
/// and that of Manta's network where there is none.
pub fn own_address(metadata: &Map<String, Value>) -> Option<IpAddr> {
    let auto = metadata.get("auto")?;
    let of = |key: &str| auto.get(key)?.as_str()?.parse().ok();
    of("ADMIN_IP").or_else(|| of("MANTA_IP"))
}

/// The admin address that VM parameters ask for, if they ask for one.
pub fn wanted_address(params: &Map<String, Value>) -> Option<IpAddr> {
    let networks = params.get("networks")?.as_array()?;
    let admin = networks.iter().find(|network| {
        network.get("name").and_then(Value::as_str) == Some("admin")
    });
    admin?.get("ip")?.as_str()?.parse().ok()
}

/// Alias of a VM by its parameters.
pub fn alias(params: &Map<String, Value>) -> Option<String> {
    text(params.get("alias")?)
}

/// Whether `name` is a single DNS label.
fn is_label(name: &str) -> bool {
    !name.contains('.') && ZoneName::parse(name).is_ok()
}

/// A text, or a number as written; neither empty nor too long.
fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (1..=MAX_TEXT).contains(&text.len()).then_some(text)
}

/// A list, or one string with commas.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().filter_map(text).collect(),
        Value::String(all) => {
            all.split(',').filter_map(|one| text(&Value::from(one))).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn the_last_level_that_has_a_key_counts_null_or_not() {
        let application = map(json!({"shard": "0", "replica": "x",
            "region_name": "r1", "alertmanager": "true"}));
        let service = map(json!({"shard": 1, "DATACENTER": "dc2",
            "thanos_components": "query, store"}));
        let instance = map(json!({"replica": null, "DATACENTER": "no.label"}));
        let merged = Merged { levels: [&application, &service, &instance] };
        assert_eq!(merged.shard().as_deref(), Some("1"));
        assert_eq!(merged.replica(), None);
        assert_eq!(merged.datacenter(), None);
        assert_eq!(merged.region(Flavor::Triton).as_deref(), Some("r1"));
        assert_eq!(merged.components(), ["query", "store"]);
        assert!(merged.alertmanager());
        assert!(!merged.no_sidecar());
        let off = map(json!({"thanos_sidecar": "false"}));
        let merged = Merged { levels: [&application, &service, &off] };
        assert!(merged.no_sidecar());
    }

    #[test]
    fn an_alertmanager_runs_where_the_zone_itself_would_run_one() {
        let config = json!({"route": {"receiver": "a"},
            "receivers": [{"name": "a"}]});
        for (service, instance, runs) in [
            (json!({}), json!({}), false),
            (json!({"alertmanager": true}), json!({}), true),
            (json!({"alertmanager": "true"}), json!({}), true),
            (json!({"alertmanager_config": config}), json!({}), true),
            // Two of three zones.
            (
                json!({"alertmanager_config": config}),
                json!({"alertmanager": false}),
                false,
            ),
            (
                json!({"alertmanager_config": config}),
                json!({"alertmanager_config": null}),
                false,
            ),
            (json!({"alertmanager_config": " "}), json!({}), false),
            // The one before runs on.
            (json!({"alertmanager_config": {"route": 1}}), json!({}), true),
        ] {
            let (service, instance) = (map(service), map(instance));
            let merged = Merged { levels: [&Map::new(), &service, &instance] };
            assert_eq!(merged.alertmanager(), runs, "{service:?} {instance:?}");
        }
    }

    #[test]
    fn the_region_is_this_datacenter_and_those_named() {
        let read = |named: Value| {
            let metadata = json!({"datacenter_name": "dc1",
                "dns_domain": "t.test", "region_datacenters": named});
            datacenters(metadata.as_object().unwrap()).unwrap().0
        };
        assert_eq!(read(Value::Null), ["dc1"]);
        assert_eq!(read(json!("dc2, DC1,dc3")), ["dc1", "dc2", "dc3"]);
        let odd = json!(["dc2", 3, "a.b", "", {}, "dc2", "x/../y", "d e"]);
        assert_eq!(read(odd), ["dc1", "dc2", "3"]);
        assert_eq!(datacenters(&Map::new()), None);
    }

    #[test]
    fn a_bucket_is_known_by_its_place_and_not_by_its_keys() {
        let bucket = |store: Value| {
            let map = map(json!({"object_store": store}));
            bucket(|key| map.get(key))
        };
        let with = |secret: &str, name: &str| {
            json!({"type": "s3", "prefix": "a", "config": {"bucket": name,
                "endpoint": "s3.test:80", "secret_key": secret}})
        };
        let one = bucket(with("hush", "blocks"));
        assert_eq!(one.as_deref(), Some("S3 s3.test:80 blocks a"));
        assert_eq!(bucket(with("other", "blocks")), one);
        assert_eq!(bucket(with("hush", "blocks").to_string().into()), one);
        assert_ne!(bucket(with("hush", "other")), one);
        let folder = json!({"type": "FILESYSTEM",
            "config": {"directory": "/d"}});
        assert_eq!(bucket(folder), None);
        assert_eq!(bucket(json!([1])), None);
    }

    #[test]
    fn an_address_may_stand_in_auto_or_in_the_parameters() {
        let nics = map(json!({"auto": {"MANTA_IP": "10.8.0.3",
            "ADMIN_IP": "10.9.0.3"}}));
        assert_eq!(own_address(&nics), "10.9.0.3".parse().ok());
        let params = map(json!({"networks": ["a", {"name": "external",
            "ip": "192.0.2.3"}, {"name": "admin", "ip": "10.9.0.4"}]}));
        assert_eq!(wanted_address(&params), "10.9.0.4".parse().ok());
        assert_eq!(wanted_address(&Map::new()), None);
    }
}
