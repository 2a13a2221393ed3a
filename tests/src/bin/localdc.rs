// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! localdc for a person, and the helper processes of its zones.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use localdc::demo::{self, Demo};
use localdc::lx::LxImage;
use localdc::world::Programs;
use localdc::zone::{self, Network, UnitSpec, Zone, ZoneSpec};

/// A small Triton datacenter on one machine.
#[derive(Debug, Parser)]
#[command(name = "localdc", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Bring up a datacenter with a prometheus zone and show the way in
    Demo(Demo),
    /// Makes the Debians that LX images of tests start from.
    #[command(hide = true)]
    LxDebians,
    /// Plays process 1 of a zone; started by localdc itself.
    #[command(hide = true)]
    ZoneInit,
    /// Boots one bare zone, says so on stdout and waits; for tests.
    #[command(hide = true)]
    ZoneHold {
        /// Host folder for the zone's /data.
        data: PathBuf,
    },
}

fn main() -> ExitCode {
    if let Some(code) = zone::run_by_name() {
        return code;
    }
    let done = |()| ExitCode::SUCCESS;
    let outcome = match Cli::parse().verb {
        Verb::Demo(options) => demo::run(&options),
        Verb::LxDebians => lx_debians().map(done),
        Verb::ZoneInit => zone::zone_init().map(done),
        Verb::ZoneHold { data } => zone_hold(data).map(done),
    };
    match outcome {
        Ok(code) => code,
        Err(e) => {
            eprintln!("localdc: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn lx_debians() -> anyhow::Result<()> {
    let programs = Programs::beside(&std::env::current_exe()?)?;
    Ok(LxImage::bring_debians(&programs)?)
}

/// Prints the zone's host pid and its network's folder, then waits for
/// stdin to end.
fn zone_hold(data: PathBuf) -> anyhow::Result<()> {
    let network = Network::create("hold")?;
    let ip = Ipv4Addr::new(10, 88, 0, 20);
    let uuid = "00000000-0000-4000-8000-000000000020";
    let mut spec = ZoneSpec::new("held0", uuid, ip);
    spec.data = Some(data);
    spec.units = vec![UnitSpec::new("sleeper", ["sleep", "600"])];
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let program = std::env::current_exe()?;
    let zone = runtime.block_on(Zone::boot(&program, &network, spec))?;
    let pid = zone.init_pid().context("the zone has booted")?;
    println!("{pid} {}", zone.root_folder().display());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}
