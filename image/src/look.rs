// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a plan needs to know of this machine: which files of the workspace a
//! recipe's words mean, where our programs are, the patches, the version.
//! Looks, and changes nothing; what is missing becomes a problem of the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use monitoring_agent::model::Role;
use monitoring_agent::render::TemplateSet;

use crate::artifacts::Artifacts;
use crate::build::Within;
use crate::built;
use crate::crates;
use crate::problem::Problems;
use crate::recipe::{Brand, Recipe};
use crate::stamp::Stamp;

/// Folders of patches, by component.
const PATCHES: &str = "image/patches";

/// What was found.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Version and times.
    pub stamp: Stamp,
    /// What the recipe calls it to the files it means: path below it (empty
    /// for a file itself) and file, sorted.
    pub files: BTreeMap<String, Vec<(String, PathBuf)>>,
    /// Our programs by name.
    pub programs: BTreeMap<String, PathBuf>,
    /// What our programs are linked from, by the program's name.
    pub crates: BTreeMap<String, Vec<Within>>,
    /// Patches by component, sorted.
    pub patches: BTreeMap<String, Vec<PathBuf>>,
    /// Daemons that the role's templates configure.
    pub daemons: BTreeSet<String>,
    /// What is missing or unfit.
    pub problems: Problems,
}

/// Where to look.
#[derive(Clone, Debug)]
pub struct Place {
    /// The root of the workspace.
    pub workspace: PathBuf,
    /// Programs by name, over the places where cargo puts them.
    pub programs: BTreeMap<String, PathBuf>,
}

/// The sets of templates in an image of `role`.
pub fn template_sets(role: Role) -> impl Iterator<Item = &'static str> {
    role.template_sets().iter().copied().chain(["resolver"])
}

/// Looks at all that `recipe` names.
pub fn look(
    place: &Place,
    recipe: &Recipe,
    brand: Brand,
    artifacts: &Artifacts,
    stamp: Stamp,
) -> Facts {
    let mut facts = Facts {
        stamp,
        files: BTreeMap::new(),
        programs: BTreeMap::new(),
        crates: BTreeMap::new(),
        patches: BTreeMap::new(),
        daemons: BTreeSet::new(),
        problems: Problems::default(),
    };
    for part in &recipe.parts {
        for file in &part.wants.file {
            let key = format!("{}.file.from", part.section);
            facts.add_files(place, &part.file, &key, &file.from);
        }
        for program in &part.wants.program {
            let key = format!("{}.program.{}", part.section, program.name);
            facts.add_program(place, &part.file, &key, &program.name, brand);
        }
        for component in &part.wants.component {
            facts.add_patches(place, &component.name, artifacts);
        }
    }
    for set in template_sets(recipe.image.role) {
        facts.add_templates(place, set);
    }
    facts.unused(place, recipe);
    facts
}

impl Facts {
    fn add_files(&mut self, place: &Place, file: &Path, key: &str, from: &str) {
        if let Err(error) = crate::tree::TreePath::parse(from) {
            let wanted = "a path below the root of the workspace";
            self.problems.add(file, key, error, wanted);
            return;
        }
        let top = place.workspace.join(from);
        let mut found = Vec::new();
        match walk(&top, "", &mut found) {
            Ok(()) if found.is_empty() => {
                let seen = format!("{} is empty", top.display());
                self.problems.add(file, key, seen, "files in it");
            }
            Ok(()) => {
                found.sort();
                self.files.insert(from.to_owned(), found);
            }
            Err(error) => {
                let wanted = "a file or folder of the workspace";
                self.problems.add(
                    file,
                    key,
                    format!("{from:?}: {error}"),
                    wanted,
                );
            }
        }
    }

    fn add_program(
        &mut self,
        place: &Place,
        file: &Path,
        key: &str,
        name: &str,
        brand: Brand,
    ) {
        let built = match brand {
            Brand::Lx => "release",
            Brand::JoyentMinimal => "x86_64-unknown-illumos/release",
        };
        let given = place.programs.get(name);
        let path = given.cloned().unwrap_or_else(|| {
            let target = std::env::var_os("CARGO_TARGET_DIR");
            let target = target.map_or("target".into(), PathBuf::from);
            place.workspace.join(target).join(built).join(name)
        });
        self.add_crates(place, name);
        // One that was given is the giver's to know.
        let fault = match given {
            Some(_) => None,
            None => built::fault(&path, &place.workspace),
        };
        let shown = path.display();
        let seen = match fault {
            Some(fault) => format!("{shown} {fault}"),
            None if path.is_file() => {
                self.programs.insert(name.to_owned(), path);
                return;
            }
            None => format!("no file {shown}"),
        };
        let wanted = format!(
            "a release build of this source for {}, as make programs makes it, \
             or --program {name}=FILE",
            brand.goos()
        );
        self.problems.add(file, key, seen, wanted);
    }

    /// Those of other people's programs are not ours to know.
    fn add_crates(&mut self, place: &Place, name: &str) {
        if name != crates::PROGRAM {
            return;
        }
        match crates::of_the_agent(&place.workspace) {
            Ok(all) => {
                self.crates.insert(name.to_owned(), all);
            }
            Err(error) => {
                let file = place.workspace.join("Cargo.lock");
                let wanted = "the crates that config-agent is linked from";
                let seen = format!("{error:#}");
                self.problems.add(&file, "package", seen, wanted);
            }
        }
    }

    /// A program that was given and goes nowhere: a name mistyped.
    fn unused(&mut self, place: &Place, recipe: &Recipe) {
        let programs = recipe.parts.iter().flat_map(|part| &part.wants.program);
        let wanted: BTreeSet<_> =
            programs.map(|program| program.name.as_str()).collect();
        for (name, file) in &place.programs {
            if !wanted.contains(name.as_str()) {
                let key = format!("--program {name}");
                let all: Vec<_> = wanted.iter().copied().collect();
                let all = format!("one of {}", all.join(", "));
                self.problems.add(file, key, "in no step", all);
            }
        }
    }

    fn add_patches(&mut self, place: &Place, name: &str, pins: &Artifacts) {
        if !pins.all.contains_key(name) {
            return;
        }
        let found = match patches(&place.workspace, name) {
            Ok(found) => found,
            Err(error) => {
                let folder = place.workspace.join(PATCHES).join(name);
                let wanted = "a folder of patches, or none";
                let seen = format!("{error:#}");
                self.problems.add(&folder, "patches", seen, wanted);
                return;
            }
        };
        for path in &found {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if !head(&text).contains("https://") {
                let wanted = "a link to where upstream discusses it";
                self.problems.add(path, "head", "no https:// link", wanted);
            }
        }
        self.patches.insert(name.to_owned(), found);
    }

    fn add_templates(&mut self, place: &Place, set: &str) {
        let from = format!("templates/{set}");
        let folder = place.workspace.join(&from);
        let manifest = folder.join("manifest.toml");
        match TemplateSet::load(&folder) {
            Ok(loaded) => {
                let daemons = loaded.daemons().map(str::to_owned);
                self.daemons.extend(daemons);
                for fault in loaded.unreadable() {
                    let wanted = "a template that can be read";
                    self.problems.add(&manifest, "file", fault, wanted);
                }
            }
            Err(error) => {
                let seen = monitoring_agent::log::chain(&error);
                let wanted = "a manifest that config-agent understands";
                self.problems.add(&manifest, "manifest", seen, wanted);
            }
        }
        self.add_files(place, &manifest, "folder", &from);
    }
}

/// The patches of a component, in the order of their names; none, where it has
/// no folder of them.
///
/// Errors: the folder cannot be read.
pub fn patches(workspace: &Path, component: &str) -> Result<Vec<PathBuf>> {
    let folder = workspace.join(PATCHES).join(component);
    let unreadable = || format!("could not read {}", folder.display());
    let entries = match std::fs::read_dir(&folder) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(unreadable)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.with_context(unreadable)?.path();
        if path.extension() == Some("patch".as_ref()) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// What stands before the first hunk.
fn head(patch: &str) -> &str {
    let end = patch.find("\n--- ").unwrap_or(patch.len());
    &patch[..end]
}

/// Every file at or below `path`. Links are refused: whose bytes they are is
/// not the workspace's to say.
fn walk(
    path: &Path,
    below: &str,
    found: &mut Vec<(String, PathBuf)>,
) -> std::io::Result<()> {
    let kind = std::fs::symlink_metadata(path)?.file_type();
    if kind.is_file() {
        found.push((below.to_owned(), path.to_owned()));
        return Ok(());
    }
    if !kind.is_dir() {
        let why = format!("{} is neither file nor folder", path.display());
        return Err(std::io::Error::other(why));
    }
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            let why = format!("{:?} is not UTF-8", entry.path());
            return Err(std::io::Error::other(why));
        };
        let below = match below {
            "" => name.to_owned(),
            below => format!("{below}/{name}"),
        };
        walk(&entry.path(), &below, found)?;
    }
    Ok(())
}
