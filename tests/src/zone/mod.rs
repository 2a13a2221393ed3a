// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! SmartOS zones as Linux namespaces: networks, zones with a root of their
//! own, a supervisor inside that plays systemd, and an end that cannot fail.
//! Leaves the APIs of the datacenter to the stand-ins.
//!
//! A zone is a tree of processes below one `localdc zone-init` in pid, mount,
//! network, UTS and IPC namespaces of its own. Nothing of it has a name that
//! outlives it: mounts are private to its mount namespace, links and
//! addresses to its network namespace, and when this process ends (even by
//! SIGKILL) a pipe closes, zone-init ends, and the kernel takes the rest. Only
//! folders below the temporary folder can stay behind; see [`sweep_stale`].
//!
//! | in the zone | is |
//! |---|---|
//! | `/usr`, `/bin`, `/lib*`, `/sbin` | the host's, read-only |
//! | `/` otherwise | a host folder; new after a reprovision |
//! | `/data` | a host folder, kept: the delegate dataset |
//! | `/var/svc/log/<unit>.log` | [`Zone::log_of`] |
//! | `/native/usr/sbin/mdata-get`, `systemctl`, ... | localdc, by name |
//! | `/run/zone/control` | the supervisor's socket |
//!
//! Source: contract sheet on images, "Inside the zone", LX column.

mod control;
mod enabled;
mod error;
mod folder;
mod forward;
mod init;
mod launch;
mod layout;
mod net;
mod process;
mod root;
mod spec;
mod supervisor;
mod systemctl;
mod tools;
mod units;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;

pub use control::UnitView;
pub use error::ZoneError;
pub use folder::sweep_stale;
pub use forward::{Forward, ForwardUdp};
pub use init::zone_init;
pub use net::{Namespace, Network};
pub use spec::{Bind, Restart, SizeLimit, UnitSpec, User, ZONE_PATH, ZoneSpec};
pub use tools::run_by_name;

use control::{ExecRequest, Reply, Request, Verb};
use folder::Folder;
use layout::{Base, lay_out, renew};
use process::Init;
use root::Places;

/// Time for the supervisor to answer what needs no waiting.
const ASK_LIMIT: Duration = Duration::from_secs(30);
/// Most that is read of an output or a log, in bytes.
const MAX_OUTPUT: u64 = 16 << 20;

/// What a reboot starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reboot {
    /// The root as the zone left it.
    Keep,
    /// A fresh root, as after a reprovision; only `/data` stays.
    Reprovision,
}

/// How a command in a zone ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutput {
    /// Exit code; none after a signal.
    pub code: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// Its stdout, lossily decoded, cut at 16 MiB.
    pub stdout: String,
    /// Its stderr, likewise.
    pub stderr: String,
}

impl ExecOutput {
    /// Whether it exited with 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

/// A command to run in a zone; see [`Zone::exec_with`].
#[derive(Clone, Debug)]
pub struct Exec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Account; root when none.
    pub user: Option<String>,
    /// Environment besides PATH, HOME, USER.
    pub env: BTreeMap<String, String>,
    /// What it reads on stdin.
    pub stdin: Vec<u8>,
    /// After this its process group is killed.
    pub limit: Duration,
}

/// A booted zone; dropping it ends all of it.
#[derive(Debug)]
pub struct Zone {
    // Fields are dropped in this order: processes, then network, then files.
    init: Option<Init>,
    namespace: Namespace,
    spec: ZoneSpec,
    places: Places,
    execs: AtomicU32,
    _base: Base,
    _folder: Arc<Folder>,
}

impl Zone {
    /// Boots a zone on `network`; its enabled units are started on return.
    ///
    /// `program` is the localdc binary (`CARGO_BIN_EXE_localdc` in tests).
    /// Errors: `Boot` with the zone's own reason, or the step that failed.
    /// Nothing is left behind then.
    pub async fn boot(
        program: &Path,
        network: &Network,
        spec: ZoneSpec,
    ) -> Result<Self, ZoneError> {
        check_name(&spec.name)?;
        let namespace = network.attach_zone(&spec.name, spec.ip)?;
        let folder = Arc::clone(network.folder());
        let base = Base::create(folder.path().join(&spec.name))?;
        let places = lay_out(&base, program, &spec)?;
        let mut zone = Self {
            init: None,
            namespace,
            spec,
            places,
            execs: AtomicU32::new(0),
            _base: base,
            _folder: folder,
        };
        zone.start().await?;
        Ok(zone)
    }

    /// Stops all units, ends the zone and boots it again on the same
    /// network with the same `/data`.
    ///
    /// Errors: as for `boot`; a shutdown that takes too long is cut short.
    pub async fn reboot(&mut self, how: Reboot) -> Result<(), ZoneError> {
        self.shut_down().await;
        if how == Reboot::Reprovision {
            renew(&self.places.root)?;
        }
        self.start().await
    }

    /// Stops all units in order, then ends the zone. `reboot` brings it back.
    pub async fn shut_down(&mut self) {
        let stops = self.spec.units.iter().map(|unit| unit.stop_timeout);
        let limit = stops.max().unwrap_or_default() + ASK_LIMIT;
        if self.init.is_some()
            && let Err(error) = self.ask(Request::Shutdown, limit).await
        {
            let zone = &self.spec.name;
            tracing::warn!(%zone, %error, "zone is cut off, not shut down");
        }
        self.init = None;
    }

    /// Runs a command as root and waits for it.
    ///
    /// Errors: `TooLate` when it was killed at `limit`; `Refused` when it
    /// could not start. A non-zero exit is no error.
    pub async fn exec<A: Into<String>>(
        &self,
        argv: impl IntoIterator<Item = A>,
        limit: Duration,
    ) -> Result<ExecOutput, ZoneError> {
        self.exec_with(Exec {
            argv: argv.into_iter().map(Into::into).collect(),
            user: None,
            env: BTreeMap::new(),
            stdin: Vec::new(),
            limit,
        })
        .await
    }

    /// Runs a command with an account, environment and stdin of choice.
    pub async fn exec_with(&self, exec: Exec) -> Result<ExecOutput, ZoneError> {
        let id = self.execs.fetch_add(1, Ordering::Relaxed).to_string();
        let file =
            |end| self.places.run.join("exec").join(format!("{id}.{end}"));
        let files = ExecFiles(["in", "out", "err"].map(file));
        let [stdin, stdout, stderr] = &files.0;
        if !exec.stdin.is_empty() {
            fs::write(stdin, &exec.stdin).map_err(|source| {
                ZoneError::Folder { path: stdin.clone(), source }
            })?;
        }
        let Exec { argv, user, env, limit, .. } = exec;
        let what = argv.join(" ");
        let request = Request::Exec(ExecRequest { id, argv, user, env, limit });
        match self.ask(request, limit + ASK_LIMIT).await? {
            Reply::Exited { too_late: true, .. } => {
                Err(ZoneError::TooLate { what, limit })
            }
            Reply::Exited { code, signal, .. } => Ok(ExecOutput {
                code,
                signal,
                stdout: read_text(stdout)?,
                stderr: read_text(stderr)?,
            }),
            other => Err(self.refused(&other)),
        }
    }

    /// The unit as `systemctl show` sees it.
    pub async fn unit(&self, unit: &str) -> Result<UnitView, ZoneError> {
        let request = Request::Show { unit: unit.to_owned() };
        match self.ask(request, ASK_LIMIT).await? {
            Reply::Unit(view) => Ok(view),
            other => Err(self.refused(&other)),
        }
    }

    /// Main pid of a unit, inside the zone; none when it does not run.
    pub async fn pid_of(&self, unit: &str) -> Result<Option<i32>, ZoneError> {
        let pid = self.unit(unit).await?.main_pid;
        Ok(Some(pid).filter(|&pid| pid != 0))
    }

    /// Starts a unit, `systemctl start`.
    pub async fn start_unit(&self, unit: &str) -> Result<(), ZoneError> {
        self.change(Verb::Start, unit).await
    }

    /// Stops a unit and waits for its end, `systemctl stop`.
    pub async fn stop_unit(&self, unit: &str) -> Result<(), ZoneError> {
        self.change(Verb::Stop, unit).await
    }

    /// Restarts a unit, `systemctl restart`.
    pub async fn restart_unit(&self, unit: &str) -> Result<(), ZoneError> {
        self.change(Verb::Restart, unit).await
    }

    /// Reloads a unit, `systemctl reload`.
    pub async fn reload_unit(&self, unit: &str) -> Result<(), ZoneError> {
        self.change(Verb::Reload, unit).await
    }

    /// Forgets a unit's failure, `systemctl reset-failed`.
    pub async fn reset_unit(&self, unit: &str) -> Result<(), ZoneError> {
        self.change(Verb::ResetFailed, unit).await
    }

    /// Sends `signal` to a unit's main process, as a mishap would.
    pub async fn kill(
        &self,
        unit: &str,
        signal: Signal,
    ) -> Result<(), ZoneError> {
        let unit = unit.to_owned();
        let signal = signal as i32;
        self.expect_done(Request::Kill { unit, signal }, ASK_LIMIT).await
    }

    /// Sets (or removes) what `mdata-get` answers, until the next boot.
    pub async fn set_metadata(
        &self,
        key: &str,
        value: Option<&str>,
    ) -> Result<(), ZoneError> {
        let key = key.to_owned();
        let value = value.map(str::to_owned);
        self.expect_done(Request::SetMetadata { key, value }, ASK_LIMIT).await
    }

    /// Rewrites resolv.conf while the zone runs, as `vmadm update` of the
    /// resolvers makes the platform do.
    ///
    /// The file is truncated and written in place; the sheet does not say
    /// whether the platform renames instead.
    /// Source: contract sheet on CNS, "Who writes /etc/resolv.conf".
    pub async fn platform_rewrites_resolv_conf(&self) -> Result<(), ZoneError> {
        let text = self.spec.resolv_conf();
        self.expect_done(Request::RewriteResolvConf { text }, ASK_LIMIT).await
    }

    /// What a unit wrote to stdout and stderr so far, over all its runs.
    ///
    /// Empty when it never ran; cut at 16 MiB.
    pub fn log_of(&self, unit: &str) -> Result<String, ZoneError> {
        let name = spec::bare_unit_name(unit);
        let path = self.places.logs.join(format!("{name}.log"));
        if path.exists() { read_text(&path) } else { Ok(String::new()) }
    }

    /// What zone-init and its supervisor had to say.
    pub fn init_log(&self) -> Result<String, ZoneError> {
        read_text(&process::init_log(&self.places))
    }

    /// The network namespace, for sockets and forwarders into the zone.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The spec; a change takes effect at the next reboot (its name and
    /// address do not change any more).
    pub fn spec_mut(&mut self) -> &mut ZoneSpec {
        &mut self.spec
    }

    /// The spec it was booted from.
    pub fn spec(&self) -> &ZoneSpec {
        &self.spec
    }

    /// Host folder of `/data`.
    pub fn data_folder(&self) -> &Path {
        &self.places.data
    }

    /// Host folder of the zone's root, without what is mounted on it. Absolute
    /// symlinks in it mean the zone's files only inside the zone.
    pub fn root_folder(&self) -> &Path {
        &self.places.root
    }

    /// Host folder of the logs.
    pub fn log_folder(&self) -> &Path {
        &self.places.logs
    }

    /// Host pid of the zone's process 1; none after `shut_down`.
    pub fn init_pid(&self) -> Option<i32> {
        self.init.as_ref().map(Init::pid)
    }

    /// A command line that lets a person (root) into the zone; append what
    /// to run.
    pub fn enter_command(&self) -> String {
        let pid = self.init_pid().unwrap_or(0);
        format!("nsenter -t {pid} -m -u -i -n -p -r -w --")
    }

    async fn start(&mut self) -> Result<(), ZoneError> {
        let started = process::start(&self.spec, &self.places, &self.namespace);
        self.init = Some(started.await?);
        Ok(())
    }

    async fn change(&self, verb: Verb, unit: &str) -> Result<(), ZoneError> {
        let stops = self.spec.units.iter().map(|unit| unit.stop_timeout);
        let limit = stops.max().unwrap_or_default() + ASK_LIMIT;
        let unit = unit.to_owned();
        self.expect_done(Request::Unit { verb, unit }, limit).await
    }

    async fn expect_done(
        &self,
        request: Request,
        limit: Duration,
    ) -> Result<(), ZoneError> {
        match self.ask(request, limit).await? {
            Reply::Done => Ok(()),
            other => Err(self.refused(&other)),
        }
    }

    async fn ask(
        &self,
        request: Request,
        limit: Duration,
    ) -> Result<Reply, ZoneError> {
        let socket = self.places.run.join("control");
        control::ask(&socket, &request, limit).await.map_err(|source| {
            ZoneError::Control { zone: self.spec.name.clone(), source }
        })
    }

    fn refused(&self, reply: &Reply) -> ZoneError {
        let reason = match reply {
            Reply::Refused(refusal) => refusal.to_string(),
            other => format!("unexpected answer {other:?}"),
        };
        ZoneError::Refused { zone: self.spec.name.clone(), reason }
    }
}

/// The files of one command, gone with this value.
struct ExecFiles([PathBuf; 3]);

impl Drop for ExecFiles {
    fn drop(&mut self) {
        for path in &self.0 {
            // Absent when unused; the network's folder goes in the end.
            let _ = fs::remove_file(path);
        }
    }
}

fn read_text(path: &Path) -> Result<String, ZoneError> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_OUTPUT).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(source) => Err(ZoneError::Read { path: path.to_owned(), source }),
    }
}

/// Names become parts of paths.
fn check_name(name: &str) -> Result<(), ZoneError> {
    let fits = (1..=32).contains(&name.len())
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase()
                || byte.is_ascii_digit()
                || matches!(byte, b'-' | b'_')
        });
    if fits { Ok(()) } else { Err(ZoneError::BadName { name: name.into() }) }
}
