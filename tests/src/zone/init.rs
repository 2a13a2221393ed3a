// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Process 1 of a zone, `localdc zone-init`: reads what to be on stdin,
//! makes the root, says `ready` on stdout, supervises.
//!
//! The parent keeps stdin open for as long as the zone may live. When it
//! closes, for whatever reason, this process ends, and with it, by the
//! kernel's hand, all of its pid namespace and its mounts.

use std::io::{self, BufRead, Read, Write};
use std::process;
use std::thread;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::root::{self, Places};
use super::spec::ZoneSpec;
use super::supervisor;

/// First line of stdout when the zone is up.
pub(crate) const READY: &str = "ready";

/// What travels over stdin, as one JSON line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Boot {
    pub(crate) spec: ZoneSpec,
    pub(crate) places: Places,
}

/// Plays process 1 until shut down or orphaned.
///
/// Errors: not process 1 of a pid namespace; an unreadable spec; a step of
/// making the root. The chain is also the first line of stdout, for the
/// parent.
pub fn zone_init() -> Result<()> {
    let outcome = boot();
    if let Err(e) = &outcome {
        // The parent may be gone: then nobody needs to know.
        let _ = writeln!(io::stdout(), "{}", one_line(&format!("{e:#}")));
    }
    outcome
}

fn boot() -> Result<()> {
    // Elsewhere the mounts would be private too, but nothing would end them.
    if process::id() != 1 {
        bail!("zone-init is started by localdc, as process 1 of a zone");
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("read the spec")?;
    let boot: Boot = serde_json::from_str(&line).context("parse the spec")?;
    // Threads would be left behind in the host's namespaces: still none.
    root::build(&boot.spec, &boot.places)?;
    thread::Builder::new()
        .spawn(end_with_parent)
        .context("watch the parent")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    let ready = || writeln!(io::stdout(), "{READY}");
    runtime
        .block_on(supervisor::supervise(boot.spec, ready))
        .context("supervise")
}

fn end_with_parent() {
    let mut rest = [0; 64];
    loop {
        match io::stdin().lock().read(&mut rest) {
            Ok(0) => process::exit(0),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => process::exit(1),
        }
    }
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}
