// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb publish.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::publish::{self, Allow, Limits, Target};

/// Puts an image into an IMGAPI: manifest, file, activation.
///
/// Judges the image first, as verify does. May be run again: what is there already is left alone, what was begun is
/// finished.
#[derive(Args)]
pub(super) struct PublishArgs {
    /// Manifest; the image's file lies beside it
    manifest: PathBuf,
    /// IMGAPI's base URL
    #[arg(long, value_name = "URL")]
    imgapi: String,
    /// Channel, where the server has channels
    #[arg(long)]
    channel: Option<String>,
    /// Who may sign: a file of allowed signers, as ssh-keygen(1) has it
    #[arg(long, value_name = "FILE")]
    signers: Option<PathBuf>,
    /// Let an image out that holds what nobody pinned
    #[arg(long)]
    allow_unpinned: bool,
    /// Let an image out that was built of files that no commit has
    #[arg(long)]
    allow_dirty: bool,
    /// Let an image out whose signature nobody looked at
    #[arg(long)]
    allow_unsigned: bool,
    /// Ask what is there, print what would be done, and change nothing
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn publish(args: PublishArgs) -> Result<bool> {
    let target = Target {
        url: args.imgapi,
        channel: args.channel,
        dry_run: args.dry_run,
        signers: args.signers,
        allow: Allow {
            unpinned: args.allow_unpinned,
            dirty: args.allow_dirty,
            unsigned: args.allow_unsigned,
        },
        limits: Limits::default(),
    };
    let tell = |act: publish::Act| tell!("{} {}", act.as_str(), target.url);
    let acts = publish::publish(&args.manifest, &target, &tell).await?;
    let words: Vec<_> = acts.iter().map(|act| act.as_str()).collect();
    if args.json {
        say!("{}", serde_json::to_string_pretty(&words)?);
        return Ok(true);
    }
    match (words.is_empty(), args.dry_run) {
        (true, _) => say!("there already, and active"),
        (false, true) => say!("would {}", words.join(", ")),
        (false, false) => say!("done: {}", words.join(", ")),
    }
    Ok(true)
}
