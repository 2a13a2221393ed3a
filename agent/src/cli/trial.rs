// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Grafana itself as the judge of its provisioning. It has no dry run, and
//! what it cannot provision ends it at its start, before it listens. So it is
//! started in a scratch folder, with an empty database and the one file, on a
//! socket there, and stopped as soon as it answers.
//!
//! Sound: that it ends by itself is a refusal, with its own words; that it
//! answers is an approval. Whatever else happens is no verdict, and leaves the
//! file to the lint: no Grafana here, one that cannot be started, one that is
//! neither up nor down when the time is over (a small zone that migrates its
//! empty database). Bounded by that time. Nothing of it reaches the network,
//! and it runs as the user that Grafana runs as, where we may choose.
//!
//! Not shown by it: a conflict with what people made in the real database.
//! Assumed, as seen with the 7.5 line: it provisions before it listens.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::offline::Scratch;
use crate::apply::commit::{self, Access, ensure_dir, write_with};
use crate::host::{Exec, find_program, run};
use crate::lint::Kind;

/// Pause between two looks whether it answers.
const PAUSE: Duration = Duration::from_millis(200);

/// What one look may take.
const LOOK: Duration = Duration::from_secs(5);

/// Lets `program`, where there is one of that name, try `text`.
///
/// Errors: its refusal.
pub(super) async fn grafana(
    program: &str,
    kind: Kind,
    text: &str,
    limit: Duration,
) -> Result<()> {
    let folder = match kind {
        Kind::GrafanaDatasources => "datasources",
        Kind::GrafanaDashboards => "dashboards",
        // Started with it, Grafana would open the real database.
        Kind::GrafanaIni => return Ok(()),
    };
    let Some(program) = find_program(program) else { return Ok(()) };
    let scratch = Scratch::new()?;
    let owner = match nix::unistd::geteuid().is_root() {
        true => commit::owner("nobody").ok(),
        false => None,
    };
    let root = scratch.0.as_path();
    let access = |mode| Access { mode: Some(mode), owner };
    for below in ["", "data", "plugins", "provisioning"] {
        ensure_dir(&root.join(below), access(0o700))?;
    }
    for below in ["datasources", "dashboards", "plugins", "alerting"] {
        ensure_dir(&root.join("provisioning").join(below), access(0o700))?;
    }
    let file = root.join("provisioning").join(folder).join("trial.yml");
    write_with(&file, text.as_bytes(), access(0o600))?;
    let ini = root.join("trial.ini");
    write_with(&ini, settings(root).as_bytes(), access(0o600))?;
    let words = [
        program.display().to_string(),
        "server".to_owned(),
        "--homepath".to_owned(),
        home(&program).display().to_string(),
        "--config".to_owned(),
        ini.display().to_string(),
    ];
    let user = owner.map(|(uid, gid)| (uid.as_raw(), gid.as_raw()));
    let exec = Exec { user, ..Exec::new(&words, limit) };
    let socket = root.join("socket");
    tokio::select! {
        // Dropped when it answers, which kills it and what it started.
        ended = run(&exec) => match ended {
            Ok(ended) => bail!(ended.into_error(&exec)),
            // Not started, or neither up nor down: no verdict.
            Err(_) => Ok(()),
        },
        () = answers(&socket) => Ok(()),
    }
}

/// The folder of what comes with Grafana; its programs are in `bin` there.
fn home(program: &Path) -> PathBuf {
    let bin = program.parent().unwrap_or(Path::new("/"));
    bin.parent().unwrap_or(Path::new("/")).to_owned()
}

fn settings(root: &Path) -> String {
    let root = root.display();
    format!(
        "[paths]\ndata = {root}/data\nlogs = {root}/data\n\
         plugins = {root}/plugins\nprovisioning = {root}/provisioning\n\
         [server]\nprotocol = socket\nsocket = {root}/socket\n\
         [analytics]\nreporting_enabled = false\ncheck_for_updates = false\n\
         check_for_plugin_updates = false\n[news]\nnews_feed_enabled = false\n\
         [plugins]\nplugin_admin_enabled = false\n\
         public_key_retrieval_disabled = true\npreinstall_disabled = true\n\
         [unified_alerting]\nenabled = false\n[log]\nmode = console\n\
         level = warn\n"
    )
}

/// Waits until someone answers there.
async fn answers(socket: &Path) {
    loop {
        let look = tokio::time::timeout(LOOK, is_healthy(socket)).await;
        if matches!(look, Ok(Ok(true))) {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn is_healthy(socket: &Path) -> std::io::Result<bool> {
    let mut stream = UnixStream::connect(socket).await?;
    let ask = b"GET /api/health HTTP/1.0\r\nHost: localhost\r\n\r\n";
    stream.write_all(ask).await?;
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    Ok(start.starts_with(b"HTTP/1.") && start.ends_with(b"200"))
}
