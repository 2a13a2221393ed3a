// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Steps in words, for verb plan.

use std::path::PathBuf;

use serde::Serialize;

use super::Step;
use crate::artifacts::{Artifact, Made};
use crate::recipe::{Brand, Mode};

/// A step in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What is done.
    pub action: &'static str,
    /// With what.
    pub what: String,
    /// Where in the image.
    pub to: String,
    /// Which bytes: digests, versions, counts.
    pub detail: String,
}

impl Step {
    /// For the table and the JSON of verb plan; `brand` is the plan's.
    pub fn line(&self, brand: Brand) -> Line {
        let (action, what, to, detail) = match self {
            Self::Component { name, artifact, to, patches, .. } => {
                let version = &artifact.version;
                let what = format!("{name} {version}");
                ("component", what, to, detail(artifact, brand, patches))
            }
            Self::Remove { path, content } => {
                let what = if *content { "what is below" } else { "all" };
                ("remove", what.into(), path, String::new())
            }
            Self::Folder { path, mode } => {
                ("folder", String::new(), path, octal(*mode))
            }
            Self::Program { name, from, to, .. } => {
                ("program", name.clone(), to, from.display().to_string())
            }
            Self::Files { from, files, mode } => {
                let to = files.first().map(|(_, to)| to);
                let detail = match files.len() {
                    1 => octal(*mode),
                    count => format!("{} {count} files", octal(*mode)),
                };
                return Line {
                    action: "files",
                    what: from.clone(),
                    to: to.map(ToString::to_string).unwrap_or_default(),
                    detail,
                };
            }
            Self::Text { path, mode, .. } => {
                ("text", String::new(), path, octal(*mode))
            }
            Self::Linker { path, .. } => {
                ("linker", String::new(), path, String::new())
            }
            Self::Link { path, target, .. } => {
                ("link", target.clone(), path, String::new())
            }
        };
        Line { action, what, to: to.to_string(), detail }
    }

    /// What its bytes are counted under in the report of sizes.
    pub fn owner(&self) -> &str {
        match self {
            Self::Component { name, .. } | Self::Program { name, .. } => name,
            _ => "files of ours",
        }
    }
}

fn octal(mode: Mode) -> String {
    format!("{:04o}", mode.0)
}

fn detail(artifact: &Artifact, brand: Brand, patches: &[PathBuf]) -> String {
    let mut words = Vec::new();
    if let Some(made) = artifact.made(brand) {
        words.push(made.noun().to_owned());
        let digests = made.sources();
        let digests = digests.iter().filter_map(|(_, s)| s.sha256.as_ref());
        words.extend(digests.map(|d| format!("sha256:{}", &d.as_str()[..12])));
        if let Made::DebianRoot(root) = made
            && let Some(lock) = &root.lock
        {
            words.push(format!("{} packages locked", lock.deb.len()));
        }
    }
    match patches.len() {
        0 => {}
        1 => words.push("1 patch".to_owned()),
        many => words.push(format!("{many} patches")),
    }
    words.join(" ")
}
