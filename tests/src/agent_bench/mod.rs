// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A workbench for the real config-agent without a zone around it: a folder
//! that stands for `/`, a SAPI stand-in in this process, and the platform's
//! tools (`zonename`, `mdata-get`, `systemctl`) as scripts first on `PATH`.
//!
//! Each bench has a loopback address of its own, so that benches run beside
//! each other with the ports everybody knows. Panics where a test would.

mod agent;
mod tools;
mod wait;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::loopback::own_address;
use crate::sapi::{Kind, Sapi, ids};

pub use agent::{Agent, Ended, Starter, program};
use wait::within;
pub use wait::{PATIENCE, eventually};

/// Server the bench's instance runs on.
const SERVER: &str = "90000000-0000-4000-8000-000000000001";

/// Secrets put in metadata; none may ever be seen in a log.
pub const MARKERS: [&str; 3] =
    ["MARKER-ldap-2b7c", "MARKER-admin-91fe", "MARKER-store-55d0"];

/// The bench. Dropping it stops SAPI and the daemons it started.
pub struct Bench {
    folder: tempfile::TempDir,
    /// The stand-in, for faults and for its log.
    pub sapi: Sapi,
    /// Where it answers.
    pub sapi_address: SocketAddr,
    /// This bench's loopback address.
    pub address: Ipv4Addr,
    config: Value,
    _stop: DropGuard,
}

/// A config manifest as SAPI has it.
pub struct Manifest<'a> {
    /// Its name; its uuid follows from it.
    pub name: &'a str,
    /// Path below the bench's root.
    pub path: &'a str,
    /// hogan text.
    pub template: &'a str,
    /// Shell command, if any.
    pub post_cmd: Option<&'a str>,
}

impl Bench {
    /// A bench whose instance has no manifests and whose zone has no role.
    pub async fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().expect("/tmp can be written");
        let sapi = Sapi::new(SERVER);
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port on loopback");
        let sapi_address =
            listener.local_addr().expect("it listens, so it has an address");
        let stop = CancellationToken::new();
        tokio::spawn(sapi.clone().serve(listener, stop.clone()));
        let mut bench = Self {
            folder,
            sapi,
            sapi_address,
            address: own_address(),
            config: json!({}),
            _stop: stop.drop_guard(),
        };
        bench.fill_sapi();
        tools::install(bench.folder.path());
        bench.mdata("sdc:uuid", ids::PROMETHEUS0);
        bench.mdata("sdc:server_uuid", SERVER);
        bench.mdata("sdc:datacenter_name", "dc1");
        bench.admin_address("192.0.2.10");
        bench.configure(json!({
            "logLevel": "debug",
            "pollInterval": 100,
            "fullPollInterval": 60_000,
            "sapi": {"url": format!("http://{sapi_address}")},
            "root": bench.root(),
            "templatesDir": bench.path("templates"),
            "stateDir": bench.path("state"),
            "dnsListen": [],
            "statusListen": bench.status_address(),
        }));
        bench
    }

    /// A bench for the prometheus role: the repository's own templates, with
    /// this bench's address in place of 127.0.0.1, and complete metadata.
    pub async fn prometheus() -> Self {
        let bench = Self::new().await;
        bench.mdata("sdc:tags.smartdc_role", "prometheus");
        tools::copy_templates(&bench.path("templates"), bench.address);
        let key = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../agent/src/certgen/testdata/rsa.pkcs1"
        );
        let key = fs::read_to_string(key).expect("a key of the repository");
        bench.metadata(json!({
            "datacenter_name": "dc1",
            "region_name": "region1",
            "dns_domain": "triton.test",
            "cmon_domain": "cmon.invalid",
            "SDC_PRIVATE_KEY": key,
            "ufds_ldap_root_pw": MARKERS[0],
            "ufds_admin_pw": MARKERS[1],
        }));
        bench
    }

    /// A bench for the grafana role, whose nginx answers on this bench's
    /// address, ports 80 and 443. Grafana and the sign-in proxy are the
    /// test's own.
    pub async fn grafana() -> Self {
        let bench = Self::new().await;
        bench.mdata("sdc:tags.smartdc_role", "grafana");
        tools::copy_templates(&bench.path("templates"), bench.address);
        // nginx' workers are not root, and their sockets lie in here.
        let open = fs::Permissions::from_mode(0o711);
        fs::set_permissions(bench.folder.path(), open)
            .expect("the folder is ours");
        bench.metadata(json!({
            "datacenter_name": "dc1",
            "region_name": "region1",
            "dns_domain": "triton.test",
            "grafana_listen": [bench.address.to_string()],
            "ufds_ldap_root_pw": MARKERS[0],
        }));
        bench
    }

    /// A bench for the thanos role, at home on this bench's address. What
    /// answers there is the test's own.
    pub async fn thanos() -> Self {
        let bench = Self::new().await;
        bench.mdata("sdc:tags.smartdc_role", "thanos");
        let admin = bench.address.to_string();
        let nics = json!([{"nic_tag": "admin", "ip": admin,
            "ips": [format!("{admin}/8")], "primary": true}]);
        bench.mdata("sdc:nics", &nics.to_string());
        tools::copy_templates(&bench.path("templates"), bench.address);
        bench.metadata(json!({
            "datacenter_name": "dc1",
            "dns_domain": "triton.test",
        }));
        bench
    }

    fn fill_sapi(&self) {
        self.sapi.put(
            Kind::Application,
            json!({"uuid": ids::SDC, "name": "sdc", "metadata": {}}),
        );
        self.sapi.put(
            Kind::Service,
            json!({"uuid": ids::PROMETHEUS, "name": "prometheus",
                "application_uuid": ids::SDC, "type": "vm",
                "metadata": {}, "manifests": {}}),
        );
        self.sapi.put(
            Kind::Instance,
            json!({"uuid": ids::PROMETHEUS0, "type": "vm",
                "service_uuid": ids::PROMETHEUS,
                "params": {"server_uuid": SERVER}, "metadata": {}}),
        );
    }

    /// A path in the bench's folder, beside the root.
    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// What stands for `/`.
    pub fn root(&self) -> PathBuf {
        self.path("root")
    }

    /// A file below the root.
    pub fn file(&self, below: &str) -> PathBuf {
        self.root().join(below)
    }

    /// The text of a file below the root; `None` while there is none.
    pub fn text(&self, below: &str) -> Option<String> {
        fs::read_to_string(self.file(below)).ok()
    }

    /// Writes a file of the bench, folders included.
    pub fn write(&self, path: &Path, text: impl AsRef<[u8]>) {
        let folder = path.parent().expect("a file lies in a folder");
        fs::create_dir_all(folder).expect("the bench can be written");
        fs::write(path, text).expect("the bench can be written");
    }

    /// Where the agent's status page answers.
    pub fn status_address(&self) -> SocketAddr {
        SocketAddr::from((self.address, 9165))
    }

    /// Where this bench's Prometheus answers.
    pub fn prometheus_url(&self, path: &str) -> String {
        format!("http://{}:9090{path}", self.address)
    }

    /// Gives the zone one NIC, on the admin network. Only an address of
    /// loopback can be listened on.
    pub fn admin_address(&self, ip: &str) {
        let nics = json!([{"nic_tag": "admin", "ip": ip,
            "ips": [format!("{ip}/24")], "primary": true}]);
        self.mdata("sdc:nics", &nics.to_string());
    }

    /// Waits until no process names this bench's folder: a command may outlive
    /// the agent that was killed.
    pub async fn is_left_alone(&self) {
        let folder = self.folder.path().as_os_str().as_encoded_bytes();
        eventually("nobody is at work there", async || {
            let all = fs::read_dir("/proc").ok()?.flatten();
            let mut lines =
                all.filter_map(|it| fs::read(it.path().join("cmdline")).ok());
            let names = |line: Vec<u8>| {
                line.windows(folder.len()).any(|part| part == folder)
            };
            (!lines.any(names)).then_some(())
        })
        .await;
    }

    /// An address of loopback that nobody else has, beside the bench's own.
    pub fn other_address(&self) -> Ipv4Addr {
        own_address()
    }

    /// Sets a key of the instance's mdata.
    pub fn mdata(&self, key: &str, value: &str) {
        self.write(&self.path("mdata").join(key), value);
    }

    /// Sets keys of the service's metadata.
    pub fn metadata(&self, keys: Value) {
        let Value::Object(keys) = keys else { panic!("keys of an object") };
        self.edit_metadata(|metadata| metadata.extend(keys));
    }

    /// Changes the service's metadata.
    pub fn edit_metadata(&self, edit: impl FnOnce(&mut Map<String, Value>)) {
        let kind = Kind::Service;
        assert!(self.sapi.edit_metadata(kind, ids::PROMETHEUS, edit));
    }

    /// Puts a config manifest in SAPI, for this instance; one of the same
    /// name is replaced.
    pub fn manifest(&self, manifest: Manifest<'_>) {
        let uuid = manifest_uuid(manifest.name);
        let mut object = json!({
            "uuid": uuid, "name": manifest.name,
            "path": format!("/{}", manifest.path),
            "template": manifest.template, "version": "1.0.0",
        });
        if let Some(command) = manifest.post_cmd {
            object["post_cmd"] = json!(command);
        }
        self.sapi.put(Kind::Manifest, object);
        let mut service = self
            .sapi
            .get(Kind::Service, ids::PROMETHEUS)
            .expect("it was put there");
        service["manifests"][manifest.name] = json!(uuid);
        self.sapi.put(Kind::Service, Value::Object(service));
    }

    /// Puts a config manifest without a command in SAPI.
    pub fn plain(&self, name: &str, path: &str, template: &str) {
        self.manifest(Manifest { name, path, template, post_cmd: None });
    }

    /// Sets keys of the agent's configuration file.
    pub fn configure(&mut self, keys: Value) {
        let Value::Object(keys) = keys else { panic!("keys of an object") };
        if let Value::Object(config) = &mut self.config {
            config.extend(keys);
        }
        self.write(&self.config_path(), self.config.to_string());
    }

    /// The agent's configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.path("config.json")
    }

    /// How to start the agent.
    pub fn starter(&self) -> Starter {
        Starter::new(self.folder.path())
    }

    /// Starts the agent: verb run, in the background.
    pub fn start(&self) -> Agent {
        self.starter().start()
    }

    /// Runs shell text in the bench's folder, its tools first on PATH.
    pub async fn shell(&self, script: &str) -> Ended {
        agent::shell(self.folder.path(), script).await
    }

    /// Adds a tool to the bench's PATH; `$B` in it is the bench's folder.
    pub fn tool(&self, name: &str, script: &str) {
        tools::tool(self.folder.path(), name, script);
    }

    /// Runs a verb to its end.
    pub async fn verb(&self, args: &[&str]) -> Ended {
        self.starter().verb(args).await
    }

    /// Asks over HTTP; `None` while nobody answers.
    pub async fn get(&self, url: &str) -> Option<(u16, String)> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(5))
            .build()
            .expect("a client needs nothing");
        let answer = client.get(url).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// A page of the agent's status server.
    pub async fn page(&self, path: &str) -> Option<(u16, String)> {
        self.get(&format!("http://{}{path}", self.status_address())).await
    }

    /// The agent's report, once it answers.
    pub async fn report(&self) -> Option<Value> {
        let (_, text) = self.page("/status.json").await?;
        serde_json::from_str(&text).ok()
    }

    /// Waits for a fault or warning that holds all of `words`.
    pub async fn said(&self, list: &str, words: &[&str]) -> String {
        let what = format!("{list}: {words:?}");
        let mut last = Value::Null;
        let found = within(PATIENCE, async || {
            let report = self.report().await?;
            last = report[list].clone();
            report[list].as_array()?.iter().find_map(|line| {
                let line = line.as_str()?;
                let all = words.iter().all(|word| line.contains(word));
                all.then(|| line.to_owned())
            })
        })
        .await;
        found.unwrap_or_else(|| panic!("in vain: {what}; last: {last:#}"))
    }

    /// Waits until a file below the root has this text.
    pub async fn holds(&self, below: &str, text: &str) {
        eventually(&format!("{below} holds {text:?}"), async || {
            (self.text(below)? == text).then_some(())
        })
        .await;
    }

    /// Waits until SAPI was asked `count` times more.
    pub async fn polls(&self, count: u64) {
        let front = self.sapi.front();
        let total = front.total() + count;
        let reached = front.wait_for_total(total);
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        assert!(reached.is_ok(), "SAPI is not asked any more");
    }

    /// Asks `agent` for passes and waits until one that began after this
    /// call is over.
    pub async fn settle(&self, agent: &Agent) {
        let passes = async || self.report().await?["walk"]["passes"].as_u64();
        // The first may end one that was under way.
        for _ in 0..2 {
            let now = eventually("the agent answers", passes).await;
            agent.signal(nix::sys::signal::Signal::SIGHUP);
            eventually("one more pass", async || {
                (passes().await? > now).then_some(())
            })
            .await;
        }
    }

    /// Makes a daemon known to systemctl: `start` is the shell text that
    /// runs it, for five minutes at most.
    pub fn unit(&self, name: &str, start: &str) {
        let text = format!("exec timeout 300 {start}\n");
        self.write(&self.path("units").join(format!("{name}.start")), text);
    }

    /// Makes the real Prometheus known to systemctl.
    pub fn prometheus_unit(&self) {
        let flags = self.file("opt/triton/prometheus/etc/prometheus.flags");
        self.unit("prometheus", &format!("prometheus @{}", flags.display()));
    }

    /// What systemctl was asked, a line each, looks left out.
    pub fn service_calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("systemctl.log"));
        let text = text.unwrap_or_default();
        let calls = text.lines().filter(|line| !line.starts_with("show"));
        calls.map(str::to_owned).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        tools::end_daemons(self.folder.path());
    }
}

fn manifest_uuid(name: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    let bytes: [u8; 16] =
        digest.as_ref()[..16].try_into().expect("a digest of 32 bytes");
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}
