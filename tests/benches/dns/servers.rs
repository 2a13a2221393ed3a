// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The servers compared: each on one core and a port of its own, with one
//! worker, on 127.0.0.1. Ours is the released config-agent, its zone from the
//! agent's file.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use localdc::measure::{EmptyZone, Measured, released_agent};
pub(crate) use localdc::name_server::From;
use localdc::name_server::{self, Changing, Setup};
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use tempfile::TempDir;

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

    /// Whose it is, if it is not ours.
    fn peer(self) -> Option<name_server::Kind> {
        match self {
            Self::Ours => None,
            Self::Knot => Some(name_server::Kind::Knot),
            Self::Nsd => Some(name_server::Kind::Nsd),
            Self::Bind => Some(name_server::Kind::Bind),
        }
    }
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

impl Server {
    /// Prepares one with nothing of its own on disk.
    pub(crate) fn new(
        kind: Kind,
        core: usize,
        at: SocketAddr,
        from: From<'_>,
    ) -> Result<Self> {
        let place = match (kind.peer(), from) {
            (Some(peer), from) => serving(peer, at, from, None)?,
            (None, From::Primary(primary)) => secondary(at, primary)?,
            (None, From::File(_)) => bail!("ours is a secondary only"),
        };
        Ok(Self::of(kind, core, at, place))
    }

    /// A Knot that takes updates of the zone in `file` and keeps their
    /// history; it tells nobody.
    pub(crate) fn updated(
        core: usize,
        at: SocketAddr,
        file: &Path,
    ) -> Result<Self> {
        let changing = Some(Changing { notify: None, algorithm: None });
        let knot = name_server::Kind::Knot;
        let place = serving(knot, at, From::File(file), changing)?;
        Ok(Self::of(Kind::Knot, core, at, place))
    }

    fn of(kind: Kind, core: usize, at: SocketAddr, place: Place) -> Self {
        let core = core.to_string();
        Self { kind, at, core, nice: "0", place, running: None }
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
        let running = self.running.insert(self.place.start(&pin)?);
        let probe = Probe::new(self.at, &zone.probe)?;
        while probe.address().is_none() {
            let ended = running.try_wait()?;
            if ended.is_some() || begin.elapsed() > LIMIT {
                let log = self.place.log();
                bail!("{:?} does not answer: {ended:?}\n{log}", self.kind);
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
}

impl Drop for Server {
    /// NSD's children end with it only when it is asked to.
    fn drop(&mut self) {
        self.end();
    }
}

fn secondary(at: SocketAddr, primary: SocketAddr) -> Result<Place> {
    let secondary = json!({"notify": false, "zones": [{"name": ORIGIN,
        "primaries": [{"address": primary.ip(), "port": primary.port()}]}]});
    Place::ours(at, [("secondary", secondary)])
}

fn serving(
    kind: name_server::Kind,
    at: SocketAddr,
    from: From<'_>,
    changing: Option<Changing>,
) -> Result<Place> {
    Place::peer(name_server::argv(kind), |dir| {
        Setup { dir, at, zone: ORIGIN, from, changing }.config(kind)
    })
}

/// What a program is started on. Goes when dropped.
pub(crate) enum Place {
    Ours(EmptyZone),
    /// Program and arguments, and the folder of its files.
    Peer(&'static [&'static str], TempDir),
}

impl Place {
    /// Of an agent that listens at `at`, with `more` in its file.
    pub(crate) fn ours<const N: usize>(
        at: SocketAddr,
        more: [(&str, Value); N],
    ) -> Result<Self> {
        let mut config = json!({
            "logLevel": "info",
            // Nobody answers there: names do not wait for SAPI.
            "sapi": {"url": "http://127.0.0.1:9"},
            "pollInterval": 86_400_000,
            "dnsListen": [at],
        });
        for (key, value) in more {
            config[key] = value;
        }
        let parent = std::env::temp_dir();
        Ok(Self::Ours(EmptyZone::new(&released_agent()?, &parent, config)?))
    }

    /// Of a peer whose file is what `config` says for its folder.
    pub(crate) fn peer(
        argv: &'static [&'static str],
        config: impl FnOnce(&Path) -> String,
    ) -> Result<Self> {
        let dir = TempDir::with_prefix("dns-bench-")?;
        fs::write(dir.path().join("server.conf"), config(dir.path()))?;
        Ok(Self::Peer(argv, dir))
    }

    /// Starts it; `before` are words in front of the program.
    pub(crate) fn start(&self, before: &[&str]) -> Result<Measured> {
        match self {
            Self::Ours(zone) => zone.start(before, &[]),
            Self::Peer(argv, dir) => {
                let child = name_server::spawn(before, argv, dir.path())
                    .with_context(|| argv.join(" "))?;
                Ok(Measured::new(child))
            }
        }
    }

    pub(crate) fn log(&self) -> String {
        let dir = match self {
            Self::Ours(zone) => zone.path(),
            Self::Peer(_, dir) => dir.path(),
        };
        fs::read_to_string(dir.join("log")).unwrap_or_default()
    }
}
