// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The command line: verbs, their help, and how an error becomes an exit
//! code.

/// A line on standard output. A reader that has gone (`| head`) is no fault.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($words)*);
    }};
}

mod auth;
mod authority;
mod certgen;
mod dns;
pub mod front;
mod keys;
mod lint;
mod monadm;
mod offline;
mod page;
mod setup;
mod status;
mod trial;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

pub use self::monadm::monadm;

use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::auth::AuthConfigError;
use crate::config::{ConfigFile, ConfigFileError};
use crate::host;
use crate::log::{self, Stream};
use crate::run::{self, RunError, Start};
use crate::setup::SetupError;
use crate::walk::NoRole;

/// Where the configuration file lies in a zone.
const CONFIG: &str = "/opt/triton/config-agent/etc/config.json";

/// Exit code: the operator must mend the configuration; SMF's
/// SMF_EXIT_ERR_CONFIG, which leads to maintenance.
const CONFIG_ERROR: u8 = 96;

const AFTER_HELP: &str = "\
EXIT STATUS
  0   done; with -s, SAPI answered and everything is in force
  1   failed; try again
  64  the command line makes no sense
  96  the configuration file must be mended; with setup, the way the zone was
      made

FILES
  /opt/triton/config-agent/etc/config.json  configuration
  /opt/triton/config-agent/templates/       templates, a folder each role
  /data/config-agent/                       last good configuration, zones,
                                            record of applied files, the id
                                            of the zone's data

SIGNALS
  HUP         poll SAPI and walk now
  TERM, INT   end";

/// Keeps a monitoring zone configured, resolves its names, and says how it
/// fares.
///
/// Reads the zone's metadata from SAPI, renders its daemons' configuration,
/// has each daemon's own checker approve it, puts it in force atomically and
/// reloads once. Answers DNS on loopback as a secondary of the CNS zones and
/// forwards the rest.
#[derive(Parser)]
#[command(name = "config-agent", version, after_long_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run until told to stop; what SMF and systemd start
    Run(RunArgs),
    /// Set the zone up after a provision or reprovision; for boot scripts
    Setup(setup::SetupArgs),
    /// Walk from metadata to the checkers' verdict and commit nothing
    Check(offline::CheckArgs),
    /// Render the files of a role from a metadata file into a folder
    Render(offline::RenderArgs),
    /// Say what a SAPI key changes and what it may hold
    Explain(keys::ExplainArgs),
    /// Print the JSON Schema of a role's SAPI metadata
    Schema(keys::SchemaArgs),
    /// Show how the running agent fares
    Status(status::StatusArgs),
    /// Look into the running name server: zones, questions, cache
    Dns(dns::DnsArgs),
    /// Make or renew the client certificate for CMON
    Certgen(certgen::CertgenArgs),
    /// Say who may see Grafana: the sign-in proxy behind nginx
    Auth(auth::AuthArgs),
    /// Judge a file whose daemon has no checker of its own
    #[command(hide = true)]
    Lint(lint::LintArgs),
    /// Print a completion script for a shell
    Completion {
        /// Shell to complete for
        shell: clap_complete::Shell,
    },
}

#[derive(Args)]
struct RunArgs {
    /// Configuration file, JSON
    #[arg(long, short = 'f', alias = "file", default_value = CONFIG)]
    config: PathBuf,
    /// Poll once, apply once, and exit
    #[arg(long, short)]
    synchronous: bool,
    /// With -s: give up after so many seconds
    #[arg(long, short, requires = "synchronous", value_name = "SECONDS")]
    timeout: Option<u64>,
    /// SAPI's base URL, over the zone's metadata and the file
    #[arg(long, short = 'u', value_name = "URL")]
    sapi_url: Option<String>,
}

/// Runs config-agent with `args` (the first is the program's name).
pub fn config_agent(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli: Cli = match front::parse(args) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let done = match cli.verb {
        Verb::Run(args) => return run(args),
        Verb::Setup(args) => {
            log::start("config-agent", tracing::Level::INFO, Stream::Stderr);
            block_on(setup::setup(args))
        }
        Verb::Check(args) => {
            log::start("config-agent", tracing::Level::WARN, Stream::Stderr);
            block_on(offline::check(args))
        }
        Verb::Render(args) => {
            log::start("config-agent", tracing::Level::WARN, Stream::Stderr);
            offline::render(args)
        }
        Verb::Explain(args) => keys::explain(args),
        Verb::Schema(args) => keys::print_schema(args),
        Verb::Status(args) => block_on(status::status(args)),
        Verb::Dns(args) => block_on(dns::dns(args)),
        Verb::Certgen(args) => {
            log::start("config-agent", tracing::Level::WARN, Stream::Stderr);
            certgen::certgen(args)
        }
        Verb::Auth(args) => block_on(auth::auth(args)),
        Verb::Lint(args) => block_on(lint::lint(args)),
        Verb::Completion { shell } => {
            front::complete::<Cli>(shell, "config-agent");
            Ok(true)
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("config-agent: {error:#}");
            let zone = error.downcast_ref::<SetupError>();
            let is_final = error.is::<ConfigFileError>()
                || error.is::<AuthConfigError>()
                || error.is::<NoRole>()
                || zone.is_some_and(SetupError::is_final);
            match is_final {
                true => ExitCode::from(CONFIG_ERROR),
                false => ExitCode::FAILURE,
            }
        }
    }
}

/// Verb run, also `-s`.
fn run(args: RunArgs) -> ExitCode {
    let config = match ConfigFile::load(&args.config) {
        Ok(config) => config,
        Err(error) => {
            log::start("config-agent", tracing::Level::INFO, Stream::Stdout);
            error!(
                err.message = %log::chain(&error),
                "cannot start: the configuration must be mended"
            );
            eprintln!("config-agent: {}", log::chain(&error));
            return ExitCode::from(CONFIG_ERROR);
        }
    };
    let level = log::level(&config.log_level).unwrap_or(tracing::Level::INFO);
    log::start("config-agent", level, Stream::Stdout);
    let once = args.synchronous;
    let limit = args.timeout.map(Duration::from_secs);
    let start = Start {
        config,
        config_path: Some(args.config),
        sapi_url: args.sapi_url,
        host: Arc::from(host::native()),
    };
    let ended = block_on(async {
        if once { run_once(start, limit).await } else { run_on(start).await }
    });
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            error!(err.message = %log::chain(&error), "config-agent ends");
            eprintln!("config-agent: {}", log::chain(&error));
            ExitCode::FAILURE
        }
    }
}

async fn run_once(
    start: Start,
    limit: Option<Duration>,
) -> Result<bool, RunError> {
    let pass = run::once(start);
    match limit {
        None => Ok(pass.await?.0),
        Some(limit) => match tokio::time::timeout(limit, pass).await {
            Ok(done) => Ok(done?.0),
            Err(_) => {
                error!(seconds = limit.as_secs(), "gave up: out of time");
                Ok(false)
            }
        },
    }
}

async fn run_on(start: Start) -> Result<bool, RunError> {
    // Handlers first: a SIGHUP that comes early must not kill us.
    let stop = CancellationToken::new();
    let (ask, asked) = mpsc::channel(1);
    on_stop(&stop);
    on_signal(SignalKind::hangup(), move || {
        // Full means that one is waiting already.
        let _ = ask.try_send(());
    });
    run::run(start, asked, stop).await.map(|()| true)
}

/// An orderly end, by whoever asks for it.
fn on_stop(stop: &CancellationToken) {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let stop = stop.clone();
        on_signal(kind, move || stop.cancel());
    }
}

fn on_signal(kind: SignalKind, mut act: impl FnMut() + Send + 'static) {
    match signal(kind) {
        Ok(mut signals) => {
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    act();
                }
            });
        }
        Err(error) => {
            error!(err.message = %error, "cannot handle a signal");
        }
    }
}

/// Runs `future` on the calling thread: nothing here waits for a disk or
/// computes for long, and threads that hand each other work cost more than
/// they bring. What does wait has threads of its own.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(16)
        .enable_all()
        .build()
        .expect("a runtime needs only an event queue and threads");
    let ended = runtime.block_on(future);
    // Threads that hang in a system call do not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

/// Whether to paint: a terminal, and `NO_COLOR` not set.
fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_node_agents_flags_still_work() {
        let args = ["config-agent", "run", "-s", "-t", "120", "-f", "x.json"];
        let cli = Cli::try_parse_from(args).unwrap();
        let Verb::Run(run) = cli.verb else { panic!("it is run") };
        assert!(run.synchronous);
        assert_eq!(run.timeout, Some(120));
    }

    fn help(name: &str, verb: &clap::Command) -> String {
        let text = verb.clone().term_width(79).render_long_help();
        format!("\n---- {name}\n{text}")
    }

    #[test]
    fn help_is_reviewed() {
        let mut command = Cli::command().term_width(79);
        let mut text = command.render_long_help().to_string();
        for verb in command.get_subcommands_mut().filter(|v| !v.is_hide_set()) {
            let name = verb.get_name().to_owned();
            text.push_str(&help(&name, verb));
            for below in verb.get_subcommands() {
                let name = format!("{name} {}", below.get_name());
                text.push_str(&help(&name, below));
            }
        }
        insta::assert_snapshot!(text);
    }
}
