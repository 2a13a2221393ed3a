// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verbs explain and schema: what SAPI metadata a zone reads.

use anyhow::{Result, bail};
use clap::Args;

use crate::metadata::table::{Entry, entries, schema};
use crate::model::Role;
use crate::walk::parse_role;

/// Says what a SAPI key changes, what it may hold, and what a change costs.
///
/// Without a key: all keys, a line each.
#[derive(Args)]
pub(super) struct ExplainArgs {
    /// SAPI key, or a part of one
    key: Option<String>,
    /// Only keys that zones of this role read
    #[arg(long)]
    role: Option<String>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Prints the JSON Schema of a role's metadata, fit for SAPI's
/// metadata_schema.
#[derive(Args)]
pub(super) struct SchemaArgs {
    /// What the zone is for
    role: String,
}

pub(super) fn explain(args: ExplainArgs) -> Result<bool> {
    let roles = match &args.role {
        Some(role) => vec![parse_role(Some(role))?],
        None => Role::ALL.to_vec(),
    };
    let all = entries(&roles);
    let Some(key) = &args.key else {
        return print(&all, args.json, line);
    };
    let exact: Vec<Entry> =
        all.iter().filter(|entry| entry.key == key).cloned().collect();
    if !exact.is_empty() {
        return print(&exact, args.json, text);
    }
    let part = key.to_ascii_lowercase();
    let near: Vec<Entry> = all
        .into_iter()
        .filter(|entry| entry.key.to_ascii_lowercase().contains(&part))
        .collect();
    if near.is_empty() {
        bail!("no zone reads a key {key:?}; see config-agent explain");
    }
    print(&near, args.json, text)
}

pub(super) fn print_schema(args: SchemaArgs) -> Result<bool> {
    let schema = schema(parse_role(Some(&args.role))?);
    say!("{}", serde_json::to_string_pretty(&schema)?);
    Ok(true)
}

fn print(
    entries: &[Entry],
    json: bool,
    show: fn(&Entry) -> String,
) -> Result<bool> {
    if json {
        say!("{}", serde_json::to_string_pretty(entries)?);
        return Ok(true);
    }
    let shown: Vec<String> = entries.iter().map(show).collect();
    say!("{}", shown.join("\n"));
    Ok(true)
}

fn line(entry: &Entry) -> String {
    let text = entry.text.split_inclusive(". ").next().unwrap_or_default();
    format!("{:26}{:9}{}", entry.key, entry.change, text.trim_end())
}

fn text(entry: &Entry) -> String {
    format!(
        "{}\n  {}\n  accepted   {}\n  default    {}\n  a change   {}\n  \
         read by    {}\n",
        entry.key,
        entry.text,
        entry.wanted,
        entry.default,
        entry.change,
        entry.roles.join(", ")
    )
}
