// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The example datacenter: who lives where, under which keys. Data only.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::json;

use crate::binder::Binder;
use crate::datacenter::{Account, Facts, Nic, Server, Vm};
use crate::sapi::{Seed, UFDS_ADMIN_PASSWORD, UFDS_ROOT_PASSWORD, ids};
use crate::triton::ids::ADMIN_NETWORK;
use crate::ufds::Ufds;

/// The account's private key, PKCS#1 as on a headnode.
pub(super) const ADMIN_KEY: &str =
    include_str!("../../fixtures/account/admin.id_rsa");
const ADMIN_PUBLIC_KEY: &str =
    include_str!("../../fixtures/account/admin.id_rsa.pub");
const POSEIDON_KEY: &str =
    include_str!("../../fixtures/account/poseidon.id_rsa");
const POSEIDON_PUBLIC_KEY: &str =
    include_str!("../../fixtures/account/poseidon.id_rsa.pub");

/// Account `admin`.
pub const ADMIN: &str = "930896af-bf8c-48d4-885c-6573a94b1853";
const POSEIDON: &str = "4d649f41-cf87-ca1d-c2c0-bb6a9004311d";
/// NAPI network `external`, the one CNS lists.
pub use crate::triton::ids::EXTERNAL_NETWORK;

/// SAPI.
pub const SAPI: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 32);
/// VMAPI.
pub const VMAPI: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 27);
/// IMGAPI.
pub(super) const IMGAPI: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 21);
/// NAPI.
pub(super) const NAPI: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 20);
/// PAPI.
pub(super) const PAPI: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 29);
/// UFDS.
pub(super) const UFDS: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 18);
/// CNAPI.
pub(super) const CNAPI: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 22);
/// FWAPI.
pub(super) const FWAPI: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 26);
/// The updates server, somewhere outside.
pub(super) const UPDATES: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
/// CNS: DNS and REST.
pub const CNS: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 36);
/// CMON on the admin network.
pub const CMON: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 37);
/// CMON on the external network, where CNS says it is.
pub const CMON_EXTERNAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 37);
/// Binder.
pub const BINDER: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 11);
/// Who is told of alerts.
pub const WEBHOOK: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 99);
/// A public resolver.
pub const PUBLIC: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);
/// The first prometheus zone.
pub const PROMETHEUS: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 45);
const PROMETHEUS_EXTERNAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 45);

/// The thanos zone, where there is one.
pub const THANOS: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 60);

/// The thanos zone's uuid.
pub const THANOS_UUID: &str = "6a2b1f7f-7b5c-4d1f-8b65-1e9a3c8d0060";

/// The first prometheus zone's uuid.
pub const PROMETHEUS_UUID: &str = "5f1a0f6e-6a4b-4c0e-9a54-0d8f2b7c0045";

/// A name that only the public resolver knows, and its address.
pub const PUBLIC_NAME: (&str, Ipv4Addr) =
    ("www.example.org", Ipv4Addr::new(203, 0, 113, 80));

/// Every core VM: alias, uuid, admin address, external address, server.
const CORE: [(&str, &str, Ipv4Addr, Option<Ipv4Addr>, usize); 7] = [
    ("sapi0", "0a5b7c1e-19d2-4c0f-8a11-5d2f00000032", SAPI, None, 0),
    ("vmapi0", "1b6c8d2f-2ae3-4d10-9b22-6e3000000027", VMAPI, None, 0),
    ("cns0", "2c7d9e30-3bf4-4e21-8c33-7f4100000036", CNS, None, 0),
    (
        "cmon0",
        "3d8eaf41-4c05-4f32-9d44-805200000037",
        CMON,
        Some(CMON_EXTERNAL),
        0,
    ),
    ("binder0", "4e9fb052-5d16-4043-8e55-916300000011", BINDER, None, 0),
    (
        "moray0",
        "5fa0c163-6e27-4154-9f66-a27400000017",
        Ipv4Addr::new(10, 88, 0, 17),
        None,
        1,
    ),
    ("imgapi0", "60b1d274-7f38-4265-8077-b38500000021", IMGAPI, None, 1),
];

/// Most prometheus zones of a world: uuids and addresses count up to here.
pub(super) const MOST_INSTANCES: usize = 10;

/// Uuid of the prometheus zone with this number.
pub fn prometheus_uuid(number: usize) -> String {
    let (stem, last) = PROMETHEUS_UUID.split_at(PROMETHEUS_UUID.len() - 4);
    let last: usize = last.parse().expect("four digits");
    format!("{stem}{:04}", last + number)
}

/// Admin address of the prometheus zone with this number.
pub fn prometheus_ip(number: usize) -> Ipv4Addr {
    nth(PROMETHEUS, number)
}

fn nth(first: Ipv4Addr, number: usize) -> Ipv4Addr {
    let number = u32::try_from(number).expect("it is small");
    Ipv4Addr::from_bits(first.to_bits() + number)
}

/// Two compute nodes, two accounts, seven core zones, this many of Prometheus,
/// `prometheus0`, `prometheus1`, ..., and if asked for, `thanos0`.
pub(super) fn facts(instances: usize, thanos: bool) -> Facts {
    let account = |uuid: &str, login: &str, key: &str| Account {
        uuid: uuid.to_owned(),
        login: login.to_owned(),
        operator: true,
        keys: vec![key.trim().to_owned()],
    };
    let servers: Vec<Server> = [
        ("9d2c1f10-0001-4b7e-8a3d-00259094c058", "headnode"),
        ("9d2c1f10-0002-4b7e-8a3d-00259094c1a2", "cn1"),
    ]
    .map(|(uuid, hostname)| Server {
        uuid: uuid.to_owned(),
        hostname: hostname.to_owned(),
    })
    .into();
    let vm = |alias: &str, uuid: &str, ip, external, server: usize| Vm {
        uuid: uuid.to_owned(),
        alias: alias.to_owned(),
        owner_uuid: ADMIN.to_owned(),
        server_uuid: servers[server].uuid.clone(),
        state: "running".to_owned(),
        brand: if matches!(role_of(alias), "prometheus" | "thanos") {
            "lx".to_owned()
        } else {
            "joyent-minimal".to_owned()
        },
        image_uuid: ids::IMAGE.to_owned(),
        tags: [
            ("smartdc_role".to_owned(), json!(role_of(alias))),
            ("smartdc_type".to_owned(), json!("core")),
        ]
        .into_iter()
        .collect(),
        nics: nics(ip, external),
    };
    let core = CORE.iter().map(|&(alias, uuid, ip, external, server)| {
        vm(alias, uuid, ip, external, server)
    });
    let prometheus = (0..instances).map(|n| {
        let external = Some(nth(PROMETHEUS_EXTERNAL, n));
        let alias = format!("prometheus{n}");
        vm(&alias, &prometheus_uuid(n), prometheus_ip(n), external, 1)
    });
    let thanos = thanos.then(|| vm("thanos0", THANOS_UUID, THANOS, None, 0));
    let vms = core.chain(prometheus).chain(thanos).collect();
    Facts {
        datacenter_name: "dc1".to_owned(),
        dns_domain: "triton.test".to_owned(),
        region_name: "region1".to_owned(),
        accounts: vec![
            account(ADMIN, "admin", ADMIN_PUBLIC_KEY),
            account(POSEIDON, "poseidon", POSEIDON_PUBLIC_KEY),
        ],
        servers,
        vms,
    }
}

pub(super) fn role_of(alias: &str) -> &str {
    alias.trim_end_matches(|c: char| c.is_ascii_digit())
}

fn nics(admin: Ipv4Addr, external: Option<Ipv4Addr>) -> Vec<Nic> {
    let nic = |tag: &str, ip, network: &str| Nic {
        nic_tag: tag.to_owned(),
        ip,
        network_uuid: network.to_owned(),
    };
    let mut nics = vec![nic("admin", admin, ADMIN_NETWORK)];
    nics.extend(external.map(|ip| nic("external", ip, EXTERNAL_NETWORK)));
    nics
}

/// What SAPI is filled with.
pub(super) fn seed(allow_transfer: Vec<String>, sapi_url: &str) -> Seed {
    Seed {
        sdc_private_key: ADMIN_KEY.to_owned(),
        sdc_public_key: ADMIN_PUBLIC_KEY.trim().to_owned(),
        manta_private_key: POSEIDON_KEY.to_owned(),
        manta_public_key: POSEIDON_PUBLIC_KEY.trim().to_owned(),
        binders: vec![BINDER],
        nameservices: Vec::new(),
        dns_resolvers: vec![PUBLIC],
        allow_transfer,
        // The agent asks CNS.
        cmon_domain: None,
        sapi_url: sapi_url.to_owned(),
        // As a headnode has it; these are files of the zone.
        key_folder: Some("/root/.ssh".to_owned()),
    }
}

/// A UFDS with the datacenter's accounts, all with the password that SAPI has
/// of `admin`.
pub(super) fn ufds(facts: &Facts) -> Ufds {
    let ufds = Ufds::new(UFDS_ROOT_PASSWORD);
    for account in &facts.accounts {
        ufds.account(&account.uuid, &account.login, UFDS_ADMIN_PASSWORD, &[]);
        if account.operator {
            ufds.operator(&account.uuid);
        }
    }
    ufds
}

/// A binder that knows every core service by its admin address, each zone by
/// its uuid, which is the host name that registrar registers.
pub(super) fn binder(facts: &Facts) -> Binder {
    let domain = format!("{}.{}", facts.datacenter_name, facts.dns_domain);
    let binder = Binder::new(&domain);
    let mut services: BTreeMap<&str, Vec<(String, Ipv4Addr)>> = BTreeMap::new();
    for vm in &facts.vms {
        let admin = vm.nics.iter().find(|nic| nic.nic_tag == "admin");
        if let Some(nic) = admin {
            let service = services.entry(role_of(&vm.alias)).or_default();
            service.push((vm.uuid.clone(), nic.ip));
        }
    }
    // Their zones are left out of the facts: that much less is scraped.
    for (service, ip) in [
        ("napi", NAPI),
        ("papi", PAPI),
        ("cnapi", CNAPI),
        ("fwapi", FWAPI),
        ("ufds", UFDS),
    ] {
        services.entry(service).or_default().push((service.into(), ip));
    }
    for (service, instances) in services {
        let name = format!("{service}.{domain}");
        for (_, ip) in &instances {
            binder.set_ptr(*ip, &name);
        }
        binder.set_instances(&name, instances);
    }
    binder
}
