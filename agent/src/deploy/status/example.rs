// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A datacenter that is well, for tests to spoil: a pair of prometheus, one
//! thanos, one grafana, one CNS.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{
    AgentSeen, CnsSeen, ImageSeen, Look, NamesSeen, Picture, Seen, Shard,
    Shards, UploadsSeen, ZoneSeen,
};

/// When it is.
pub(crate) const NOW: u64 = 1_890_000_000;
/// A DNS zone that all replicate, and its serial.
pub(crate) const NAME: &str = "dc1.cns.triton.test";
pub(crate) const SERIAL: u32 = 407_825_025;

pub(crate) fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(0xd000_0000 << 96 | number)
}

pub(crate) fn image(name: &str, day: u8) -> ImageSeen {
    ImageSeen {
        uuid: Uuid::from_u128(u128::from(day)),
        name: name.to_owned(),
        version: format!("main-203001{day:02}T030405Z-g0a1b2c3"),
        published_at: format!("2030-01-{day:02}T03:04:05.000Z"),
    }
}

pub(crate) fn agent(role: &str, daemons: &[&str]) -> AgentSeen {
    let names = NamesSeen {
        serial: Some(SERIAL),
        age_seconds: Some(12),
        ..NamesSeen::default()
    };
    AgentSeen {
        version: "0.1.0".to_owned(),
        role: role.to_owned(),
        daemons: daemons.iter().map(|d| ((*d).to_owned(), true)).collect(),
        revision: Some("0123456789abcdef".repeat(4)),
        shared_revision: Some("fedcba9876543210".repeat(4)),
        revision_age_seconds: Some(3 * 86_400),
        sapi_age_seconds: Some(30),
        names: [(NAME.to_owned(), names)].into_iter().collect(),
        certificates: [("cmon.crt".to_owned(), 200 * 86_400)].into(),
        data_size_bytes: Some(100 << 30),
        data_available_bytes: Some(60 << 30),
        clock_ahead_seconds: Some(0),
        ..AgentSeen::default()
    }
}

fn instance(number: u8, service: &str, server: u8, agent: AgentSeen) -> Seen {
    let image = Look::Seen(image(service, 5));
    Seen {
        application: "sdc".to_owned(),
        service: service.to_owned(),
        uuid: uuid(number.into()),
        alias: format!("{service}{}", number % 10),
        zone: Look::Seen(Some(ZoneSeen {
            state: "running".to_owned(),
            server: Some(Uuid::from_u128(server.into())),
            hostname: format!("cn{server}"),
            server_status: "running".to_owned(),
            quota_gib: 200,
            image: image.clone(),
        })),
        address: Some([10, 88, 0, 50 + number].into()),
        wanted_image: image,
        health: Look::Seen(()),
        agent: Look::Seen(agent),
        ..Seen::default()
    }
}

/// The picture.
pub(crate) fn picture() -> Picture {
    let mut all = Vec::new();
    for number in [0, 1] {
        let mut agent = agent("prometheus", &["prometheus", "thanos-sidecar"]);
        agent.discovery_up = Some(true);
        agent.targets = Some(120);
        let mut one = instance(number, "prometheus", number + 1, agent);
        one.groups = vec!["shard-0".to_owned()];
        let uploads = UploadsSeen {
            last: Some(NOW - 3000),
            started: Some(NOW - 900_000),
            uploads: 125,
            prometheus_up: Some(true),
            ..UploadsSeen::default()
        };
        one.uploads =
            [("thanos-sidecar".to_owned(), Look::Seen(uploads))].into();
        all.push(one);
    }
    let thanos = agent("thanos", &["thanos-query", "thanos-compact"]);
    let mut thanos = instance(10, "thanos", 1, thanos);
    thanos.bucket = Some("S3 manta.test metrics".to_owned());
    let compact = Look::Seen(UploadsSeen::default());
    thanos.uploads = [("thanos-compact".to_owned(), compact)].into();
    all.push(thanos);
    let mut grafana = agent("grafana", &["grafana", "nginx"]);
    grafana.certificates = [("server.crt".to_owned(), 90 * 86_400)].into();
    all.push(instance(20, "grafana", 2, grafana));
    let members = [uuid(0), uuid(1)].into_iter().collect();
    let zones: BTreeMap<String, Option<u32>> =
        [(NAME.to_owned(), Some(SERIAL))].into();
    Picture {
        datacenter: "dc1.triton.test".to_owned(),
        at: NOW,
        instances: all,
        cns: vec![CnsSeen {
            alias: "cns0".to_owned(),
            address: Some([10, 88, 0, 36].into()),
            zones: Look::Seen(zones),
        }],
        shards: Look::Seen(Shards {
            shards: [("shard-0".to_owned(), Shard { members, zones: 120 })]
                .into(),
            imbalance: 1.0,
            ..Shards::default()
        }),
        missed: Vec::new(),
    }
}

/// Its agents, to be spoilt.
impl Seen {
    pub(crate) fn agent_mut(&mut self) -> &mut AgentSeen {
        match &mut self.agent {
            Look::Seen(agent) => agent,
            other => panic!("no agent: {other:?}"),
        }
    }

    pub(crate) fn running_zone(&mut self) -> &mut ZoneSeen {
        match &mut self.zone {
            Look::Seen(Some(zone)) => zone,
            other => panic!("no zone: {other:?}"),
        }
    }
}
