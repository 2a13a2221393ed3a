// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The lock of a Debian: every package it is made of, with its digest, a line
//! each, so that a change of it reads well. Where a package comes from is
//! nothing the lock trusts; it says where others find it.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::artifacts::Sha256;
use crate::problem::Problems;

/// Largest package, bytes: well above any of Debian's.
const SIZE_MAX: u64 = 1 << 30;
/// The archives that a package may be of.
const ARCHIVES: &[&str] = &["debian", "debian-security"];

/// Every package of a root, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// When the archive was like this, as snapshot.debian.org writes times.
    pub snapshot: String,
    /// What mmdebstrap made of the packages, a tar: a build that makes another
    /// ends, and one that has it in the cache makes none. None: not said.
    pub root: Option<Sha256>,
    /// The packages.
    pub deb: Vec<Deb>,
}

/// One package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deb {
    /// Its name.
    pub name: String,
    /// Its version, epoch included.
    pub version: String,
    /// Its architecture, or `all`.
    pub architecture: String,
    /// Where it lies below a mirror, the archive's name first:
    /// `debian/pool/main/...`.
    pub path: String,
    /// Length, bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: Sha256,
}

impl Lock {
    /// Reads a file; `None`, where there is none.
    ///
    /// Errors: it does not parse, or all that is wrong with it.
    pub fn load(file: &Path) -> Result<Option<Self>> {
        match std::fs::read_to_string(file) {
            Ok(text) => Self::parse(&text, file).map(Some),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).with_context(|| format!("no {}", file.display())),
        }
    }

    /// Reads its text; `file` is named where something is wrong.
    pub fn parse(text: &str, file: &Path) -> Result<Self> {
        let lock: Self = toml::from_str(text)
            .with_context(|| format!("{} is no lock", file.display()))?;
        let mut problems = Problems::default();
        if !is_time(&lock.snapshot) {
            let wanted = "a time such as 20260131T235959Z";
            problems.add(file, "snapshot", &lock.snapshot, wanted);
        }
        if lock.deb.is_empty() {
            problems.add(file, "deb", "no package", "every package of a root");
        }
        for deb in &lock.deb {
            deb.judge(file, &mut problems);
        }
        for pair in lock.deb.windows(2) {
            if let [one, next] = pair
                && one.name >= next.name
            {
                let key = format!("deb.{}", next.name);
                let seen = format!("after {}", one.name);
                problems.add(file, key, seen, "each once, sorted by name");
            }
        }
        Ok(problems.or(lock)?)
    }

    /// Whether a package is in it.
    pub fn has(&self, name: &str) -> bool {
        self.deb.iter().any(|deb| deb.name == name)
    }
}

/// Its text, which parses to the same.
impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "snapshot = \"{}\"", self.snapshot)?;
        if let Some(root) = &self.root {
            writeln!(f, "root = \"{root}\"")?;
        }
        writeln!(f, "deb = [")?;
        for deb in &self.deb {
            let Deb { name, version, architecture, path, size, sha256 } = deb;
            writeln!(
                f,
                "    {{ name = \"{name}\", version = \"{version}\", \
                 architecture = \"{architecture}\", path = \"{path}\", \
                 size = {size}, sha256 = \"{sha256}\" }},"
            )?;
        }
        writeln!(f, "]")
    }
}

impl Deb {
    /// Source: deb-control(5) and Debian Policy, 5.6.1 and 5.6.12. No word
    /// may mean anything to apt, a shell or a URL.
    fn judge(&self, file: &Path, problems: &mut Problems) {
        let Self { name, version, architecture, path, size, .. } = self;
        let mut wrong = |key: &str, seen: &dyn fmt::Display, wanted: &str| {
            problems.add(file, format!("deb.{name}.{key}"), seen, wanted);
        };
        if !is_word(name, "+.-", false) || name.len() < 2 {
            wrong("name", name, "a-z, 0-9 and + . -, two at least");
        }
        if !is_word(version, ".+~:-", true) {
            wrong("version", version, "letters, digits and . + ~ : -");
        }
        if !is_word(architecture, "-", false) {
            wrong("architecture", architecture, "all, or as dpkg calls it");
        }
        let mut parts = path.split('/');
        let archive = parts.next().unwrap_or_default();
        let pool = parts.next() == Some("pool");
        let mut left = parts.clone().peekable();
        let fits = |part: &str| is_word(part, ".+~-_", true);
        let below = left.peek().is_some() && left.all(fits);
        let is_deb = path.ends_with(".deb");
        if !ARCHIVES.contains(&archive) || !pool || !below || !is_deb {
            wrong("path", path, "debian/pool/ or debian-security/pool/ ..deb");
        }
        if *size == 0 || *size > SIZE_MAX {
            wrong("size", size, "1 to 1073741824");
        }
    }
}

/// Starts with a letter or digit and goes on with those and `others`.
fn is_word(text: &str, others: &str, upper: bool) -> bool {
    let plain = |c: char| {
        c.is_ascii_lowercase()
            || c.is_ascii_digit()
            || upper && c.is_ascii_uppercase()
    };
    text.starts_with(plain)
        && text.chars().all(|c| plain(c) || others.contains(c))
}

fn is_time(text: &str) -> bool {
    let shape = text.bytes().enumerate().all(|(at, byte)| match at {
        8 => byte == b'T',
        15 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    });
    shape && text.len() == 16
}

#[cfg(test)]
mod tests;
