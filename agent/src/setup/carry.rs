// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Takes the steps of a set-up, one after the other, and says how each went.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::unistd::{Gid, Uid};
use serde::Serialize;
use tokio::time::Instant;

use super::look::below;
use super::{Act, Command, SetupError, Step, StepError, hand};
use crate::apply::commit::{Access, ensure_dir, owner, write_atomic};
use crate::host::{Exec, Host};
use crate::log::chain;

/// How a step went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was there already.
    Unchanged,
    /// Done now.
    Done,
    /// It failed, and the zone comes up without it.
    Failed(String),
}

/// A step that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The step.
    pub step: String,
    /// How it went.
    pub outcome: Outcome,
    /// Milliseconds it took.
    pub took_ms: u64,
}

/// Takes `steps` in the zone whose files lie below `root`, until `end`.
/// `first_pass` is the agent's, which is given its time; `tell` hears of each
/// step once it is taken.
///
/// A step that may fail gets the time that is left when those after it that
/// may not have had theirs, or half of it.
///
/// Errors: `Step` of the first that failed; nothing after it is tried.
pub async fn carry(
    steps: &[Step],
    host: &dyn Host,
    root: &Path,
    end: Instant,
    mut first_pass: impl AsyncFnMut(Duration) -> Result<(), String>,
    mut tell: impl FnMut(&Report),
) -> Result<(), SetupError> {
    for (at, step) in steps.iter().enumerate() {
        let begin = Instant::now();
        let mut left = end.saturating_duration_since(begin);
        if step.may_fail {
            left -= reserve(&steps[at + 1..]).min(left / 2);
        }
        let taken = if left.is_zero() {
            Err(StepError::OutOfTime)
        } else {
            take(&step.act, host, root, left, &mut first_pass).await
        };
        let outcome = match taken {
            Ok(true) => Outcome::Done,
            Ok(false) => Outcome::Unchanged,
            Err(error) if step.may_fail => Outcome::Failed(chain(&error)),
            Err(source) => {
                let what = step.what.clone();
                return Err(SetupError::Step { what, source });
            }
        };
        let took = begin.elapsed().as_millis();
        tell(&Report {
            step: step.what.clone(),
            outcome,
            took_ms: u64::try_from(took).unwrap_or(u64::MAX),
        });
    }
    Ok(())
}

/// What steps that may not fail may take together.
fn reserve(steps: &[Step]) -> Duration {
    let all = steps.iter().filter(|step| !step.may_fail);
    let all = all.map(|step| match &step.act {
        Act::Run(command) => command.limit_seconds,
        Act::FirstPass { limit_seconds } => *limit_seconds,
        _ => 1,
    });
    Duration::from_secs(all.sum())
}

/// Takes one step; says whether anything changed.
async fn take(
    act: &Act,
    host: &dyn Host,
    root: &Path,
    left: Duration,
    first_pass: &mut impl AsyncFnMut(Duration) -> Result<(), String>,
) -> Result<bool, StepError> {
    match act {
        Act::Run(command) => run(command, host, left).await.map(|()| true),
        Act::Folder { path, mode } => {
            let own = (Uid::effective(), Gid::effective());
            let access = Access { mode: Some(*mode), owner: Some(own) };
            let made = ensure_dir(&below(root, path), access);
            made.map_err(|source| file_error(path, source))
        }
        Act::HandOver { path, user } => {
            let (uid, gid) = owner(user).map_err(StepError::Account)?;
            let ids = (uid.as_raw(), gid.as_raw());
            let given = hand::over(
                &below(root, path),
                ids,
                (Instant::now() + left).into(),
            );
            let given = given.map_err(|source| file_error(path, source))?;
            Ok(given > 0)
        }
        Act::Write { path, text } => write(&below(root, path), text)
            .map_err(|source| file_error(path, source)),
        Act::Line { path, line } => add_line(&below(root, path), line)
            .map_err(|source| file_error(path, source)),
        Act::FirstPass { limit_seconds } => {
            let limit = Duration::from_secs(*limit_seconds).min(left);
            first_pass(limit).await.map_err(StepError::Pass)?;
            Ok(true)
        }
    }
}

fn file_error(path: &Path, source: io::Error) -> StepError {
    StepError::File { path: path.to_owned(), source }
}

async fn run(
    command: &Command,
    host: &dyn Host,
    left: Duration,
) -> Result<(), StepError> {
    let limit = Duration::from_secs(command.limit_seconds).min(left);
    let exec = Exec::new(&command.argv, limit);
    let finished = host.run(&exec).await?;
    if !finished.success() {
        return Err(finished.into_error(&exec).into());
    }
    let seen = finished.stdout.trim();
    match &command.wanted {
        Some(wanted) if seen != wanted => Err(StepError::Unwanted {
            program: command.argv.join(" "),
            seen: seen.to_owned(),
            wanted: wanted.clone(),
        }),
        _ => Ok(()),
    }
}

fn write(path: &Path, text: &str) -> io::Result<bool> {
    if fs::read(path).is_ok_and(|now| now == text.as_bytes()) {
        return Ok(false);
    }
    write_atomic(path, text.as_bytes(), 0o644).map(|()| true)
}

fn add_line(path: &Path, line: &str) -> io::Result<bool> {
    let mut text = match fs::read_to_string(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    if text.lines().any(|it| it == line) {
        return Ok(false);
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
    write_atomic(path, text.as_bytes(), 0o644).map(|()| true)
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if self.may_fail {
            f.write_str(" (may fail)")?;
        }
        match &self.act {
            Act::Run(command) => {
                write!(f, "\n    {}", command.argv.join(" "))?;
                write!(f, "    # {} s", command.limit_seconds)?;
                match &command.wanted {
                    Some(wanted) => write!(f, ", says {wanted}"),
                    None => Ok(()),
                }
            }
            Act::Folder { path, mode } => {
                write!(f, "\n    {} {mode:04o}", path.display())
            }
            Act::HandOver { path, user } => {
                write!(f, "\n    {} to {user}", path.display())
            }
            Act::Write { path, text } => {
                write!(f, "\n    {}", path.display())?;
                text.lines().try_for_each(|line| write!(f, "\n    | {line}"))
            }
            Act::Line { path, line } => {
                write!(f, "\n    {}\n    + {line}", path.display())
            }
            Act::FirstPass { limit_seconds } => {
                write!(f, "\n    first pass    # {limit_seconds} s")
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, outcome, took_ms } = self;
        match outcome {
            Outcome::Unchanged => write!(f, "there      {step}"),
            Outcome::Done => write!(f, "done       {step} ({took_ms} ms)"),
            Outcome::Failed(why) => write!(f, "went wrong {step}: {why}"),
        }
    }
}

#[cfg(test)]
mod tests;
