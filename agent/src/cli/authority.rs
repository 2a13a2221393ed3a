// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb certgen authority: who vouches for Thanos zones of several regions,
//! made once.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use time::OffsetDateTime;

use crate::certgen::make_authority;

/// Makes the authority for gRPC between regions.
///
/// Writes the two SAPI keys to a new file, for the thanos service of every
/// region: sapiadm update UUID -f FILE. The file holds a private key; remove
/// it then.
#[derive(Args)]
pub(super) struct AuthorityArgs {
    /// File to write; one that is there stays as it is
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Name of the authority
    #[arg(long, default_value = "Triton Thanos")]
    name: String,
}

pub(super) fn authority(args: &AuthorityArgs) -> Result<bool> {
    let could_not = || format!("could not write {}", args.out.display());
    // First, so that what was made is never lost for want of a place.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&args.out)
        .with_context(could_not)?;
    let made = make_authority(&args.name, OffsetDateTime::now_utc())?;
    let body = json!({"metadata": {
        "thanos_ca_certificate": made.certificate,
        // For its owner alone.
        "thanos_ca_private_key": made.private_key.expose(),
    }});
    let text = format!("{}\n", serde_json::to_string_pretty(&body)?);
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(could_not)?;
    say!("{}", args.out.display());
    Ok(true)
}
