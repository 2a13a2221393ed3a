// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The images that LX zones are provisioned with: what zone-image makes of
//! the recipes we ship. Only components are others: Prometheus and
//! Alertmanager are Debian's, Debian itself is that of today, and what no
//! distribution packages is played by localdc.
//!
//! All of it lies in `target/lx-image` and is built again only when something
//! that goes into it has changed. One at a time: each test asks for its own,
//! and most ask for the same.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use zone_image::artifacts::{self, Made};
use zone_image::debian::lock::Lock;
use zone_image::recipe::Brand;

use super::make;
use crate::world::Programs;
use crate::zone::ZoneError;

/// The time of the first version; the next is a day later.
const EPOCH: u64 = 1_893_553_445;
const DAY: u64 = 86_400;

/// The Debians of our recipes.
const DEBIANS: [&str; 2] = ["debian", "debian-nginx"];

/// What the images are made of: folders of the repository.
const OURS: [&str; 4] = ["boot", "image/recipes", "smf/lx", "templates"];

/// An image in its file, to provision zones with.
#[derive(Clone, Debug)]
pub struct LxImage {
    /// What it calls itself in `/etc/product`.
    pub version: String,
    tar: PathBuf,
}

impl LxImage {
    /// The image of `role`; `number` counts its versions from 0, each built
    /// on its own.
    ///
    /// Errors: `Image`, with what zone-image said.
    pub fn build(
        programs: &Programs,
        role: &str,
        number: u8,
    ) -> Result<Self, ZoneError> {
        Shop::open(programs)
            .and_then(|shop| shop.build(role, number))
            .map_err(|error| refused(role, error))
    }

    /// Brings the Debians that images start from, unless they are here: a
    /// minute each, and the one thing that wants a network.
    ///
    /// Errors: `Image`, with what zone-image said.
    pub fn bring_debians(programs: &Programs) -> Result<(), ZoneError> {
        let bring = || {
            let shop = Shop::open(programs)?;
            shop.write_artifacts()?;
            run(&mut shop.zone_image("fetch", &DEBIANS)).map(drop)
        };
        bring().map_err(|error: io::Error| refused("any", error))
    }

    /// Unpacks it to `root`, as imgadm does an image of type docker.
    pub fn unpack(&self, root: &Path) -> io::Result<()> {
        make(root)?;
        let argv = ["--extract", "--gzip", "--numeric-owner", "--file"];
        let mut tar = command("tar");
        tar.args(argv).arg(&self.tar).arg("--directory").arg(root);
        run(&mut tar).map(drop)
    }
}

fn refused(role: &str, reason: impl ToString) -> ZoneError {
    let reason = reason.to_string();
    ZoneError::Image { role: role.to_owned(), reason }
}

/// Where images are built. Nobody else is in it meanwhile.
struct Shop<'a> {
    programs: &'a Programs,
    folder: PathBuf,
    _lock: File,
}

impl<'a> Shop<'a> {
    fn open(programs: &'a Programs) -> io::Result<Self> {
        let folder = repository().join("target/lx-image");
        make(&folder.join("parts"))?;
        let lock = File::create(folder.join("lock"))?;
        lock.lock()?;
        let shop = Self { programs, folder, _lock: lock };
        if !shop.program().is_file() {
            let advice = "no zone-image: run cargo build --workspace";
            return Err(io::Error::other(advice));
        }
        Ok(shop)
    }

    fn build(&self, role: &str, number: u8) -> io::Result<LxImage> {
        let version = format!("test-2030010{}T030405Z-g0a1b2c3", 2 + number);
        let out = self.folder.join(role);
        let made_of = out.join(format!("{version}.made-of"));
        let inputs = self.inputs()?;
        if fs::read_to_string(&made_of).ok().as_ref() != Some(&inputs) {
            let _ = fs::remove_file(&made_of);
            let epoch = EPOCH + DAY * u64::from(number);
            self.make(role, &version, epoch, &out)?;
        }
        let ending = |suffix: &str| -> io::Result<PathBuf> {
            let suffix = format!("-lx-{version}.{suffix}");
            for entry in fs::read_dir(&out)? {
                let path = entry?.path();
                if path.display().to_string().ends_with(&suffix) {
                    return Ok(path);
                }
            }
            Err(io::Error::other(format!("no {suffix} was built")))
        };
        let tar = ending("tar.gz")?;
        if !made_of.exists() {
            // As imgadm and IMGAPI will judge it.
            let manifest = ending("imgmanifest")?;
            let verify = ["verify", "--allow-unpinned"];
            run(command(self.program()).args(verify).arg(manifest))?;
            fs::write(&made_of, inputs)?;
        }
        Ok(LxImage { version, tar })
    }

    /// Brings the components, then builds.
    fn make(
        &self,
        role: &str,
        version: &str,
        epoch: u64,
        out: &Path,
    ) -> io::Result<()> {
        self.write_artifacts()?;
        let agent = self.stripped(&self.programs.config_agent)?;
        let agent = format!("config-agent={}", agent.display());
        run(&mut self.zone_image("fetch", &[role]))?;
        let mut build = self.zone_image("build", &[role]);
        build.env("SOURCE_DATE_EPOCH", epoch.to_string());
        build.args(["--program", &agent, "--stamp", version, "--force"]);
        run(build.arg("--quiet").arg("--out").arg(out))?;
        prune(&self.cache())
    }

    /// One of its verbs, of these recipes or components.
    fn zone_image(&self, verb: &str, names: &[&str]) -> Command {
        let mut zone_image = command(self.program());
        zone_image
            .arg(verb)
            .args(names)
            .args(["--brand", "lx", "--artifacts"])
            .arg(self.folder.join("artifacts.toml"))
            .arg("--cache")
            .arg(self.cache())
            .current_dir(repository());
        zone_image
    }

    fn cache(&self) -> PathBuf {
        self.folder.join("cache")
    }

    fn program(&self) -> PathBuf {
        self.programs.localdc.with_file_name("zone-image")
    }

    /// Everything that decides an image's bytes, a line each.
    fn inputs(&self) -> io::Result<String> {
        let programs = self.programs;
        let mut all = vec![
            self.program(),
            programs.localdc.clone(),
            programs.config_agent.clone(),
            programs.prometheus.clone(),
            programs.promtool.clone(),
        ];
        let (alertmanager, amtool) = self.alertmanager()?;
        all.extend([alertmanager.clone(), amtool.clone()]);
        for folder in OURS {
            files(&repository().join(folder), &mut all)?;
        }
        all.sort();
        let mut lines = String::new();
        for path in all {
            let found = fs::metadata(&path)?;
            let (at, nanos) = (found.mtime(), found.mtime_nsec());
            let length = found.len();
            let _ = writeln!(lines, "{} {length} {at}.{nanos}", path.display());
        }
        Ok(lines)
    }

    fn alertmanager(&self) -> io::Result<&(PathBuf, PathBuf)> {
        let found = self.programs.alertmanager.as_ref();
        found.ok_or_else(|| io::Error::other("no prometheus-alertmanager"))
    }

    /// What is laid over image/recipes/artifacts.toml.
    fn write_artifacts(&self) -> io::Result<()> {
        let programs = self.programs;
        let (alertmanager, amtool) = self.alertmanager()?;
        let localdc = self.stripped(&programs.localdc)?;
        let mut text = String::new();
        for (name, files) in [
            (
                "prometheus",
                &[
                    ("bin/prometheus", &programs.prometheus),
                    ("bin/promtool", &programs.promtool),
                ][..],
            ),
            (
                "alertmanager",
                &[("bin/alertmanager", alertmanager), ("bin/amtool", amtool)],
            ),
            ("thanos", &[("bin/thanos", &localdc)]),
            ("grafana", &[("bin/grafana", &localdc)]),
        ] {
            self.pack(name, files)?;
            let _ = write!(
                text,
                "[{name}]\nversion = \"0\"\nlicence = \"NOASSERTION\"\n\
                 homepage = \"https://example.com/\"\n\
                 [{name}.lx]\nkind = \"archive\"\n\
                 source = {{ path = \"target/lx-image/parts/{name}.tar\", \
                 unpinned = \"whatever this machine has\" }}\n"
            );
        }
        text.push_str(&debians()?);
        fs::write(self.folder.join("artifacts.toml"), text)
    }

    /// A program as it is released: without what debuggers read.
    fn stripped(&self, program: &Path) -> io::Result<PathBuf> {
        let name = program.file_name().unwrap_or_default();
        let path = self.folder.join("parts").join(name);
        run(command("strip").arg("-o").arg(&path).arg(program))?;
        Ok(path)
    }

    fn pack(&self, name: &str, files: &[(&str, &PathBuf)]) -> io::Result<()> {
        let path = self.folder.join(format!("parts/{name}.tar"));
        let mut tar = tar::Builder::new(File::create(path)?);
        for (name, file) in files {
            tar.append_path_with_name(file, name)?;
        }
        tar.into_inner().map(drop)
    }
}

/// The Debians of our recipes with the packages they have there, from the
/// archives that apt is set up for.
fn debians() -> io::Result<String> {
    let ours = repository().join("image/recipes/artifacts.toml");
    let ours = artifacts::load(&[ours]).map_err(io::Error::other)?;
    let mut text = String::new();
    for name in DEBIANS {
        let made = ours.all.get(name).and_then(|it| it.made(Brand::Lx));
        let Some(Made::DebianRoot(root)) = made else {
            return Err(io::Error::other(format!("{name} is no Debian")));
        };
        let (suite, epoch) = (&root.suite, root.epoch);
        let packages = &root.packages;
        let _ = write!(
            text,
            "[{name}]\nversion = \"0\"\nlicence = \"NOASSERTION\"\n\
             homepage = \"https://example.com/\"\n\
             [{name}.lx]\nkind = \"debian-root\"\nsuite = \"{suite}\"\n\
             epoch = {epoch}\npackages = {packages:?}\n\
             unpinned = \"the archive moves\"\n"
        );
    }
    Ok(text)
}

/// Removes from the cache what no component is now, nor a package of one.
fn prune(cache: &Path) -> io::Result<()> {
    let mut wanted = Vec::new();
    let kept = cache.join("sha256");
    for entry in fs::read_dir(cache.join("last"))? {
        let digest = fs::read_to_string(entry?.path())?.trim().to_owned();
        // Of what is there, only a lock reads as one.
        if let Ok(Some(lock)) = Lock::load(&kept.join(&digest)) {
            let debs = lock.deb.iter();
            wanted.extend(debs.map(|deb| deb.sha256.to_string()));
            wanted.extend(lock.root.iter().map(ToString::to_string));
        }
        wanted.push(digest);
    }
    for entry in fs::read_dir(kept)? {
        let entry = entry?;
        if !wanted.iter().any(|it| entry.file_name() == it.as_str()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn files(folder: &Path, all: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => files(&path, all)?,
            false => all.push(path),
        }
    }
    Ok(())
}

fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

#[expect(clippy::disallowed_methods, reason = "the programs under test")]
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// Runs it to its end; what it said, if that is not well, is the error.
fn run(command: &mut Command) -> io::Result<String> {
    let done = command.output()?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let name = command.get_program().display();
    Err(io::Error::other(format!("{name}: {}: {said}", done.status)))
}
