// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A `Model` becomes files in memory. Nothing here touches a target: every
//! file is rendered before any is written.
//!
//! Two engines, one result: tera for the templates we ship, and a compatible
//! engine (`hogan`) for the manifests that SAPI and local folders carry.

pub mod dashboard;
mod engine;
mod flags;
pub mod hogan;
pub mod manifest;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tera::Context;

pub use dashboard::{DashboardError, dashboard};
pub use engine::tera_text;
use engine::{holds, line, tera_in, tera_reason};
pub use manifest::{DaemonSpec, OnChange};
use manifest::{Engine, Glob};

/// Templates larger than this are a mistake, bytes.
const TEMPLATE_LIMIT: u64 = 1 << 20;

/// One file, ready to be put in force.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    /// What status and log call it.
    pub name: String,
    /// Absolute path.
    pub target: PathBuf,
    /// The content.
    pub bytes: Vec<u8>,
    /// Permission bits; `None` keeps those of the file in place.
    pub mode: Option<u32>,
    /// Holds a secret: without `mode`, a new file is for its owner alone.
    pub secret: bool,
    /// User that shall own it; `None` keeps the owner.
    pub owner: Option<String>,
    /// Checker's argv; `{staged}` stands for the staged file. Empty: none.
    pub check: Vec<String>,
    /// What follows a change.
    pub then: Then,
}

impl std::fmt::Debug for Rendered {
    // Contents may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rendered")
            .field("name", &self.name)
            .field("target", &self.target)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// What follows when a file's bytes changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing; whoever reads it looks for itself.
    Nothing,
    /// A daemon reads it.
    Daemon(String, OnChange),
    /// A shell command, as SAPI manifests have it (`post_cmd`).
    Command(String),
}

/// A file that could not be rendered; the rest of its daemon's files wait
/// with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// What status and log call it.
    pub name: String,
    /// The daemon whose files it belongs to, if any.
    pub daemon: Option<String>,
    /// The cause, joined.
    pub reason: String,
}

/// Everything one pass wants in force.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Files to put in force.
    pub files: Vec<Rendered>,
    /// Files that failed.
    pub failed: Vec<Failed>,
    /// Daemons that read them.
    pub daemons: Vec<DaemonSpec>,
    /// Daemons that shall not run.
    pub unwanted: Vec<String>,
    /// Folders that must exist first.
    pub directories: Vec<Directory>,
}

/// A folder that a daemon needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Absolute path.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// User that shall own it.
    pub owner: Option<String>,
}

impl Output {
    /// Adds the files of another pass over other templates.
    pub fn append(&mut self, mut other: Self) {
        self.files.append(&mut other.files);
        self.failed.append(&mut other.failed);
        self.daemons.append(&mut other.daemons);
        self.unwanted.append(&mut other.unwanted);
        self.directories.append(&mut other.directories);
    }
}

/// Why a folder of templates cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A file of the folder could not be read.
    #[error("could not read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// `manifest.toml` is not what it must be.
    #[error("{path} is not a config manifest")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// `manifest.toml` contradicts itself.
    #[error("{path}: {reason}")]
    Inconsistent {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// The templates of one role, as found on disk.
#[derive(Clone, Debug)]
pub struct TemplateSet {
    folder: String,
    manifest: manifest::ConfigManifest,
    /// Template name to its text, or why it could not be read.
    texts: BTreeMap<String, Result<String, String>>,
    /// `FOLDER/*.EXTENSION` to the names of what is there.
    kinds: BTreeMap<String, Vec<String>>,
}

impl TemplateSet {
    /// Reads `dir/manifest.toml` and the templates it names.
    ///
    /// A template that cannot be read fails its own file later, not the set.
    pub fn load(dir: &Path) -> Result<Self, RenderError> {
        let path = dir.join("manifest.toml");
        let text = read_text(&path).map_err(|source| RenderError::Read {
            path: path.clone(),
            source,
        })?;
        let manifest = manifest::parse(&text, &path)?;
        let mut texts = BTreeMap::new();
        let mut kinds = BTreeMap::new();
        for file in &manifest.file {
            let mut names = vec![file.template.clone()];
            if let Some(glob) = Glob::parse(&file.template) {
                names = list(dir, &glob).map_err(|source| {
                    RenderError::Read { path: dir.join(glob.folder), source }
                })?;
                kinds.insert(file.template.clone(), names.clone());
            }
            if let Some(line) = &file.flags {
                names.push(table(&line.program));
            }
            for name in names {
                let text = read_text(&dir.join(&name))
                    .map_err(|e| format!("could not read {name}: {e}"));
                texts.insert(name, text);
            }
        }
        let folder = dir
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        Ok(Self { folder, manifest, texts, kinds })
    }

    /// The daemons that read what it makes.
    pub fn daemons(&self) -> impl Iterator<Item = &str> {
        self.manifest.daemon.iter().map(|daemon| daemon.name.as_str())
    }

    /// Why templates that the manifest names could not be read.
    pub fn unreadable(&self) -> impl Iterator<Item = &str> {
        let faults = self.texts.values().filter_map(|text| text.as_ref().err());
        faults.map(String::as_str)
    }

    /// Renders every file of the set from `model`.
    ///
    /// A template that fails costs its own file; what else its daemon reads
    /// is held back later, by `apply`.
    pub fn render<M: Serialize>(&self, model: &M) -> Output {
        let mut output = Output::default();
        let mustache = |file: &manifest::File| file.engine == Engine::Mustache;
        let mustache = self.manifest.file.iter().any(mustache);
        let scope = match Scope::new(model, mustache) {
            Ok(scope) => scope,
            Err(reason) => {
                output.failed.push(Failed {
                    name: self.folder.clone(),
                    daemon: None,
                    reason,
                });
                return output;
            }
        };
        let context = &scope.context;
        for file in &self.manifest.file {
            let one = [file.template.clone()];
            let templates = self.kinds.get(&file.template);
            for template in templates.map_or(&one[..], Vec::as_slice) {
                let plain = template.strip_suffix(".tera").unwrap_or(template);
                let name = format!("{}/{plain}", self.folder);
                match self.render_file(file, template, &name, &scope) {
                    Ok(Some(rendered)) => output.files.push(rendered),
                    Ok(None) => {}
                    Err(reason) => output.failed.push(Failed {
                        name,
                        daemon: file.daemon.clone(),
                        reason,
                    }),
                }
            }
        }
        for entry in &self.manifest.directory {
            let wanted = holds(entry.when.as_deref(), context);
            match wanted.and_then(|wanted| {
                wanted.then(|| line(&entry.path, context)).transpose()
            }) {
                Ok(None) => {}
                Ok(Some(path)) => output.directories.push(Directory {
                    path: PathBuf::from(path),
                    mode: entry.mode.bits(),
                    owner: entry.owner.clone(),
                }),
                Err(reason) => output.failed.push(Failed {
                    name: format!("{}/{}", self.folder, entry.path),
                    daemon: None,
                    reason,
                }),
            }
        }
        for daemon in &self.manifest.daemon {
            let wanted = holds(daemon.when.as_deref(), context);
            match wanted.and_then(|wanted| {
                let spec = || daemon.expand(|text| line(text, context));
                wanted.then(spec).transpose()
            }) {
                Ok(Some(daemon)) => output.daemons.push(daemon),
                Ok(None) => output.unwanted.push(daemon.name.clone()),
                Err(reason) => output.failed.push(Failed {
                    name: format!("{}/{}", self.folder, daemon.name),
                    daemon: Some(daemon.name.clone()),
                    reason,
                }),
            }
        }
        output
    }

    fn text(&self, name: &str) -> Result<&str, String> {
        match self.texts.get(name) {
            Some(Ok(text)) => Ok(text),
            Some(Err(reason)) => Err(reason.clone()),
            None => Err("no such template".to_owned()),
        }
    }

    /// One file; none where its condition does not hold.
    fn render_file(
        &self,
        file: &manifest::File,
        template: &str,
        name: &str,
        scope: &Scope,
    ) -> Result<Option<Rendered>, String> {
        let context = &scope.context;
        if !holds(file.when.as_deref(), context)? {
            return Ok(None);
        }
        let text = self.text(template)?;
        let rendered = match file.engine {
            Engine::Copy => text.to_owned(),
            Engine::Dashboard => dashboard(text, name)
                .map_err(|error| crate::log::chain(&error))?,
            Engine::Mustache => hogan::Template::parse(text)
                .and_then(|template| template.render(&scope.json))
                .map_err(|error| crate::log::chain(&error))?,
            Engine::Tera => tera_in(name, text, context)?,
        };
        let mut target = PathBuf::from(line(&file.target, context)?);
        if Glob::parse(&file.template).is_some()
            && let Some(name) = Path::new(template).file_name()
        {
            target.push(name);
            if file.engine == Engine::Dashboard {
                target.set_extension("json");
            }
        }
        let yaml =
            target.extension().is_some_and(|e| e == "yml" || e == "yaml");
        if yaml && file.engine != Engine::Copy {
            // A daemon's checker says the same, where there is one at hand.
            serde_yaml::from_str::<serde_yaml::Value>(&rendered)
                .map_err(|e| format!("what it renders is not YAML: {e}"))?;
        }
        if let Some(line) = &file.flags {
            let table = self.text(&table(&line.program))?;
            flags::check(table, line.command.as_deref(), &rendered)?;
        }
        let check = file
            .check
            .iter()
            .map(|word| line(word, context))
            .collect::<Result<_, _>>()?;
        Ok(Some(Rendered {
            name: name.to_owned(),
            target,
            bytes: rendered.into_bytes(),
            mode: Some(file.mode.bits()),
            secret: false,
            owner: file.owner.clone(),
            check,
            then: match &file.daemon {
                Some(daemon) => Then::Daemon(daemon.clone(), file.on_change),
                None => Then::Nothing,
            },
        }))
    }
}

/// What templates see, as each engine wants it.
struct Scope {
    context: Context,
    /// Null while no template is mustache.
    json: serde_json::Value,
}

impl Scope {
    fn new<M: Serialize>(model: &M, mustache: bool) -> Result<Self, String> {
        let context =
            Context::from_serialize(model).map_err(|e| tera_reason(&e))?;
        let json = match mustache {
            true => serde_json::to_value(model).map_err(|e| e.to_string())?,
            false => serde_json::Value::Null,
        };
        Ok(Self { context, json })
    }
}

/// The file with a program's flags.
fn table(program: &str) -> String {
    format!("{program}-flags.json")
}

/// What there is of a kind in `dir`, sorted.
fn list(dir: &Path, glob: &Glob<'_>) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir.join(glob.folder))? {
        let name = entry?.file_name();
        if let Some(name) = name.to_str()
            && name.ends_with(glob.ending)
            && !name.starts_with('.')
        {
            names.push(format!("{}/{name}", glob.folder));
        }
    }
    names.sort();
    Ok(names)
}

/// Whether a condition over the model holds; none always does.
fn read_text(path: &Path) -> std::io::Result<String> {
    let length = std::fs::metadata(path)?.len();
    if length > TEMPLATE_LIMIT {
        return Err(std::io::Error::other(format!(
            "{length} bytes is more than {TEMPLATE_LIMIT}"
        )));
    }
    std::fs::read_to_string(path)
}

#[cfg(test)]
mod grafana_tests;
#[cfg(test)]
mod tests;
