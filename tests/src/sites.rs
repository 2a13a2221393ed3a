// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Sites on paper: the instances that SAPI would list, and what is rendered
//! for a zone as one text, to be reviewed.

use std::path::{Path, PathBuf};

use monitoring_agent::metadata::meaning::{Site, model};
use monitoring_agent::model::{Flavor, Model, Peer};
use monitoring_agent::render::{Output, TemplateSet};
use serde_json::Value;

/// The instance `alias` of `service` at `10.<dc>.0.<host>`, Triton's.
pub fn peer(service: &str, alias: &str, dc: u8, host: u8) -> Peer {
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

/// All files of a zone as one text; the rules of the image by name only.
pub fn text(output: &Output) -> String {
    let mut text = String::new();
    for file in &output.files {
        let mode = file.mode.unwrap_or_default();
        let owner = file.owner.as_deref().unwrap_or("-");
        let target = file.target.display();
        text.push_str(&format!("==> {target} {mode:04o} {owner}\n"));
        if !file.name.contains("/rules/") {
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

/// `base` with the keys of `more` over its own. Both are objects.
pub fn merged(base: Value, more: Value) -> Value {
    let (Value::Object(mut base), Value::Object(more)) = (base, more) else {
        panic!("metadata is an object");
    };
    base.extend(more);
    Value::Object(base)
}

/// The model of metadata, or its problems, a line each.
pub fn read(metadata: &Value, site: &Site) -> Result<Model, String> {
    let map = metadata.as_object().expect("metadata is an object");
    model(map, site).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(|p| p.to_string()).collect();
        lines.join("\n")
    })
}

/// The templates that are shipped, a folder each set.
pub fn templates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates")
}

/// Everything that a zone of the model's role renders, by the sets in
/// `folder`; its resolver's apart.
pub fn render(folder: &Path, model: &Model) -> Output {
    let mut output = Output::default();
    for set in model.role.template_sets() {
        let set = TemplateSet::load(&folder.join(set));
        output.append(set.expect("the templates load").render(model));
    }
    output
}
