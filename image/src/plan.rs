// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a build will do, decided from what was looked at and nothing else: a
//! recipe, the pins, and the facts of `look.rs` become ordered steps, or the
//! list of all that stands in the way. No file, no clock, no process.

mod line;
mod step;

use std::collections::BTreeSet;
use std::path::Path;

pub use self::line::Line;
pub use self::step::Step;
use crate::artifacts::{Artifact, Artifacts, DebianRoot, Made, Origin};
use crate::look::Facts;
use crate::manifest;
use crate::problem::Problems;
use crate::recipe::{self, Brand, Mode, Part, Recipe};
use crate::stamp::Stamp;
use crate::tree::TreePath;

/// The folder that holds a folder of templates each set.
const TEMPLATES: &str = "/opt/triton/config-agent/templates";

/// Ordered steps to one image.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The recipe's name, which is also what people call the image.
    pub recipe: String,
    /// What it runs under.
    pub brand: Brand,
    /// What the image says of itself; its name has the brand's own ending.
    pub image: recipe::Image,
    /// The oldest platform that it runs on.
    pub min_platform: Option<recipe::Platform>,
    /// Version and times.
    pub stamp: Stamp,
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// Names of those steps that an origin image has already: a build host
    /// that lays this on one is not given them.
    pub origin: Vec<TreePath>,
}

/// Makes the plan.
///
/// Errors: every problem there is, at once.
pub fn plan(
    recipe: &Recipe,
    brand: Brand,
    artifacts: &Artifacts,
    facts: &Facts,
) -> Result<Plan, Problems> {
    let mut planner = Planner {
        recipe,
        brand,
        image: image(recipe, brand),
        artifacts,
        facts,
        steps: Vec::new(),
        origin: Vec::new(),
        problems: facts.problems.clone(),
    };
    planner.names();
    planner.all();
    let Planner { image, steps, problems, origin, .. } = planner;
    problems.or(Plan {
        recipe: recipe.name.clone(),
        brand,
        image,
        min_platform: recipe.min_platform().cloned(),
        stamp: facts.stamp.clone(),
        steps,
        origin,
    })
}

/// Both brands of one commit lie in one folder and in one IMGAPI, and sdcadm
/// looks for the newest image of a name: those it can use have it alone.
fn image(recipe: &Recipe, brand: Brand) -> recipe::Image {
    let mut image = recipe.image.clone();
    if brand == Brand::Lx {
        image.name.push_str("-lx");
    }
    image
}

struct Planner<'a> {
    recipe: &'a Recipe,
    brand: Brand,
    image: recipe::Image,
    artifacts: &'a Artifacts,
    facts: &'a Facts,
    steps: Vec<Step>,
    origin: Vec<TreePath>,
    problems: Problems,
}

impl Planner<'_> {
    /// Kind by kind over all files: a root comes before what is laid on it,
    /// whichever file asks for it.
    fn all(&mut self) {
        let parts = self.recipe.parts.clone();
        let whole = |name: &str| self.is_whole(name);
        let (roots, others): (Vec<_>, Vec<_>) = parts
            .iter()
            .flat_map(|part| {
                part.wants.component.iter().map(move |c| (part, c))
            })
            .partition(|(_, component)| whole(&component.name));
        for (part, component) in roots {
            self.component(part, component);
        }
        for part in &parts {
            self.simple(part);
            if part.origin {
                self.of_the_origin(part);
            }
        }
        for (part, component) in others {
            self.component(part, component);
        }
        self.templates();
        self.service_files();
        self.taken_twice();
    }

    /// Both become names of files, and a server's to judge after that.
    fn names(&mut self) {
        let recipe = format!("{}.toml", self.recipe.name);
        let stamp = &self.facts.stamp.version;
        for (key, text, most) in [
            ("image.name", &self.image.name, manifest::NAME_MAX),
            ("version", stamp, manifest::VERSION_MAX),
        ] {
            let fits =
                |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
            let good = text.chars().all(fits);
            let plus = key == "image.name" && text.contains('+');
            if text.is_empty() || text.len() > most || !good || plus {
                let wanted =
                    format!("letters, digits and . _ -, {most} at most");
                let seen = format!("{text:?}");
                self.problems.add(Path::new(&recipe), key, seen, wanted);
            }
        }
    }

    fn is_whole(&self, name: &str) -> bool {
        let made = self.artifacts.all.get(name);
        let made = made.and_then(|artifact| artifact.made(self.brand));
        matches!(made, Some(Made::DebianRoot(_)))
    }

    fn simple(&mut self, part: &Part) {
        for remove in &part.wants.remove {
            let path = remove.path.0.clone();
            let below = path.parent().filter(|_| path.name() == b"*");
            self.steps.push(match below {
                Some(path) => Step::Remove { path, content: true },
                None => Step::Remove { path, content: false },
            });
        }
        for folder in &part.wants.folder {
            let (path, mode) = (folder.path.0.clone(), folder.mode);
            self.steps.push(Step::Folder { path, mode });
        }
        for program in &part.wants.program {
            self.program(program);
        }
        for file in &part.wants.file {
            self.files(&file.from, &file.to.0, file.mode);
        }
        for text in &part.wants.text {
            self.steps.push(Step::Text {
                path: text.path.0.clone(),
                mode: text.mode,
                text: self.words(&text.text),
                replace: text.replace,
            });
        }
        for linker in &part.wants.linker {
            let recipe::Linker { class, libraries, trusted, .. } = linker;
            self.steps.push(Step::Linker {
                path: linker.path.0.clone(),
                bytes: crate::linker::config(*class, libraries, trusted),
            });
        }
        for link in &part.wants.link {
            self.steps.push(Step::Link {
                path: link.path.0.clone(),
                target: link.target.clone(),
                replace: link.replace,
            });
        }
    }

    fn of_the_origin(&mut self, part: &Part) {
        let recipe::Section {
            min_platform: _,
            component,
            remove,
            folder,
            program,
            file,
            text,
            linker,
            link,
        } = &part.wants;
        let others = [
            ("component", component.len()),
            ("remove", remove.len()),
            ("program", program.len()),
            ("file", file.len()),
            ("linker", linker.len()),
        ];
        for (kind, count) in others {
            if count > 0 {
                let key = format!("{}.{kind}", part.section);
                let wanted = "folders, texts and links, in a file whose \
                              origin is true";
                self.problems.add(&part.file, key, count, wanted);
            }
        }
        let folders = folder.iter().map(|folder| &folder.path);
        let texts = text.iter().map(|text| &text.path);
        let links = link.iter().map(|link| &link.path);
        let all = folders.chain(texts).chain(links);
        self.origin.extend(all.map(|target| target.0.clone()));
    }

    fn words(&self, text: &str) -> String {
        let image = &self.image;
        text.replace("{name}", &image.name)
            .replace("{version}", &self.facts.stamp.version)
            .replace("{description}", &image.description)
            .replace("{homepage}", &image.homepage)
    }

    fn program(&mut self, program: &recipe::Program) {
        // What is missing, the look has told.
        let from = self.facts.programs.get(&program.name);
        let made_of = self.facts.crates.get(&program.name);
        if let Some(from) = from {
            self.steps.push(Step::Program {
                name: program.name.clone(),
                from: from.clone(),
                to: program.to.0.clone(),
                made_of: made_of.cloned().unwrap_or_default(),
            });
        }
    }

    fn files(&mut self, from: &str, to: &TreePath, mode: Mode) {
        let Some(found) = self.facts.files.get(from) else { return };
        let mut files = Vec::new();
        for (below, file) in found {
            match TreePath::parse(below).and_then(|below| below.below(to)) {
                Ok(path) => files.push((file.clone(), path)),
                Err(error) => {
                    let wanted = "a name that fits in an image";
                    self.problems.add(file, "name", error, wanted);
                }
            }
        }
        self.steps.push(Step::Files { from: from.to_owned(), files, mode });
    }

    fn templates(&mut self) {
        for set in crate::look::template_sets(self.recipe.image.role) {
            let to = TreePath::parse(format!("{TEMPLATES}/{set}"))
                .expect("names of sets are plain words");
            self.files(&format!("templates/{set}"), &to, Mode(0o644));
        }
    }

    fn component(&mut self, part: &Part, wanted: &recipe::Component) {
        let key = format!("{}.component.{}", part.section, wanted.name);
        let Some(artifact) = self.artifacts.all.get(&wanted.name) else {
            let all: Vec<_> =
                self.artifacts.all.keys().map(String::as_str).collect();
            let all = format!("one of artifacts.toml: {}", all.join(", "));
            self.problems.add(&part.file, key, "unknown", all);
            return;
        };
        let name = &wanted.name;
        let Some(made) = artifact.made(self.brand) else {
            let key = format!("{name}.{}", self.brand);
            let want = format!("how it is made for {}", self.brand);
            self.problems.add(&artifact.file, key, "absent", want);
            return;
        };
        self.pins(name, artifact, made);
        // Patches are of source: what others built has none.
        let (toolchain, patches) = match made {
            Made::Go(go) => (
                self.toolchain(name, artifact, go),
                self.facts.patches.get(name).cloned(),
            ),
            _ => (None, None),
        };
        self.steps.push(Step::Component {
            name: name.clone(),
            artifact: Box::new(artifact.clone()),
            to: wanted.to.0.clone(),
            patches: patches.unwrap_or_default(),
            toolchain,
        });
    }

    fn toolchain(
        &mut self,
        name: &str,
        artifact: &Artifact,
        go: &crate::artifacts::Go,
    ) -> Option<Box<(String, Artifact)>> {
        let chain = self.artifacts.all.get(&go.toolchain);
        let made = chain.and_then(|chain| chain.any.as_ref());
        let (Some(chain), Some(made @ Made::Toolchain(_))) = (chain, made)
        else {
            let key = format!("{name}.toolchain");
            let wanted = "a component with kind toolchain for any brand";
            self.problems.add(&artifact.file, key, &go.toolchain, wanted);
            return None;
        };
        self.pins(&go.toolchain, chain, made);
        Some(Box::new((go.toolchain.clone(), chain.clone())))
    }

    /// Every source pinned, or with a reason why not.
    fn pins(&mut self, name: &str, artifact: &Artifact, made: &Made) {
        let how = format!(
            "64 hex digits, which `zone-image fetch --pin {name}` tells"
        );
        for (key, source) in made.sources() {
            if source.sha256.is_none() && source.unpinned.is_none() {
                let key = format!("{name}.{key}.sha256");
                let seen = format!("absent ({})", source.from);
                self.problems.add(&artifact.file, key, seen, &how);
            }
            if let Origin::Path(path) = &source.from
                && TreePath::parse(path).is_err()
            {
                let key = format!("{name}.{key}.path");
                let wanted = "a path below the root of the workspace";
                self.problems.add(&artifact.file, key, path, wanted);
            }
        }
        if let Made::DebianRoot(root) = made
            && root.unpinned.is_none()
        {
            self.locked(name, artifact, root);
        }
    }

    /// A lock, and one that was made for these packages.
    fn locked(&mut self, name: &str, artifact: &Artifact, root: &DebianRoot) {
        let Some(lock) = &root.lock else {
            let key = format!("{name}.lock");
            let seen = match &root.lock_name {
                Some(file) => format!("no {file}"),
                None => "absent".to_owned(),
            };
            let wanted = format!(
                "a file of packages, which `zone-image fetch --pin {name}` \
                 writes"
            );
            self.problems.add(&artifact.file, key, seen, wanted);
            return;
        };
        for package in root.packages.iter().filter(|one| !lock.has(one)) {
            let key = format!("{name}.packages");
            let wanted = "packages of the lock, or a new lock";
            self.problems.add(&artifact.file, key, package, wanted);
        }
    }

    /// A daemon that templates configure needs a service file: `setup.sh`
    /// knows none other.
    fn service_files(&mut self) {
        let ending = self.brand.service_ending();
        let laid: BTreeSet<String> = self
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Files { files, .. } => Some(files),
                _ => None,
            })
            .flatten()
            .filter(|(_, to)| is_service_folder(to))
            .map(|(_, to)| String::from_utf8_lossy(to.name()).into_owned())
            .collect();
        let daemons = self.facts.daemons.iter().map(String::as_str);
        for daemon in daemons.chain(["config-agent"]) {
            let file = format!("{daemon}.{ending}");
            if !laid.contains(&file) {
                let recipe = format!("{}.toml", self.recipe.name);
                let wanted = format!("{file} in /opt/triton/NAME/smf");
                let key = format!("{}.file", self.brand);
                let seen = format!("no service file of daemon {daemon}");
                self.problems.add(Path::new(&recipe), key, seen, wanted);
            }
        }
    }

    /// Two steps that lay one name would be refused by the build; here it is
    /// told before anything is fetched.
    fn taken_twice(&mut self) {
        let mut taken = BTreeSet::new();
        for step in &self.steps {
            let names: Vec<&TreePath> = match step {
                Step::Files { files, .. } => {
                    files.iter().map(|(_, to)| to).collect()
                }
                Step::Program { to, .. } => vec![to],
                Step::Linker { path, .. }
                | Step::Text { path, replace: false, .. }
                | Step::Link { path, replace: false, .. } => vec![path],
                _ => continue,
            };
            for name in names {
                if !taken.insert(name.clone()) {
                    let recipe = format!("{}.toml", self.recipe.name);
                    let recipe = Path::new(&recipe);
                    self.problems.add(recipe, name, "laid twice", "once");
                }
            }
        }
    }
}

/// `/opt/triton/NAME/smf/FILE`.
fn is_service_folder(to: &TreePath) -> bool {
    let folder = to.parent();
    let home = folder.as_ref().and_then(TreePath::parent);
    folder.is_some_and(|folder| folder.name() == b"smf")
        && home
            .and_then(|home| home.parent())
            .is_some_and(|triton| triton.as_bytes() == b"opt/triton")
}

#[cfg(test)]
mod tests;
