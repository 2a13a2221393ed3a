// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The repository: services, what is wanted of them, how they fare. Several
//! processes share it, one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::PATHS;
use super::manifest::{Dependency, Manifest, Method};

/// What runs `setup.sh` and `configure.sh`.
pub(super) const EXECUTE: &str = "svc:/smartdc/mdata:execute";

/// What a joyent-minimal zone has running by itself, of what ours name.
const SEED: [&str; 4] = [
    "svc:/milestone/network:default",
    "svc:/milestone/multi-user:default",
    "svc:/system/filesystem/local:default",
    "svc:/network/dns/client:default",
];

/// Services by FMRI.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Repository {
    /// When process 1 started, in the kernel's words.
    booted: String,
    pub(super) services: BTreeMap<String, Service>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Service {
    /// None of the seed has one, but for mdata:execute.
    pub(super) manifest: Option<Manifest>,
    pub(super) enabled: bool,
    /// Until the next boot.
    pub(super) temporarily: Option<bool>,
    pub(super) state: State,
    /// On its way to another.
    pub(super) moves: bool,
    pub(super) asked: BTreeSet<Ask>,
    /// Why it is in maintenance.
    pub(super) reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Disabled,
    Offline,
    Online,
    Maintenance,
}

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
)]
pub(super) enum Ask {
    Refresh,
    Restart,
    Clear,
}

impl Service {
    fn new(manifest: Option<Manifest>, enabled: bool, state: State) -> Self {
        Self {
            manifest,
            enabled,
            temporarily: None,
            state,
            moves: false,
            asked: BTreeSet::new(),
            reason: String::new(),
        }
    }

    /// Whether it is to run.
    pub(super) fn wanted(&self) -> bool {
        self.temporarily.unwrap_or(self.enabled)
    }
}

impl Repository {
    /// The platform's, with `mdata:execute` about to run.
    pub(super) fn seed() -> Self {
        let online = |fmri: &&str| {
            ((*fmri).to_owned(), Service::new(None, true, State::Online))
        };
        let mut services: BTreeMap<_, _> = SEED.iter().map(online).collect();
        let start = Method {
            exec: "bash /var/svc/mdata-user-script \
                   >>/var/log/mdata-user-script.log 2>&1"
                .to_owned(),
            timeout_seconds: Some(300),
        };
        let execute = Manifest {
            fmri: EXECUTE.to_owned(),
            enabled: true,
            dependencies: vec![Dependency {
                grouping: "require_all".to_owned(),
                fmris: vec!["svc:/milestone/multi-user:default".to_owned()],
            }],
            methods: [("start".to_owned(), start)].into(),
            user: None,
            group: None,
            privileges: None,
            working_directory: None,
            environment: BTreeMap::new(),
            duration: "transient".to_owned(),
            critical_seconds: None,
        };
        let execute = Service::new(Some(execute), true, State::Offline);
        services.insert(EXECUTE.to_owned(), execute);
        Self { booted: String::new(), services }
    }

    /// Nothing runs yet after a boot, whoever looks first.
    fn notice_boot(&mut self, booted: String) {
        if self.booted == booted {
            return;
        }
        self.booted = booted;
        for service in self.services.values_mut() {
            service.temporarily = None;
            service.moves = false;
            if service.manifest.is_some() {
                service.state = State::Disabled;
            }
        }
    }

    /// As `svccfg import`: a service that is known keeps whether it is
    /// enabled.
    ///
    /// Errors: a cycle of dependencies.
    pub(super) fn import(&mut self, manifest: Manifest) -> Result<(), String> {
        let fmri = manifest.fmri.clone();
        let enabled = manifest.enabled;
        let service = self
            .services
            .entry(fmri.clone())
            .or_insert_with(|| Service::new(None, enabled, State::Disabled));
        service.manifest = Some(manifest);
        if self.leads_to(&fmri, &fmri) {
            return Err(format!("{fmri} depends on itself"));
        }
        Ok(())
    }

    /// The full FMRI that a word of a command line means.
    pub(super) fn resolve(&self, word: &str) -> Option<String> {
        let fits = |fmri: &&String| {
            let bare = fmri.trim_end_matches(":default");
            *fmri == word
                || bare == word
                || bare.rsplit('/').next() == Some(word)
        };
        self.services.keys().find(fits).cloned()
    }

    pub(super) fn is_online(&self, word: &str) -> bool {
        self.resolve(word)
            .is_some_and(|fmri| self.services[&fmri].state == State::Online)
    }

    /// Whether everything that the service needs runs.
    pub(super) fn may_start(&self, fmri: &str) -> bool {
        let manifest = self.services[fmri].manifest.as_ref();
        let all = manifest.map_or(&[][..], |it| &it.dependencies);
        all.iter().all(|it| match it.grouping.as_str() {
            "require_any" => it.fmris.iter().any(|on| self.is_online(on)),
            "exclude_all" => !it.fmris.iter().any(|on| self.is_online(on)),
            "optional_all" => it.fmris.iter().all(|on| {
                let known = self.resolve(on);
                known.is_none_or(|fmri| !self.services[&fmri].wanted())
                    || self.is_online(on)
            }),
            _ => it.fmris.iter().all(|on| self.is_online(on)),
        })
    }

    /// Why the service cannot come online while its caller waits.
    pub(super) fn hopeless(&self, fmri: &str) -> Option<String> {
        let service = &self.services[fmri];
        if service.state == State::Maintenance {
            return Some(format!("{fmri} is in maintenance state"));
        }
        if fmri == EXECUTE && service.state != State::Online {
            return Some(format!(
                "deadlock: {EXECUTE} waits for a set-up that waits for it"
            ));
        }
        if !service.wanted() {
            return Some(format!("{fmri} is disabled"));
        }
        let required = service.manifest.iter().flat_map(|manifest| {
            let all = manifest.dependencies.iter();
            all.filter(|it| it.grouping == "require_all")
        });
        required.flat_map(|it| &it.fmris).find_map(|on| {
            match self.resolve(on) {
                None => Some(format!("{fmri} depends on {on}, absent")),
                Some(on) => self.hopeless(&on),
            }
        })
    }

    fn leads_to(&self, from: &str, to: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut next = vec![from.to_owned()];
        while let Some(fmri) = next.pop() {
            let manifest =
                self.services.get(&fmri).and_then(|it| it.manifest.as_ref());
            let all = manifest.map_or(&[][..], |it| &it.dependencies);
            for on in all.iter().flat_map(|it| &it.fmris) {
                let Some(on) = self.resolve(on) else { continue };
                if on == to {
                    return true;
                }
                if seen.insert(on.clone()) {
                    next.push(on);
                }
            }
        }
        false
    }
}

/// Works on the repository, alone, and keeps it.
pub(super) fn with<T>(
    work: impl FnOnce(&mut Repository) -> T,
) -> io::Result<T> {
    let path = Path::new(PATHS.repository);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let lock = File::create(PATHS.lock)?;
    lock.lock()?;
    let before = fs::read(path).unwrap_or_default();
    let mut repository = match before.is_empty() {
        true => Repository::seed(),
        false => serde_json::from_slice(&before)?,
    };
    let process = fs::read_to_string("/proc/1/stat")?;
    let started = process.rsplit(')').next().unwrap_or_default();
    let started = started.split_whitespace().nth(19).unwrap_or_default();
    repository.notice_boot(started.to_owned());
    let done = work(&mut repository);
    let after = serde_json::to_vec_pretty(&repository)?;
    if after != before {
        let new = path.with_extension("new");
        fs::write(&new, after)?;
        fs::rename(new, path)?;
    }
    Ok(done)
}
