// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A closer look at what monitoring depends on: Triton's APIs, CNS, CMON,
//! binder, the firewall, and what the members of a pair say of themselves.
//!
//! `decide` judges what was seen here.

mod decide;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use futures_util::future::{BoxFuture, join_all};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::look::{asked_of, instances_of, zones};
use super::{Look, Picture, Seen};
use crate::deploy::Apis;
use crate::deploy::setup::transfer::allowed as allowed_in;
use crate::log::chain;
use crate::triton::cns::{self, AllowedPeer};
use crate::triton::{ApiError, Http};

pub use self::decide::decide;

/// CMON's port, on its admin address too.
const CMON_PORT: u16 = 9163;
/// An answer of a Prometheus larger than this is none, bytes.
const ANSWER: usize = 8 << 20;
/// Services whose zones register in binder: those of `boot/registrar`.
const REGISTERED: [&str; 3] = ["prometheus", "thanos", "grafana"];

/// Names, and the addresses that one name server has for each.
pub type Names = BTreeMap<String, Look<BTreeSet<IpAddr>>>;

/// Asks the name server at an address for the addresses of a name.
pub type Resolve<'a> = &'a (
        dyn Fn(
    SocketAddr,
    String,
) -> BoxFuture<'a, Result<BTreeSet<IpAddr>, String>>
            + Send
            + Sync
    );

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Closer {
    /// Each API, and whether it says that it is well.
    pub apis: BTreeMap<&'static str, Look<bool>>,
    /// Whether SAPI makes real zones.
    pub sapi_full: Look<bool>,
    /// Whom each instance of CNS lets transfer, by alias.
    pub allowed: BTreeMap<String, Look<Vec<Allowed>>>,
    /// `allow_transfer` of service cns, as SAPI has it.
    pub allow_transfer: Look<Vec<String>>,
    /// The instances of CMON.
    pub cmon: Look<Vec<CmonSeen>>,
    /// By instance of binder: names, and the addresses that it has for each.
    pub binder: Look<BTreeMap<String, Names>>,
    /// Rules in force for the admin account's zones that name their role.
    pub rules: Look<Vec<String>>,
    /// The external labels of each Prometheus, by instance.
    pub labels: BTreeMap<Uuid, Look<BTreeMap<String, String>>>,
}

/// Whom CNS lets transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Allowed {
    /// Network or address.
    pub address: IpAddr,
    /// Length of its prefix.
    pub mask: Option<u8>,
}

/// An instance of CMON.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CmonSeen {
    /// Its zone.
    pub uuid: Uuid,
    /// Where it was asked.
    pub address: Option<IpAddr>,
    /// Whether it answers, without a certificate of ours.
    pub ping: Look<()>,
    /// The names that CNS has for it, by the first instance that says so.
    pub names: Look<Vec<String>>,
}

/// Looks closer.
pub async fn look(
    apis: &Apis,
    http: &Http,
    picture: &Picture,
    resolve: Resolve<'_>,
) -> Closer {
    let (pings, allowed, allow_transfer, cmon, binder, rules, labels) = tokio::join!(
        pings(apis),
        allowed(http, picture),
        allow_transfer(apis),
        cmon(apis, http, picture),
        binder(apis, picture, resolve),
        apis.fwapi.rules(apis.admin, Some("smartdc_role")),
        labels(http, picture),
    );
    let (apis, sapi_full) = pings;
    Closer {
        apis,
        sapi_full,
        allowed,
        allow_transfer,
        cmon,
        binder,
        rules: asked_of(rules, |rules| {
            let rules = rules.into_iter().filter(|rule| rule.enabled);
            rules.map(|rule| rule.rule).collect()
        }),
        labels,
    }
}

async fn pings(
    apis: &Apis,
) -> (BTreeMap<&'static str, Look<bool>>, Look<bool>) {
    let (sapi, vmapi, imgapi, napi, papi, cnapi, fwapi) = tokio::join!(
        apis.sapi.ping(),
        apis.vmapi.ping(),
        apis.imgapi.ping(),
        apis.napi.ping(),
        apis.papi.ping(),
        apis.cnapi.ping(),
        apis.fwapi.ping(),
    );
    let full = match &sapi {
        Ok(ping) => Look::Seen(ping.full),
        Err(error) => Look::Failed(chain(error)),
    };
    let well = |answer: Result<(), ApiError>| asked_of(answer, |()| true);
    let says = |answer: Result<bool, ApiError>| asked_of(answer, |well| well);
    let all = [
        ("SAPI", asked_of(sapi, |ping| ping.stored)),
        ("VMAPI", well(vmapi)),
        ("IMGAPI", well(imgapi)),
        ("NAPI", says(napi)),
        ("PAPI", says(papi)),
        ("CNAPI", well(cnapi)),
        ("FWAPI", says(fwapi)),
    ];
    (all.into_iter().collect(), full)
}

async fn allowed(
    http: &Http,
    picture: &Picture,
) -> BTreeMap<String, Look<Vec<Allowed>>> {
    let all = picture.cns.iter().map(async |one| {
        let allowed = match one.address {
            None => Look::Unasked,
            Some(ip) => asked_of(cns::allowed_peers(http, ip).await, |all| {
                let plain =
                    |AllowedPeer { address, mask }| Allowed { address, mask };
                all.into_iter().map(plain).collect()
            }),
        };
        (one.alias.clone(), allowed)
    });
    join_all(all).await.into_iter().collect()
}

async fn allow_transfer(apis: &Apis) -> Look<Vec<String>> {
    let services = match apis.sapi.services_named(apis.sdc, "cns").await {
        Ok(services) => services,
        Err(error) => return Look::Failed(chain(&error)),
    };
    let Some(cns) = services.first() else { return Look::Unasked };
    match allowed_in(cns) {
        Ok(entries) => Look::Seen(entries),
        Err(error) => Look::Failed(chain(&error)),
    }
}

async fn cmon(
    apis: &Apis,
    http: &Http,
    picture: &Picture,
) -> Look<Vec<CmonSeen>> {
    let instances = match instances_of(apis, "cmon").await {
        Ok(instances) => instances,
        Err(why) => return Look::Failed(why),
    };
    let uuids: BTreeSet<Uuid> = instances.iter().map(|one| one.uuid).collect();
    let places = zones(apis, uuids).await;
    let cns: Vec<IpAddr> =
        picture.cns.iter().filter_map(|one| one.address).collect();
    let asking = places.into_iter().map(async |(uuid, place)| {
        let ping = async {
            match place.address {
                None => Look::Unasked,
                Some(ip) => ping_cmon(http, ip, &apis.domain).await,
            }
        };
        let names = async {
            let mut names = Look::Unasked;
            for address in &cns {
                names =
                    asked_of(cns::names_of(http, *address, uuid).await, |n| n);
                if names.seen().is_some() {
                    break;
                }
            }
            names
        };
        let (ping, names) = tokio::join!(ping, names);
        CmonSeen { uuid, address: place.address, ping, names }
    });
    Look::Seen(join_all(asking).await)
}

/// CMON looks at the first label of the name it is called by, and answers
/// this to anybody.
async fn ping_cmon(http: &Http, address: IpAddr, domain: &str) -> Look<()> {
    let to = SocketAddr::new(address, CMON_PORT);
    let url = format!("https://{to}/_ping");
    let host = format!("cmon.{domain}");
    match http.get(&url, &[("host", &host)], 64 << 10).await {
        Ok(answer) if answer.status == 200 => Look::Seen(()),
        Ok(answer) => Look::Failed(chain(&answer.error(&url))),
        Err(error) => Look::Failed(chain(&error)),
    }
}

/// The name of an instance's service in binder; Manta's have their own.
fn name_of(picture: &Picture, one: &Seen) -> Option<String> {
    let registers = REGISTERED.contains(&one.service.as_str());
    (registers && one.application == "sdc")
        .then(|| format!("{}.{}", one.service, picture.datacenter))
}

async fn binder(
    apis: &Apis,
    picture: &Picture,
    resolve: Resolve<'_>,
) -> Look<BTreeMap<String, Names>> {
    let instances = match instances_of(apis, "binder").await {
        Ok(instances) => instances,
        Err(why) => return Look::Failed(why),
    };
    let names: BTreeSet<String> =
        picture.instances.iter().filter_map(|i| name_of(picture, i)).collect();
    let uuids = instances.iter().map(|one| one.uuid).collect();
    let places = zones(apis, uuids).await;
    let addresses = places.values().filter_map(|place| place.address);
    let asking = addresses.map(async |address| {
        let asking = names.iter().map(async |name| {
            let to = SocketAddr::new(address, 53);
            let found = match resolve(to, name.clone()).await {
                Ok(found) => Look::Seen(found),
                Err(why) => Look::Failed(why),
            };
            (name.clone(), found)
        });
        let all = join_all(asking).await;
        (address.to_string(), all.into_iter().collect())
    });
    Look::Seen(join_all(asking).await.into_iter().collect())
}

async fn labels(
    http: &Http,
    picture: &Picture,
) -> BTreeMap<Uuid, Look<BTreeMap<String, String>>> {
    let all = picture.instances.iter();
    let all = all.filter(|one| one.service == "prometheus");
    let asking = all.filter_map(|one| Some((one.uuid, one.address?))).map(
        async |(uuid, address)| {
            let labels = match external_labels(http, address).await {
                Ok(labels) => Look::Seen(labels),
                Err(why) => Look::Failed(why),
            };
            (uuid, labels)
        },
    );
    join_all(asking).await.into_iter().collect()
}

async fn external_labels(
    http: &Http,
    address: IpAddr,
) -> Result<BTreeMap<String, String>, String> {
    let to = SocketAddr::new(address, 9090);
    let url = format!("http://{to}/api/v1/status/config");
    let answer = http.get(&url, &[], ANSWER).await;
    let answer = answer.and_then(|answer| answer.json::<Value>(&url));
    let answer = answer.map_err(|error| chain(&error))?;
    let text = answer["data"]["yaml"].as_str().unwrap_or_default();
    let config: serde_yaml::Value = serde_yaml::from_str(text)
        .map_err(|error| format!("{url}: {error}"))?;
    let labels = config.get("global").and_then(|g| g.get("external_labels"));
    let labels = labels.and_then(serde_yaml::Value::as_mapping);
    let text = |value: &serde_yaml::Value| value.as_str().map(str::to_owned);
    let all = labels.into_iter().flatten();
    Ok(all.filter_map(|(k, v)| Some((text(k)?, text(v)?))).collect())
}
