// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Load by dnsperf, and what it cost the server.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use localdc::measure::Measured;

use crate::servers::Server;

/// Times that dnsperf runs through the questions, and seconds after which it
/// stops in any case.
const PASSES: &str = "2";
const SECONDS: &str = "30";

/// What one run showed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Load {
    /// CPU seconds of the server per million queries answered.
    pub(crate) cpu: f64,
    /// Queries a second: who waits for whom depends on the machine.
    pub(crate) rate: f64,
    /// Queries without an answer.
    pub(crate) lost: f64,
}

/// One run over "udp" or "tcp".
///
/// Errors: also when the answers are not those of the mix; what answers wrong
/// has no speed.
pub(crate) fn run(
    server: &Server,
    transport: &str,
    questions: &Path,
    core: usize,
) -> Result<Load> {
    let name = format!("{:?}", server.kind);
    measure(&name, server.at, server.running()?, transport, questions, core)
}

/// The same of any program.
///
/// Errors: see `run`.
pub(crate) fn measure(
    name: &str,
    at: SocketAddr,
    running: &Measured,
    transport: &str,
    questions: &Path,
    core: usize,
) -> Result<Load> {
    let before = running.family_cpu()?;
    let text = dnsperf(at, transport, questions, core)?;
    let cpu = running.family_cpu()?.saturating_sub(before).as_secs_f64();
    let what = || format!("{name} {transport}:\n{text}");
    let figure = |label: &str| number(&text, label).with_context(what);
    let completed = figure("Queries completed:")?;
    let lost = figure("Queries lost:")?;
    ensure!(completed > 100.0 * lost, "answers lost: {}", what());
    let codes = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Response codes:"))
        .with_context(what)?;
    let good = number(codes, "NOERROR").unwrap_or_default() / completed;
    let absent = number(codes, "NXDOMAIN").unwrap_or_default() / completed;
    ensure!(
        (0.89..=0.91).contains(&good) && (0.09..=0.11).contains(&absent),
        "wrong answers: {}",
        what()
    );
    let rate = figure("Queries per second:")?;
    Ok(Load { cpu: cpu / completed * 1e6, rate, lost })
}

/// What it prints.
#[expect(clippy::disallowed_methods, reason = "dnsperf starts here")]
fn dnsperf(
    to: SocketAddr,
    transport: &str,
    questions: &Path,
    core: usize,
) -> Result<String> {
    let output = Command::new("taskset")
        .args(["--cpu-list", &core.to_string(), "dnsperf"])
        .args(["-s", &to.ip().to_string(), "-p", &to.port().to_string()])
        .args(["-m", transport, "-c", "4", "-T", "1", "-q", "100"])
        .args(["-n", PASSES, "-l", SECONDS, "-W", "-d"])
        .arg(questions)
        .stdin(Stdio::null())
        .output()
        .context("dnsperf")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "dnsperf: {}\n{text}", output.status);
    Ok(text)
}

/// The number after `label`.
fn number(text: &str, label: &str) -> Option<f64> {
    let (_, rest) = text.split_once(label)?;
    rest.split_whitespace().next()?.parse().ok()
}
