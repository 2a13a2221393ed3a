// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Recipes: `image/recipes/NAME.toml`, what an image is made of. Strict,
//! because we write them. Which bytes a component is, `artifacts.rs` says.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use monitoring_agent::model::Role;
use serde::{Deserialize, Deserializer, Serialize};

use crate::tree::TreePath;

/// How a SmartOS zone runs, which decides what its image is.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Deserialize,
    Serialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Brand {
    /// Native: the platform's /usr, SMF, a ZFS stream as image.
    JoyentMinimal,
    /// Linux: a root of its own, systemd, a tar as image.
    Lx,
}

impl Brand {
    /// Both, in the order of the documentation.
    pub const ALL: [Self; 2] = [Self::JoyentMinimal, Self::Lx];

    /// As vmadm spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JoyentMinimal => "joyent-minimal",
            Self::Lx => "lx",
        }
    }

    /// Go's name of the system that programs are built for.
    pub fn goos(self) -> &'static str {
        match self {
            Self::JoyentMinimal => "illumos",
            Self::Lx => "linux",
        }
    }

    /// How a daemon's service file ends.
    pub fn service_ending(self) -> &'static str {
        match self {
            Self::JoyentMinimal => "xml",
            Self::Lx => "service",
        }
    }
}

impl fmt::Display for Brand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A recipe with what it includes, in the order in which it is carried out.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Its name: the file's, without `.toml`.
    pub name: String,
    /// What the image says of itself.
    pub image: Image,
    /// Each file's part for every brand, then for this one; included files
    /// first.
    pub parts: Vec<Part>,
}

/// What one file asks for.
#[derive(Clone, Debug)]
pub struct Part {
    /// The file, for messages: `image/recipes/base.toml`.
    pub file: std::path::PathBuf,
    /// The section: `any`, `lx` or `joyent-minimal`.
    pub section: &'static str,
    /// Whether an image that is another's origin has all this already.
    pub origin: bool,
    /// What it asks for.
    pub wants: Section,
}

/// The file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(default)]
    include: Vec<String>,
    #[serde(default)]
    origin: bool,
    image: Option<Image>,
    #[serde(default)]
    any: Section,
    #[serde(default)]
    lx: Section,
    #[serde(default, rename = "joyent-minimal")]
    joyent_minimal: Section,
}

/// What the image says of itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// What its zone is for: decides the templates.
    #[serde(deserialize_with = "role")]
    pub role: Role,
    /// As sdcadm and manta-adm look for it.
    pub name: String,
    /// A sentence.
    pub description: String,
    /// Where to read more.
    pub homepage: String,
}

/// What goes in, for every brand or for one. Carried out in this order.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// The oldest platform that it runs on.
    pub min_platform: Option<Platform>,
    /// What others made.
    #[serde(default)]
    pub component: Vec<Component>,
    /// What is not wanted of it, each with all below.
    #[serde(default)]
    pub remove: Vec<Remove>,
    /// Directories.
    #[serde(default)]
    pub folder: Vec<Folder>,
    /// Programs of this workspace.
    #[serde(default)]
    pub program: Vec<Program>,
    /// Files and folders of this workspace.
    #[serde(default)]
    pub file: Vec<File>,
    /// Files whose text stands in the recipe.
    #[serde(default)]
    pub text: Vec<Text>,
    /// Configurations of illumos' runtime linker.
    #[serde(default)]
    pub linker: Vec<Linker>,
    /// Symbolic links.
    #[serde(default)]
    pub link: Vec<Link>,
}

/// A component of `artifacts.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Its name there.
    pub name: String,
    /// Where its files go.
    pub to: Target,
}

/// A name that shall not be there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    /// Which; with a last component `*`, all that the folder holds.
    pub path: Target,
}

/// A directory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    /// Where.
    pub path: Target,
    /// Permission bits.
    #[serde(default = "Mode::program")]
    pub mode: Mode,
}

/// A program that cargo builds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// The binary's name.
    pub name: String,
    /// Where it goes.
    pub to: Target,
}

/// A file of the workspace, or a folder with all it holds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Below the root of the workspace.
    pub from: String,
    /// Where it goes.
    pub to: Target,
    /// Permission bits; of the files of a folder.
    #[serde(default = "Mode::file")]
    pub mode: Mode,
}

/// A file whose text stands in the recipe; `{name}`, `{version}` and
/// `{description}` are the image's.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// Where.
    pub path: Target,
    /// Permission bits.
    #[serde(default = "Mode::file")]
    pub mode: Mode,
    /// The text.
    pub text: String,
    /// Whether a component's file gives way.
    #[serde(default)]
    pub replace: bool,
}

/// A configuration of illumos' runtime linker.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linker {
    /// Where.
    pub path: Target,
    /// Of which programs.
    pub class: crate::linker::Class,
    /// Where they find libraries.
    pub libraries: Vec<String>,
    /// Where those with privileges do.
    pub trusted: Vec<String>,
}

/// A symbolic link.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Where.
    pub path: Target,
    /// Where it leads, as it is written.
    pub target: String,
    /// Whether a component's file gives way.
    #[serde(default)]
    pub replace: bool,
}

/// An absolute path in the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(pub TreePath);

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let wrong = |why: String| {
            serde::de::Error::custom(format!(
                "path {text:?}: {why}; wanted an absolute path without .."
            ))
        };
        if !text.starts_with('/') {
            return Err(wrong("not absolute".into()));
        }
        let path = TreePath::parse(&text);
        path.map(Self).map_err(|error| wrong(error.to_string()))
    }
}

/// The time in a platform's name, `20210826T002459Z`; later is greater.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Platform(pub String);

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        match crate::manifest::is_platform(&text) {
            true => Ok(Self(text)),
            false => Err(serde::de::Error::custom(format!(
                "platform {text:?}; wanted its time, as 20210826T002459Z"
            ))),
        }
    }
}

/// Permission bits, written `"0644"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u16);

impl Mode {
    fn file() -> Self {
        Self(0o644)
    }

    fn program() -> Self {
        Self(0o755)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        match u16::from_str_radix(&text, 8) {
            Ok(bits) if bits <= 0o7777 && text.len() == 4 => Ok(Self(bits)),
            _ => Err(serde::de::Error::custom(format!(
                "mode {text:?}; wanted four octal digits such as \"0644\""
            ))),
        }
    }
}

fn role<'de, D: Deserializer<'de>>(d: D) -> Result<Role, D::Error> {
    let text = String::deserialize(d)?;
    Role::parse(&text).ok_or_else(|| {
        let all = Role::ALL.map(Role::as_str).join(", ");
        serde::de::Error::custom(format!("role {text:?}; wanted one of {all}"))
    })
}

/// Loads recipe `name` with all it includes, for `brand`.
///
/// Errors: a file that is missing or does not parse, an include that leads
/// back to itself, no `[image]` anywhere.
pub fn load(folder: &Path, name: &str, brand: Brand) -> Result<Recipe> {
    let mut recipe = Loader { folder, brand, image: None, parts: Vec::new() };
    recipe.add(name, &mut Vec::new())?;
    let Some(image) = recipe.image else {
        bail!("recipe {name} makes no image: no [image], included or own");
    };
    Ok(Recipe { name: name.to_owned(), image, parts: recipe.parts })
}

/// The names of the recipes in a folder that make images, sorted.
pub fn list(folder: &Path) -> Result<Vec<(String, Image)>> {
    let read = |error| format!("could not list {}: {error}", folder.display());
    let mut found = Vec::new();
    for entry in
        std::fs::read_dir(folder).map_err(|e| anyhow::anyhow!(read(e)))?
    {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let Some(stem) = stem.filter(|_| is_recipe(&path)) else { continue };
        if let Some(image) = parse(&path)?.image {
            found.push((stem.to_owned(), image));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

fn is_recipe(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "toml")
        && path.file_name().is_some_and(|name| name != "artifacts.toml")
}

struct Loader<'a> {
    folder: &'a Path,
    brand: Brand,
    image: Option<Image>,
    parts: Vec<Part>,
}

impl Recipe {
    /// The oldest platform that all of it runs on.
    pub fn min_platform(&self) -> Option<&Platform> {
        let parts = self.parts.iter();
        parts.filter_map(|part| part.wants.min_platform.as_ref()).max()
    }
}

impl Loader<'_> {
    fn add(&mut self, name: &str, above: &mut Vec<String>) -> Result<()> {
        if name.is_empty() || name.contains(['/', '.']) {
            bail!("recipe {name:?}; wanted the name of a file, without .toml");
        }
        if above.iter().any(|other| other == name) {
            bail!("recipe {name} includes itself, by {}", above.join(" -> "));
        }
        let file = self.folder.join(format!("{name}.toml"));
        let wire = parse(&file)?;
        above.push(name.to_owned());
        for included in &wire.include {
            self.add(included, above)?;
        }
        above.pop();
        if wire.image.is_some() {
            self.image = wire.image;
        }
        let own = match self.brand {
            Brand::JoyentMinimal => wire.joyent_minimal,
            Brand::Lx => wire.lx,
        };
        for (section, wants) in [("any", wire.any), (self.brand.as_str(), own)]
        {
            let (file, origin) = (file.clone(), wire.origin);
            self.parts.push(Part { file, section, origin, wants });
        }
        Ok(())
    }
}

fn parse(file: &Path) -> Result<Wire> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("could not read {}", file.display()))?;
    toml::from_str(&text)
        .with_context(|| format!("{} is no recipe", file.display()))
}
