// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb lint: the agent as the checker of files whose daemon has none. Not
//! for people, so help does not list it.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use super::trial;
use crate::lint::{self, Kind};

/// Longer files are none of ours, bytes.
const LIMIT: u64 = 16 << 20;

/// Judges a file whose daemon has no checker of its own.
#[derive(Args)]
pub(super) struct LintArgs {
    /// What the file is meant to be
    #[arg(value_parser = Kind::parse)]
    kind: Kind,
    /// The file
    file: PathBuf,
    /// Program that tries the file too, where it is found
    #[arg(long, value_name = "PROGRAM")]
    with: Option<String>,
    /// What the program may take, seconds; less than a checker may
    #[arg(long, default_value = "40")]
    limit: u64,
}

pub(super) async fn lint(args: LintArgs) -> Result<bool> {
    let could_not = || format!("could not read {}", args.file.display());
    let mut text = String::new();
    std::fs::File::open(&args.file)
        .and_then(|file| file.take(LIMIT).read_to_string(&mut text))
        .with_context(could_not)?;
    lint::lint(args.kind, &text)?;
    if let Some(program) = &args.with {
        let limit = Duration::from_secs(args.limit);
        trial::grafana(program, args.kind, &text, limit).await?;
    }
    Ok(true)
}
