// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Other people's name servers, BIND, Knot and NSD, each in the foreground in
//! a folder and on an address of its own: to compare with, and to transfer
//! from. What a configuration looks like is each server's own file.

pub mod bind;
mod knot;
mod nsd;

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::loopback::{own_address, own_port};
use crate::measure::family;

/// The key behind every signature, by [`KEY`]'s name.
pub const SECRET: &str = "c29tZSBzZWNyZXQgdGhhdCBpcyBsb25nIGVub3VnaC4=";
/// The name of that key.
pub const KEY: &str = "k.test";
/// How long a daemon may take to end before it is killed.
const END_LIMIT: Duration = Duration::from_secs(10);

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// named of BIND 9.
    Bind,
    /// knotd.
    Knot,
    /// nsd.
    Nsd,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Bind, Self::Knot, Self::Nsd];
}

/// Where the zone comes from.
#[derive(Clone, Copy, Debug)]
pub enum From<'a> {
    /// A zone file; NSD and BIND may write to it.
    File(&'a Path),
    /// A transfer.
    Primary(SocketAddr),
}

/// A primary whose zone changes.
#[derive(Clone, Copy, Debug)]
pub struct Changing {
    /// Who gets NOTIFY; `None`: nobody does.
    pub notify: Option<SocketAddr>,
    /// The algorithm that transfers, updates and NOTIFY are signed with.
    pub algorithm: Option<&'static str>,
}

/// What a configuration is made of.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// Where the daemon keeps its files.
    pub dir: &'a Path,
    /// Where it listens.
    pub at: SocketAddr,
    /// Name of the one zone.
    pub zone: &'a str,
    /// Its content.
    pub from: From<'a>,
    /// `None`: it stays as it is.
    pub changing: Option<Changing>,
}

impl Setup<'_> {
    /// The text of the configuration file.
    pub fn config(&self, kind: Kind) -> String {
        match kind {
            Kind::Bind => bind::config(self),
            Kind::Knot => knot::config(self),
            Kind::Nsd => nsd::config(self),
        }
    }
}

/// Program and arguments, in the foreground, with one worker; `-c FILE`
/// follows.
pub fn argv(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Bind => &["named", "-g", "-4", "-n", "1"],
        Kind::Knot => &["knotd"],
        Kind::Nsd => &["nsd", "-d"],
    }
}

/// Starts `argv` on the file `server.conf` of `dir`; its log is the file `log`
/// there. `before` are words in front of the program, which must end in its
/// place. Nobody ends it.
///
/// Errors: no such program; the log could not be made.
#[expect(clippy::disallowed_methods, reason = "the daemons start here")]
pub fn spawn(before: &[&str], argv: &[&str], dir: &Path) -> io::Result<Child> {
    let words = [before, argv].concat();
    let log = File::create(dir.join("log"))?;
    Command::new(words[0])
        .args(&words[1..])
        .arg("-c")
        .arg(dir.join("server.conf"))
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}

/// Where a server of this kind may listen, and nobody else does. BIND listens
/// on addresses that an interface has, so on 127.0.0.1 alone.
///
/// Errors: there is no free port.
pub fn own_place(kind: Kind) -> io::Result<SocketAddr> {
    match kind {
        Kind::Bind => own_port(),
        Kind::Knot | Kind::Nsd => Ok((own_address(), 5353).into()),
    }
}

/// A daemon that runs on what lies in its folder; ended when dropped.
pub struct Daemon {
    child: Child,
    log: std::path::PathBuf,
}

impl Daemon {
    /// Starts `kind` on the file `server.conf` of `dir`; its log is the file
    /// `log` there. It may not answer yet.
    ///
    /// Errors: no such program.
    pub fn start(kind: Kind, dir: &Path) -> io::Result<Self> {
        let child = spawn(&[], argv(kind), dir)?;
        Ok(Self { child, log: dir.join("log") })
    }

    /// What it said.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(status.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Stops it in its tracks, or lets it go on: connections stay, nobody
    /// speaks.
    pub fn freeze(&self, frozen: bool) {
        let signal = if frozen { Signal::SIGSTOP } else { Signal::SIGCONT };
        for pid in family(self.pid()) {
            // One that just ended needs none.
            let _ = kill(pid, signal);
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Daemon {
    /// NSD's children end with it only when it is asked to.
    fn drop(&mut self) {
        self.freeze(false);
        let _ = kill(self.pid(), Signal::SIGTERM);
        let begin = Instant::now();
        while begin.elapsed() < END_LIMIT {
            if self.ended().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
