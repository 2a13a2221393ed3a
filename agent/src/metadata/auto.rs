// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The `auto.*` variables: what a zone knows about itself, as an object that
//! templates address by `{{auto.ADMIN_IP}}`. Gathering the facts from
//! `mdata-get` is not done here.
//!
//! Source: sdc-config-agent `lib/common/util.js`, the rules within a zone.
//! Kept: names, tags in upper case, later NICs over earlier ones, `ip` over
//! `ips`, the rack rule. Changed: see [`auto_metadata`].

use std::net::IpAddr;

use serde_json::{Map, Value};

/// What is known about the zone this runs in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MdataFacts {
    /// The zone's name, a VM uuid.
    pub zonename: String,
    /// `sdc:server_uuid`, the server the zone runs on.
    pub server_uuid: Option<String>,
    /// `sdc:datacenter_name`.
    pub datacenter_name: Option<String>,
    /// `sdc:nics` as it came: an array of NICs, each an object with
    /// `nic_tag`, `ip`, `ips` (with prefix lengths), `primary`. Anything of
    /// another shape is passed over.
    pub nics: Value,
}

/// Makes the `auto` object for `instance_uuid`: `ZONENAME`, `INSTANCE_UUID`,
/// and where known `SERVER_UUID`, `DATACENTER_NAME`, `PRIMARY_IP`, and for
/// each NIC tag `<TAG>_IP` and `<TAG>_IPS`.
///
/// Two differences from the Node agent:
/// - `PRIMARY_IP` belongs to the NIC marked `primary`, and to the first one
///   only where none is marked. The Node agent always takes the first; but
///   its README promises the primary one, and the order of NICs follows how
///   a zone happened to be provisioned, while the mark is what the platform
///   itself routes by. Who means a certain network says `ADMIN_IP`.
/// - Only addresses count: the literals `dhcp` and `addrconf` set nothing.
pub fn auto_metadata(
    facts: &MdataFacts,
    instance_uuid: &str,
) -> Map<String, Value> {
    let mut auto = Map::new();
    let mut set = |key: &str, value: Option<&str>| {
        if let Some(value) = value {
            auto.insert(key.to_owned(), value.into());
        }
    };
    let nics: Vec<Nic<'_>> = match &facts.nics {
        Value::Array(nics) => nics.iter().filter_map(Nic::read).collect(),
        _ => Vec::new(),
    };
    set("ZONENAME", Some(&facts.zonename));
    set("INSTANCE_UUID", Some(instance_uuid));
    set("SERVER_UUID", facts.server_uuid.as_deref());
    set("DATACENTER_NAME", facts.datacenter_name.as_deref());
    let primary = nics.iter().find(|nic| nic.primary).or(nics.first());
    set("PRIMARY_IP", primary.and_then(Nic::address));
    for nic in &nics {
        add_tag(&mut auto, nic);
    }
    auto
}

/// The zone's addresses on one network, out of metadata with its `auto`
/// object: `tag` is a NIC tag in upper case, racks' left out, as in
/// `<TAG>_IPS`. In the order of the NICs.
pub fn addresses(metadata: &Map<String, Value>, tag: &str) -> Vec<IpAddr> {
    let auto = metadata.get("auto").and_then(Value::as_object);
    let list = auto.and_then(|auto| auto.get(&format!("{tag}_IPS")));
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|ip| ip.as_str()?.parse().ok())
        .filter(|ip: &IpAddr| !ip.is_unspecified())
        .collect()
}

struct Nic<'f> {
    tag: Option<&'f str>,
    ip: Option<&'f str>,
    /// `None` where there is no such array: then the NIC's tag is not named.
    ips: Option<Vec<&'f str>>,
    primary: bool,
}

impl<'f> Nic<'f> {
    fn read(nic: &'f Value) -> Option<Self> {
        let nic = nic.as_object()?;
        let ips = nic.get("ips").and_then(Value::as_array);
        let mark = nic.get("primary");
        Some(Self {
            tag: nic.get("nic_tag").and_then(Value::as_str),
            ip: nic.get("ip").and_then(address),
            ips: ips.map(|ips| ips.iter().filter_map(address).collect()),
            primary: mark.is_some_and(|mark| *mark == true || *mark == "true"),
        })
    }

    fn address(&self) -> Option<&'f str> {
        self.ip.or_else(|| self.ips.as_ref()?.first().copied())
    }
}

/// The address of `192.0.2.1/24` or `192.0.2.1`, if it is one.
fn address(value: &Value) -> Option<&str> {
    let text = value.as_str()?;
    let address = text.split('/').next().unwrap_or(text);
    address.parse::<IpAddr>().is_ok().then_some(address)
}

fn add_tag(auto: &mut Map<String, Value>, nic: &Nic<'_>) {
    let (Some(tag), Some(ips)) = (nic.tag, &nic.ips) else { return };
    let tag = tag.to_uppercase();
    let tag = rack_base(&tag).unwrap_or(&tag);
    for address in ips.iter().copied().chain(nic.ip) {
        auto.insert(format!("{tag}_IP"), address.into());
        let list = auto
            .entry(format!("{tag}_IPS"))
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list
            && !list.iter().any(|known| known == address)
        {
            list.push(address.into());
        }
    }
}

/// Reduces a rack's tag to its network: `MANTA_RACK_E05` gives `MANTA`. A
/// tag like `MANTA_RACK05` stands for itself, as it has since the Node agent's
/// 1.8.0, whatever its README says.
fn rack_base(tag: &str) -> Option<&str> {
    let (base, rack) = tag.split_once('_')?;
    let rack = rack.strip_prefix("RACK_")?;
    let is_rack = |b: u8| {
        b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_' || b == b'-'
    };
    let letters =
        !base.is_empty() && base.bytes().all(|b| b.is_ascii_uppercase());
    (letters && !rack.is_empty() && rack.bytes().all(is_rack)).then_some(base)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn auto(nics: Value) -> Value {
        let facts = MdataFacts {
            zonename: "c0".into(),
            server_uuid: Some("90".into()),
            datacenter_name: Some("dc1".into()),
            nics,
        };
        Value::Object(auto_metadata(&facts, "i0"))
    }

    /// The NICs of the contract sheet; W16: the marked NIC is the primary.
    #[test]
    fn the_sheets_example_with_the_primary_nic() {
        let seen = auto(json!([
            {"interface": "net0", "mac": "02:08:20:00:00:01",
             "nic_tag": "admin", "ip": "192.0.2.10",
             "ips": ["192.0.2.10/24", "192.0.2.11/24"],
             "netmask": "255.255.255.0", "network_uuid": "n0"},
            {"interface": "net1", "nic_tag": "external",
             "ip": "198.51.100.7", "ips": ["198.51.100.7/24"],
             "primary": true},
        ]));
        assert_eq!(
            seen,
            json!({
                "ZONENAME": "c0", "INSTANCE_UUID": "i0", "SERVER_UUID": "90",
                "DATACENTER_NAME": "dc1", "PRIMARY_IP": "198.51.100.7",
                "ADMIN_IP": "192.0.2.10",
                "ADMIN_IPS": ["192.0.2.10", "192.0.2.11"],
                "EXTERNAL_IP": "198.51.100.7",
                "EXTERNAL_IPS": ["198.51.100.7"],
            })
        );
    }

    #[test]
    fn primary_falls_back_to_the_first_nic() {
        let nics = json!([{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}]);
        assert_eq!(auto(nics)["PRIMARY_IP"], "192.0.2.1");
        let marked = json!([{"ip": "192.0.2.1", "primary": false},
                            {"ip": "192.0.2.2", "primary": "true"}]);
        assert_eq!(auto(marked)["PRIMARY_IP"], "192.0.2.2");
    }

    #[test]
    fn dhcp_is_no_address() {
        let seen = auto(json!([
            {"nic_tag": "external", "ip": "dhcp", "ips": ["dhcp", "addrconf"],
             "primary": true},
            {"nic_tag": "admin", "ip": "dhcp",
             "ips": ["dhcp", "192.0.2.3/24", "2001:db8::3/64"]},
        ]));
        assert_eq!(
            seen,
            json!({
                "ZONENAME": "c0", "INSTANCE_UUID": "i0", "SERVER_UUID": "90",
                "DATACENTER_NAME": "dc1", "ADMIN_IP": "2001:db8::3",
                "ADMIN_IPS": ["192.0.2.3", "2001:db8::3"],
            })
        );
    }

    #[test]
    fn the_later_nic_of_a_tag_wins_and_lists_join() {
        let seen = auto(json!([
            {"nic_tag": "manta", "ip": "192.0.2.1", "ips": ["192.0.2.1/24"]},
            {"nic_tag": "manta", "ip": "192.0.2.2",
             "ips": ["192.0.2.2/24", "192.0.2.1/24"]},
            {"nic_tag": "other", "ip": "192.0.2.9"},
        ]));
        assert_eq!(seen["MANTA_IP"], "192.0.2.2");
        assert_eq!(seen["MANTA_IPS"], json!(["192.0.2.1", "192.0.2.2"]));
        assert!(seen.get("OTHER_IP").is_none(), "no ips array, no variable");
    }

    /// W16: only the form with the second underscore is a rack's.
    #[test]
    fn tags_become_names() {
        for (tag, name) in [
            ("admin", "ADMIN_IP"),
            ("manta_rack_e05", "MANTA_IP"),
            ("manta_rack_e05-2_b", "MANTA_IP"),
            ("manta_rack05", "MANTA_RACK05_IP"),
            ("manta_rack_", "MANTA_RACK__IP"),
            ("man2ta_rack_e05", "MAN2TA_RACK_E05_IP"),
            ("big_manta_rack_e05", "BIG_MANTA_RACK_E05_IP"),
            ("manta_rack_e.5", "MANTA_RACK_E.5_IP"),
            ("sdc_overlay/1234", "SDC_OVERLAY/1234_IP"),
        ] {
            let seen = auto(json!([{"nic_tag": tag, "ips": ["192.0.2.1/24"]}]));
            assert_eq!(seen[name], "192.0.2.1", "{tag}: {seen}");
        }
    }

    #[test]
    fn odd_shapes_are_passed_over() {
        let bare = auto(Value::Null);
        assert_eq!(bare.as_object().unwrap().len(), 4);
        assert_eq!(auto(json!({"ip": "192.0.2.1"})), bare);
        let odd = json!([null, "x", [], {"ip": 7, "ips": [{}, 1], "nic_tag": 2},
                         {"nic_tag": "a", "ips": "192.0.2.1", "ip": {}}]);
        assert_eq!(auto(odd), bare);
        let facts = MdataFacts { zonename: "z".into(), ..Default::default() };
        let least = Value::Object(auto_metadata(&facts, "i"));
        assert_eq!(least, json!({"ZONENAME": "z", "INSTANCE_UUID": "i"}));
    }
}
