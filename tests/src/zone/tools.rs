// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The commands localdc plays inside a zone, chosen by the name it is called
//! by: `systemctl`, `mdata-get`, `zonename`; and `thanos` and `grafana`, for
//! want of them.
//!
//! Exit codes and answers of systemctl follow version 252 (Debian 12), those
//! of mdata-get the mdata-client manual: 1 for a key that is not there, 2 for
//! a failure, 3 for wrong usage. What these stand-ins do not know they refuse
//! rather than pretend.

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::control::{Refusal, Reply, Request, SOCKET, ask};
use super::systemctl;

/// Longer than any stop timeout in use.
const LIMIT: Duration = Duration::from_secs(120);

/// Plays a zone's command if this program was called by the name of one.
pub fn run_by_name() -> Option<ExitCode> {
    let mut args = env::args_os();
    let name = args.next()?;
    let name = Path::new(&name).file_name()?.to_str()?.to_owned();
    let args: Vec<String> =
        args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    let code = match name.as_str() {
        "systemctl" => systemctl::run(&args),
        "mdata-get" => mdata_get(&args),
        "zonename" => zonename(),
        "grafana" => crate::grafana::run(&args),
        "thanos" => crate::thanos::run(&args),
        other => crate::smf::run(other, &args)?,
    };
    Some(ExitCode::from(code))
}

fn mdata_get(args: &[String]) -> u8 {
    let [key] = args else {
        eprintln!("Usage: mdata-get <keyname>");
        return 3;
    };
    match request(&Request::Metadata { key: key.clone() }) {
        Ok(Reply::Value(Some(value))) => {
            println!("{value}");
            0
        }
        Ok(Reply::Value(None)) => {
            eprintln!("No metadata for '{key}'");
            1
        }
        other => {
            eprintln!("ERROR: {}", trouble(other));
            2
        }
    }
}

fn zonename() -> u8 {
    match request(&Request::Zonename) {
        Ok(Reply::Value(Some(name))) => {
            println!("{name}");
            0
        }
        other => {
            eprintln!("zonename: {}", trouble(other));
            1
        }
    }
}

/// Asks this zone's supervisor.
pub(super) fn request(request: &Request) -> Result<Reply, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| {
            runtime.block_on(ask(Path::new(SOCKET), request, LIMIT))
        })
        .map_err(|e| format!("no answer from the supervisor: {e}"))
}

/// Why an answer is not the wanted one.
pub(super) fn trouble(answer: Result<Reply, String>) -> String {
    match answer {
        Ok(Reply::Refused(Refusal::NotAllowed(_))) => {
            "Permission denied".into()
        }
        Ok(Reply::Refused(refusal)) => refusal.to_string(),
        Ok(other) => format!("unexpected answer {other:?}"),
        Err(e) => e,
    }
}
