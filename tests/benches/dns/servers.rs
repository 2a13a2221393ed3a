// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The servers compared: each on one core and a port of its own, with one
//! worker, on 127.0.0.1. Ours is the released config-agent, its zone from the
//! agent's file.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use localdc::measure::{EmptyZone, Measured, released_agent};
use nix::sys::signal::{Signal, kill};
use serde_json::json;
use tempfile::TempDir;

use crate::peers;
use crate::probe::Probe;
use crate::zone::{ORIGIN, Zone};

/// What cannot take this long hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    Knot,
    Nsd,
    Bind,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] =
        [Self::Ours, Self::Knot, Self::Nsd, Self::Bind];
}

/// Where the zone comes from.
#[derive(Clone, Copy)]
pub(crate) enum From<'a> {
    File(&'a Path),
    /// A file, and updates, whose history is kept; Knot alone.
    Live(&'a Path),
    Primary(SocketAddr),
}

/// Folder and address of a server, running or not.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) at: SocketAddr,
    /// taskset's word for the core it runs on.
    core: String,
    /// What nice adds.
    nice: &'static str,
    place: Place,
    running: Option<Measured>,
}

enum Place {
    Ours(EmptyZone),
    Peer(TempDir),
}

impl Server {
    /// Prepares one with nothing of its own on disk.
    pub(crate) fn new(
        kind: Kind,
        core: usize,
        at: SocketAddr,
        from: From<'_>,
    ) -> Result<Self> {
        let place = match (kind, from) {
            (Kind::Ours, From::Primary(primary)) => {
                Place::Ours(ours(at, primary)?)
            }
            (Kind::Ours, From::File(_) | From::Live(_)) => {
                bail!("ours is a secondary only")
            }
            _ => Place::Peer(peer(kind, at, from)?),
        };
        let core = core.to_string();
        Ok(Self { kind, at, core, nice: "0", place, running: None })
    }

    /// The same, which lets everything else on its core go first.
    pub(crate) fn nice(mut self) -> Self {
        self.nice = "19";
        self
    }

    /// Starts it; the time until its first good answer.
    pub(crate) fn start(&mut self, zone: &Zone) -> Result<Duration> {
        self.end();
        let begin = Instant::now();
        let pin = ["nice", "-n", self.nice, "taskset", "-c", &self.core];
        let running = match &self.place {
            Place::Ours(place) => place.start(&pin, &[])?,
            Place::Peer(dir) => start_peer(&pin, self.kind, dir.path())?,
        };
        let running = self.running.insert(running);
        let probe = Probe::new(self.at, &zone.probe)?;
        while probe.address().is_none() {
            let ended = running.try_wait()?;
            if ended.is_some() || begin.elapsed() > LIMIT {
                bail!(
                    "{:?} does not answer: {ended:?}\n{}",
                    self.kind,
                    self.log()
                );
            }
        }
        Ok(begin.elapsed())
    }

    pub(crate) fn running(&self) -> Result<&Measured> {
        self.running.as_ref().context("it does not run")
    }

    /// Waits until it uses no CPU any more: all it has to do after a transfer,
    /// writing included, is done.
    pub(crate) fn settle(&self) -> Result<Duration> {
        const PAUSE: Duration = Duration::from_millis(100);
        let running = self.running()?;
        let (begin, mut quiet) = (Instant::now(), 0);
        let mut cpu = running.family_cpu()?;
        while quiet < 10 {
            if begin.elapsed() > LIMIT {
                bail!("{:?} does not come to rest", self.kind);
            }
            std::thread::sleep(PAUSE);
            let now = running.family_cpu()?;
            // A timer that ticks is no work.
            quiet = if now - cpu < PAUSE / 50 { quiet + 1 } else { 0 };
            cpu = now;
        }
        Ok(cpu)
    }

    /// Ends it in good order, so that what it keeps on disk is whole.
    pub(crate) fn end(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        let _ = kill(running.pid(), Signal::SIGTERM);
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(10) {
            if !matches!(running.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn log(&self) -> String {
        let dir = match &self.place {
            Place::Ours(place) => place.path(),
            Place::Peer(dir) => dir.path(),
        };
        fs::read_to_string(dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    /// NSD's children end with it only when it is asked to.
    fn drop(&mut self) {
        self.end();
    }
}

fn ours(at: SocketAddr, primary: SocketAddr) -> Result<EmptyZone> {
    let config = json!({
        "logLevel": "info",
        // Nobody answers there: names do not wait for SAPI.
        "sapi": {"url": "http://127.0.0.1:9"},
        "pollInterval": 86_400_000,
        "dnsListen": [at],
        "secondary": {"notify": false, "zones": [{"name": ORIGIN, "primaries":
            [{"address": primary.ip(), "port": primary.port()}]}]},
    });
    EmptyZone::new(&released_agent()?, &std::env::temp_dir(), config)
}

fn peer(kind: Kind, at: SocketAddr, from: From<'_>) -> Result<TempDir> {
    let dir = TempDir::with_prefix("dns-bench-")?;
    let site = peers::Site { dir: dir.path(), at, from };
    fs::write(dir.path().join("server.conf"), peers::config(kind, &site))?;
    Ok(dir)
}

#[expect(clippy::disallowed_methods, reason = "the peers start here")]
fn start_peer(pin: &[&str], kind: Kind, dir: &Path) -> Result<Measured> {
    let config: PathBuf = dir.join("server.conf");
    let log = File::create(dir.join("log"))?;
    let argv = peers::argv(kind);
    let child = Command::new(pin[0])
        .args(&pin[1..])
        .args(argv)
        .arg("-c")
        .arg(config)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("{kind:?}: {}", pin[0]))?;
    Ok(Measured::new(child))
}
