// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The config manifest, `templates/<role>/manifest.toml`: what each template
//! becomes, who checks it and who reads it. Strict, because we write it.

use std::path::Path;

use serde::{Deserialize, Deserializer};

use super::RenderError;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigManifest {
    /// Files to render.
    pub(super) file: Vec<File>,
    /// Daemons that read them.
    #[serde(default)]
    pub(super) daemon: Vec<DaemonSpec>,
    /// Folders the daemons need.
    #[serde(default)]
    pub(super) directory: Vec<DirectoryEntry>,
}

/// A folder that must exist.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DirectoryEntry {
    /// Absolute path; may use the model.
    pub(super) path: String,
    /// Permission bits, octal in quotes.
    pub(super) mode: Mode,
    /// User that owns it; left out, the agent's.
    pub(super) owner: Option<String>,
}

/// One file to render.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// Template beside the manifest, `NAME.tera`.
    pub(super) template: String,
    /// Absolute path; may use the model (`{{ paths.etc }}/x.yml`).
    pub(super) target: String,
    /// Permission bits, octal in quotes.
    pub(super) mode: Mode,
    /// User that owns it; left out, the agent's.
    pub(super) owner: Option<String>,
    /// Checker's argv; `{staged}` stands for the staged file.
    #[serde(default)]
    pub(super) check: Vec<String>,
    /// The daemon that reads it.
    pub(super) daemon: Option<String>,
    /// What the daemon needs when it changed.
    #[serde(default)]
    pub(super) on_change: OnChange,
}

impl File {
    /// The template's name without `.tera`.
    pub(super) fn name(&self) -> &str {
        self.template.strip_suffix(".tera").unwrap_or(&self.template)
    }
}

/// What a daemon needs when a file changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnChange {
    /// Read it again while running.
    #[default]
    Reload,
    /// Start anew: command line flags.
    Restart,
}

/// A daemon and how it takes a new configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DaemonSpec {
    /// Name of the SMF service or systemd unit.
    pub name: String,
    /// `POST` here reloads and answers 200, or says why not. Left out: the
    /// service manager's refresh, which cannot say.
    pub reload_url: Option<String>,
    /// Answers 200 once the daemon is up.
    pub ready_url: Option<String>,
    /// Further files it reads (keys, certificates): a change reloads it too.
    #[serde(default)]
    pub reads: Vec<String>,
}

impl DaemonSpec {
    /// The same with each text passed through `line`.
    pub(super) fn expand(
        &self,
        line: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Self, String> {
        let url =
            |text: &Option<String>| text.as_deref().map(&line).transpose();
        Ok(Self {
            name: self.name.clone(),
            reload_url: url(&self.reload_url)?,
            ready_url: url(&self.ready_url)?,
            reads: self
                .reads
                .iter()
                .map(|r| line(r))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// Permission bits, written `"0640"`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode(u32);

impl Mode {
    pub(super) fn bits(self) -> u32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        match u32::from_str_radix(&text, 8) {
            Ok(bits) if bits <= 0o7777 && text.len() == 4 => Ok(Self(bits)),
            _ => Err(serde::de::Error::custom(format!(
                "mode {text:?} is not four octal digits such as \"0640\""
            ))),
        }
    }
}

/// Reads a manifest's text; `path` is for messages.
pub(super) fn parse(
    text: &str,
    path: &Path,
) -> Result<ConfigManifest, RenderError> {
    let manifest: ConfigManifest = toml::from_str(text).map_err(|e| {
        RenderError::Manifest { path: path.to_owned(), source: Box::new(e) }
    })?;
    let inconsistent = |reason: String| {
        Err(RenderError::Inconsistent { path: path.to_owned(), reason })
    };
    for file in &manifest.file {
        if file.template.contains('/') {
            return inconsistent(format!(
                "template {:?} must lie beside the manifest",
                file.template
            ));
        }
        if let Some(daemon) = &file.daemon
            && !manifest.daemon.iter().any(|d| d.name == *daemon)
        {
            return inconsistent(format!(
                "{} names daemon {daemon:?}, which has no [[daemon]]",
                file.template
            ));
        }
        if !file.check.is_empty()
            && !file.check.iter().any(|w| w.contains("{staged}"))
        {
            return inconsistent(format!(
                "the check of {} never mentions {{staged}}",
                file.template
            ));
        }
    }
    Ok(manifest)
}
