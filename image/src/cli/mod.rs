// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The command line: verbs, their help, and how an error becomes an exit
//! code. As config-agent's, so that who knows one knows both.

/// A line on standard output. A reader that has gone (`| head`) is no fault.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($words)*);
    }};
}

/// A line on standard error: progress, beside the answer.
macro_rules! tell {
    ($($words:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), $($words)*);
    }};
}

mod build;
mod fetch;
mod publish;
mod table;
mod verify;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use monitoring_agent::cli::front::{self, USAGE};
use tokio::signal::unix::{SignalKind, signal};

use crate::artifacts::{self, Artifacts};
use crate::cache::Cache;
use crate::look::Place;
use crate::recipe::{self, Brand};
use crate::scratch;

/// How long a verb has to drop what it does, when it is told to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// Words that mean nothing here: what clap cannot know.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

const AFTER_HELP: &str = "\
EXIT STATUS
  0   done; of verify, all is well
  1   failed, or something is wrong
  64  the command line makes no sense

FILES
  image/recipes/ROLE.toml       what an image is made of
  image/recipes/artifacts.toml  which bytes a component is
  image/patches/COMPONENT/      patches of ours
  target/image/cache/           inputs by their digest
  target/image/                 images

ENVIRONMENT
  SOURCE_DATE_EPOCH  time of everything in an image, seconds since 1970; left
                     out, that of the commit
  BRANCH             the branch's name in the version, where git has none
  CARGO_TARGET_DIR   where our own programs are";

/// Builds SmartOS and LX zone images of the monitoring appliances on plain
/// Linux, the same bytes every time.
///
/// `fetch` brings what a recipe names, `build` makes the image of it without a
/// network, `verify` judges it as imgadm and IMGAPI will, `publish` puts it
/// into an IMGAPI.
#[derive(Parser)]
#[command(name = "zone-image", version, after_long_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Print the steps to an image, or all that stands in the way
    Plan(build::PlanArgs),
    /// Build an image from what is in the cache
    Build(build::BuildArgs),
    /// Bring the components of images into the cache
    Fetch(fetch::FetchArgs),
    /// List recipes, and the images that were built
    List(verify::ListArgs),
    /// Judge an image: manifest, file, contents, signature
    Verify(verify::VerifyArgs),
    /// Put an image into an IMGAPI and activate it
    Publish(publish::PublishArgs),
    /// Print a completion script for a shell
    Completion {
        /// Shell to complete for
        shell: clap_complete::Shell,
    },
}

/// Where things are.
#[derive(Args)]
struct Where {
    /// Root of the workspace; left out: the folder here or above that has
    /// image/recipes
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Another file of components, over image/recipes/artifacts.toml; may be
    /// given again
    #[arg(long, value_name = "FILE")]
    artifacts: Vec<PathBuf>,
    /// Folder of inputs by digest; left out: target/image/cache
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// A program of ours, over the one that cargo built; may be given again
    #[arg(long = "program", value_name = "NAME=FILE", value_parser = pair)]
    programs: Vec<(String, PathBuf)>,
}

fn pair(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok((name.to_owned(), file.into()))
        }
        _ => Err("wanted NAME=FILE".into()),
    }
}

impl Where {
    fn workspace(&self) -> Result<PathBuf> {
        if let Some(given) = &self.workspace {
            return given
                .canonicalize()
                .with_context(|| format!("no folder {}", given.display()));
        }
        let here = std::env::current_dir()?;
        let found = here.ancestors().find(|dir| recipes(dir).is_dir());
        let found = found.map(Path::to_owned);
        found.context("no image/recipes here or above; give --workspace")
    }

    fn place(&self) -> Result<Place> {
        let programs: BTreeMap<_, _> = self.programs.iter().cloned().collect();
        Ok(Place { workspace: self.workspace()?, programs })
    }

    fn artifacts(&self, workspace: &Path) -> Result<Artifacts> {
        let ours = recipes(workspace).join("artifacts.toml");
        let mut files = vec![ours];
        files.extend(self.artifacts.iter().cloned());
        artifacts::load(&files)
    }

    fn cache(&self, workspace: &Path) -> Result<Cache> {
        let default = || images(workspace).join("cache");
        Cache::open(&self.cache.clone().unwrap_or_else(default))
    }
}

fn recipes(workspace: &Path) -> PathBuf {
    workspace.join("image/recipes")
}

/// Where images go by themselves.
fn images(workspace: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or("target".into(), PathBuf::from);
    workspace.join(target).join("image")
}

/// A recipe by the name given, or which there are.
fn known(workspace: &Path, name: &str, brand: Brand) -> Result<recipe::Recipe> {
    let folder = recipes(workspace);
    let all = recipe::list(&folder)?;
    if !all.iter().any(|(known, _)| known == name) {
        let all: Vec<_> = all.iter().map(|(name, _)| name.as_str()).collect();
        let all = all.join(", ");
        return Err(
            Usage(format!("no recipe {name:?}; wanted one of {all}")).into()
        );
    }
    recipe::load(&folder, name, brand)
}

/// Runs zone-image with `args` (the first is the program's name).
pub fn zone_image(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli: Cli = match front::parse(args) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let done = match cli.verb {
        Verb::Plan(args) => block_on(build::plan(args)),
        Verb::Build(args) => block_on(build::build(args)),
        Verb::Fetch(args) => block_on(fetch::fetch(args)),
        Verb::List(args) => verify::list(args),
        Verb::Verify(args) => block_on(verify::verify(args)),
        Verb::Publish(args) => block_on(publish::publish(args)),
        Verb::Completion { shell } => {
            front::complete::<Cli>(shell, "zone-image");
            Ok(true)
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("zone-image: {error:#}");
            match error.is::<Usage>() {
                true => ExitCode::from(USAGE),
                false => ExitCode::FAILURE,
            }
        }
    }
}

/// Runs a verb until it is done or the operator has had enough. Then it is
/// dropped, which ends what it started and removes what it had begun; if it
/// does not get that far in a moment, since it computes or writes, that is
/// done from outside.
fn block_on(verb: impl Future<Output = Result<bool>>) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime needs only an event queue and threads");
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let ended = runtime.block_on(async {
        tokio::spawn(async move {
            told_to_end().await;
            scratch::end();
            let _ = stop.send(());
            tokio::time::sleep(PATIENCE).await;
            scratch::remove_all();
            eprintln!("zone-image: told to end");
            std::process::exit(1);
        });
        tokio::select! {
            // A verb that is dropped leaves nothing behind.
            done = verb => done,
            _ = stopped => bail!("told to end"),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

/// Ends with the first SIGINT, SIGTERM or SIGHUP (a terminal that went away);
/// never, where none can be had.
async fn told_to_end() {
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let [interrupt, terminate, hangup] = kinds.map(signal);
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) =
        (interrupt, terminate, hangup)
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
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

    #[test]
    fn help_is_reviewed() {
        let mut command = Cli::command().term_width(79);
        let mut text = command.render_long_help().to_string();
        for verb in command.get_subcommands_mut() {
            let name = verb.get_name().to_owned();
            let help = verb.clone().term_width(79).render_long_help();
            text.push_str(&format!("\n---- {name}\n{help}"));
        }
        insta::assert_snapshot!(text);
    }
}
