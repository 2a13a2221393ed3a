// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Thanos zones of several sites, from metadata to files: reviewed as
//! snapshots, their flags checked against the table of what Thanos takes.

use std::path::{Path, PathBuf};

use localdc::sites::{self as paper, peer, text};
use monitoring_agent::metadata::meaning::Site;
use monitoring_agent::model::{Caps, Flavor, Model, Peer, Peers, Role};
use monitoring_agent::render::Output;
use serde_json::{Value, json};

mod among;
mod mutations;
mod regions;
mod sites;

/// The zone's own instance.
const OWN: &str = "c0000000-0000-4000-8000-000000000001";

fn site(peers: Vec<Peer>) -> Site {
    Site {
        compaction: true,
        root: PathBuf::from("/"),
        role: Role::Thanos,
        flavor: Flavor::Triton,
        instance: OWN.to_owned(),
        cmon_domain: None,
        peers: Peers::from(peers),
        agent_address: ([127, 0, 0, 1], 9165).into(),
        caps: Caps::default(),
    }
}

/// A zone of 8 GiB, two processors and 100 GiB.
fn capped(site: Site) -> Site {
    let caps = Caps {
        memory_bytes: Some(8 << 30),
        cpu_percent: Some(200),
        quota_bytes: Some(100 << 30),
    };
    Site { caps, ..site }
}

/// This zone as SAPI lists it.
fn own(components: &[&str]) -> Peer {
    Peer {
        instance: OWN.to_owned(),
        own: true,
        components: components.iter().map(|&c| c.to_owned()).collect(),
        ..peer("thanos", "thanos0", 1, 50)
    }
}

fn bucket() -> Value {
    json!({"type": "S3", "config": {"bucket": "blocks",
        "endpoint": "buckets-api.m.test", "region": "us-east-1",
        "bucket_lookup_type": "path",
        "access_key": "key", "secret_key": "hush"}})
}

/// What comes of the metadata of every zone, with `more` over it.
fn read(more: Value, site: &Site) -> Result<Model, String> {
    let base = json!({
        "datacenter_name": "dc1", "dns_domain": "t.test",
        "region_name": "r1", "auto": {"ADMIN_IP": "10.1.0.50"},
    });
    paper::read(&paper::merged(base, more), site)
}

fn render(model: &Model) -> Output {
    paper::render(&paper::templates(), model)
}

/// One file of a zone, by the end of its path.
fn file(output: &Output, name: &str) -> String {
    let file = output
        .files
        .iter()
        .find(|file| file.target.ends_with(name))
        .unwrap_or_else(|| panic!("no {name}"));
    String::from_utf8(file.bytes.clone()).expect("it is a text")
}

fn daemons(output: &Output) -> Vec<&str> {
    output.daemons.iter().map(|daemon| daemon.name.as_str()).collect()
}
