// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Config manifests of SAPI and of local folders become files in memory.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::metadata::config::ManifestEngine;
use crate::metadata::resolve::ResolvedManifest;
use crate::render::hogan::Template;
use crate::render::{Failed, Output, Rendered, Then, tera_text};

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
        let rendered = match manifest.engine {
            ManifestEngine::Mustache => Template::parse(&manifest.template)
                .and_then(|template| template.render(context))
                .map_err(|error| crate::log::chain(&error)),
            ManifestEngine::Tera => {
                tera_text(&manifest.name, &manifest.template, context)
            }
        };
        let text = match rendered {
            Ok(text) => text,
            Err(error) => {
                output.failed.push(Failed {
                    name: manifest.name.clone(),
                    daemon: None,
                    reason: format!("template from {origin}: {error}"),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::metadata::config::SapiConfig;
    use crate::metadata::resolve::resolve_manifests;

    #[test]
    fn a_manifest_says_what_renders_it() {
        let body = json!({"metadata": {}, "manifests": [
            {"name": "a", "path": "/a", "template": "{{x}}{{no}}"},
            {"name": "b", "path": "/b", "engine": "tera",
             "template": "{% if x %}{{ x | upper }}{% endif %}"},
            {"name": "c", "path": "/c", "engine": "tera", "template": "{{no}}"},
            {"name": "d", "path": "/d", "engine": "erb", "template": ""},
        ]});
        let parsed =
            SapiConfig::parse(body.to_string().as_bytes(), 1 << 20).unwrap();
        let problem = parsed.problems[0].to_string();
        assert!(problem.contains("mustache"), "{problem}");
        let resolved = resolve_manifests(parsed.config.manifests, Vec::new());
        let context = json!({"x": "<b>"});
        let output = render_manifests(
            &resolved.manifests,
            &context,
            Path::new("/"),
            true,
        );
        let texts: Vec<_> =
            output.files.iter().map(|file| &file.bytes[..]).collect();
        assert_eq!(texts, [&b"&lt;b&gt;"[..], b"<B>"]);
        assert_eq!(output.failed.len(), 1);
        assert!(output.failed[0].reason.contains("line 1"), "{output:?}");
    }
}
