// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.
//! Prometheus zones of several sites, from metadata to files: reviewed as
//! snapshots, approved by the daemons' own checkers, and put in force from
//! whatever metadata says.

use std::path::{Path, PathBuf};

use localdc::sites::{self as paper, peer, render, templates, text};
use monitoring_agent::metadata::meaning::Site;
use monitoring_agent::model::{Caps, Flavor, Model, Peer, Peers, Role};
use monitoring_agent::render::Output;
use serde_json::{Value, json};

mod mutations;
mod sites;

/// The zone's own instance.
const OWN: &str = "c0000000-0000-4000-8000-000000000001";

fn site(root: &Path, peers: Vec<Peer>) -> Site {
    Site {
        compaction: true,
        root: root.to_owned(),
        role: Role::Prometheus,
        flavor: Flavor::Triton,
        instance: OWN.to_owned(),
        cmon_domain: Some("cmon.dc1.cns.t.test".to_owned()),
        peers: Peers::from(peers),
        agent_address: ([127, 0, 0, 1], 9165).into(),
        // What sapi gives a Prometheus zone today, and a processor and a half.
        caps: Caps {
            memory_bytes: Some(1 << 30),
            cpu_percent: Some(150),
            quota_bytes: Some(25 << 30),
        },
    }
}

/// This zone as SAPI lists it.
fn own() -> Peer {
    Peer {
        instance: OWN.to_owned(),
        own: true,
        ..peer("prometheus", "prometheus0", 1, 30)
    }
}

/// What comes of the metadata of every zone, with `more` over it.
fn read(more: Value, site: &Site) -> Result<Model, String> {
    let base = json!({
        "datacenter_name": "dc1", "dns_domain": "t.test",
        "auto": {"ADMIN_IP": "10.1.0.30"},
    });
    paper::read(&paper::merged(base, more), site)
}

/// What checkers look for beside the files: a certificate for CMON, and
/// Alertmanager under the name it has in the image. Gives the folder that
/// goes before PATH.
fn surroundings(root: &Path) -> PathBuf {
    let tls = root.join("data/prometheus/tls");
    std::fs::create_dir_all(&tls).expect("it can be written");
    for name in ["cmon.crt", "cmon.key"] {
        std::fs::write(tls.join(name), "").expect("it can be written");
    }
    let bin = root.join("bin");
    std::fs::create_dir_all(&bin).expect("it can be written");
    let here = bin.join("alertmanager");
    if !here.exists() {
        let debian = "/usr/bin/prometheus-alertmanager";
        std::os::unix::fs::symlink(debian, here).expect("it can be linked");
    }
    bin
}
