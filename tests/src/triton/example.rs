// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the example datacenter has before anybody deploys monitoring: two
//! servers, accounts, applications `sdc` and `manta` with `cns` and `cmon`,
//! networks, packages, images. Package values are real, all others invented.

use serde_json::{Value, json};

use crate::datacenter::{Account, Facts, Network, Nic, Server, Stock, Vm};
use crate::sapi::{Kind, Sapi};

/// Uuids of the example.
pub mod ids {
    pub use crate::sapi::ids::{CMON, CMON0, CNS, CNS0, MANTA, SDC};

    /// Account `admin`.
    pub const ADMIN: &str = "e0000000-0000-4000-8000-000000000001";
    /// Account `poseidon`.
    pub const POSEIDON: &str = "e0000000-0000-4000-8000-000000000002";
    /// The headnode.
    pub const HEADNODE: &str = "90000000-0000-4000-8000-000000000001";
    /// A compute node.
    pub const SERVER1: &str = "90000000-0000-4000-8000-000000000002";
    /// Network `admin`.
    pub const ADMIN_NETWORK: &str = "10000000-0000-4000-8000-000000000001";
    /// Network `external`.
    pub const EXTERNAL_NETWORK: &str = "10000000-0000-4000-8000-000000000002";
    /// Network `manta`.
    pub const MANTA_NETWORK: &str = "10000000-0000-4000-8000-000000000003";
    /// Package `sdc_1024`; its real uuid.
    pub const SDC_1024: &str = "4769a8f9-de51-4c1e-885f-c3920cc68137";
    /// Package `sdc_2048`.
    pub const SDC_2048: &str = "4769a8f9-de51-4c1e-885f-000000002048";
    /// Image of `cns0` and `cmon0`, here and active.
    pub const CORE_IMAGE: &str = "f0000000-0000-4000-8000-000000000010";
    /// Image `mantav2-prometheus`, on the updates server alone, channels `dev`
    /// and `release`. Its origin is `ORIGIN`.
    pub const PROMETHEUS_IMAGE: &str = "f0000000-0000-4000-8000-000000000020";
    /// An older one, in channel `dev` alone, of the same origin.
    pub const OLD_PROMETHEUS_IMAGE: &str =
        "f0000000-0000-4000-8000-000000000021";
    /// Image `thanos`, as `PROMETHEUS_IMAGE`.
    pub const THANOS_IMAGE: &str = "f0000000-0000-4000-8000-000000000022";
    /// Image `grafana`, as `PROMETHEUS_IMAGE`.
    pub const GRAFANA_IMAGE: &str = "f0000000-0000-4000-8000-000000000023";
    /// Image `triton-origin`, on the updates server alone. Its origin is
    /// `BASE`.
    pub const ORIGIN: &str = "f0000000-0000-4000-8000-000000000030";
    /// Image `minimal-64`, on the updates server alone.
    pub const BASE: &str = "f0000000-0000-4000-8000-000000000040";
}

/// Accounts `admin` and `poseidon`, headnode and one compute node, `cns0` and
/// `cmon0`.
pub fn facts() -> Facts {
    let account = |uuid: &str, login: &str| Account {
        uuid: uuid.to_owned(),
        login: login.to_owned(),
        operator: true,
        keys: vec![],
    };
    let server = |uuid: &str, hostname: &str| Server {
        uuid: uuid.to_owned(),
        hostname: hostname.to_owned(),
    };
    let vm = |uuid: &str, service: &str, ip: &str| Vm {
        uuid: uuid.to_owned(),
        alias: format!("{service}0"),
        owner_uuid: ids::ADMIN.to_owned(),
        server_uuid: ids::HEADNODE.to_owned(),
        state: "running".to_owned(),
        brand: "joyent-minimal".to_owned(),
        image_uuid: ids::CORE_IMAGE.to_owned(),
        tags: [
            ("smartdc_role".to_owned(), json!(service)),
            ("smartdc_type".to_owned(), json!("core")),
        ]
        .into_iter()
        .collect(),
        nics: vec![Nic {
            nic_tag: "admin".to_owned(),
            ip: ip.parse().expect("it is one"),
            network_uuid: ids::ADMIN_NETWORK.to_owned(),
        }],
    };
    Facts {
        datacenter_name: "dc1".to_owned(),
        dns_domain: "triton.test".to_owned(),
        region_name: "region1".to_owned(),
        accounts: vec![
            account(ids::ADMIN, "admin"),
            account(ids::POSEIDON, "poseidon"),
        ],
        servers: vec![
            server(ids::HEADNODE, "headnode"),
            server(ids::SERVER1, "cn1"),
        ],
        vms: vec![
            vm(ids::CNS0, "cns", "10.88.0.36"),
            vm(ids::CMON0, "cmon", "10.88.0.37"),
        ],
    }
}

/// SAPI with both applications, and `cns` and `cmon` in `sdc`.
pub(super) fn sapi(facts: &Facts) -> Sapi {
    let server = facts.servers.first();
    let sapi = Sapi::new(server.map_or(ids::HEADNODE, |s| s.uuid.as_str()));
    let (dc, domain) = (&facts.datacenter_name, &facts.dns_domain);
    let url = format!("http://sapi.{dc}.{domain}");
    sapi.put(
        Kind::Application,
        json!({
            "uuid": ids::SDC, "name": "sdc", "owner_uuid": ids::ADMIN,
            "params": {}, "metadata": {
                "datacenter_name": dc, "dns_domain": domain,
                "region_name": facts.region_name, "sapi-url": url,
                "ufds_admin_uuid": ids::ADMIN,
            },
        }),
    );
    sapi.put(
        Kind::Application,
        json!({
            "uuid": ids::MANTA, "name": "manta", "owner_uuid": ids::POSEIDON,
            "params": {"delegate_dataset": true}, "metadata": {
                "REGION": facts.region_name, "DNS_DOMAIN": domain,
                "POSEIDON_UUID": ids::POSEIDON, "MANTAV": 2, "SAPI_URL": url,
            },
        }),
    );
    for (name, service, instance) in
        [("cns", ids::CNS, ids::CNS0), ("cmon", ids::CMON, ids::CMON0)]
    {
        sapi.put(
            Kind::Service,
            json!({
                "uuid": service, "name": name, "type": "vm",
                "application_uuid": ids::SDC,
                "params": {"image_uuid": ids::CORE_IMAGE},
                "metadata": {
                    "SERVICE_NAME": name,
                    "SERVICE_DOMAIN": format!("{name}.{dc}.{domain}"),
                },
            }),
        );
        sapi.put(
            Kind::Instance,
            json!({
                "uuid": instance, "service_uuid": service, "type": "vm",
                "params": {"alias": format!("{name}0")},
            }),
        );
    }
    sapi
}

/// Puts networks, packages, rules and images in stock.
pub(crate) fn fill(stock: &mut Stock) {
    let network = |uuid: &str, name: &str, net: [u8; 3]| {
        let [a, b, c] = net;
        Network {
            uuid: uuid.to_owned(),
            name: name.to_owned(),
            nic_tag: name.to_owned(),
            subnet: format!("{a}.{b}.{c}.0/24"),
            provision_start_ip: [a, b, c, 100].into(),
            provision_end_ip: [a, b, c, 249].into(),
            gateway: Some([a, b, c, 1].into()),
            resolvers: vec![[a, b, c, 11].into()],
            fabric: false,
        }
    };
    stock.networks = vec![
        network(ids::ADMIN_NETWORK, "admin", [10, 88, 0]),
        network(ids::EXTERNAL_NETWORK, "external", [192, 0, 2]),
        network(ids::MANTA_NETWORK, "manta", [10, 77, 77]),
    ];
    for (uuid, memory) in [(ids::SDC_1024, 1024), (ids::SDC_2048, 2048)] {
        stock.packages.push(json!({
            "uuid": uuid, "name": format!("sdc_{memory}"), "version": "1.0.0",
            "active": true, "max_physical_memory": memory,
            "max_swap": 2 * memory, "quota": 25600, "cpu_cap": 300,
        }));
    }
    for (number, protocol) in [(1, "tcp"), (2, "udp")] {
        let uuid = format!("11000000-0000-4000-8000-00000000000{number}");
        let rule = format!(
            "FROM subnet 10.88.0.0/24 TO tag \"smartdc_role\" ALLOW {protocol} \
             PORT all"
        );
        let rule = json!({
            "uuid": uuid, "enabled": true, "owner_uuid": ids::ADMIN,
            "rule": rule, "description": "allow the admin network",
            "version": "1893553445000.000001",
        });
        stock.rules.insert(uuid, rule);
    }
    let core = image(ids::CORE_IMAGE, "core", 1, None, &[]);
    stock.put_image(core);
    let origin = Some(ids::ORIGIN);
    for image in [
        image(ids::BASE, "minimal-64", 2, None, &["dev", "release"]),
        image(
            ids::ORIGIN,
            "triton-origin",
            3,
            Some(ids::BASE),
            &["dev", "release"],
        ),
        image(
            ids::OLD_PROMETHEUS_IMAGE,
            "mantav2-prometheus",
            4,
            origin,
            &["dev"],
        ),
        image(
            ids::PROMETHEUS_IMAGE,
            "mantav2-prometheus",
            5,
            origin,
            &["dev", "release"],
        ),
        image(ids::THANOS_IMAGE, "thanos", 6, origin, &["dev", "release"]),
        image(ids::GRAFANA_IMAGE, "grafana", 7, origin, &["dev", "release"]),
    ] {
        stock.put_update(image);
    }
}

fn image(
    uuid: &str,
    name: &str,
    day: u8,
    origin: Option<&str>,
    channels: &[&str],
) -> Value {
    let mut image = json!({
        "v": 2, "uuid": uuid, "name": name,
        "version": format!("main-2030010{day}T030405Z-g0a1b2c3"),
        "owner": "00000000-0000-0000-0000-000000000000",
        "state": "active", "disabled": false, "public": false,
        "published_at": format!("2030-01-0{day}T03:04:05.000Z"),
        "type": "zone-dataset", "os": "smartos",
        "files": [{"sha1": "da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "size": 12_345_678, "compression": "gzip"}],
        "tags": {"smartdc_service": true},
    });
    if let Some(origin) = origin {
        image["origin"] = json!(origin);
    }
    if !channels.is_empty() {
        image["channels"] = json!(channels);
    }
    image
}
