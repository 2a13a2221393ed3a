// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! SAPI metadata becomes a `Model`: the one place where upstream key names
//! are spelled. All problems are reported together.
//!
//! Keys are those of the `sdc` application (lower case), of Manta's (upper
//! case) and of the `prometheus` service; a key that is absent, null or
//! empty takes its default.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::grammar::{
    is_cmon_domain, is_duration, is_group, is_label_name, is_size,
};
use super::names::account;
use super::wire::{Problem, Reader};
use crate::model::dns::ZoneName;
use crate::model::prometheus::{Cmon, Flags};
use crate::model::{Flavor, Model, Paths, Peers, Place, Prometheus, Role};

/// What is known about the zone beside SAPI metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Everything lies below this; `/` in a zone.
    pub root: PathBuf,
    /// What the zone is for.
    pub role: Role,
    /// Manta when the zone carries a `manta_role` tag.
    pub flavor: Flavor,
    /// The instance; tells replicas apart when `replica` is not set.
    pub instance: String,
    /// CMON's domain as CNS told it, if it did.
    pub cmon_domain: Option<String>,
    /// Who else monitors, as SAPI listed it.
    pub peers: Peers,
    /// Where the agent's own metrics are, on loopback.
    pub agent_address: std::net::SocketAddr,
}

/// Turns merged metadata (SAPI's, the local one over it, `auto`) into a model.
///
/// Errors: every problem of the metadata, not the first.
pub fn model(
    metadata: &Map<String, Value>,
    site: &Site,
) -> Result<Model, Vec<Problem>> {
    let mut reader = Reader::new(metadata);
    let flavor = flavor(metadata, site.flavor);
    // A value that is neither is a problem, not a flavor.
    reader.boolean("is_manta_service");
    let place = place(&mut reader, metadata, flavor);
    let prometheus = prometheus(&mut reader, metadata, flavor, site, &place);
    let problems = reader.into_problems();
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Model {
        role: site.role,
        flavor,
        place,
        paths: Paths::new(&site.root, site.role),
        prometheus,
    })
}

/// What the resolver's templates need; asks for less than a whole model, so
/// that a fault elsewhere does not take the zone's names away.
pub fn resolver(
    metadata: &Map<String, Value>,
    site: &Site,
) -> Result<ResolverModel, Vec<Problem>> {
    let mut reader = Reader::new(metadata);
    let flavor = flavor(metadata, site.flavor);
    let place = place(&mut reader, metadata, flavor);
    let problems = reader.into_problems();
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(ResolverModel { place, paths: Paths::new(&site.root, site.role) })
}

/// What the resolver's templates see.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ResolverModel {
    /// Where the zone stands.
    pub place: Place,
    /// Where its files lie.
    pub paths: Paths,
}

/// Whether the metadata is that of a Manta zone.
pub fn flavor(metadata: &Map<String, Value>, otherwise: Flavor) -> Flavor {
    match Reader::new(metadata).boolean("is_manta_service") {
        Some(true) => Flavor::Manta,
        _ => otherwise,
    }
}

pub(super) fn datacenter(
    reader: &mut Reader<'_>,
    metadata: &Map<String, Value>,
) -> Option<String> {
    reader
        .text("datacenter_name")
        .or_else(|| reader.text("DATACENTER"))
        .or_else(|| {
            // The platform knows it too, whatever SAPI says.
            let auto = metadata.get("auto")?.get("DATACENTER_NAME")?;
            auto.as_str().filter(|s| !s.is_empty()).map(str::to_owned)
        })
}

fn place(
    reader: &mut Reader<'_>,
    metadata: &Map<String, Value>,
    flavor: Flavor,
) -> Place {
    let datacenter = datacenter(reader, metadata).unwrap_or_default();
    if ZoneName::parse(&datacenter).is_err() {
        reader.reject("datacenter_name", "the datacenter's name, a DNS label");
    }
    let region = match flavor {
        Flavor::Triton => reader.text("region_name"),
        Flavor::Manta => reader.text("REGION"),
    };
    let domain_key = match flavor {
        Flavor::Triton => "dns_domain",
        Flavor::Manta => "DNS_DOMAIN",
    };
    let dns_domain = reader.text(domain_key).unwrap_or_default();
    if ZoneName::parse(&dns_domain).is_err() && !reader.rejected(domain_key) {
        reader.reject(domain_key, "a DNS domain");
    }
    let search_domain = match flavor {
        Flavor::Triton => dns_domain.clone(),
        Flavor::Manta => {
            reader.text("DOMAIN_NAME").unwrap_or_else(|| dns_domain.clone())
        }
    };
    if search_domain != dns_domain && ZoneName::parse(&search_domain).is_err() {
        reader.reject("DOMAIN_NAME", "a DNS domain");
    }
    Place { datacenter, region, dns_domain, search_domain }
}

fn prometheus(
    reader: &mut Reader<'_>,
    metadata: &Map<String, Value>,
    flavor: Flavor,
    site: &Site,
    place: &Place,
) -> Prometheus {
    // Defaults of ten seconds: what the images of today render, and what the
    // stock dashboards' rate windows assume.
    let scrape_interval =
        reader.seconds("scrape_interval", 1, 86_400).unwrap_or(10);
    let asked_timeout = reader.seconds("scrape_timeout", 1, 86_400);
    // Unset, the timeout follows an interval below ten seconds.
    let scrape_timeout = asked_timeout.unwrap_or(scrape_interval.min(10));
    if scrape_timeout > scrape_interval {
        reader.reject(
            "scrape_timeout",
            format!(
                "at most scrape_interval, which is {scrape_interval} seconds"
            ),
        );
    }
    let evaluation_interval =
        reader.seconds("evaluation_interval", 1, 86_400).unwrap_or(10);
    Prometheus {
        scrape_interval_seconds: scrape_interval,
        scrape_timeout_seconds: scrape_timeout,
        evaluation_interval_seconds: evaluation_interval,
        external_labels: external_labels(reader, flavor, site, place),
        replica_label: "replica".to_owned(),
        cmon: cmon(reader, metadata, flavor, site, place),
        agent_address: site.agent_address.to_string(),
        compute_nodes: reader
            .boolean("scrape_compute_nodes")
            .unwrap_or(flavor == Flavor::Triton),
        rule_files: rule_files(reader),
        alertmanagers: alertmanagers(reader),
        flags: flags(reader),
    }
}

fn external_labels(
    reader: &mut Reader<'_>,
    flavor: Flavor,
    site: &Site,
    place: &Place,
) -> BTreeMap<String, String> {
    let flavor = match flavor {
        Flavor::Triton => "triton",
        Flavor::Manta => "manta",
    };
    let mut labels = BTreeMap::from([
        ("datacenter".to_owned(), place.datacenter.clone()),
        ("flavor".to_owned(), flavor.to_owned()),
        // Always there: a label set that gains a label later makes every
        // stored block a stranger to Thanos.
        (
            "shard".to_owned(),
            reader.text("shard").unwrap_or_else(|| "0".to_owned()),
        ),
        // The instance uuid survives a reprovision, as a replica must.
        (
            "replica".to_owned(),
            reader.text("replica").unwrap_or_else(|| site.instance.clone()),
        ),
    ]);
    if let Some(region) = &place.region {
        labels.insert("region".to_owned(), region.clone());
    }
    match reader.value("external_labels") {
        None => {}
        Some(Value::Object(more)) => {
            for (name, value) in more {
                match value.as_str() {
                    Some(value) if is_label_name(name) => {
                        labels.insert(name.clone(), value.to_owned());
                    }
                    _ => reader.reject(
                        "external_labels",
                        format!(
                            "label names of letters, digits and _ with string \
                             values; {name:?} is not so"
                        ),
                    ),
                }
            }
        }
        Some(_) => reader.reject("external_labels", "an object of strings"),
    }
    labels
}

fn cmon(
    reader: &mut Reader<'_>,
    metadata: &Map<String, Value>,
    flavor: Flavor,
    site: &Site,
    place: &Place,
) -> Cmon {
    let domain = reader
        .text_that(
            "cmon_domain",
            "a DNS name whose first label is cmon",
            is_cmon_domain,
        )
        .or_else(|| site.cmon_domain.clone())
        .unwrap_or_else(|| {
            format!("cmon.{}.cns.{}", place.datacenter, place.dns_domain)
        });
    let groups = reader.texts("groups").unwrap_or_default();
    if groups.len() > 100 || !groups.iter().all(|group| is_group(group)) {
        reader.reject(
            "groups",
            "at most 100 names of 1 to 100 letters, digits, _ or -",
        );
    }
    Cmon {
        endpoint: domain.clone(),
        dns_suffix: domain,
        port: 9163,
        account: account(metadata, flavor),
        // CMON's own certificate is self-signed without a SAN, so a zone
        // that insisted by default would see nothing.
        verify: reader.boolean("cmon_enforce_certificate").unwrap_or(false),
        groups,
        refresh_interval_seconds: reader
            .seconds("discovery_interval", 1, 86_400)
            .unwrap_or(60),
    }
}

fn rule_files(reader: &mut Reader<'_>) -> Vec<String> {
    let files = reader.texts("rule_files").unwrap_or_default();
    if !files.iter().all(|file| file.starts_with('/')) {
        reader
            .reject("rule_files", "absolute paths, the last part may be *.yml");
    }
    files
}

fn alertmanagers(reader: &mut Reader<'_>) -> Vec<String> {
    let mut found = reader.texts("alertmanagers").unwrap_or_default();
    for address in &mut found {
        if !address.contains(':') {
            address.push_str(":9093");
        }
    }
    let well_formed = |address: &String| {
        address.rsplit_once(':').is_some_and(|(host, port)| {
            ZoneName::parse(host).is_ok() && port.parse::<u16>().is_ok()
        })
    };
    if !found.iter().all(well_formed) {
        reader.reject("alertmanagers", "host or host:port each");
    }
    found
}

fn flags(reader: &mut Reader<'_>) -> Flags {
    let default = Flags::default();
    let count = |n: Option<u64>| n.and_then(|n| u32::try_from(n).ok());
    Flags {
        listen_address: default.listen_address,
        retention_time: reader
            .text_that(
                "retention_time",
                "a Prometheus duration of 6h or more, such as 31d (1m is a minute)",
                is_duration,
            )
            .unwrap_or(default.retention_time),
        retention_size: reader.text_that(
            "retention_size",
            "512MB or more, with a unit (MB, GB, TB, PB), such as 25GB",
            is_size,
        ),
        query_timeout_seconds: reader
            .seconds("query_timeout", 1, 86_400)
            .unwrap_or(default.query_timeout_seconds),
        query_max_concurrency: count(reader.whole(
            "query_max_concurrency",
            1,
            10_000,
            "queries",
        ))
        .unwrap_or(default.query_max_concurrency),
        query_max_samples: reader
            .whole("query_max_samples", 1, 10_000_000_000, "samples")
            .unwrap_or(default.query_max_samples),
        log_level: reader
            .text_that(
                "prometheus_log_level",
                "debug, info, warn or error",
                |level| ["debug", "info", "warn", "error"].contains(&level),
            )
            .unwrap_or(default.log_level),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn site() -> Site {
        Site {
            root: PathBuf::from("/"),
            role: Role::Prometheus,
            flavor: Flavor::Triton,
            instance: "c0000000-0000-4000-8000-000000000001".to_owned(),
            cmon_domain: None,
            peers: Peers::default(),
            agent_address: ([127, 0, 0, 1], 9165).into(),
        }
    }

    fn read(mut metadata: Value) -> Result<Model, Vec<Problem>> {
        let base = json!({"datacenter_name": "dc1", "dns_domain": "t.test"});
        let map = metadata.as_object_mut().unwrap();
        for (key, value) in base.as_object().unwrap() {
            map.entry(key.clone()).or_insert(value.clone());
        }
        model(map, &site())
    }

    fn keys(problems: &[Problem]) -> Vec<&str> {
        problems.iter().map(|p| p.key.as_str()).collect()
    }

    #[test]
    fn nothing_set_gives_a_right_system() {
        let model = read(json!({})).unwrap();
        let prometheus = model.prometheus;
        assert_eq!(prometheus.scrape_interval_seconds, 10);
        assert_eq!(prometheus.scrape_timeout_seconds, 10);
        assert_eq!(prometheus.cmon.endpoint, "cmon.dc1.cns.t.test");
        assert_eq!(prometheus.cmon.account, "admin");
        assert!(!prometheus.cmon.verify);
        assert!(prometheus.compute_nodes);
        assert_eq!(prometheus.flags.retention_time, "31d");
    }

    #[test]
    fn a_timeout_above_the_interval_is_refused_and_an_unset_one_follows() {
        let model = read(json!({"scrape_interval": 5})).unwrap();
        assert_eq!(model.prometheus.scrape_timeout_seconds, 5);
        let problems = read(json!({"scrape_interval": 5, "scrape_timeout": 8}))
            .unwrap_err();
        assert_eq!(
            problems[0].to_string(),
            "scrape_timeout: saw 8, wanted at most scrape_interval, \
             which is 5 seconds"
        );
    }

    #[test]
    fn all_problems_come_together() {
        let problems = read(json!({
            "dns_domain": "not a domain", "scrape_interval": "often",
            "cmon_domain": "metrics.example.test", "groups": ["a b"],
            "retention_time": "a month", "cmon_enforce_certificate": "maybe",
            "alertmanagers": ["am:port"], "rule_files": ["rules/*.yml"],
            "external_labels": {"9": "x"}
        }))
        .unwrap_err();
        assert_eq!(
            keys(&problems),
            [
                "dns_domain",
                "scrape_interval",
                "external_labels",
                "cmon_domain",
                "groups",
                "cmon_enforce_certificate",
                "rule_files",
                "alertmanagers",
                "retention_time",
            ]
        );
    }

    #[test]
    fn the_datacenter_must_be_known() {
        let empty = Map::new();
        let problems = model(&empty, &site()).unwrap_err();
        assert_eq!(keys(&problems), ["datacenter_name", "dns_domain"]);
    }

    #[test]
    fn manta_spells_its_keys_in_upper_case() {
        let metadata = json!({
            "is_manta_service": true, "DATACENTER": "dc2", "REGION": "r1",
            "DNS_DOMAIN": "m.test", "DOMAIN_NAME": "r1.m.test",
            "ADMIN_USERNAME": "poseidon"
        });
        let model = model(metadata.as_object().unwrap(), &site()).unwrap();
        assert_eq!(model.flavor, Flavor::Manta);
        assert_eq!(model.place.search_domain, "r1.m.test");
        assert_eq!(model.prometheus.cmon.account, "poseidon");
        assert!(!model.prometheus.compute_nodes);
        assert_eq!(model.prometheus.external_labels["region"], "r1");
    }
}
