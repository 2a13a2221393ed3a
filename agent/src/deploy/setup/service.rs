// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The service itself: its image brought here, its params and metadata in
//! shape. Of a service that is there, only what must be otherwise changes:
//! package, image and boot script stay as somebody chose them. Pure.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::blueprint::Blueprint;
use super::plan::Draft;
use super::step::Step;
use super::{Facts, Request};
use crate::triton::imgapi::Image;
use crate::triton::papi::Package;
use crate::triton::sapi::Service;

/// The only kind of image that SAPI can make zones of.
const KIND: &str = "zone-dataset";

/// Brings the image here.
pub(super) fn images(facts: &Facts, blueprint: &Blueprint, draft: &mut Draft) {
    let found = &facts.image;
    let Some(image) = &found.image else {
        let names = blueprint.images.join(" or ");
        draft.problem(format!(
            "image: saw none such here or in the channel, wanted {names}; \
             --image and --channel choose"
        ));
        return;
    };
    if !blueprint.images.contains(&image.name.as_str()) && !facts.kept_image {
        draft.problem(format!(
            "image {}: saw name {:?}, wanted {}",
            image.uuid,
            image.name,
            blueprint.images.join(" or ")
        ));
    }
    if image.kind != KIND {
        draft.problem(format!(
            "image {}: saw type {:?}, wanted {KIND}",
            image.uuid, image.kind
        ));
    }
    if found.broken {
        draft.problem(format!(
            "image {}: it, or an origin of it, is not in the channel it is to \
             come from; --channel chooses",
            image.uuid
        ));
    }
    for uuid in &found.disabled {
        draft.problem(format!(
            "image {uuid}: saw state \"disabled\" in the datacenter's IMGAPI, \
             wanted active: imgadm enable, or --image"
        ));
    }
    // Those that are built on others go first.
    for uuid in &found.stale {
        draft.step(Step::DropImage { uuid: *uuid });
    }
    for one in &found.missing {
        let origin_of = (one.uuid != image.uuid).then(|| called(image));
        let (uuid, what) = (one.uuid, called(one));
        draft.step(Step::ImportImage { uuid, what, origin_of });
    }
}

fn called(image: &Image) -> String {
    format!("{} {}", image.name, image.version)
}

/// The package, where there is exactly one.
pub(super) fn package(facts: &Facts) -> Option<&Package> {
    let mut active = facts.packages.iter().filter(|one| one.active);
    active.next().filter(|_| active.next().is_none())
}

/// Creates the service, or brings it into shape.
pub(super) fn service(
    facts: &Facts,
    request: &Request,
    fresh: &mut dyn FnMut() -> Uuid,
    draft: &mut Draft,
) {
    let blueprint = request.target.blueprint();
    let roster = facts.rosters.first();
    let set = roster.is_some_and(|one| {
        one.service.params.get("billing_id").is_some_and(Value::is_string)
    });
    let package_matters = !set || request.package.is_some();
    let package = package(facts);
    if package_matters && package.is_none() {
        let name = request.package.as_deref().unwrap_or(blueprint.package);
        let count = facts.packages.iter().filter(|one| one.active).count();
        draft.problem(format!(
            "package {name}: saw {count} active ones in PAPI, wanted one"
        ));
    }
    let image = facts.image.image.as_ref().map(|image| image.uuid);
    // Without them there is a problem, and no plan.
    let wanted = blueprint.params(
        image.unwrap_or_default(),
        package.map(|one| one.uuid).unwrap_or_default(),
    );
    let metadata = blueprint.metadata(&facts.domain);
    let Some(roster) = roster else {
        for name in blueprint.networks {
            let count = facts.networks.get(name).map_or(0, Vec::len);
            if count != 1 {
                draft.problem(format!(
                    "network {name}: saw {count} in NAPI, wanted one"
                ));
            }
        }
        let (uuid, params) = (fresh(), wanted);
        draft.step(Step::CreateService { uuid, params, metadata });
        return;
    };
    let mut drift = Drift::default();
    for (key, value) in wanted {
        let seen = roster.service.params.get(&key);
        let value = match key.as_str() {
            "image_uuid" if facts.kept_image => continue,
            "billing_id" if !package_matters => continue,
            // More closed than it must be, or chosen.
            "firewall_enabled" if seen == Some(&json!(true)) => continue,
            "archive_on_delete" | "maintain_resolvers"
                if seen.is_some_and(Value::is_boolean) =>
            {
                continue;
            }
            "tags" => joined(seen, value),
            "networks" => networks(facts, seen, value),
            _ => value,
        };
        drift.look("params", key, seen, value);
    }
    for (key, value) in metadata {
        let seen = roster.service.metadata.get(&key);
        let any = seen.and_then(Value::as_str).is_some_and(|s| !s.is_empty());
        if key == "user-script" && any {
            continue;
        }
        drift.look("metadata", key, seen, value);
    }
    drift.step(roster.service.uuid, draft);
}

/// Asks the zones of a service to run Alertmanager.
pub(super) fn alertmanager(service: &Service, draft: &mut Draft) {
    let seen = service.metadata.get("alertmanager");
    if seen != Some(&json!("true")) {
        let mut drift = Drift::default();
        let key = "alertmanager".to_owned();
        drift.look("metadata", key, seen, json!(true));
        drift.step(service.uuid, draft);
    }
    if !service.metadata.contains_key("alertmanager_config") {
        draft.note(
            "service prometheus, metadata alertmanager_config: saw nothing; \
             until it says whom to tell, nobody is told",
        );
    }
}

/// What is not as it should be.
#[derive(Default)]
struct Drift {
    params: Map<String, Value>,
    metadata: Map<String, Value>,
    lines: Vec<String>,
}

impl Drift {
    fn look(
        &mut self,
        field: &str,
        key: String,
        seen: Option<&Value>,
        wanted: Value,
    ) {
        if seen == Some(&wanted) {
            return;
        }
        // A boot script is no line.
        let shown = |value: &Value| match value {
            Value::String(text) if text.contains('\n') => "a text".to_owned(),
            other => other.to_string(),
        };
        let before = seen.map_or("nothing".to_owned(), shown);
        let after = shown(&wanted);
        self.lines.push(format!("{field} {key}: {before}, will be {after}"));
        match field {
            "params" => self.params.insert(key, wanted),
            _ => self.metadata.insert(key, wanted),
        };
    }

    fn step(self, service: Uuid, draft: &mut Draft) {
        let Self { params, metadata, lines: drift } = self;
        if !drift.is_empty() {
            draft.step(Step::UpdateService {
                service,
                params,
                metadata,
                drift,
            });
        }
    }
}

/// SAPI takes tags as one value: those of others stay in it.
fn joined(seen: Option<&Value>, wanted: Value) -> Value {
    let (Some(Value::Object(seen)), Value::Object(wanted)) = (seen, &wanted)
    else {
        return wanted;
    };
    let mut all = seen.clone();
    all.extend(wanted.clone());
    Value::Object(all)
}

/// As it is, where every wanted network is in it, by name or uuid; else with
/// those that are missing.
fn networks(facts: &Facts, seen: Option<&Value>, wanted: Value) -> Value {
    let Some(Value::Array(seen)) = seen else { return wanted };
    let names = |entry: &Value, name: &str| {
        let keys = ["name", "uuid", "ipv4_uuid"];
        let mut texts = keys.iter().filter_map(|key| entry[*key].as_str());
        let text = entry.as_str().or_else(|| texts.next());
        let known = facts.networks.get(name).into_iter().flatten();
        let uuids: Vec<_> = known.map(|one| one.uuid.to_string()).collect();
        text.is_some_and(|t| t == name || uuids.iter().any(|u| u == t))
    };
    let mut all = seen.clone();
    for entry in wanted.as_array().into_iter().flatten() {
        let name = entry["name"].as_str().unwrap_or_default();
        if !seen.iter().any(|one| names(one, name)) {
            all.push(entry.clone());
        }
    }
    Value::Array(all)
}
