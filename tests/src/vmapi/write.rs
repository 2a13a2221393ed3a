// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a new VM is made of: checks first, all of them, then the VM. Nothing
//! is changed here.
//!
//! Source: sdc-vmapi, lib/common/validation.js; the words are assumed.

use std::net::Ipv4Addr;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::invalid;
use crate::datacenter::{Facts, Network, Nic, Stock, Vm, Zone};
use crate::http::rest::Refusal;
use crate::tags::check_tags;

/// First address on a network where no VM has one yet.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);

/// The VM that `body` asks for, being provisioned.
///
/// `owner_uuid` is required; `uuid`, `alias`, `brand`, `image_uuid`,
/// `billing_id`, `server_uuid`, `tags`, `customer_metadata`, `quota`, `ram`,
/// `delegate_dataset`, `firewall_enabled`, and `nics` (as in the facts) or
/// `networks` (names, uuids, or objects) are taken when given.
pub(super) fn plan(
    facts: &Facts,
    stock: &Stock,
    body: &Map<String, Value>,
) -> Result<(Vm, Zone), Refusal> {
    let text = |key: &str| body.get(key).and_then(Value::as_str);
    let or = |key: &str, default: &str| text(key).unwrap_or(default).to_owned();
    let owner_uuid = text("owner_uuid")
        .ok_or_else(|| invalid("owner_uuid", "is required"))?;
    if !facts.accounts.iter().any(|a| a.uuid == owner_uuid) {
        return Err(invalid("owner_uuid", "no such account"));
    }
    let uuid = match text("uuid") {
        None => Uuid::new_v4().to_string(),
        Some(uuid) if Uuid::parse_str(uuid).is_err() => {
            return Err(invalid("uuid", "is no UUID"));
        }
        Some(uuid) if facts.vm(uuid).is_some() => {
            return Err(invalid("uuid", "exists already"));
        }
        Some(uuid) => uuid.to_owned(),
    };
    let tags = object(body, "tags")?;
    check_tags(&tags).map_err(|why| invalid("tags", why))?;
    let image_uuid = or("image_uuid", "f0000000-0000-4000-8000-000000000001");
    check_image(stock, &image_uuid)?;
    let sized = sized(stock, text("billing_id"))?;
    let (nics, primary) = nics(facts, stock, body)?;
    let vm = Vm {
        alias: or("alias", &uuid),
        owner_uuid: owner_uuid.to_owned(),
        server_uuid: server(facts, stock, text("server_uuid"))?,
        state: "provisioning".to_owned(),
        brand: or("brand", "joyent-minimal"),
        image_uuid,
        tags,
        nics,
        uuid,
    };
    let flag = |key: &str| body.get(key) == Some(&Value::Bool(true));
    let mut zone = Zone {
        firewall_enabled: flag("firewall_enabled"),
        customer_metadata: object(body, "customer_metadata")?,
        primary,
        data: flag("delegate_dataset").then(Uuid::new_v4),
        ..sized
    };
    let number = |key: &str| body.get(key).and_then(Value::as_u64);
    zone.quota_gib = number("quota").unwrap_or(zone.quota_gib);
    let memory = number("max_physical_memory").or(number("ram"));
    zone.memory_mib = memory.unwrap_or(zone.memory_mib);
    Ok((vm, zone))
}

/// An image must be in IMGAPI, and active.
pub(super) fn check_image(stock: &Stock, uuid: &str) -> Result<(), Refusal> {
    match stock.images.get(uuid) {
        _ if stock.images.is_empty() => Ok(()),
        None => Err(invalid("image_uuid", "Image not found")),
        Some(image) if image["state"] != "active" => {
            Err(invalid("image_uuid", "Image is not active"))
        }
        Some(_) => Ok(()),
    }
}

/// As large as the package says.
fn sized(stock: &Stock, package: Option<&str>) -> Result<Zone, Refusal> {
    let Some(uuid) = package else { return Ok(Zone::default()) };
    let billing_id = Some(uuid.to_owned());
    if stock.packages.is_empty() {
        return Ok(Zone { billing_id, ..Zone::default() });
    }
    let known = stock.packages.iter().find(|known| known["uuid"] == uuid);
    let known =
        known.ok_or_else(|| invalid("billing_id", "Package does not exist"))?;
    let number = |key: &str| known[key].as_u64().unwrap_or(0);
    Ok(Zone {
        billing_id,
        // Packages have it in MiB.
        quota_gib: number("quota") / 1024,
        memory_mib: number("max_physical_memory"),
        ..Zone::default()
    })
}

/// The server named, if it can take zones, or the first.
fn server(
    facts: &Facts,
    stock: &Stock,
    named: Option<&str>,
) -> Result<String, Refusal> {
    let Some(named) = named else {
        let first = facts.servers.first();
        return Ok(first.map(|first| first.uuid.clone()).unwrap_or_default());
    };
    let found = facts.servers.iter().find(|server| server.uuid == named);
    let found =
        found.ok_or_else(|| invalid("server_uuid", "Server does not exist"))?;
    let shown = stock.server(facts, found);
    if shown["setup"] != true || shown["status"] != "running" {
        return Err(invalid("server_uuid", "Server is not running"));
    }
    Ok(named.to_owned())
}

/// NICs, and the address of the primary one if it is chosen.
pub(super) fn nics(
    facts: &Facts,
    stock: &Stock,
    body: &Map<String, Value>,
) -> Result<(Vec<Nic>, Option<Ipv4Addr>), Refusal> {
    if let Some(nics) = body.get("nics") {
        let nics = serde_json::from_value(nics.clone())
            .map_err(|why| invalid("nics", why.to_string()))?;
        return Ok((nics, None));
    }
    let external = [Value::from("external")];
    let networks = body.get("networks").and_then(Value::as_array);
    let networks = networks.map_or(&external[..], Vec::as_slice);
    let mut primary = None;
    let mut nics: Vec<Nic> = Vec::new();
    for wanted in networks {
        let keys = ["uuid", "ipv4_uuid", "name"];
        let mut named = keys.iter().filter_map(|key| wanted[*key].as_str());
        let Some(name) = wanted.as_str().or_else(|| named.next()) else {
            return Err(invalid("networks", "a name or a uuid is required"));
        };
        let nic = match stock.networks.is_empty() {
            true => nic_by_tag(facts, name),
            false => {
                let network = stock.networks.iter().find(|network| {
                    [&network.uuid, &network.name].iter().any(|n| *n == name)
                });
                let missing = || {
                    let why = format!("No such network/pool: {name}");
                    invalid("networks", why)
                };
                nic_on(facts, network.ok_or_else(missing)?, &nics)?
            }
        };
        if wanted["primary"] == true {
            primary = Some(nic.ip);
        }
        nics.push(nic);
    }
    Ok((nics, primary))
}

/// The lowest free address of a network.
fn nic_on(
    facts: &Facts,
    network: &Network,
    new: &[Nic],
) -> Result<Nic, Refusal> {
    let alive = facts.vms.iter().filter(|vm| vm.state != "destroyed");
    let taken: Vec<Ipv4Addr> =
        alive.flat_map(|vm| &vm.nics).chain(new).map(|nic| nic.ip).collect();
    let first = network.provision_start_ip.to_bits();
    let last = network.provision_end_ip.to_bits();
    let mut all = (first..=last).map(Ipv4Addr::from_bits);
    let free = all.find(|ip| !taken.contains(ip));
    // NAPI's own answer, passed on.
    let full = || Refusal::new(507, "SubnetFull", "no more free IPs");
    Ok(Nic {
        nic_tag: network.nic_tag.clone(),
        ip: free.ok_or_else(full)?,
        network_uuid: network.uuid.clone(),
    })
}

/// The address after the highest on this NIC tag.
fn nic_by_tag(facts: &Facts, tag: &str) -> Nic {
    let on_tag = || {
        let all = facts.vms.iter().flat_map(|vm| &vm.nics);
        all.filter(|nic| nic.nic_tag == tag)
    };
    let ip = on_tag()
        .map(|nic| u32::from(nic.ip))
        .max()
        .map_or(FIRST_ADDRESS, |highest| {
            Ipv4Addr::from(highest.saturating_add(1))
        });
    let network_uuid = on_tag().next().map_or_else(
        || Uuid::new_v4().to_string(),
        |nic| nic.network_uuid.clone(),
    );
    Nic { nic_tag: tag.to_owned(), ip, network_uuid }
}

fn object(
    body: &Map<String, Value>,
    key: &str,
) -> Result<Map<String, Value>, Refusal> {
    match body.get(key) {
        None => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map.clone()),
        Some(_) => Err(invalid(key, "is no object")),
    }
}
