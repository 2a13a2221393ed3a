// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The command line of monadm.

mod ask;
mod doctor;
mod manta;
mod post_setup;
mod screen;
mod shard;
mod state;
mod status;
mod update;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::front;
use crate::log::{self, Stream};

const AFTER_HELP: &str = "\
EXIT STATUS
  0   done, or nothing to do; of status, plan and --dry-run, all is as planned
  1   failed, or something is not as it should be; run it again
  2   of status and doctor: something could not be looked at, and all that
      was is well
  64  the command line makes no sense

ENVIRONMENT
  SAPI_URL      SAPI's base URL, where --sapi does not say it
  MONADM_STATE  folder of the journal [default: /var/db/monadm]";

/// Deploys the monitoring of a datacenter and keeps it in shape.
///
/// Asks Triton's APIs what there is, prints what it would do, and does it.
/// Every step looks first: a run that was cut off is finished by running it
/// again.
#[derive(Parser)]
#[command(name = "monadm", version, after_long_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Set a service up: from nothing, after sdcadm, or after a run cut off
    ///
    /// Prints the steps, asks if any of them disturbs something, and runs
    /// them. What is as it should be is left alone.
    PostSetup(Box<post_setup::PostSetupArgs>),
    /// Say which Prometheus pair scrapes which zone
    #[command(subcommand)]
    Shard(Box<shard::ShardVerb>),
    /// Show how the monitoring fares, and what mends it
    Status(status::StatusArgs),
    /// Look for what is wrong, on what grounds, and what mends it
    Doctor(doctor::DoctorArgs),
    /// Put a service's zones on another image, one at a time
    ///
    /// A zone is taken down only while another of its pair is well, and the
    /// next one only after it is well again, with its data and its metrics.
    /// What fails stops it there: run it again to go on, or roll back.
    Update(update::UpdateArgs),
    /// Put a service's zones back on the images they had before the update
    Rollback(update::RunArgs),
    /// Read and write what manta-adm deploys by
    #[command(subcommand)]
    Manta(manta::MantaVerb),
    /// Print a completion script for a shell
    Completion {
        /// Shell to complete for
        shell: clap_complete::Shell,
    },
}

/// Runs monadm with `args` (the first is the program's name).
pub fn monadm(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli: Cli = match front::parse(args) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    // A loop tells what it does; a verb's answer is its own.
    let (level, stream) = match &cli.verb {
        Verb::Shard(verb) if verb.is_loop() => {
            (tracing::Level::INFO, Stream::Stdout)
        }
        _ => (tracing::Level::WARN, Stream::Stderr),
    };
    log::start("monadm", level, stream);
    let done = match cli.verb {
        Verb::Shard(verb) => super::block_on(shard::shard(*verb)),
        Verb::Status(args) => return super::block_on(status::status(args)),
        Verb::Doctor(args) => return super::block_on(doctor::doctor(args)),
        Verb::Update(args) => super::block_on(update::update(args)),
        Verb::Rollback(args) => super::block_on(update::rollback(args)),
        Verb::Manta(verb) => super::block_on(manta::manta(verb)),
        Verb::PostSetup(args) => super::block_on(post_setup::post_setup(*args)),
        Verb::Completion { shell } => {
            front::complete::<Cli>(shell, "monadm");
            Ok(true)
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // An API's words are in it.
            screen::tell("monadm: ", &format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
