// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the keys of a Grafana zone mean together.

mod keys;
pub(super) mod sign_in;
mod wire;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::super::auto::addresses;
use super::super::setting::Setting;
use super::super::wire::Reader;
use super::About;
use crate::model::grafana::{DataSource, Front, METRICS_PORT, SourceKind};
use crate::model::{Flavor, Grafana, Peer};

pub(super) use keys::SETTINGS;

use keys::*;
use wire::{
    KindWire, PROMETHEUS_PORT, RegionWire, SourceUrl, SourceWire, THANOS_PORT,
    is_name,
};

/// Grafana's bound for a uid, characters.
const UID_MOST: usize = 40;

/// Data sources of today's images.
const OLD_NAMES: [&str; 2] = ["Triton", "Manta"];

/// Grafana has most of the zone's memory; nginx needs little.
const SHARE: (u64, u64) = (7, 8);

pub(super) fn grafana(
    reader: &mut Reader<'_>,
    about: &About<'_>,
    metadata: &Map<String, Value>,
) -> Grafana {
    let run = about.site.root.join("opt/triton/grafana/run");
    let domain = reader.get(&DOMAIN).unwrap_or_else(|| {
        let place = &about.place;
        format!("grafana.{}.{}", place.datacenter, place.dns_domain)
    });
    let https_port = reader.or_default(&HTTPS_PORT);
    let port_suffix = match https_port {
        443 => String::new(),
        other => format!(":{other}"),
    };
    let root_url = match reader.get(&ROOT_URL) {
        Some(url) => format!("{}/", url.trim_end_matches('/')),
        None => format!("https://{domain}{port_suffix}/"),
    };
    let (data_sources, reachable) = data_sources(reader, about);
    let front = Front {
        names: names(reader, &domain, &root_url, metadata),
        auth: format!("unix:{}", run.join("sign-in/sign-in.sock").display()),
        ..front(reader, https_port, port_suffix)
    };
    let front = scraped(front, about, metadata);
    let home = reader.or_default(&HOME_DASHBOARD);
    let home_dashboard = if home.starts_with('/') {
        PathBuf::from(home)
    } else {
        about.paths.etc.join("dashboards").join(format!("{home}.json"))
    };
    let log_level = reader.or_default(&LOG_LEVEL).to_owned();
    let (place, paths) = (&about.place, &about.paths);
    let sign_in =
        sign_in::sign_in(reader, place, paths, &run, &domain, &log_level);
    Grafana {
        run,
        domain,
        root_url,
        data_sources,
        replaced: OLD_NAMES.map(str::to_owned).to_vec(),
        reachable,
        home_dashboard,
        live: reader.or_default(&LIVE),
        query_timeout_seconds: reader.or_default(&QUERY_TIMEOUT),
        log_level,
        front,
        sign_in,
        identity: String::new(),
        limits: about.site.caps.go_limits(SHARE.0, SHARE.1),
    }
}

fn front(
    reader: &mut Reader<'_>,
    https_port: u64,
    port_suffix: String,
) -> Front {
    let http_port = reader.or_default(&HTTP_PORT);
    if http_port == https_port {
        reader.reject(&HTTP_PORT, "another port than grafana_https_port");
    }
    let addresses = reader.or_default(&LISTEN);
    if addresses.is_empty() {
        // nginx would take every address, without TLS.
        reader.reject(&LISTEN, "one address at least");
    }
    let on = |port: u64| {
        let mut listen: Vec<String> = Vec::new();
        for address in &addresses {
            let one = match address.contains(':') {
                true => format!("[{address}]:{port}"),
                false => format!("{address}:{port}"),
            };
            if !listen.contains(&one) {
                listen.push(one);
            }
        }
        listen
    };
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, METRICS_PORT));
    let mut metrics_listen = vec![local.to_string()];
    for address in reader.or_default(&METRICS_LISTEN) {
        if !metrics_listen.contains(&address) {
            metrics_listen.push(address);
        }
    }
    Front {
        listen: on(https_port),
        redirect_listen: match http_port {
            0 => Vec::new(),
            port => on(port),
        },
        port_suffix,
        metrics_listen,
        scrape_listen: Vec::new(),
        scrapers: Vec::new(),
        names: Vec::new(),
        auth: String::new(),
        body_mib: reader.or_default(&BODY_SIZE),
        requests_per_second: reader.or_default(&REQUEST_RATE),
        connections: reader.or_default(&CONNECTIONS),
    }
}

/// Lets this datacenter's Prometheus scrape Grafana at the zone's admin
/// addresses; where the operator has it answered to anybody, that stands.
fn scraped(
    front: Front,
    about: &About<'_>,
    metadata: &Map<String, Value>,
) -> Front {
    let mut scrapers: Vec<IpAddr> = about
        .site
        .peers
        .within("prometheus", &about.place.datacenter)
        .filter(|peer| peer.flavor == about.flavor)
        .filter_map(|peer| peer.address)
        .collect();
    scrapers.sort();
    scrapers.dedup();
    let mut scrape_listen: Vec<String> = Vec::new();
    if !scrapers.is_empty() {
        let own = addresses(metadata, "ADMIN").into_iter();
        scrape_listen.extend(
            own.map(|ip| SocketAddr::new(ip, METRICS_PORT).to_string()),
        );
    }
    // nginx takes no address twice, and one for all of a family is that.
    let taken = |address: &String| {
        let port = format!(":{METRICS_PORT}");
        front.metrics_listen.iter().any(|listen| {
            listen == address
                || listen
                    .strip_suffix(&port)
                    .is_some_and(|ip| matches!(ip, "0.0.0.0" | "[::]" | "::"))
        })
    };
    scrape_listen.retain(|address| !taken(address));
    Front { scrape_listen, scrapers, ..front }
}

/// What a certificate of ours is for, in the order of the addresses' tags.
fn names(
    reader: &mut Reader<'_>,
    domain: &str,
    root_url: &str,
    metadata: &Map<String, Value>,
) -> Vec<String> {
    let mut names = BTreeSet::new();
    if let Some(list) = reader.get(&SERVER_NAMES)
        && !list.is_empty()
    {
        return list;
    }
    if let Some(url) = SourceUrl::parse(root_url, 443)
        && let Some((host, _)) = url.reachable.rsplit_once(':')
    {
        names.insert(host.to_owned());
    }
    names.remove(domain);
    let auto = metadata.get("auto").and_then(Value::as_object);
    let addresses = auto
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.ends_with("_IP"))
        .filter_map(|(_, value)| value.as_str())
        .filter(|text| text.parse::<IpAddr>().is_ok());
    names.extend(addresses.map(str::to_owned));
    std::iter::once(domain.to_owned()).chain(names).collect()
}

/// Data sources, and whom they lead to.
fn data_sources(
    reader: &mut Reader<'_>,
    about: &About<'_>,
) -> (Vec<DataSource>, Vec<String>) {
    let interval = reader.or_default(&SCRAPE_INTERVAL);
    let own = own_region(reader, about);
    let ca = reader.get(&THANOS_CA);
    let manta = reader.get(&MANTA);
    let regions = reader.get(&REGIONS);
    let listed = reader.get(&DATA_SOURCES);
    let mut setting: &dyn Setting = &REGIONS;
    let wanted: Vec<SourceWire> = match listed {
        Some(listed) => {
            setting = &DATA_SOURCES;
            listed
        }
        None => {
            let regions = regions.unwrap_or_else(|| {
                let manta = manta.unwrap_or_else(|| has_manta(about))
                    && is_name(&own.name);
                vec![RegionWire { manta, ..own }]
            });
            let domain = &about.place.dns_domain;
            regions
                .iter()
                .flat_map(|region| of_region(region, domain, ca.as_deref()))
                .collect()
        }
    };
    let mut sources: Vec<DataSource> = Vec::new();
    let mut reachable = Vec::new();
    for source in wanted {
        let port = match source.kind {
            KindWire::Prometheus => PROMETHEUS_PORT,
            KindWire::Thanos => THANOS_PORT,
        };
        // What was rejected has no URL.
        let Some(url) = SourceUrl::parse(&source.url, port) else { continue };
        let uid = uid(&source.name);
        if sources.iter().any(|known| known.uid == uid) {
            let name = &source.name;
            reader.reject(setting, format!("names that differ: {name:?}"));
            continue;
        }
        if !reachable.contains(&url.reachable) {
            reachable.push(url.reachable);
        }
        sources.push(DataSource {
            name: source.name,
            uid,
            url: url.url,
            kind: match source.kind {
                KindWire::Prometheus => SourceKind::Prometheus,
                KindWire::Thanos => SourceKind::Thanos,
            },
            scrape_interval_seconds: interval,
            ca: source.ca,
            server_name: source.server_name,
        });
    }
    (sources, reachable)
}

/// The region this zone is in; one without a name is called as its
/// datacenter is.
fn own_region(reader: &mut Reader<'_>, about: &About<'_>) -> RegionWire {
    let place = &about.place;
    // Any text is a region's name; what Grafana would expand goes.
    let name = place.region.as_ref().unwrap_or(&place.datacenter);
    let mut name: String = name
        .trim()
        .chars()
        .filter(|c| !c.is_control() && *c != '$')
        .take(80)
        .collect();
    if name.trim().is_empty() {
        name = place.datacenter.clone();
    }
    let mut datacenters = vec![place.datacenter.clone()];
    let listed = reader.get(&super::place::REGION_DATACENTERS);
    for name in listed.unwrap_or_default() {
        if !datacenters.contains(&name) {
            datacenters.push(name);
        }
    }
    let found = about.site.peers.of("prometheus");
    for peer in found.filter(|peer| is_of(peer, about)) {
        if !datacenters.contains(&peer.datacenter) {
            datacenters.push(peer.datacenter.clone());
        }
    }
    RegionWire {
        name: name.trim().to_owned(),
        thanos: reader.get(&THANOS).or_else(|| thanos(about)),
        datacenters,
        dns_domain: None,
        manta: false,
    }
}

/// Whether an instance is in this zone's region. One that says nothing of its
/// region is: only the region's datacenters are asked.
fn is_of(peer: &Peer, about: &About<'_>) -> bool {
    peer.region.is_none() || peer.region == about.place.region
}

/// Where the region's Thanos answers, this datacenter's before another's: by
/// the service's name while each instance there takes queries, so that any of
/// them may fail; otherwise the first that does.
fn thanos(about: &About<'_>) -> Option<String> {
    let place = &about.place;
    let peers = &about.site.peers;
    let queries = |peer: &&Peer| peer.runs("query", &["query"]);
    let elsewhere = peers.of("thanos").filter(queries);
    let first = peers
        .within("thanos", &place.datacenter)
        .filter(queries)
        .chain(elsewhere)
        .find(|peer| is_of(peer, about))?;
    let datacenter = &first.datacenter;
    let all = peers.within("thanos", datacenter).all(|peer| queries(&peer));
    Some(match all {
        true => format!("thanos.{datacenter}.{}", place.dns_domain),
        false => first.name.clone(),
    })
}

/// Whether Manta is monitored in this region: as SAPI lists it; as today's
/// images assume, while nothing is listed.
fn has_manta(about: &About<'_>) -> bool {
    let peers = &about.site.peers;
    if peers.of("prometheus").next().is_none() {
        return about.place.region.is_some();
    }
    peers.flavored("prometheus", Flavor::Manta).any(|peer| is_of(peer, about))
}

/// A region's Thanos, or what there is while it has none: the Prometheus of
/// each datacenter, the first one under the region's own name so that links
/// stay good when Thanos comes, and Manta's.
///
/// Source: the names of today's images, `prometheus.<dc>.<domain>` and
/// `prometheus.<region>.<domain>`.
fn of_region(
    region: &RegionWire,
    domain: &str,
    ca: Option<&str>,
) -> Vec<SourceWire> {
    let name = &region.name;
    if let Some(thanos) = &region.thanos {
        return vec![SourceWire {
            name: name.clone(),
            url: thanos.clone(),
            kind: KindWire::Thanos,
            ca: ca.map(str::to_owned),
            server_name: None,
        }];
    }
    let domain = region.dns_domain.as_deref().unwrap_or(domain);
    let prometheus = |name: String, of: &str| SourceWire {
        name,
        url: format!("prometheus.{of}.{domain}"),
        kind: KindWire::Prometheus,
        ca: None,
        server_name: None,
    };
    let mut sources = Vec::new();
    for (at, datacenter) in region.datacenters.iter().enumerate() {
        let name = match at {
            0 => name.clone(),
            _ => format!("{name} {datacenter}"),
        };
        sources.push(prometheus(name, datacenter));
    }
    if region.manta {
        sources.push(prometheus(format!("{name} Manta"), name));
    }
    sources
}

/// A uid that follows from the name: the name itself, where it is plain and
/// short; otherwise what is plain of it, and a digest.
fn uid(name: &str) -> String {
    let mut plain = String::new();
    for c in name.chars() {
        match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9' | '-' | '_') => plain.push(c),
            _ if plain.is_empty() || plain.ends_with('-') => {}
            _ => plain.push('-'),
        }
    }
    if plain == name && plain.len() <= UID_MOST {
        return plain;
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    let digest: String =
        digest.as_ref()[..4].iter().map(|b| format!("{b:02x}")).collect();
    let short: String = plain.chars().take(UID_MOST - 9).collect();
    format!("{}-{digest}", short.trim_end_matches('-'))
}

#[cfg(test)]
mod tests;
