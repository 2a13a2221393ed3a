// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Asks a datacenter's APIs and zones how its monitoring fares. What answers
//! does not wait for what does not, beyond the limit of `Http`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::SystemTime;

use futures_util::stream::{self, StreamExt};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::judge::word;
use super::{
    CnsSeen, ImageSeen, Look, Missed, Picture, Seen, Shard, Shards, ZoneSeen,
    zone,
};
use crate::deploy::Apis;
use crate::deploy::shards::{self, names};
use crate::log::chain;
use crate::triton::sapi::{Instance, Service};
use crate::triton::vmapi::Vm;
use crate::triton::{ApiError, Http, cns};

/// The services that are looked at.
pub const SERVICES: [&str; 4] =
    ["prometheus", "thanos", "grafana", "alertmanager"];

/// Questions at a time, to one API or to zones.
const AT_ONCE: usize = 16;

/// What the groups of shards begin with, unless somebody says otherwise.
pub const PREFIX: &str = "shard-";

/// What is asked for.
pub struct Question {
    /// Account whose zones are scraped; `None`: admin's.
    pub account: Option<Uuid>,
    /// What the groups of shards begin with.
    pub prefix: String,
}

impl Question {
    /// As options, each after a space; nothing where all is as it comes.
    pub fn words(&self) -> String {
        let mut words = String::new();
        if let Some(account) = self.account {
            words += &format!(" --account {account}");
        }
        if let Some(prefix) = word(&self.prefix)
            && prefix != PREFIX
        {
            words += &format!(" --prefix {prefix}");
        }
        words
    }
}

/// An instance as SAPI lists it, with what it inherits.
struct Listed {
    application: &'static str,
    service: String,
    params: Map<String, Value>,
    metadata: Map<String, Value>,
    instance: Instance,
}

/// Looks at everything. `http` asks the zones: any certificate will do there.
pub async fn look(apis: &Apis, http: &Http, asked: &Question) -> Picture {
    let mut missed = Vec::new();
    let account = asked.account.unwrap_or(apis.admin);
    let (sdc, manta, cns, servers, facts) = tokio::join!(
        of_sdc(apis),
        of_manta(apis),
        instances_of(apis, "cns"),
        apis.cnapi.servers(),
        shards::gather(apis, account, &asked.prefix),
    );
    let mut listed = Vec::new();
    for (what, found) in
        [("services of application sdc", sdc), ("services of manta", manta)]
    {
        match found {
            Ok(found) => listed.extend(found),
            Err(why) => missed.push(Missed { what: what.to_owned(), why }),
        }
    }
    let cns = cns.unwrap_or_else(|why| {
        missed.push(Missed { what: "instances of CNS".to_owned(), why });
        Vec::new()
    });
    let servers = servers.unwrap_or_else(|error| {
        let what = "servers (CNAPI)".to_owned();
        missed.push(Missed { what, why: chain(&error) });
        Vec::new()
    });
    let uuids = listed.iter().map(|one| one.instance.uuid);
    let uuids = uuids.chain(cns.iter().map(|one| one.uuid)).collect();
    let zones = zones(apis, uuids).await;
    let mut seen: Vec<Seen> =
        listed.into_iter().map(|one| one.seen(&zones)).collect();
    for zone in seen.iter_mut().filter_map(Seen::zone_mut) {
        let server = servers.iter().find(|s| Some(s.uuid) == zone.server);
        if let Some(server) = server {
            zone.hostname.clone_from(&server.hostname);
            zone.server_status.clone_from(&server.status);
        }
    }
    let cns = cns.into_iter().map(async |instance| {
        let place = zones.get(&instance.uuid);
        let address = place.and_then(|place| place.address);
        let alias = alias(&instance, place.and_then(|p| p.vm.seen()));
        let zones = match address {
            None => Look::Unasked,
            Some(address) => asked_of(cns::zones(http, address).await, |all| {
                all.into_iter().map(|one| (one.name, one.serial)).collect()
            }),
        };
        CnsSeen { alias, address, zones }
    });
    let asking = seen.iter_mut().map(|seen| zone::ask(http, seen));
    let asking = stream::iter(asking).buffer_unordered(AT_ONCE);
    let (cns, ()) = tokio::join!(
        futures_util::future::join_all(cns),
        asking.collect::<()>(),
    );
    fill_images(apis, &mut seen).await;
    seen.sort_by(|a, b| {
        let key = |one: &Seen| {
            let service = SERVICES.iter().position(|s| *s == one.service);
            (one.application != "sdc", service, one.alias.clone(), one.uuid)
        };
        key(a).cmp(&key(b))
    });
    Picture {
        datacenter: apis.domain.clone(),
        at: zone::unix(SystemTime::now()),
        instances: seen,
        cns,
        shards: match facts {
            Ok(facts) => Look::Seen(Shards {
                asked: asked.words(),
                ..shards_of(&facts, &asked.prefix)
            }),
            Err(error) => Look::Failed(chain(&error)),
        },
        missed,
    }
}

/// An answer, turned into what is looked for.
pub(super) fn asked_of<T, U>(
    answer: Result<T, ApiError>,
    turn: impl FnOnce(T) -> U,
) -> Look<U> {
    match answer {
        Ok(answer) => Look::Seen(turn(answer)),
        Err(error) => Look::Failed(chain(&error)),
    }
}

async fn of_sdc(apis: &Apis) -> Result<Vec<Listed>, String> {
    list(apis, "sdc", apis.sdc, &Map::new(), false).await
}

/// Manta's may be kept in another datacenter's SAPI; there may be no Manta.
async fn of_manta(apis: &Apis) -> Result<Vec<Listed>, String> {
    let found = apis.sapi.applications("manta", true).await;
    let found = found.map_err(|error| chain(&error))?;
    let Some(manta) = found.into_iter().find(|one| one.name == "manta") else {
        return Ok(Vec::new());
    };
    let mut all =
        list(apis, "manta", manta.uuid, &manta.metadata, true).await?;
    // One list for all datacenters of the region.
    let own = apis.domain.split('.').next();
    all.retain(|one| {
        let of = one.instance.metadata.get("DATACENTER");
        of.and_then(Value::as_str).is_none_or(|name| Some(name) == own)
    });
    Ok(all)
}

async fn list(
    apis: &Apis,
    application: &'static str,
    uuid: Uuid,
    metadata: &Map<String, Value>,
    master: bool,
) -> Result<Vec<Listed>, String> {
    let services = apis.sapi.services(uuid, master).await;
    let mut services = services.map_err(|error| chain(&error))?;
    services.retain(|service| SERVICES.contains(&service.name.as_str()));
    let asking = services.into_iter().map(async |service: Service| {
        let instances = apis.sapi.instances(service.uuid, master).await;
        (service, instances)
    });
    let mut all = Vec::new();
    for (service, instances) in futures_util::future::join_all(asking).await {
        for instance in instances.map_err(|error| chain(&error))? {
            let mut merged = metadata.clone();
            merged.extend(service.metadata.clone());
            merged.extend(instance.metadata.clone());
            all.push(Listed {
                application,
                service: service.name.clone(),
                params: service.params.clone(),
                metadata: merged,
                instance,
            });
        }
    }
    Ok(all)
}

/// The instances of one of Triton's own services.
pub(super) async fn instances_of(
    apis: &Apis,
    service: &str,
) -> Result<Vec<Instance>, String> {
    let services = apis.sapi.services_named(apis.sdc, service).await;
    let mut all = Vec::new();
    for service in services.map_err(|error| chain(&error))? {
        let instances = apis.sapi.instances(service.uuid, false).await;
        all.extend(instances.map_err(|error| chain(&error))?);
    }
    Ok(all)
}

/// Where an instance is.
pub(super) struct Place {
    vm: Look<Option<Vm>>,
    /// Its address on the admin network.
    pub(super) address: Option<IpAddr>,
}

/// The zones of instances.
pub(super) async fn zones(
    apis: &Apis,
    uuids: BTreeSet<Uuid>,
) -> BTreeMap<Uuid, Place> {
    let asking = stream::iter(uuids).map(async |uuid| {
        let vm = apis.vmapi.vm(uuid, None).await;
        let gone = |vm: &Vm| vm.state == "destroyed";
        let vm = asked_of(vm, |vm| vm.filter(|vm| !gone(vm)));
        let address = match &vm {
            Look::Seen(Some(vm)) => {
                admin(vm.nics.iter().map(|nic| (&*nic.nic_tag, &*nic.ip)))
            }
            Look::Seen(None) | Look::Unasked => None,
            // NAPI knows the addresses too.
            Look::Failed(_) => {
                let nics = apis.napi.nics(uuid).await.unwrap_or_default();
                admin(nics.iter().filter_map(|nic| {
                    Some((&*nic.nic_tag, nic.ip.as_deref()?))
                }))
            }
        };
        (uuid, Place { vm, address })
    });
    asking.buffer_unordered(AT_ONCE).collect().await
}

fn admin<'a>(nics: impl Iterator<Item = (&'a str, &'a str)>) -> Option<IpAddr> {
    let mut admin = nics.filter(|(tag, _)| *tag == "admin");
    admin.find_map(|(_, ip)| ip.parse().ok())
}

fn alias(instance: &Instance, vm: Option<&Option<Vm>>) -> String {
    let vm = vm.and_then(Option::as_ref).map(|vm| vm.alias.as_str());
    let own = instance.params.get("alias").and_then(Value::as_str);
    let alias = vm.filter(|alias| !alias.is_empty()).or(own);
    alias.map_or_else(|| instance.uuid.to_string(), str::to_owned)
}

impl Seen {
    fn zone_mut(&mut self) -> Option<&mut ZoneSeen> {
        match &mut self.zone {
            Look::Seen(zone) => zone.as_mut(),
            _ => None,
        }
    }
}

impl Listed {
    fn seen(self, zones: &BTreeMap<Uuid, Place>) -> Seen {
        let Self { application, service, params, metadata, instance } = self;
        let place = zones.get(&instance.uuid);
        let vm = place.map(|place| &place.vm);
        let text = |key: &str| {
            let value = metadata.get(key).and_then(Value::as_str);
            value.map(|value| (key.to_owned(), value.to_owned()))
        };
        // Each of Manta's instances has an image of its own.
        let own = instance.params.get("image_uuid");
        let image = own.filter(|_| application == "manta");
        let image = image.or_else(|| params.get("image_uuid"));
        let image = image.and_then(Value::as_str).and_then(|t| t.parse().ok());
        Seen {
            application: application.to_owned(),
            alias: alias(&instance, vm.and_then(Look::seen)),
            zone: match vm {
                None | Some(Look::Unasked) => Look::Unasked,
                Some(Look::Failed(why)) => Look::Failed(why.clone()),
                Some(Look::Seen(vm)) => Look::Seen(vm.as_ref().map(zone_seen)),
            },
            address: place.and_then(|place| place.address),
            wanted_image: image.map_or(Look::Unasked, bare),
            groups: names(metadata.get("groups")),
            labels: ["shard", "replica"].into_iter().filter_map(text).collect(),
            bucket: bucket(&metadata),
            uuid: instance.uuid,
            service,
            ..Seen::default()
        }
    }
}

fn zone_seen(vm: &Vm) -> ZoneSeen {
    ZoneSeen {
        state: vm.state.clone(),
        server: vm.server_uuid,
        quota_gib: vm.quota,
        image: vm.image_uuid.map_or(Look::Unasked, bare),
        ..ZoneSeen::default()
    }
}

fn bare(uuid: Uuid) -> Look<ImageSeen> {
    Look::Seen(ImageSeen { uuid, ..ImageSeen::default() })
}

/// Names a bucket; whatever else is there may be secret.
fn bucket(metadata: &Map<String, Value>) -> Option<String> {
    if let Some(Value::String(file)) = metadata.get("object_store_file") {
        return Some(format!("file {file}"));
    }
    let store = match metadata.get("object_store")? {
        Value::String(text) => serde_yaml::from_str(text).ok()?,
        other => other.clone(),
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let config = &store["config"];
    let words = [&store["type"], &config["endpoint"], &config["bucket"]];
    let words = words.into_iter().chain([&store["prefix"]]).map(text);
    Some(words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "))
}

/// Asks IMGAPI once for each image that is named.
async fn fill_images(apis: &Apis, seen: &mut [Seen]) {
    fn looks(seen: &mut Seen) -> [Option<&mut Look<ImageSeen>>; 2] {
        let zone = match &mut seen.zone {
            Look::Seen(Some(zone)) => Some(&mut zone.image),
            _ => None,
        };
        [Some(&mut seen.wanted_image), zone]
    }
    let all = seen.iter_mut().flat_map(looks).flatten();
    let uuids: BTreeSet<Uuid> =
        all.filter_map(|look| Some(look.seen()?.uuid)).collect();
    let asking = stream::iter(uuids).map(async |uuid| {
        let image = apis.imgapi.image(uuid, None).await;
        let image = asked_of(image, |image| match image {
            None => ImageSeen { uuid, ..ImageSeen::default() },
            Some(image) => ImageSeen {
                uuid,
                name: image.name,
                version: image.version,
                published_at: image.published_at,
            },
        });
        (uuid, image)
    });
    let images: BTreeMap<Uuid, Look<ImageSeen>> =
        asking.buffer_unordered(AT_ONCE).collect().await;
    for look in seen.iter_mut().flat_map(looks).flatten() {
        let Some(uuid) = look.seen().map(|image| image.uuid) else { continue };
        if let Some(image) = images.get(&uuid) {
            look.clone_from(image);
        }
    }
}

fn shards_of(facts: &shards::Facts, prefix: &str) -> Shards {
    let mut seen = Shards::default();
    // What is on a shard that is retired, nobody scrapes.
    let working = facts.pairs.iter();
    let working = working.filter(|(name, _)| !facts.retired.contains(*name));
    for (name, members) in working {
        let shard = Shard { members: members.clone(), zones: 0 };
        seen.shards.insert(name.clone(), shard);
    }
    if facts.pairs.is_empty() {
        return seen;
    }
    seen.ungrouped = facts.ungrouped.len();
    for zone in &facts.zones {
        let tag = zone.tag.as_deref().unwrap_or_default();
        let mut found = 0;
        for group in tag.split(',') {
            if let Some(shard) = seen.shards.get_mut(group) {
                shard.zones += 1;
                found += 1;
            } else if group.starts_with(prefix)
                && !facts.retired.contains(group)
            {
                let count = seen.without_pair.entry(group.to_owned());
                *count.or_default() += 1;
            }
        }
        seen.scraped_by_nobody += usize::from(found == 0);
        seen.scraped_twice += usize::from(found > 1);
    }
    let loads = seen.shards.values().map(|shard| shard.zones);
    let (all, most) = (loads.clone().sum::<usize>(), loads.max());
    seen.imbalance = match (all, most) {
        (0, _) | (_, None) => 1.0,
        (all, Some(most)) => {
            most as f64 * seen.shards.len() as f64 / all as f64
        }
    };
    seen
}
