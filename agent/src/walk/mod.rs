// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The config walk: metadata, model, render, apply, as one pass and as the
//! loop that repeats it whenever something it depends on changed.

mod certificate;
mod compactor;
mod facts;
pub(crate) mod grafana;
mod kept;
mod manifests;
mod output;
mod redact;
mod secrets;
mod status;
pub(crate) mod thanos;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::apply::{Applier, DaemonHttp, Outcome, Report};
use crate::config::ConfigFile;
use crate::discovery::Found;
use crate::host::Host;
use crate::metadata::auto::auto_metadata;
use crate::metadata::local::manifest_folder;
use crate::metadata::poll::{Cache, Fetched};
use crate::metadata::resolve::TemplateContext;
use crate::metadata::watch::{Watch, Watched};
use crate::model::{Model, Role};
use crate::render::DaemonSpec;

pub use certificate::account_key;
pub use facts::{Facts, gather};
pub use manifests::render_manifests;
pub use status::{CertStatus, ServedCertificate, WalkStatus};

/// First pause before a pass that left something undone is repeated.
const RETRY: Duration = Duration::from_secs(1);

/// Longest such pause.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// How long the platform's facts about the zone are believed: NICs change.
const FACTS_AGE: Duration = Duration::from_secs(300);

/// What a walk needs and keeps.
pub struct Walk {
    config: ConfigFile,
    config_path: Option<PathBuf>,
    host: Arc<dyn Host>,
    http: Arc<dyn DaemonHttp>,
    applier: Applier,
    cache: Cache,
    facts: Facts,
    facts_at: Instant,
    facts_due: bool,
    status: WalkStatus,
    faults: Vec<String>,
    warnings: Vec<String>,
    watched: Watched,
    compactor: compactor::Guard,
}

/// What a walk listens to.
pub struct Inputs {
    /// Configurations from SAPI or from disk.
    pub fetched: watch::Receiver<Option<Arc<Fetched>>>,
    /// What discovery found.
    pub found: watch::Receiver<Arc<Found>>,
    /// Asks for a pass now.
    pub now: mpsc::Receiver<()>,
}

/// What a walk says.
pub struct Outputs {
    /// After each pass.
    pub status: watch::Sender<WalkStatus>,
    /// Merged metadata, whenever it differs.
    pub metadata: watch::Sender<Option<Arc<Map<String, Value>>>>,
    /// The daemons that read our files, once some are in force.
    pub daemons: watch::Sender<Vec<DaemonSpec>>,
    /// The model, whenever it differs; none while metadata is bad.
    pub model: watch::Sender<Option<Arc<Model>>>,
}

impl Walk {
    /// A walk over the zone that `facts` describes.
    pub fn new(
        config: ConfigFile,
        config_path: Option<PathBuf>,
        host: Arc<dyn Host>,
        http: Arc<dyn DaemonHttp>,
        cache: Cache,
        facts: Facts,
    ) -> Self {
        let applier =
            Applier::load(&config.state_dir, config.post_cmd_timeout());
        let election = config.state_dir.join("compactor.json");
        Self {
            compactor: compactor::Guard::load(election),
            config,
            config_path,
            host,
            http,
            applier,
            cache,
            facts,
            facts_at: Instant::now(),
            facts_due: false,
            status: WalkStatus::default(),
            faults: Vec::new(),
            warnings: Vec::new(),
            watched: Watched::default(),
        }
    }

    /// Puts files in force and leaves the daemons that read them alone.
    pub fn leave_daemons(&mut self) {
        self.applier.leave_daemons();
    }

    /// Walks whenever an input changed, a file changed, something was left
    /// undone, or the time for a look has come; until `stop`.
    pub async fn run(
        mut self,
        mut inputs: Inputs,
        outputs: Outputs,
        stop: CancellationToken,
    ) {
        let mut watch = Watch::new();
        let mut retry = RETRY;
        loop {
            let fetched = inputs.fetched.borrow_and_update().clone();
            let found = Arc::clone(&inputs.found.borrow_and_update());
            let repairs = self.status.repairs;
            let clean = match fetched {
                None => true,
                // Never cut short: stop is looked at between passes, and
                // each step of a pass has its own time limit.
                Some(fetched) => self.pass(&fetched, &found, &outputs).await,
            };
            let grown = watch.set(self.watched.clone());
            // A command that fails, or that changes the very file it follows,
            // leaves traces of its own: they are no reason to hurry.
            let calm = clean && self.status.repairs == repairs;
            if !calm {
                watch.forget().await;
            }
            let pause = match (calm, grown) {
                (true, false) => self.config.full_poll_interval(),
                // What changed there before we listened is yet to be seen.
                (true, true) => RETRY,
                (false, _) => retry,
            };
            // An election ends by itself when nothing is heard.
            let pause = self.compactor.again.map_or(pause, |a| a.min(pause));
            let ceiling = RETRY_MAX.min(self.config.poll_interval().max(RETRY));
            retry = if calm { RETRY } else { (retry * 2).min(ceiling) };
            tokio::select! {
                () = stop.cancelled() => return,
                // Cancel-safe: `changed` only marks, `recv` loses nothing,
                // and a file change is looked for by the pass itself.
                changed = inputs.fetched.changed() => {
                    if changed.is_err() { return; }
                    retry = RETRY;
                }
                changed = inputs.found.changed() => {
                    if changed.is_err() { return; }
                }
                asked = inputs.now.recv() => {
                    if asked.is_none() { return; }
                    self.facts_due = true;
                    self.applier.forget_pauses();
                }
                () = watch.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One pass; says whether nothing is left to do.
    pub async fn pass(
        &mut self,
        fetched: &Fetched,
        found: &Found,
        outputs: &Outputs,
    ) -> bool {
        let begin = Instant::now();
        if self.facts_due || self.facts_at.elapsed() >= FACTS_AGE {
            self.facts_due = false;
            let fresh = gather(self.host.as_ref(), &self.config).await;
            self.facts.refresh(fresh);
            self.facts_at = Instant::now();
        }
        self.reload_local_metadata();
        self.guard_kept_configuration(fetched);
        let mut status = WalkStatus {
            at: Some(SystemTime::now()),
            revision: Some(fetched.revision.clone()),
            shared: Some(fetched.shared.clone()),
            origin: Some(fetched.origin),
            since: Some(fetched.since),
            caps: self.facts.caps,
            data: self.facts.role.as_ref().ok().map(|role| {
                crate::model::Paths::new(&self.config.root, *role).data
            }),
            ..WalkStatus::default()
        };
        let context = self.context(fetched);
        let metadata = context
            .value()
            .as_object()
            .expect("a template context is an object");
        if outputs.metadata.receiver_count() > 0 {
            publish(&outputs.metadata, Some(Arc::new(metadata.clone())));
        }
        let mut output = self.render_compatible(fetched, &context, &mut status);
        let model = self.render_role(metadata, found, &mut status, &mut output);
        let tls = model.as_ref().and_then(|model| model.thanos.as_ref());
        let tls = tls.map(thanos::files).unwrap_or_default();
        publish(&outputs.model, model.map(Arc::new));
        let report = self
            .applier
            .pass(&output, self.host.as_ref(), self.http.as_ref())
            .await;
        // While metadata is bad none are named; they run all the same.
        if !output.daemons.is_empty() {
            outputs.daemons.send_if_modified(|current| {
                let differs = *current != output.daemons;
                current.clone_from(&output.daemons);
                differs
            });
        }
        self.watched = self.watched(&report);
        self.watched.files.extend(tls);
        status.take_report(report, &self.status);
        if !status.is_clean() || !status.warnings.is_empty() {
            redact::Redactor::new(metadata).redact(&mut status);
        }
        status.took = begin.elapsed();
        self.say(&status);
        let clean = status.is_clean();
        self.status = status.clone();
        outputs.status.send_replace(status);
        clean
    }

    /// SAPI's metadata, the local one over it, `auto` over both.
    fn context(&self, fetched: &Fetched) -> TemplateContext {
        TemplateContext::new(
            fetched.parsed.config.metadata.clone(),
            self.config.local_metadata.clone(),
            auto_metadata(&self.facts.mdata, &self.facts.instance),
        )
    }

    /// The file may be edited while we run; only this key is taken anew, the
    /// rest needs a restart.
    fn reload_local_metadata(&mut self) {
        let Some(path) = &self.config_path else { return };
        match ConfigFile::load(path) {
            Ok(fresh) => self.config.local_metadata = fresh.local_metadata,
            Err(error) => warn!(
                err.message = %crate::log::chain(&error),
                "configuration file cannot be read; the last one stays"
            ),
        }
    }

    /// The kept configuration is what the next start begins with.
    fn guard_kept_configuration(&self, fetched: &Fetched) {
        match self.cache.repair(fetched) {
            Ok(false) => {}
            Ok(true) => warn!(
                path = %self.cache.path().display(),
                "kept configuration was changed or missing; put back"
            ),
            Err(error) => warn!(
                path = %self.cache.path().display(),
                err.message = %error,
                "could not keep the configuration"
            ),
        }
    }

    /// Every file a change of which concerns us.
    fn watched(&self, report: &Report) -> Watched {
        let mut files: BTreeSet<PathBuf> = report
            .files
            .iter()
            .filter_map(|file| file.target.clone())
            .collect();
        files.extend(self.config_path.clone());
        files.insert(self.cache.path().to_owned());
        files.extend(self.config.account_key_file.clone());
        let mut folders = BTreeSet::new();
        if let Ok(role) = self.facts.role {
            for set in role.template_sets() {
                folders.insert(self.config.templates_dir.join(set));
            }
            folders.insert(self.config.templates_dir.join("resolver"));
            let paths = crate::model::Paths::new(&self.config.root, role);
            for name in ["cmon.key", "cmon.crt", "key.pem", "cert.pem"] {
                files.insert(paths.tls.join(name));
            }
        }
        let dirs =
            self.config.local_manifest_dirs.for_instance(&self.facts.instance);
        for dir in dirs {
            let folder = manifest_folder(dir);
            if let Ok(entries) = std::fs::read_dir(&folder) {
                folders.extend(
                    entries
                        .flatten()
                        .map(|entry| entry.path())
                        .filter(|path| path.is_dir())
                        .take(10_000),
                );
            }
            folders.insert(folder);
        }
        Watched { files, folders }
    }

    /// Says what changed, and faults when they are new.
    fn say(&mut self, status: &WalkStatus) {
        for file in &status.report.files {
            match &file.outcome {
                Outcome::Written => info!(file = %file.name, "file written"),
                Outcome::Repaired => warn!(
                    file = %file.name,
                    "file was changed behind our back; put back"
                ),
                _ => {}
            }
        }
        for reader in &status.report.taken {
            info!(%reader, "new files taken");
        }
        let faults = status.faults();
        for fault in &faults {
            if !self.faults.contains(fault) {
                error!(err.message = %fault, "not in force");
            }
        }
        if faults.is_empty() && !self.faults.is_empty() {
            info!("all in force again");
        }
        self.faults = faults;
        for warning in &status.warnings {
            if !self.warnings.contains(warning) {
                warn!(err.message = %warning, "passed over");
            }
        }
        self.warnings = status.warnings.clone();
    }
}

/// Why nothing of a role is rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRole {
    /// Nobody said what the zone is for: a zone with config manifests alone.
    #[error(
        "the zone has no smartdc_role or manta_role tag and the \
         configuration no role: only config manifests are rendered"
    )]
    Untagged,
    /// A role that this version does not know.
    #[error(
        "role {seen:?} is not known, wanted one of {wanted}: only config \
         manifests are rendered"
    )]
    Unknown {
        /// The tag.
        seen: String,
        /// The roles there are.
        wanted: String,
    },
}

/// Tells a role's tag from a role.
pub fn parse_role(tag: Option<&str>) -> Result<Role, NoRole> {
    let Some(tag) = tag else { return Err(NoRole::Untagged) };
    Role::parse(tag).ok_or_else(|| {
        let known: Vec<&str> =
            Role::ALL.iter().map(|role| role.as_str()).collect();
        NoRole::Unknown { seen: tag.to_owned(), wanted: known.join(", ") }
    })
}

fn publish<T: PartialEq>(
    sender: &watch::Sender<Option<Arc<T>>>,
    value: Option<Arc<T>>,
) {
    sender.send_if_modified(|current| {
        let differs = *current != value;
        if differs {
            *current = value;
        }
        differs
    });
}
