// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The crates that our own program is linked from, for the list of contents:
//! all that `Cargo.lock` has below it, with the digests that cargo checks. Of
//! a program that was built elsewhere we take it to be of this commit.
//!
//! A lock does not tell systems or features apart: a crate for another system
//! stands in the list and not in the program, never the other way round.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::artifacts::Sha256;
use crate::build::Within;

/// The program.
pub const PROGRAM: &str = "config-agent";
/// The package that it is of, and its folder.
const PACKAGE: (&str, &str) = ("monitoring-agent", "agent");

/// Source: The Cargo Book, "Cargo.toml vs Cargo.lock", version 4 of the lock.
#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    checksum: Option<Sha256>,
    /// `NAME`, or `NAME VERSION` where there are several.
    #[serde(default)]
    dependencies: Vec<String>,
}

/// Of a manifest, which crates tests alone use.
#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    dependencies: BTreeMap<String, toml::Value>,
    #[serde(default, rename = "dev-dependencies")]
    dev: BTreeMap<String, toml::Value>,
}

/// The crates of config-agent in this workspace, sorted, itself left out.
///
/// Errors: no lock, or one that does not know the agent.
pub fn of_the_agent(workspace: &Path) -> Result<Vec<Within>> {
    let (package, folder) = PACKAGE;
    let read = |file: &str| {
        let path = workspace.join(file);
        std::fs::read_to_string(&path)
            .with_context(|| format!("could not read {}", path.display()))
    };
    let lock: Lock = toml::from_str(&read("Cargo.lock")?)?;
    let manifest = read(&format!("{folder}/Cargo.toml"))?;
    let manifest: Manifest = toml::from_str(&manifest)?;
    let only_tests = |name: &str| {
        manifest.dev.contains_key(name)
            && !manifest.dependencies.contains_key(name)
    };
    closure(&lock, package, &only_tests)
}

fn closure(
    lock: &Lock,
    package: &str,
    leave_out: &dyn Fn(&str) -> bool,
) -> Result<Vec<Within>> {
    let find = |word: &str| {
        let mut words = word.split(' ');
        let (name, version) = (words.next(), words.next());
        let found = lock.package.iter().find(|one| {
            Some(one.name.as_str()) == name
                && version.is_none_or(|version| version == one.version)
        });
        found.with_context(|| format!("no package {word}"))
    };
    let root = find(package)?;
    let direct = root.dependencies.iter();
    let mut left: Vec<_> =
        direct.filter(|word| !leave_out(word_name(word))).collect();
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    while let Some(word) = left.pop() {
        let Package { name, version, checksum, dependencies } = find(word)?;
        if !seen.insert((name, version)) {
            continue;
        }
        all.push(Within {
            name: name.clone(),
            version: version.clone(),
            licence: None,
            purl: format!("pkg:cargo/{name}@{version}"),
            sha256: checksum.clone(),
        });
        left.extend(dependencies);
    }
    all.sort();
    Ok(all)
}

fn word_name(word: &str) -> &str {
    word.split(' ').next().unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_below_the_program_and_nothing_of_its_tests() {
        let sum = "1".repeat(64);
        let lock: Lock = toml::from_str(&format!(
            r#"
version = 4
[[package]]
name = "agent"
version = "0.1.0"
dependencies = ["a", "test-only", "twice 2.0.0"]
[[package]]
name = "a"
version = "1.0.0"
checksum = "{sum}"
dependencies = ["twice 1.0.0", "a"]
[[package]]
name = "twice"
version = "1.0.0"
[[package]]
name = "twice"
version = "2.0.0"
[[package]]
name = "test-only"
version = "1.0.0"
"#
        ))
        .unwrap();
        let all = closure(&lock, "agent", &|name| name == "test-only").unwrap();
        let purls: Vec<_> = all.iter().map(|one| one.purl.as_str()).collect();
        let wanted = ["a@1.0.0", "twice@1.0.0", "twice@2.0.0"]
            .map(|word| format!("pkg:cargo/{word}"));
        assert_eq!(purls, wanted);
        assert_eq!(all[0].sha256, Sha256::parse(&sum));
        let told = closure(&lock, "none", &|_| false).unwrap_err();
        assert_eq!(told.to_string(), "no package none");
    }

    #[test]
    fn ours_has_what_it_speaks_dns_with_and_no_test_tool() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let all = of_the_agent(&workspace).unwrap();
        let has = |name: &str| all.iter().any(|one| one.name == name);
        assert!(has("tokio") && has("hickory-proto") && !has("insta"));
        assert!(all.iter().all(|one| one.sha256.is_some()), "{all:?}");
    }
}
