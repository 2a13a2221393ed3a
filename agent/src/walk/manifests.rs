// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Config manifests of SAPI and of local folders become files in memory.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::metadata::resolve::ResolvedManifest;
use crate::render::hogan::Template;
use crate::render::{Failed, Output, Rendered, Then};

/// Renders each manifest over `context`, its path below `root`. One that
/// fails costs its own file and no other.
///
/// On Linux `post_cmd_linux` is run, and `post_cmd` where there is none: the
/// Linux branch of the Node agent ran nothing then, but a manifest of this
/// zone that names one command means it for the zone's own system.
pub fn render_manifests(
    manifests: &[ResolvedManifest],
    context: &Value,
    root: &Path,
    linux: bool,
) -> Output {
    let mut output = Output::default();
    for ResolvedManifest { manifest, origin } in manifests {
        let rendered = Template::parse(&manifest.template)
            .and_then(|template| template.render(context));
        let text = match rendered {
            Ok(text) => text,
            Err(error) => {
                output.failed.push(Failed {
                    name: manifest.name.clone(),
                    daemon: None,
                    reason: format!(
                        "template from {origin}: {}",
                        crate::log::chain(&error)
                    ),
                });
                continue;
            }
        };
        let command = if linux {
            manifest.post_cmd_linux.as_ref().or(manifest.post_cmd.as_ref())
        } else {
            manifest.post_cmd.as_ref()
        };
        output.files.push(Rendered {
            name: manifest.name.clone(),
            target: below(root, &manifest.path),
            bytes: text.into_bytes(),
            mode: None,
            secret: false,
            owner: None,
            check: Vec::new(),
            then: match command {
                Some(command) if !command.trim().is_empty() => {
                    Then::Command(command.clone())
                }
                _ => Then::Nothing,
            },
        });
    }
    output
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
