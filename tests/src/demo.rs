// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! `localdc demo`: a datacenter for a person to look at. Says each step, then
//! where everything answers and what to try, and stays until told to end.

mod words;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use monitoring_agent::status::StatusReport;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::world::{
    Daemons, Doors, Instance, Ports, Programs, Site, Target, WorldError,
    WorldSpec, eventually, joined,
};
use crate::zone::Forward;
use words::Paper;

/// How long one step may take.
const STEP: Duration = Duration::from_secs(90);

/// Where a demo answers unless something else does already.
const PORTS: Ports = Ports {
    prometheus: 19090,
    status: 19165,
    sapi: 18080,
    vmapi: 18081,
    dns: 10053,
};
const GRAFANA_PORT: u16 = 19443;

/// What is shown.
struct Shown {
    // Fields are dropped in this order.
    doors: Doors,
    grafana: Forward,
    first: Arc<Instance>,
    site: Site,
}

impl Shown {
    fn daemons(&self) -> &Daemons {
        self.first.daemons()
    }

    async fn all_up(&self, limit: Duration) -> Result<Vec<Target>, WorldError> {
        self.site.ground().all_up(self.daemons(), limit).await
    }
}

/// Options of the verb.
#[derive(Clone, Debug, Args)]
pub struct Demo {
    /// End after so many seconds; exit 0 only if all targets are up by then
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Folder that holds config-agent; localdc's own when left out
    #[arg(long, value_name = "FOLDER")]
    binary_dir: Option<PathBuf>,
}

/// Runs the demo; the exit code says whether all targets were up.
///
/// Errors: what kept the datacenter from coming up. Nothing is left behind,
/// whatever happens.
pub fn run(options: &Demo) -> anyhow::Result<ExitCode> {
    let localdc = std::env::current_exe().context("find this program")?;
    let programs = match &options.binary_dir {
        None => Programs::beside(&localdc)?,
        Some(folder) => Programs::in_folder(&localdc, folder)?,
    };
    if !nix::unistd::geteuid().is_root() {
        anyhow::bail!(
            "namespaces and mounts need root: sudo {} demo",
            localdc.display()
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(demo(options, programs));
    runtime.shutdown_timeout(Duration::from_secs(5));
    outcome
}

async fn demo(options: &Demo, programs: Programs) -> anyhow::Result<ExitCode> {
    let mut paper = Paper::new();
    let begin = Instant::now();
    let end = options.seconds.map(|n| begin + Duration::from_secs(n));
    let told = told_to_end()?;
    tokio::pin!(told);
    let spec = WorldSpec::new(programs);
    paper.title();
    let up = async {
        let site = Site::start(spec, |step| paper.step(step)).await?;
        let shown = set_up(site, &mut paper).await?;
        come_up(&shown, &mut paper).await?;
        Ok::<_, WorldError>(shown)
    };
    let shown = tokio::select! {
        shown = up => shown,
        why = &mut told => {
            paper.ends(why);
            return Ok(ExitCode::FAILURE);
        }
        () = until(end) => {
            paper.late();
            return Ok(ExitCode::FAILURE);
        }
    };
    let shown = match shown {
        Ok(shown) => shown,
        Err(error) => {
            paper.failed(&joined(&error));
            return Ok(ExitCode::FAILURE);
        }
    };
    paper.done();
    paper.places(&shown);
    paper.to_try(&shown);
    paper.stays(options.seconds);
    let why = tokio::select! {
        why = &mut told => why,
        () = until(end) => "time is over",
    };
    // A scrape that has just failed is made up for by the next one.
    let good = shown.all_up(Duration::from_secs(10)).await.is_ok();
    let targets = shown.daemons().targets().await;
    let good = match &targets {
        Ok(targets) => {
            paper.targets(targets);
            good
        }
        Err(error) => {
            paper.failed(&joined(error));
            false
        }
    };
    paper.ends(why);
    drop(shown);
    paper.gone();
    Ok(if good || options.seconds.is_none() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// An operator's part: from nothing to a pair, what joins and what shows it.
async fn set_up(site: Site, paper: &mut Paper) -> Result<Shown, WorldError> {
    for words in
        [&["prometheus", "--replicas", "2"][..], &["thanos"], &["grafana"]]
    {
        paper.step(&format!("monadm post-setup {}", words.join(" ")));
        site.post_setup(words).await?;
    }
    let first = "prometheus0";
    let doors = site.doors(first, PORTS).await?;
    let grafana = site.door("grafana0", GRAFANA_PORT, 443).await?;
    Ok(Shown { doors, grafana, first: site.zone(first)?, site })
}

/// The steps after the zone's boot, as the agent's own status tells them.
async fn come_up(
    shown: &Shown,
    paper: &mut Paper,
) -> Result<Vec<Target>, WorldError> {
    type Look = fn(&StatusReport) -> Result<(), String>;
    let steps: [(&str, Look); 3] = [
        ("config-agent: configuration from SAPI", |report| {
            match (&report.sapi.revision, &report.sapi.last_error) {
                (Some(_), _) => Ok(()),
                (None, error) => Err(error.clone().unwrap_or_default()),
            }
        }),
        ("config-agent: names from CNS", |report| {
            let mut zones = report.zones.iter();
            match zones.any(|zone| zone.serial.is_some()) {
                true => Ok(()),
                false => Err("no zone yet".to_owned()),
            }
        }),
        ("config-agent: files checked and in force", |report| {
            match report.healthy && report.walk.writes > 0 {
                true => Ok(()),
                false => Err(report.faults.join("; ")),
            }
        }),
    ];
    for (step, look) in steps {
        paper.step(step);
        let daemons = shown.daemons();
        let asked =
            eventually(step, STEP, async || match daemons.status().await {
                Ok(report) => look(&report),
                Err(error) => Err(joined(&error)),
            });
        asked.await?;
    }
    paper.step("Prometheus: started by the agent");
    let asked = eventually("Prometheus answers", STEP, async || {
        let time = shown.daemons().start_time().await;
        time.map(drop).map_err(|error| joined(&error))
    });
    asked.await?;
    paper.step("all targets scraped");
    shown.all_up(STEP).await
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// Completes at the first polite signal, with its name.
fn told_to_end() -> std::io::Result<impl Future<Output = &'static str>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        // Each only waits.
        tokio::select! {
            _ = interrupt.recv() => "interrupted",
            _ = terminate.recv() => "terminated",
            _ = hangup.recv() => "the terminal is gone",
        }
    })
}
