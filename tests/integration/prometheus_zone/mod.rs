// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.
//! Prometheus zones of several sites, from metadata to files: reviewed as
//! snapshots, approved by the daemons' own checkers, and put in force from
//! whatever metadata says.

use std::path::{Path, PathBuf};

use monitoring_agent::metadata::meaning::{Site, model};
use monitoring_agent::model::{Caps, Flavor, Model, Peer, Peers, Role};
use monitoring_agent::render::{Output, TemplateSet};
use serde_json::{Value, json};

mod mutations;
mod sites;

/// The zone's own instance.
const OWN: &str = "c0000000-0000-4000-8000-000000000001";

fn site(root: &Path, peers: Vec<Peer>) -> Site {
    Site {
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

/// The instance `alias` of `service` at `10.<dc>.0.<host>`.
fn peer(service: &str, alias: &str, dc: u8, host: u8) -> Peer {
    let instance = format!("{service}-{dc}-{host}-uuid");
    Peer {
        service: service.to_owned(),
        flavor: Flavor::Triton,
        datacenter: format!("dc{dc}"),
        region: Some("r1".to_owned()),
        alias: alias.to_owned(),
        name: format!("{instance}.{service}.dc{dc}.t.test"),
        address: Some([10, dc, 0, host].into()),
        shard: None,
        replica: None,
        components: Vec::new(),
        alertmanager: false,
        bucket: None,
        no_sidecar: false,
        own: false,
        listed_by: Default::default(),
        instance,
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

/// The metadata of every zone, with `more` over it.
fn metadata(more: Value) -> Value {
    let mut base = json!({
        "datacenter_name": "dc1", "dns_domain": "t.test",
        "auto": {"ADMIN_IP": "10.1.0.30"},
    });
    let more = more.as_object().expect("an object").clone();
    base.as_object_mut().expect("an object").extend(more);
    base
}

fn read(more: Value, site: &Site) -> Result<Model, String> {
    let all = metadata(more);
    model(all.as_object().expect("an object"), site).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(|p| p.to_string()).collect();
        lines.join("\n")
    })
}

/// Everything that a Prometheus zone renders, by the templates in `folder`.
fn render(folder: &Path, model: &Model) -> Output {
    let mut output = Output::default();
    for set in Role::Prometheus.template_sets() {
        let set = TemplateSet::load(&folder.join(set));
        output.append(set.expect("the templates load").render(model));
    }
    output
}

fn templates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates")
}

/// All files of a zone as one text; the rules of the image by name only.
fn text(output: &Output) -> String {
    let mut text = String::new();
    for file in &output.files {
        let mode = file.mode.expect("each has a mode");
        let owner = file.owner.as_deref().unwrap_or("-");
        let target = file.target.display();
        text.push_str(&format!("==> {target} {mode:04o} {owner}\n"));
        if !file.name.starts_with("prometheus/rules/") {
            text.push_str(&String::from_utf8_lossy(&file.bytes));
        }
    }
    for daemon in &output.daemons {
        let reload = daemon.reload_url.as_deref().unwrap_or("-");
        let ready = daemon.ready_url.as_deref().unwrap_or("-");
        text.push_str(&format!("{}: {ready} {reload}\n", daemon.name));
    }
    text
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
