// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The body of `GET /configs/:uuid`, all the way to rendered files: parse,
//! resolve against local manifests, render each template over the metadata.
//!
//! Nothing may panic, hang or grow without bound, and what holds for every
//! input is checked: a good manifest has a safe path, no two in force share a
//! name or a path, a rendering is the same twice.

#![no_main]

use std::collections::HashSet;
use std::path::Component;

use libfuzzer_sys::fuzz_target;
use monitoring_agent::metadata::auto::{MdataFacts, auto_metadata};
use monitoring_agent::metadata::config::{Parsed, SapiConfig};
use monitoring_agent::metadata::local::LocalManifest;
use monitoring_agent::metadata::resolve::{TemplateContext, resolve_manifests};
use monitoring_agent::render::hogan::{MAX_OUTPUT_BYTES, Template};
use serde_json::{Map, Value};

const MAX_BODY_BYTES: usize = 1 << 20;

fuzz_target!(|body: &[u8]| {
    let Ok(parsed) = SapiConfig::parse(body, MAX_BODY_BYTES) else { return };
    for problem in &parsed.problems {
        assert!(!problem.which.is_empty() && !problem.reason.is_empty());
    }
    let Parsed { config: SapiConfig { manifests, metadata }, .. } = parsed;
    let facts = facts(&metadata);
    let auto = auto_metadata(&facts, &facts.zonename);

    // Every third manifest plays a local one.
    let (mut sapi, mut local) = (Vec::new(), Vec::new());
    for (index, manifest) in manifests.into_iter().enumerate() {
        assert!(manifest.path.is_absolute());
        let mut components = manifest.path.components();
        assert!(components.all(|c| c != Component::ParentDir));
        if index % 3 == 2 {
            local.push(LocalManifest { manifest, dir: "/image".into() });
        } else {
            sapi.push(manifest);
        }
    }
    let resolved = resolve_manifests(sapi, local);
    for warning in &resolved.warnings {
        assert!(!warning.to_string().is_empty());
    }
    let (mut names, mut paths) = (HashSet::new(), HashSet::new());
    let context = TemplateContext::new(metadata, Map::new(), auto);
    for entry in &resolved.manifests {
        let manifest = &entry.manifest;
        assert!(names.insert(&manifest.name), "name twice");
        assert!(paths.insert(&manifest.path), "path twice");
        let Ok(template) = Template::parse(&manifest.template) else {
            continue;
        };
        let first = template.render(context.value());
        if let Ok(text) = &first {
            assert!(text.len() <= MAX_OUTPUT_BYTES);
            if !manifest.template.contains("{{") {
                assert_eq!(*text, manifest.template);
            }
        }
        assert_eq!(first, template.render(context.value()));
    }
});

/// The zone's own facts, out of the same bytes.
fn facts(metadata: &Map<String, Value>) -> MdataFacts {
    let text = |key| metadata.get(key).and_then(Value::as_str);
    MdataFacts {
        zonename: text("ZONE_UUID").unwrap_or_default().to_owned(),
        server_uuid: text("SERVER_UUID").map(str::to_owned),
        datacenter_name: text("datacenter_name").map(str::to_owned),
        nics: metadata.get("nics").cloned().unwrap_or_default(),
    }
}
