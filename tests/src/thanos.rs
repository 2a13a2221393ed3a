// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Stands for `thanos` in a zone, since no distribution packages it: each
//! component stays up and says that it is ready, at the address its flags
//! name; it answers no query. Rules are judged by promtool, which is stricter.
//!
//! What it does not know it refuses rather than pretend.

use std::net::SocketAddr;
use std::process::Command;

use axum::Router;
use axum::routing::{get, post};

/// The components that have daemons of their own.
const COMPONENTS: [&str; 7] = [
    "query",
    "query-frontend",
    "store",
    "compact",
    "rule",
    "receive",
    "sidecar",
];

/// Runs with the arguments after the program's name; returns the exit code.
pub(crate) fn run(args: &[String]) -> u8 {
    let done = match args {
        [tools, check, rules] if tools == "tools" && check == "rules-check" => {
            rules_check(rules)
        }
        [component, flags] if COMPONENTS.contains(&component.as_str()) => {
            stay(flags)
        }
        _ => Err(format!("thanos stand-in: unknown arguments {args:?}")),
    };
    match done {
        Ok(code) => code,
        Err(reason) => {
            eprintln!("{reason}");
            1
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a stand-in runs no agent's code"
)]
fn rules_check(rules: &str) -> Result<u8, String> {
    let file = rules.strip_prefix("--rules=").ok_or("--rules is missing")?;
    let checked = Command::new("/usr/bin/promtool")
        .args(["check", "rules", file])
        .status()
        .map_err(|error| format!("promtool: {error}"))?;
    Ok(u8::from(!checked.success()))
}

/// Serves where `@FILE` of flags says, until it is killed.
fn stay(flags: &str) -> Result<u8, String> {
    let file = flags.strip_prefix('@').ok_or("flags come as @FILE")?;
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{file}: {error}"))?;
    let address: SocketAddr = text
        .lines()
        .find_map(|line| line.strip_prefix("--http-address="))
        .and_then(|address| address.parse().ok())
        .ok_or_else(|| format!("{file} has no --http-address"))?;
    let ready = || async { "ready\n" };
    let router = Router::new()
        .route("/-/ready", get(ready))
        .route("/-/healthy", get(ready))
        .route("/-/reload", post(|| async { "" }))
        .route("/metrics", get(|| async { "thanos_build_info 1\n" }));
    let serve = async move {
        let listener = tokio::net::TcpListener::bind(address).await?;
        axum::serve(listener, router).await
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(serve))
        .map(|()| 0)
        .map_err(|error| format!("{address}: {error}"))
}
