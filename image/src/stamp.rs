// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The version of an image and the one time that stands in it:
//! `<branch>-<YYYYMMDDTHHMMSSZ>-g<7 hex>[-dirty]`, as Triton's builds stamp
//! theirs. The time is that of the commit, or SOURCE_DATE_EPOCH: who builds the
//! same commit gets the same stamp, whenever and wherever.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use monitoring_agent::host::{self, Exec};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// Where images have files of ours from.
const FOLDERS: [&str; 4] = ["boot", "image", "smf", "templates"];
/// How long git may take.
const GIT_TIMEOUT: Duration = Duration::from_secs(60);

const COMPACT: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");
const FULL: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

/// Version and time of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The version.
    pub version: String,
    /// The time of everything in it, seconds since 1970 UTC.
    pub epoch: u64,
}

/// What git says of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The branch's name.
    pub branch: String,
    /// The commit, 40 hex digits.
    pub hash: String,
    /// Whether files differ from it.
    pub dirty: bool,
    /// When it was made, seconds since 1970 UTC.
    pub epoch: u64,
}

impl Stamp {
    /// The stamp of a commit; `epoch` over the commit's own time.
    ///
    /// Errors: a time beyond year 9999.
    pub fn of(commit: &Commit, epoch: Option<u64>) -> Result<Self> {
        let epoch = epoch.unwrap_or(commit.epoch);
        let time = format(epoch, COMPACT)?;
        // A branch becomes part of file names.
        let fits = |c: char| c.is_ascii_alphanumeric() || "._+".contains(c);
        let branch = commit.branch.replace(|c| !fits(c), "-");
        let hash = &commit.hash[..7.min(commit.hash.len())];
        let dirty = if commit.dirty { "-dirty" } else { "" };
        Ok(Self { version: format!("{branch}-{time}-g{hash}{dirty}"), epoch })
    }

    /// The time as manifests have it: `2030-01-02T03:04:05Z`.
    pub fn published_at(&self) -> Result<String> {
        format(self.epoch, FULL)
    }
}

fn format(epoch: u64, how: &[BorrowedFormatItem<'_>]) -> Result<String> {
    let bad = || format!("{epoch} is no time between 1970 and 9999");
    let seconds = i64::try_from(epoch).with_context(bad)?;
    let time = OffsetDateTime::from_unix_timestamp(seconds);
    Ok(time.with_context(bad)?.format(how)?)
}

/// SOURCE_DATE_EPOCH, if it is set.
///
/// Errors: it is no number of seconds.
/// Source: reproducible-builds.org, specification of SOURCE_DATE_EPOCH.
pub fn source_date_epoch() -> Result<Option<u64>> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => match text.parse() {
            Ok(seconds) => Ok(Some(seconds)),
            Err(_) => bail!("SOURCE_DATE_EPOCH: {text:?}; wanted seconds"),
        },
        Err(_) => Ok(None),
    }
}

/// Asks git about the workspace. `BRANCH` names the branch where a checkout
/// has none, as on a build server.
pub async fn commit(workspace: &Path) -> Result<Commit> {
    let hash = git(workspace, &["rev-parse", "HEAD"]).await?;
    let time = git(workspace, &["log", "-1", "--format=%ct"]).await?;
    let mut changed = git(workspace, &["status", "--porcelain"]).await?;
    // What git was told to overlook would go into the image all the same.
    let ours = ["status", "--porcelain", "--ignored", "--"];
    changed += &git(workspace, &[&ours[..], &FOLDERS].concat()).await?;
    let branch = match std::env::var("BRANCH") {
        Ok(branch) if !branch.is_empty() => branch,
        _ => git(workspace, &["rev-parse", "--abbrev-ref", "HEAD"]).await?,
    };
    let epoch = time.parse().with_context(|| format!("git's time {time}"))?;
    Ok(Commit { branch, hash, dirty: !changed.is_empty(), epoch })
}

async fn git(workspace: &Path, words: &[&str]) -> Result<String> {
    let folder = workspace.to_string_lossy();
    let argv = [&["git", "-C", &folder], words].concat();
    let exec = Exec::new(&argv, GIT_TIMEOUT);
    let finished = host::run(&exec).await?;
    if !finished.success() {
        let error = finished.into_error(&exec);
        return Err(error).context("could not ask git for the version");
    }
    Ok(finished.stdout.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit() -> Commit {
        Commit {
            branch: "main".into(),
            hash: "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567".into(),
            dirty: false,
            epoch: 1_893_553_445,
        }
    }

    #[test]
    fn stamps_are_shaped_as_triton_stamps() {
        let stamp = Stamp::of(&commit(), None).unwrap();
        assert_eq!(stamp.version, "main-20300102T030405Z-g0a1b2c3");
        assert_eq!(stamp.published_at().unwrap(), "2030-01-02T03:04:05Z");
        let odd = Commit { branch: "a/b c".into(), dirty: true, ..commit() };
        let stamp = Stamp::of(&odd, Some(0)).unwrap();
        assert_eq!(stamp.version, "a-b-c-19700101T000000Z-g0a1b2c3-dirty");
        Stamp::of(&commit(), Some(u64::MAX)).unwrap_err();
    }
}
