// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a zone is made from: plain data that travels to zone-init as JSON.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

/// PATH of everything started in a zone: the LX brand's tools come first.
pub const ZONE_PATH: &str = "/native/usr/sbin:/native/usr/bin:\
    /opt/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A zone to boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneSpec {
    /// Short name: of its folder and its network namespace. 1 to 32 of
    /// `a-z 0-9 - _`, unique within its network.
    pub name: String,
    /// Zone uuid: its zonename, `sdc:uuid` and host name.
    pub uuid: String,
    /// Address on the admin network.
    pub ip: Ipv4Addr,
    /// `sdc:dns_domain`; the search domain of resolv.conf.
    pub dns_domain: String,
    /// `sdc:resolvers`; the nameserver lines, all of them.
    pub resolvers: Vec<IpAddr>,
    /// Further metadata for `mdata-get`; wins over what is derived.
    pub mdata: BTreeMap<String, String>,
    /// Host folder that stands for the delegate dataset, seen at `/data`;
    /// none: a folder that survives reboots but not the `Zone` value.
    pub data: Option<PathBuf>,
    /// Host files and folders shown in the zone.
    pub binds: Vec<Bind>,
    /// Small file systems, for full-disk tests.
    pub limits: Vec<SizeLimit>,
    /// Accounts besides root and nobody.
    pub users: Vec<User>,
    /// Text files of the image, by absolute path; written when absent.
    pub files: BTreeMap<PathBuf, String>,
    /// What the supervisor runs.
    pub units: Vec<UnitSpec>,
}

impl ZoneSpec {
    /// A zone without daemons, resolvers and accounts.
    pub fn new(name: &str, uuid: &str, ip: Ipv4Addr) -> Self {
        Self {
            name: name.to_owned(),
            uuid: uuid.to_owned(),
            ip,
            dns_domain: "triton.test".to_owned(),
            resolvers: Vec::new(),
            mdata: BTreeMap::new(),
            data: None,
            binds: Vec::new(),
            limits: Vec::new(),
            users: Vec::new(),
            files: BTreeMap::new(),
            units: Vec::new(),
        }
    }

    /// All metadata: derived from the other fields, then `mdata` over it.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let nics = json!([{
            "interface": "eth0",
            "ip": self.ip.to_string(),
            "ips": [format!("{}/24", self.ip)],
            "netmask": "255.255.255.0",
            "nic_tag": "admin",
            "primary": true,
        }]);
        let derived = [
            ("sdc:uuid", self.uuid.clone()),
            ("sdc:zonename", self.uuid.clone()),
            ("sdc:hostname", self.uuid.clone()),
            ("sdc:alias", self.name.clone()),
            ("sdc:brand", "lx".to_owned()),
            ("sdc:dns_domain", self.dns_domain.clone()),
            ("sdc:resolvers", json!(self.resolvers).to_string()),
            ("sdc:maintain_resolvers", "true".to_owned()),
            ("sdc:nics", nics.to_string()),
        ];
        let mut all: BTreeMap<String, String> =
            derived.map(|(key, value)| (key.to_owned(), value)).into();
        all.extend(self.mdata.clone());
        all
    }

    /// resolv.conf as the platform writes it: `search`, then one line per
    /// resolver without the usual cap at three.
    ///
    /// Source: contract sheet on CNS, "Who writes /etc/resolv.conf".
    pub fn resolv_conf(&self) -> String {
        let mut text = format!("search {}\n", self.dns_domain);
        for resolver in &self.resolvers {
            text.push_str(&format!("nameserver {resolver}\n"));
        }
        text
    }
}

/// A host file or folder shown in the zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Host path; must exist and be free of symlinks.
    pub source: PathBuf,
    /// Absolute path in the zone; made when absent.
    pub target: PathBuf,
    /// Whether the zone may write to it.
    pub writable: bool,
}

impl Bind {
    /// A bind the zone cannot write to.
    pub fn read_only(source: &Path, target: &str) -> Self {
        Self {
            source: source.to_owned(),
            target: target.into(),
            writable: false,
        }
    }

    /// A bind the zone can write to.
    pub fn writable(source: &Path, target: &str) -> Self {
        Self { writable: true, ..Self::read_only(source, target) }
    }
}

/// A small tmpfs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeLimit {
    /// Absolute path in the zone.
    pub path: PathBuf,
    /// Size in bytes; the kernel rounds up to pages.
    pub size_bytes: u64,
    /// Owning account, root when none.
    pub user: Option<String>,
}

/// An account of the zone, with a group of the same name and number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Login.
    pub name: String,
    /// Numeric uid and gid.
    pub uid: u32,
    /// Home folder; made when absent.
    pub home: PathBuf,
}

/// When a daemon that ended is started again (systemd's `Restart=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    /// Never.
    No,
    /// After a non-zero exit or a signal that is not a polite one.
    OnFailure,
    /// Always, except after a stop.
    Always,
}

/// A daemon of the zone, described like a systemd unit of type `exec`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitSpec {
    /// Unit name, with or without `.service`.
    pub name: String,
    /// Program (absolute, or found on [`ZONE_PATH`]) and arguments.
    pub argv: Vec<String>,
    /// Account to run as; root when none.
    pub user: Option<String>,
    /// Group, where it is another than the account's own.
    pub group: Option<String>,
    /// Working folder; `/` when none.
    pub directory: Option<PathBuf>,
    /// Environment besides PATH, HOME, USER.
    pub env: BTreeMap<String, String>,
    /// Files of the zone with more of it, read at each start; one that is
    /// missing is passed over (`EnvironmentFile=-`).
    pub environment_files: Vec<PathBuf>,
    /// Whether a boot starts it.
    pub enabled: bool,
    /// Whether it reloads, on SIGHUP.
    pub reloads: bool,
    /// When to start it again.
    pub restart: Restart,
    /// Pause before starting it again (`RestartSec=`).
    pub restart_delay: Duration,
    /// Starts allowed within `start_interval` (`StartLimitBurst=`).
    pub start_burst: u32,
    /// See `start_burst` (`StartLimitIntervalSec=`).
    pub start_interval: Duration,
    /// From SIGTERM to SIGKILL (`TimeoutStopSec=`).
    pub stop_timeout: Duration,
}

impl UnitSpec {
    /// A unit with systemd's own defaults (systemd.service(5), version 252),
    /// except: enabled, reloads on SIGHUP, restarted on failure, and killed
    /// 10 seconds after SIGTERM rather than 90.
    pub fn new<A: Into<String>>(
        name: &str,
        argv: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            argv: argv.into_iter().map(Into::into).collect(),
            user: None,
            group: None,
            directory: None,
            env: BTreeMap::new(),
            environment_files: Vec::new(),
            enabled: true,
            reloads: true,
            restart: Restart::OnFailure,
            restart_delay: Duration::from_millis(100),
            start_burst: 5,
            start_interval: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(10),
        }
    }
}

/// Unit names are compared without `.service`.
pub(crate) fn bare_unit_name(name: &str) -> &str {
    name.strip_suffix(".service").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ZoneSpec {
        let ip = Ipv4Addr::new(10, 88, 0, 20);
        let mut spec = ZoneSpec::new("prometheus0", "u-u-i-d", ip);
        spec.resolvers = vec![
            [10, 88, 0, 11].into(),
            [10, 88, 0, 12].into(),
            [10, 88, 0, 13].into(),
            [8, 8, 8, 8].into(),
        ];
        spec
    }

    #[test]
    fn resolv_conf_has_no_cap_at_three() {
        assert_eq!(
            spec().resolv_conf(),
            "search triton.test\nnameserver 10.88.0.11\n\
             nameserver 10.88.0.12\nnameserver 10.88.0.13\n\
             nameserver 8.8.8.8\n"
        );
    }

    #[test]
    fn given_metadata_wins_over_derived() {
        let mut spec = spec();
        spec.mdata.insert("sdc:alias".into(), "other".into());
        spec.mdata.insert("sapi-url".into(), "http://10.88.0.32".into());
        let all = spec.metadata();
        assert_eq!(all["sdc:alias"], "other");
        assert_eq!(all["sapi-url"], "http://10.88.0.32");
        assert_eq!(all["sdc:uuid"], "u-u-i-d");
        assert!(all["sdc:resolvers"].starts_with("[\"10.88.0.11\""));
    }
}
