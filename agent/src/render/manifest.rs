// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The config manifest, `templates/<role>/manifest.toml`: what each template
//! becomes, who checks it and who reads it. Strict, because we write it.

use std::collections::BTreeMap;
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
    /// Expression over the model: false, and nobody needs it.
    pub(super) when: Option<String>,
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
    /// File beside the manifest, `NAME.tera` for tera. With engine copy or
    /// dashboard it may be all of a kind in a folder there: `rules/*.yml`.
    pub(super) template: String,
    /// What makes the file of it.
    #[serde(default)]
    pub(super) engine: Engine,
    /// Expression over the model: false, and there is no such file.
    pub(super) when: Option<String>,
    /// Absolute path; may use the model (`{{ paths.etc }}/x.yml`). A folder,
    /// where the template is all of a kind.
    pub(super) target: String,
    /// Permission bits, octal in quotes.
    pub(super) mode: Mode,
    /// User that owns it; left out, the agent's.
    pub(super) owner: Option<String>,
    /// Checker's argv; `{staged}` stands for the staged file.
    #[serde(default)]
    pub(super) check: Vec<String>,
    /// The command line it becomes, judged by our table of flags.
    pub(super) flags: Option<CommandLine>,
    /// The daemon that reads it.
    pub(super) daemon: Option<String>,
    /// What the daemon needs when it changed.
    #[serde(default)]
    pub(super) on_change: OnChange,
}

/// What makes a file of a template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Engine {
    /// tera, over the model.
    #[default]
    Tera,
    /// Mustache as config manifests have it, over the model.
    Mustache,
    /// Nothing: the bytes as they are.
    Copy,
    /// A Grafana dashboard, from its description.
    Dashboard,
}

/// Whose command line a file of flags becomes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommandLine {
    /// The program; its table is `<program>-flags.json` beside the manifest.
    pub(super) program: String,
    /// Its subcommand, if it has any.
    pub(super) command: Option<String>,
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
    /// Expression over the model: false, and the daemon shall not run.
    pub when: Option<String>,
    /// `POST` here reloads and answers 200, or says why not. Left out: the
    /// service manager's refresh, which cannot say.
    pub reload_url: Option<String>,
    /// Answers 200 once the daemon is up.
    pub ready_url: Option<String>,
    /// Further files it reads (keys, certificates): a change reloads it too.
    #[serde(default)]
    pub reads: Vec<String>,
    /// Further files it reads, at its start and never again: a change
    /// restarts it. An empty text is no file.
    #[serde(default)]
    pub starts_with: Vec<String>,
    /// Digests of such files as they were when they were judged, by path: one
    /// that changes afterwards restarts nothing before it is judged too.
    #[serde(skip)]
    pub judged: BTreeMap<String, String>,
}

impl DaemonSpec {
    /// The same with each text passed through `line`.
    pub(super) fn expand(
        &self,
        line: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Self, String> {
        let url =
            |text: &Option<String>| text.as_deref().map(&line).transpose();
        let files = |list: &[String]| {
            let all = list.iter().map(|text| line(text));
            let all = all.filter(|text| text.as_deref() != Ok(""));
            all.collect::<Result<_, _>>()
        };
        Ok(Self {
            name: self.name.clone(),
            when: None,
            reload_url: url(&self.reload_url)?,
            ready_url: url(&self.ready_url)?,
            reads: files(&self.reads)?,
            starts_with: files(&self.starts_with)?,
            judged: BTreeMap::new(),
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

/// All files of a kind in a folder beside the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob<'a> {
    /// The folder.
    pub(super) folder: &'a str,
    /// How their names end, with the dot.
    pub(super) ending: &'a str,
}

impl<'a> Glob<'a> {
    /// Reads `FOLDER/*.EXTENSION`; `None` if it is not that.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (folder, ending) = text.split_once("/*")?;
        let plain = |text: &str| {
            !text.is_empty() && text != ".." && !text.contains(['/', '*'])
        };
        (plain(folder) && plain(ending) && ending.starts_with('.'))
            .then_some(Self { folder, ending })
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
        let good = match Glob::parse(&file.template) {
            Some(_) => {
                matches!(file.engine, Engine::Copy | Engine::Dashboard)
            }
            None => !file.template.contains(['/', '*']),
        };
        if !good {
            return inconsistent(format!(
                "template {:?} must lie beside the manifest, or be \
                 FOLDER/*.EXTENSION with engine copy or dashboard",
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
