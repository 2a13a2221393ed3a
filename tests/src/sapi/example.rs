// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A SAPI filled as a headnode's is: applications `sdc` and `manta`, the
//! services that monitoring touches, an instance of each. Key names and their
//! types (strings where the headnode has strings) follow the contract sheet
//! on SAPI, section 1.13; all values are invented.

use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

use super::{Kind, Sapi};
use crate::datacenter::Facts;

/// Uuids of the example's objects. Where the datacenter has a VM with the
/// alias (`prometheus0`, ...), that VM's uuid is the instance's instead.
pub mod ids {
    /// Application `sdc`.
    pub const SDC: &str = "a0000000-0000-4000-8000-000000000001";
    /// Application `manta`.
    pub const MANTA: &str = "a0000000-0000-4000-8000-000000000002";
    /// Service `prometheus` of `sdc`.
    pub const PROMETHEUS: &str = "b0000000-0000-4000-8000-000000000001";
    /// Service `cns`.
    pub const CNS: &str = "b0000000-0000-4000-8000-000000000002";
    /// Service `cmon`.
    pub const CMON: &str = "b0000000-0000-4000-8000-000000000003";
    /// Service `prometheus` of `manta`.
    pub const MANTA_PROMETHEUS: &str = "b0000000-0000-4000-8000-000000000004";
    /// Service `thanos` of `sdc`; not in the example.
    pub const THANOS: &str = "b0000000-0000-4000-8000-000000000005";
    /// Instance of `prometheus` of `sdc`.
    pub const PROMETHEUS0: &str = "c0000000-0000-4000-8000-000000000001";
    /// Instance of `cns`.
    pub const CNS0: &str = "c0000000-0000-4000-8000-000000000002";
    /// Instance of `cmon`.
    pub const CMON0: &str = "c0000000-0000-4000-8000-000000000003";
    /// Instance of `prometheus` of `manta`.
    pub const MANTA_PROMETHEUS0: &str = "c0000000-0000-4000-8000-000000000004";
    /// Config manifest `sdc_private_key`.
    pub const SDC_PRIVATE_KEY: &str = "d0000000-0000-4000-8000-000000000001";
    /// Config manifest `sdc_public_key`.
    pub const SDC_PUBLIC_KEY: &str = "d0000000-0000-4000-8000-000000000002";
    /// Image of both Prometheus services.
    pub const IMAGE: &str = "f0000000-0000-4000-8000-000000000001";
}

/// `ufds_ldap_root_pw` of application `sdc`.
pub const UFDS_ROOT_PASSWORD: &str = "invented-ldap-password";
/// `ufds_admin_pw` of application `sdc`.
pub const UFDS_ADMIN_PASSWORD: &str = "invented-admin-password";

/// What the caller decides about the example. Holds private keys, hence no
/// `Debug`.
pub struct Seed {
    /// `SDC_PRIVATE_KEY`, PEM: account `admin`.
    pub sdc_private_key: String,
    /// `SDC_PUBLIC_KEY`, one OpenSSH line.
    pub sdc_public_key: String,
    /// `ADMIN_PRIVATE_KEY` of Manta, PEM: account `poseidon`.
    pub manta_private_key: String,
    /// `ADMIN_PUBLIC_KEY` of Manta.
    pub manta_public_key: String,
    /// Binders, which are also the ZooKeeper servers: `ZK_SERVERS`.
    pub binders: Vec<Ipv4Addr>,
    /// Manta's nameservices: `ZK_SERVERS` of `manta`.
    pub nameservices: Vec<Ipv4Addr>,
    /// Public resolvers: `dns_resolvers`, a comma list.
    pub dns_resolvers: Vec<Ipv4Addr>,
    /// `allow_transfer` of `cns`: addresses or CIDR.
    pub allow_transfer: Vec<String>,
    /// `cmon_domain` of the Prometheus services; `None` leaves it out.
    pub cmon_domain: Option<String>,
    /// `sapi-url`.
    pub sapi_url: String,
    /// Folder in which the application's key manifests put the key files
    /// (`/root/.ssh` on a headnode). `None` leaves these manifests out, so
    /// that an agent on a developer's machine writes no keys there.
    pub key_folder: Option<String>,
}

impl Sapi {
    /// A SAPI filled from `facts` and `seed`. It runs on the first server;
    /// accounts `admin` and `poseidon` own the applications.
    pub fn example(facts: &Facts, seed: &Seed) -> Self {
        let server = facts.servers.first();
        let server = server.map_or(ids::PROMETHEUS0, |s| s.uuid.as_str());
        let sapi = Self::new(server);
        let put = |kind, object| sapi.put(kind, object);
        put(Kind::Application, sdc(facts, seed));
        put(Kind::Application, manta(facts, seed));
        for (manifest, uuid, key) in [
            ("sdc_private_key", ids::SDC_PRIVATE_KEY, "SDC_PRIVATE_KEY"),
            ("sdc_public_key", ids::SDC_PUBLIC_KEY, "SDC_PUBLIC_KEY"),
        ] {
            if let Some(folder) = &seed.key_folder {
                put(Kind::Manifest, key_manifest(manifest, uuid, key, folder));
            }
        }
        put(Kind::Service, prometheus(facts, seed));
        put(Kind::Service, manta_prometheus(seed));
        put(Kind::Service, cns(facts, seed));
        put(Kind::Service, cmon(facts));
        for (alias, uuid, service) in [
            ("prometheus0", ids::PROMETHEUS0, ids::PROMETHEUS),
            ("cns0", ids::CNS0, ids::CNS),
            ("cmon0", ids::CMON0, ids::CMON),
        ] {
            put(Kind::Instance, instance(facts, alias, uuid, service, server));
        }
        put(Kind::Instance, manta_instance(facts, seed, server));
        sapi
    }

    /// Uuid of application `sdc`'s service of this name.
    pub fn service_uuid(&self, name: &str) -> Option<String> {
        let state = self.state();
        let of = [
            ("name".to_owned(), json!(name)),
            ("application_uuid".to_owned(), json!(ids::SDC)),
        ];
        let version = super::route::Version::V2;
        let all = Map::new();
        let mut found = state.store.list(Kind::Service, &all, version);
        found.retain(|s| of.iter().all(|(key, v)| s.get(key) == Some(v)));
        Some(super::objects::text(found.first()?, "uuid").to_owned())
    }

    /// Uuid of the example's instance whose alias is this.
    pub fn instance_uuid(&self, alias: &str) -> Option<String> {
        let state = self.state();
        let all = Map::new();
        let found = state
            .store
            .list(Kind::Instance, &all, super::route::Version::V2)
            .into_iter()
            .find(|i| i.get("params").is_some_and(|p| p["alias"] == alias))?;
        Some(super::objects::text(found, "uuid").to_owned())
    }
}

fn sdc(facts: &Facts, seed: &Seed) -> Value {
    let (dc, domain) = (&facts.datacenter_name, &facts.dns_domain);
    let admin = owner(facts, "admin");
    let mut metadata = object(json!({
        "datacenter_name": dc,
        "datacenter_company_name": "Example",
        "datacenter_location": "Somewhere",
        "region_name": facts.region_name,
        "dns_domain": domain,
        "dns_search": domain,
        "dns_resolvers": joined(&seed.dns_resolvers),
        "binder_resolver_ips": joined(&seed.binders),
        "binder_admin_ips": joined(&seed.binders),
        "coal": "false",
        "swap": "0.25x",
        "default_rack_size": "30",
        "dhcp_lease_time": "2592000",
        "ntp_hosts": "0.pool.ntp.example",
        "mail_to": "root@localhost",
        "ufds_is_master": "true",
        "ufds_ldap_root_dn": "cn=root",
        "ufds_ldap_root_pw": UFDS_ROOT_PASSWORD,
        "ufds_admin_login": "admin",
        "ufds_admin_pw": UFDS_ADMIN_PASSWORD,
        "ufds_admin_uuid": admin,
        "pkg_0": "sdc_1024:1024:2048:25600:300",
        "fabric_cfg": {"default_underlay_mtu": 9000},
        "UFDS_ATTESTATION": "true",
        "no_rabbit": "true",
        "sapi-url": seed.sapi_url,
        "SDC_PRIVATE_KEY": seed.sdc_private_key,
        "SDC_PUBLIC_KEY": seed.sdc_public_key,
        "ZK_SERVERS": zk_servers(&seed.binders),
    }));
    for service in [
        "binder", "cnapi", "fwapi", "imgapi", "napi", "papi", "sapi", "ufds",
        "vmapi",
    ] {
        let name = format!("{service}.{dc}.{domain}");
        metadata.insert(format!("{service}_domain"), json!(name));
        metadata
            .insert(format!("{}_SERVICE", service.to_uppercase()), json!(name));
    }
    let manifests = match seed.key_folder {
        Some(_) => json!({
            "sdc_private_key": ids::SDC_PRIVATE_KEY,
            "sdc_public_key": ids::SDC_PUBLIC_KEY,
        }),
        None => json!({}),
    };
    json!({
        "uuid": ids::SDC,
        "name": "sdc",
        "owner_uuid": admin,
        "params": {"owner_uuid": admin, "dns_domain": domain,
            "brand": "joyent-minimal", "zfs_storage_pool_name": "zones"},
        "metadata": metadata,
        "metadata_schema": {"type": "object", "properties": {
            "datacenter_name": {"type": "string"},
            "dns_domain": {"type": "string"},
        }},
        "manifests": manifests,
    })
}

fn prometheus(facts: &Facts, seed: &Seed) -> Value {
    let (dc, domain) = (&facts.datacenter_name, &facts.dns_domain);
    let mut metadata = object(json!({
        "SERVICE_NAME": "prometheus",
        "SERVICE_DOMAIN": format!("prometheus.{dc}.{domain}"),
        "user-script": "#!/usr/bin/bash\n# invented\n",
    }));
    if let Some(cmon_domain) = &seed.cmon_domain {
        metadata.insert("cmon_domain".to_owned(), json!(cmon_domain));
    }
    json!({
        "uuid": ids::PROMETHEUS,
        "name": "prometheus",
        "application_uuid": ids::SDC,
        "params": {
            "billing_id": "4769a8f9-de51-4c1e-885f-c3920cc68137",
            "image_uuid": ids::IMAGE,
            "archive_on_delete": true,
            "delegate_dataset": true,
            "maintain_resolvers": true,
            "networks": [
                {"name": "admin"},
                {"name": "external", "primary": true},
            ],
            "firewall_enabled": true,
            "tags": {"smartdc_role": "prometheus", "smartdc_type": "core"},
        },
        "metadata": metadata,
        "type": "vm",
    })
}

fn cns(facts: &Facts, seed: &Seed) -> Value {
    let (dc, domain) = (&facts.datacenter_name, &facts.dns_domain);
    let mut forward_zones = Map::new();
    forward_zones.insert(facts.cns_zone(), json!({"networks": ["*"]}));
    json!({
        "uuid": ids::CNS,
        "name": "cns",
        "application_uuid": ids::SDC,
        "params": {
            "networks": [{"name": "admin"}],
            "delegate_dataset": true,
            "tags": {"smartdc_role": "cns", "smartdc_type": "core"},
        },
        "metadata": {
            "SERVICE_NAME": "cns",
            "SERVICE_DOMAIN": format!("cns.{dc}.{domain}"),
            "my_name": format!("cns.{dc}.{domain}"),
            "hostmaster": format!("hostmaster@{domain}"),
            "forward_zones": forward_zones,
            "reverse_zones": {},
            "allow_transfer": seed.allow_transfer,
            "use_login": false,
            "use_alias": true,
        },
        "type": "vm",
    })
}

fn cmon(facts: &Facts) -> Value {
    let (dc, domain) = (&facts.datacenter_name, &facts.dns_domain);
    json!({
        "uuid": ids::CMON,
        "name": "cmon",
        "application_uuid": ids::SDC,
        "params": {
            "networks": [
                {"name": "admin"},
                {"name": "external", "primary": true},
            ],
            "delegate_dataset": true,
            "tags": {"smartdc_role": "cmon", "smartdc_type": "core"},
        },
        "metadata": {
            "SERVICE_NAME": "cmon",
            "SERVICE_DOMAIN": format!("cmon.{dc}.{domain}"),
        },
        "type": "vm",
    })
}

fn instance(
    facts: &Facts,
    alias: &str,
    uuid: &str,
    service: &str,
    server: &str,
) -> Value {
    let vm = facts.vms.iter().find(|vm| vm.alias == alias);
    json!({
        "uuid": vm.map_or(uuid, |vm| vm.uuid.as_str()),
        "service_uuid": service,
        "params": {
            "alias": alias,
            "server_uuid": vm.map_or(server, |vm| vm.server_uuid.as_str()),
        },
        "type": "vm",
    })
}

/// Manta spells its keys in upper case and has no `datacenter_name` at all.
fn manta(facts: &Facts, seed: &Seed) -> Value {
    let region = &facts.region_name;
    let domain = format!("{region}.{}", facts.dns_domain);
    json!({
        "uuid": ids::MANTA,
        "name": "manta",
        "owner_uuid": owner(facts, "poseidon"),
        "params": {"delegate_dataset": true},
        "metadata": {
            "MANTAV": 2,
            "REGION": region,
            "SIZE": "lab",
            "DNS_DOMAIN": facts.dns_domain,
            "DOMAIN_NAME": domain,
            "MANTA_SERVICE": format!("manta.{domain}"),
            "MANTA_URL": format!("https://manta.{domain}"),
            "AUTH_SERVICE": format!("authcache.{domain}"),
            "ELECTRIC_MORAY": format!("electric-moray.{domain}"),
            "POSEIDON_UUID": owner(facts, "poseidon"),
            "ADMIN_USERNAME": "poseidon",
            "ADMIN_PRIVATE_KEY": seed.manta_private_key,
            "ADMIN_PUBLIC_KEY": seed.manta_public_key,
            "MANTA_REJECT_UNAUTHORIZED": false,
            "MANTA_TLS_INSECURE": "1",
            "MAKO_HTTP_KEEPALIVE_TIMEOUT": 120000,
            "INDEX_MORAY_SHARDS": [
                {"host": format!("1.moray.{domain}"), "last": true},
            ],
            "STORAGE_MORAY_SHARD": format!("1.moray.{domain}"),
            "ZK_SERVERS": zk_servers(&seed.nameservices),
        },
        "manifests": {},
        "master": true,
    })
}

fn manta_prometheus(seed: &Seed) -> Value {
    let mut metadata = object(json!({
        "is_manta_service": true,
        "OVERRIDE_RESOLVERS": [{"host": "127.0.0.1"}],
    }));
    if let Some(cmon_domain) = &seed.cmon_domain {
        metadata.insert("cmon_domain".to_owned(), json!(cmon_domain));
    }
    json!({
        "uuid": ids::MANTA_PROMETHEUS,
        "name": "prometheus",
        "application_uuid": ids::MANTA,
        "params": {
            "image_uuid": ids::IMAGE,
            "networks": ["external", "manta", "admin"],
            "ram": 1024,
            "firewall_enabled": true,
            "tags": {"manta_role": "prometheus"},
        },
        "metadata": metadata,
        "master": true,
        "type": "vm",
    })
}

fn manta_instance(facts: &Facts, seed: &Seed, server: &str) -> Value {
    let domain = format!("{}.{}", facts.region_name, facts.dns_domain);
    let mut made = instance(
        facts,
        "prometheus0.manta",
        ids::MANTA_PROMETHEUS0,
        ids::MANTA_PROMETHEUS,
        server,
    );
    made["metadata"] = json!({
        "DATACENTER": facts.datacenter_name,
        "SERVICE_NAME": format!("prometheus.{domain}"),
        "SAPI_URL": seed.sapi_url,
        // A copy of sdc's ZK_SERVERS, taken at deployment.
        "SDC_NAMESERVERS": zk_servers(&seed.binders),
    });
    made["master"] = json!(true);
    made
}

fn key_manifest(name: &str, uuid: &str, key: &str, folder: &str) -> Value {
    let file = match name {
        "sdc_private_key" => "sdc.id_rsa",
        _ => "sdc.id_rsa.pub",
    };
    let path = format!("{folder}/{file}");
    json!({
        "uuid": uuid,
        "name": name,
        "path": path,
        "template": format!("{{{{{{{key}}}}}}}"),
        "post_cmd": format!("/usr/bin/chmod 0600 {path}"),
        "version": "1.0.0",
    })
}

fn owner<'a>(facts: &'a Facts, login: &str) -> &'a str {
    facts.account(login).map_or("", |account| account.uuid.as_str())
}

fn joined(addresses: &[Ipv4Addr]) -> String {
    let texts: Vec<String> = addresses.iter().map(|a| a.to_string()).collect();
    texts.join(",")
}

/// Only the last element has `last`.
fn zk_servers(hosts: &[Ipv4Addr]) -> Vec<Value> {
    let mut servers: Vec<Value> = hosts
        .iter()
        .enumerate()
        .map(|(i, host)| json!({"num": i + 1, "host": host, "port": 2181}))
        .collect();
    if let Some(last) = servers.last_mut() {
        last["last"] = json!(true);
    }
    servers
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
