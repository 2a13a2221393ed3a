// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The SmartOS images of the recipes we ship, as zone-image wrote them to a
//! file, received by OpenZFS: each name, owner, mode, link, time and byte as
//! the plan has it. Daemons and agent are small Go programs for illumos; the
//! certificate authorities are those we ship.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use localdc::image::workshop::{
    EPOCH, Ended, Member, STAMP, archive, sha256, tar,
};
use localdc::image::zfs::{self, Received};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use zone_image::build::{self, Place};
use zone_image::cache::Cache;
use zone_image::look::{self, look};
use zone_image::plan::plan;
use zone_image::recipe::{self, Brand};
use zone_image::stamp::Stamp;
use zone_image::tree::{Kind, Tree, TreePath};
use zone_image::{artifacts, stream};

use super::{beside, command};

/// What each component brings in the place of what it is.
const DAEMONS: [(&str, &[&str]); 5] = [
    ("alertmanager", &["bin/alertmanager", "bin/amtool"]),
    ("grafana", &["opt/local/bin/grafana"]),
    ("nginx", &["opt/local/sbin/nginx"]),
    ("prometheus", &["bin/prometheus", "bin/promtool"]),
    ("thanos", &["bin/thanos"]),
];

/// Where it is built; cache and Go's own stay for the next time.
struct Shop {
    workspace: PathBuf,
    folder: PathBuf,
    /// A program for illumos.
    program: Vec<u8>,
    _lock: File,
}

impl Shop {
    fn open() -> Self {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = tests.join("..").canonicalize().unwrap();
        let folder = workspace.join("target/native-image");
        fs::create_dir_all(&folder).unwrap();
        let lock = File::create(folder.join("lock")).unwrap();
        lock.lock().unwrap();
        let program = folder.join("hello");
        let built = command("go")
            .args(["build", "-trimpath", "-buildvcs=false", "-mod=mod", "-o"])
            .args([program.to_str().unwrap(), "."])
            .current_dir(tests.join("fixtures/image/hello"))
            .envs([("GOOS", "illumos"), ("GOARCH", "amd64")])
            .envs([("CGO_ENABLED", "0"), ("GOFLAGS", ""), ("GOPROXY", "off")])
            .env("GOCACHE", folder.join("go"))
            .output()
            .unwrap();
        assert!(built.status.success(), "{built:?}");
        let program = fs::read(program).unwrap();
        let shop = Self { workspace, folder, program, _lock: lock };
        shop.write_components();
        shop
    }

    fn write_components(&self) {
        let mut pins = String::new();
        for (name, programs) in DAEMONS {
            let program =
                |at: &&'static str| Member::Program(at, &self.program);
            let members: Vec<_> = programs.iter().map(program).collect();
            let bytes = tar(&members);
            let file = format!("target/native-image/{name}.tar");
            fs::write(self.workspace.join(&file), &bytes).unwrap();
            let _ = writeln!(pins, "{}", archive(name, &file, &bytes, ""));
        }
        fs::write(self.components(), pins).unwrap();
    }

    fn components(&self) -> PathBuf {
        self.folder.join("artifacts.toml")
    }

    fn zone_image(&self, verb: &str, words: &[&str]) -> Ended {
        command(beside().with_file_name("zone-image").to_str().unwrap())
            .args([verb])
            .args(words)
            .arg("--artifacts")
            .arg(self.components())
            .arg("--cache")
            .arg(self.folder.join("cache"))
            .current_dir(&self.workspace)
            .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
            .output()
            .unwrap()
            .into()
    }

    /// The image of `role` in `out`; returns its stream.
    fn build(&self, role: &str, out: &Path) -> PathBuf {
        let brand = ["--brand", "joyent-minimal"];
        self.zone_image("fetch", &[&[role], &brand[..]].concat()).well();
        let agent = self.folder.join("hello");
        let agent = format!("config-agent={}", agent.display());
        let out_text = out.display().to_string();
        let words =
            [role, "--program", &agent, "--stamp", STAMP, "--out", &out_text];
        let words = [&words[..], &brand].concat();
        self.zone_image("build", &words).well();
        let files = fs::read_dir(out).unwrap();
        let mut files = files.map(|entry| entry.unwrap().path());
        files
            .find(|file| file.display().to_string().ends_with(".zfs.gz"))
            .unwrap()
    }

    /// What the plan says the dataset holds. `work` must outlive it.
    async fn planned(&self, role: &str, work: &Path) -> Tree {
        let brand = Brand::JoyentMinimal;
        let folder = self.workspace.join("image/recipes");
        let pins = [folder.join("artifacts.toml"), self.components()];
        let artifacts = artifacts::load(&pins).unwrap();
        let place = look::Place {
            workspace: self.workspace.clone(),
            programs: [("config-agent".into(), self.folder.join("hello"))]
                .into(),
        };
        let recipe = recipe::load(&folder, role, brand).unwrap();
        let stamp = Stamp { version: STAMP.into(), epoch: EPOCH };
        let facts = look(&place, &recipe, brand, &artifacts, stamp);
        let plan = plan(&recipe, brand, &artifacts, &facts).unwrap();
        let cache = Cache::open(&self.folder.join("cache")).unwrap();
        let place = Place { cache: &cache, work };
        let built = build::build(&plan, &place, &|_, _| ()).await.unwrap();
        // The others as the sheet on images has them.
        let others = ["site", "local"];
        stream::dataset(&built.tree, &others, EPOCH).unwrap()
    }
}

fn gunzip(file: &Path, to: &Path) {
    let mut gzip = flate2::read::GzDecoder::new(File::open(file).unwrap());
    std::io::copy(&mut gzip, &mut File::create(to).unwrap()).unwrap();
}

/// By hand, for what a zone cannot live without: not what our own plan says.
fn holds_what_a_zone_wants(
    role: &str,
    program: &[u8],
    seen: &BTreeMap<String, Received>,
) {
    let at = |path: &str| {
        let path = format!("/root{path}");
        seen.get(&path).unwrap_or_else(|| panic!("{role}: no {path}"))
    };
    let starts = |path: &str, facts: &str| {
        let seen = &at(path).facts;
        assert!(seen.starts_with(facts), "{role} {path}: {seen}");
    };
    for folder in ["/dev", "/lib", "/proc", "/usr", "/var/svc/manifest/site"] {
        starts(folder, "040755 0 0 ");
    }
    starts("/tmp", "041777 0 0 ");
    // What the boot of a platform reads before anything of ours runs; each is
    // fatal to be without. Source: as beside them in native.toml.
    let fatal = ["inittab", "netconfig", "project", "user_attr", "vfstab"];
    let fatal =
        fatal.into_iter().chain(["nscd.conf", "passwd", "rsyslog.conf"]);
    for name in fatal {
        starts(&format!("/etc/{name}"), "100644 0 0 ");
    }
    starts("/etc/shadow", "100400 0 0 ");
    starts("/opt/smartdc/boot/setup.sh", "100755 0 0 ");
    assert_eq!(at("/bin").body, "./usr/bin");
    let agent = "/opt/triton/config-agent/bin/config-agent";
    starts(agent, "100755 0 0 ");
    assert_eq!(at(agent).body, sha256(program));
    // Go's for illumos and openssl-probe look there.
    starts("/etc/ssl/certs/ca-certificates.crt", "100644 0 0 ");
    let manifest = format!("/opt/triton/{role}/smf/{role}.xml");
    let manifest = match role {
        "thanos" => "/opt/triton/thanos/smf/thanos-query.xml",
        _ => &manifest,
    };
    starts(manifest, "100644 0 0 ");
    for beside in ["/site", "/local"] {
        assert!(seen.contains_key(beside), "{role}: no {beside}");
    }
}

#[tokio::test]
async fn every_smartos_image_is_received_as_it_was_planned() {
    let shop = Shop::open();
    for role in ["prometheus", "thanos", "grafana"] {
        let folder = tempfile::tempdir().unwrap();
        let (out, work) = (folder.path().join("out"), folder.path().join("w"));
        fs::create_dir_all(&work).unwrap();
        let image = shop.build(role, &out);
        let stream = folder.path().join("stream");
        gunzip(&image, &stream);
        let seen = zfs::receive(&stream).unwrap();
        let planned = shop.planned(role, &work).await;
        zfs::compare(&planned, &seen).unwrap();
        holds_what_a_zone_wants(role, &shop.program, &seen);
        insta::assert_snapshot!(format!("native-{role}"), listing(&seen));
        is_fit_for_its_platform(&planned);
        let manifest = fs::read_dir(&out).unwrap().find_map(|file| {
            let path = file.unwrap().path();
            let is = path.extension().is_some_and(|it| it == "imgmanifest");
            is.then(|| fs::read_to_string(path).unwrap())
        });
        let platform = r#""min_platform":{"7.0":"20210826T002459Z"}"#;
        let manifest = manifest.unwrap().replace([' ', '\n'], "");
        assert!(manifest.contains(platform), "{manifest}");
        assert!(authorities(&planned) > 100);
    }
}

/// Name, type and mode, owner, and what a link points at; of templates and
/// what else is the workspace's own the folder alone. What the plan forgets is
/// seen here by whoever reads the change, and by nobody elsewhere.
fn listing(seen: &BTreeMap<String, Received>) -> String {
    let mut text = String::new();
    let own = |path: &str| {
        path.starts_with("/root/opt/triton/")
            && ["/templates/", "/smf/"].iter().any(|it| path.contains(it))
    };
    let named = seen.iter().filter(|(path, _)| !own(path));
    for (path, found) in named {
        let facts: Vec<&str> = found.facts.splitn(4, ' ').collect();
        let [mode, user, group, ..] = facts[..] else { panic!("{facts:?}") };
        let target = match mode.starts_with("12") {
            true => format!(" -> {}", found.body),
            false => String::new(),
        };
        let _ = writeln!(text, "{mode} {user}:{group} {path}{target}");
    }
    text
}

/// A file of the plan.
fn bytes(planned: &Tree, path: &str) -> Vec<u8> {
    let entry = planned.get(&TreePath::parse(path).unwrap()).unwrap();
    let Kind::File(content) = &entry.kind else { panic!("{path} is no file") };
    let mut bytes = Vec::new();
    content.open().unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// A locked root has no jobs of cron, so no rotation of logs, and no zlogin;
/// local file systems fail by an empty list of them.
///
/// Source: illumos, pam_modules/unix_account/unix_acct.c, initpkg/mountall.sh.
fn is_fit_for_its_platform(planned: &Tree) {
    let shadow = bytes(planned, "root/etc/shadow");
    assert!(shadow.starts_with(b"root:NP:"), "{shadow:?}");
    assert!(!bytes(planned, "root/etc/vfstab").is_empty());
}

/// How many authorities the bundle has that a TLS library takes; all of them
/// it must take.
fn authorities(planned: &Tree) -> usize {
    let bytes = bytes(planned, "root/etc/ssl/certs/ca-certificates.crt");
    let mut store = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        store.add(certificate.unwrap()).unwrap();
    }
    store.len()
}
