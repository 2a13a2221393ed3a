// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The writers of images: a stream alone, from the page cache into nothing,
//! on one core; then everything that stands between a tree and a finished
//! file (guid, stream, gzip, digests); then a whole build of an LX image from a
//! full cache, as verb build does it: look, plan, inputs checked by digest and
//! read, tree, list of contents, tar, gzip, manifest. The latter two beside
//! `tar | pigz` of the same folder.
//!
//! The first is CPU of this process for a GiB of noise in large files, and for
//! many small ones. The others are wall time on all cores, on a folder of this
//! machine, files compared by size, too. Not in them: fetching, compiling Go,
//! and starting the program.

use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use localdc::image::folder;
use localdc::measure::{bar, bar_at_least};
use nix::time::{ClockId, clock_gettime};
use tempfile::TempDir;
use zone_image::artifacts::Sha256;
use zone_image::build::{self, Place};
use zone_image::cache::Cache;
use zone_image::debian::lock::{Deb, Lock};
use zone_image::deliver::{self, Wanted};
use zone_image::gzip::Gzip;
use zone_image::output::{Facts, Output};
use zone_image::recipe::{self, Brand};
use zone_image::stamp::Stamp;
use zone_image::stream::{self, Options};
use zone_image::tree::{Kind, Tree};
use zone_image::{artifacts, look, plan, tar};

const ROUNDS: usize = 5;
const GIB: u64 = 1 << 30;
/// Files of noise, and bytes of each: a GiB in all.
const LARGE: u64 = 32;
const SMALL: u64 = 20_000;
/// GB a second that the stream writer passes on one core.
const STREAM_GB_S: f64 = 1.0;
/// Times the wall time of `tar | pigz`: of the writers, and of a whole build,
/// which also reads its input once more, for the digest.
const BUILD_RATIO: f64 = 1.2;
/// What both pack: of every Debian, some hundred MiB, code and text.
const FOLDERS: [&str; 2] = ["/usr/bin", "/usr/share"];

fn main() -> Result<()> {
    // `cargo test --benches` only wants to know that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let dir = TempDir::with_prefix("bench-image-")?;
    println!("image: one core from the page cache; median of {ROUNDS}\n");
    let large = noise(&dir.path().join("large"), LARGE, GIB / LARGE)?;
    let small = noise(&dir.path().join("small"), SMALL, 4000)?;
    let writer = alone("stream, large files", &large, stream_to_nothing)?;
    alone("stream, 20,000 small", &small, stream_to_nothing)?;
    alone("guid, large files", &large, |tree| {
        Ok(stream::guid(tree).map(|_| bytes(tree))?)
    })?;
    alone("tar, large files", &large, |tree| {
        Ok(tar::write(tree, io::sink())?)
    })?;

    let threads = available_parallelism()?;
    let folder = copy(&dir.path().join("folder"))?;
    let tree = folder::tree(&folder)?;
    println!(
        "\nimage: {} names, {} MiB, on {threads} cores; best of 3\n",
        tree.len(),
        bytes(&tree) >> 20
    );
    let (ratio, theirs) = whole(&folder, &tree, dir.path(), threads)?;
    let shop = Shop::new(&tree, dir.path())?;
    let mut ours = Duration::MAX;
    for _ in 0..3 {
        ours = ours.min(shop.build()?);
    }
    println!("{:24}{:>8.2} s", "a whole build", ours.as_secs_f64());
    let image = ours.as_secs_f64() / theirs.as_secs_f64();
    println!();
    bar_at_least("image_stream_gb_per_s", writer, STREAM_GB_S);
    bar("image_build_by_tar_pigz", ratio, BUILD_RATIO);
    bar("image_whole_build_by_tar_pigz", image, BUILD_RATIO);
    Ok(())
}

/// Ours beside tar and pigz: times its wall time, and that.
fn whole(
    folder: &Path,
    tree: &Tree,
    dir: &Path,
    threads: NonZeroUsize,
) -> Result<(f64, Duration)> {
    let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
    let mut facts: Option<Facts> = None;
    let archive = dir.join("theirs.tar.gz");
    for _ in 0..3 {
        let begin = Instant::now();
        tar_pigz(folder, &archive)?;
        theirs = theirs.min(begin.elapsed());
        let begin = Instant::now();
        let new = finish(tree, &dir.join("ours.zfs.gz"), threads)?;
        ours = ours.min(begin.elapsed());
        ensure!(facts.is_none_or(|old| old == new), "other bytes this time");
        facts = Some(new);
    }
    let size = facts.context("three rounds")?.size;
    for (name, time, size) in [
        ("tar | pigz", theirs, fs::metadata(&archive)?.len()),
        ("guid, stream, gzip", ours, size),
    ] {
        let seconds = time.as_secs_f64();
        println!("{name:24}{seconds:>8.2} s{:>8} MiB", size >> 20);
    }
    Ok((ours.as_secs_f64() / theirs.as_secs_f64(), theirs))
}

const RECIPE: &str = r#"
[image]
role = "prometheus"
name = "bench"
description = "An image for a benchmark"
homepage = "https://example.com/"

[[lx.component]]
name = "debian"
to = "/"

[[lx.file]]
from = "smf/lx"
to = "/opt/triton/all/smf"
"#;

const PINS: &str = r#"
[debian]
version = "12"
licence = "NOASSERTION"
homepage = "https://www.debian.org/"

[debian.lx]
kind = "debian-root"
suite = "bookworm"
epoch = 0
packages = []
lock = "debian.lock"
"#;

/// A recipe, and a cache that has all it names.
struct Shop {
    folder: PathBuf,
    cache: Cache,
}

impl Shop {
    /// The tree is the Debian of the image.
    fn new(tree: &Tree, dir: &Path) -> Result<Self> {
        let folder = dir.join("shop");
        fs::create_dir(&folder)?;
        let cache = Cache::open(&folder.join("cache"))?;
        let mut file = cache.temporary()?;
        tar::write(tree, &mut file)?;
        let cached = cache.put(file, None, &"the folder")?;
        fs::write(folder.join("debian.lock"), lock(cached.sha256)?)?;
        fs::write(folder.join("artifacts.toml"), PINS)?;
        fs::write(folder.join("bench.toml"), RECIPE)?;
        Ok(Self { folder, cache })
    }

    /// What verb build does.
    fn build(&self) -> Result<Duration> {
        let begin = Instant::now();
        let recipe = recipe::load(&self.folder, "bench", Brand::Lx)?;
        let pins = artifacts::load(&[self.folder.join("artifacts.toml")])?;
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let place = look::Place { workspace, programs: [].into() };
        let stamp = Stamp { version: "bench".into(), epoch: 0 };
        let facts = look::look(&place, &recipe, Brand::Lx, &pins, stamp);
        let plan = plan::plan(&recipe, Brand::Lx, &pins, &facts)?;
        let work = TempDir::new_in(&self.folder)?;
        let place = Place { cache: &self.cache, work: work.path() };
        let wanted = Wanted {
            folder: self.folder.join("out"),
            proto: false,
            key: None,
            force: false,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let built = build::build(&plan, &place, &|_, _| {}).await?;
            deliver::write(&plan, &built, &wanted).await
        })?;
        Ok(begin.elapsed())
    }
}

/// The lock of a Debian that has this machine's packages, and was made before.
fn lock(root: Sha256) -> Result<String> {
    let status = fs::read_to_string("/var/lib/dpkg/status")?;
    let deb = |paragraph: &str| {
        let field = |name: &str| {
            let mut lines = paragraph.lines();
            let line = lines.find_map(|line| line.strip_prefix(name))?;
            Some(line.to_owned())
        };
        Some(Deb {
            name: field("Package: ")?,
            version: field("Version: ")?,
            architecture: field("Architecture: ")?,
            path: "debian/pool/main/b/bench.deb".into(),
            size: 1,
            sha256: root.clone(),
        })
    };
    let mut deb: Vec<_> = status.split("\n\n").filter_map(deb).collect();
    deb.sort();
    let snapshot = "20300101T000000Z".into();
    Ok(Lock { snapshot, root: Some(root), deb }.to_string())
}

/// All that a build does once it has its tree.
fn finish(tree: &Tree, path: &Path, threads: NonZeroUsize) -> Result<Facts> {
    let guid = stream::guid(tree)?;
    let gzip = Gzip::new(Output::create(path)?, threads)?;
    let mut gzip = io::BufWriter::with_capacity(1 << 18, gzip);
    stream::write(tree, &Options { guid, created: 0 }, &mut gzip)?;
    let gzip = gzip.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(gzip.finish()?.commit()?)
}

#[expect(clippy::disallowed_methods, reason = "the peers start here")]
fn tar_pigz(folder: &Path, archive: &Path) -> Result<()> {
    let mut tar = Command::new("tar")
        .args(["--create", "--file=-", "--directory"])
        .arg(folder)
        .arg(".")
        .stdout(Stdio::piped())
        .spawn()
        .context("tar")?;
    let pigz = Command::new("pigz")
        .stdin(tar.stdout.take().context("piped above")?)
        .stdout(File::create(archive)?)
        .status()
        .context("pigz: tests/setup.sh bench")?;
    ensure!(pigz.success() && tar.wait()?.success(), "tar | pigz failed");
    Ok(())
}

/// The folders in one place, so that both sides read the same.
#[expect(clippy::disallowed_methods, reason = "cp copies trees")]
fn copy(to: &Path) -> Result<PathBuf> {
    fs::create_dir(to)?;
    let copied = Command::new("cp")
        .args(["--recursive", "--no-dereference", "--preserve=timestamps"])
        .args(FOLDERS)
        .arg(to)
        .status()?;
    ensure!(copied.success(), "cp failed");
    // A Debian has a list of its packages.
    let list = "var/lib/dpkg/status";
    fs::create_dir_all(to.join("var/lib/dpkg"))?;
    fs::copy(Path::new("/").join(list), to.join(list))?;
    Ok(to.to_owned())
}

/// Prints GB a second of CPU; returns it.
fn alone(
    name: &str,
    tree: &Tree,
    write: impl Fn(&Tree) -> Result<u64>,
) -> Result<f64> {
    let mut speeds = Vec::new();
    for _ in 0..ROUNDS {
        let begin = cpu()?;
        let bytes = write(tree)?;
        let spent = cpu()?.saturating_sub(begin).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a few GB")]
        speeds.push(bytes as f64 / 1e9 / spent);
    }
    speeds.sort_by(f64::total_cmp);
    let median = speeds[ROUNDS / 2];
    println!("{name:24}{median:>8.2} GB/s");
    Ok(median)
}

fn stream_to_nothing(tree: &Tree) -> Result<u64> {
    let options = Options { guid: std::num::NonZeroU64::MIN, created: 0 };
    Ok(stream::write(tree, &options, io::sink())?)
}

fn cpu() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

/// A folder of `count` files of `len` random bytes, as a tree.
fn noise(folder: &Path, count: u64, len: u64) -> Result<Tree> {
    fs::create_dir(folder)?;
    let mut random = fastrand::Rng::with_seed(1);
    let mut bytes = vec![0; usize::try_from(len)?];
    for number in 0..count {
        random.fill(&mut bytes);
        fs::write(folder.join(number.to_string()), &bytes)?;
    }
    folder::tree(folder)
}

/// Of all files.
fn bytes(tree: &Tree) -> u64 {
    tree.iter()
        .map(|(_, entry)| match &entry.kind {
            Kind::File(content) => content.len(),
            _ => 0,
        })
        .sum()
}
