// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Files that go together because one reader reads them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::commit::{self, Present, Staged};
use super::report::{Outcome, Report};
use crate::render::{DaemonSpec, Output, Rendered, Then};

/// Files that go together, and who reads them.
pub(super) struct Unit<'a> {
    pub(super) key: String,
    pub(super) files: Vec<&'a Rendered>,
    /// Digest of each file's bytes.
    pub(super) digests: Vec<String>,
    pub(super) reader: Reader<'a>,
    /// Why nothing of it may be written, if so.
    pub(super) held: Option<String>,
    pub(super) staged: Vec<(usize, Staged, Change)>,
}

/// How a target differs from what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing stands there, and never did.
    Absent,
    /// Nothing stands there any more.
    Gone,
    /// Other content, not ours.
    New,
    /// Other content, although ours was in force: someone changed it.
    Drift,
    /// Only mode or owner differ; its reader need not know.
    Access,
}

pub(super) enum Reader<'a> {
    Nobody,
    Daemon(&'a DaemonSpec),
    Command(&'a str),
}

impl<'a> Unit<'a> {
    fn add(&mut self, file: &'a Rendered) {
        self.files.push(file);
        self.digests.push(commit::sha256(&file.bytes));
    }

    /// Digest over everything the unit's reader reads.
    pub(super) fn digest(&self) -> String {
        let mut parts = String::new();
        for (file, digest) in self.files.iter().zip(&self.digests) {
            parts.push_str(digest);
            parts.push_str(&file.target.to_string_lossy());
            parts.push('\0');
        }
        match &self.reader {
            Reader::Nobody => {}
            Reader::Command(command) => parts.push_str(command),
            Reader::Daemon(daemon) => {
                parts.push_str(&content(&daemon.reads, &BTreeMap::new()));
                let judged = &daemon.judged;
                parts.push_str(&content(&daemon.starts_with, judged));
            }
        }
        commit::sha256(parts.as_bytes())
    }

    /// Digest over what its daemon reads at its start alone and is not ours
    /// to write; `None` when there is no such thing.
    pub(super) fn started_with(&self) -> Option<String> {
        match &self.reader {
            Reader::Daemon(daemon) => {
                let content = content(&daemon.starts_with, &daemon.judged);
                let there = !content.is_empty();
                there.then(|| commit::sha256(content.as_bytes()))
            }
            _ => None,
        }
    }
}

/// Digests of those files that are there, or were when they were judged.
fn content(paths: &[String], judged: &BTreeMap<String, String>) -> String {
    let mut parts = String::new();
    for path in paths {
        if let Some(digest) = judged.get(path) {
            parts.push_str(digest);
            continue;
        }
        if let Ok(Present::File { bytes, .. }) = commit::look(Path::new(path)) {
            parts.push_str(&commit::sha256(&bytes));
        }
    }
    parts
}

/// Groups files by their reader. Of two with one target the later, which is
/// the role's own, stays: two writers would undo each other for ever.
pub(super) fn units<'a>(
    output: &'a Output,
    report: &mut Report,
) -> Vec<Unit<'a>> {
    let mut units: Vec<Unit<'_>> = Vec::new();
    let mut daemons: HashMap<&str, usize> = HashMap::new();
    let last: HashMap<&Path, &str> = output
        .files
        .iter()
        .map(|file| (file.target.as_path(), file.name.as_str()))
        .collect();
    for file in &output.files {
        let owner = last[file.target.as_path()];
        if owner != file.name {
            let reason = format!("its target is also that of {owner}");
            report.file(&file.name, None, Outcome::Failed(reason));
            continue;
        }
        let alone = || format!("file:{}", file.target.display());
        let (key, reader, held) = match &file.then {
            Then::Daemon(name, _) => {
                if let Some(at) = daemons.get(name.as_str()) {
                    units[*at].add(file);
                    continue;
                }
                daemons.insert(name, units.len());
                let spec = output.daemons.iter().find(|d| d.name == *name);
                let failed = output
                    .failed
                    .iter()
                    .find(|failed| failed.daemon.as_ref() == Some(name));
                (
                    format!("daemon:{name}"),
                    spec.map_or(Reader::Nobody, Reader::Daemon),
                    failed.map(|failed| {
                        format!("{} did not render", failed.name)
                    }),
                )
            }
            Then::Command(command) => (alone(), Reader::Command(command), None),
            Then::Nothing => (alone(), Reader::Nobody, None),
        };
        let mut unit = Unit {
            key,
            files: Vec::new(),
            digests: Vec::new(),
            reader,
            held,
            staged: Vec::new(),
        };
        unit.add(file);
        units.push(unit);
    }
    units
}
