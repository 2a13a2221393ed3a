// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb dns: looks into the running name server, and prods it.

mod query;

use std::io::{BufWriter, ErrorKind, Write};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde::Deserialize;

use super::page::PageArgs;
use crate::model::dns::ZoneName;
use crate::status::{
    CHANGE_HEADER, REFRESH_LIMIT, StatusReport, ZonePart, columns, duration,
};
use crate::triton::{Answer, ApiError, Http};

/// What the agent may say at once, bytes.
const ANSWER: usize = 16 << 20;
/// It is on this machine.
const LIMIT: Duration = Duration::from_secs(5);

const AFTER_HELP: &str = "\
EXIT STATUS
  0   done; for query: NOERROR; for zones: a copy of each, none
      expired; for refresh: a primary confirmed the zone
  1   failed, or the agent does not run
  64  the command line makes no sense
  96  the configuration file must be mended

EXAMPLES
  config-agent dns zones
  config-agent dns dump dc1.cns.example | named-checkzone dc1.cns.example -
  config-agent dns query cmon.dc1.cns.example
  config-agent dns query _x._tcp.example SRV --json
  config-agent dns refresh dc1.cns.example
  config-agent dns flush example.com";

/// Looks into the zone's name server, which the running agent is.
///
/// All but `query` ask over the agent's status page on loopback; `query` also
/// puts its question to the name server itself, as any program would.
#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct DnsArgs {
    #[command(subcommand)]
    verb: DnsVerb,
}

#[derive(Subcommand)]
enum DnsVerb {
    /// List the replicated zones and how they fare
    Zones(ZonesArgs),
    /// Write a zone as it is served, as a zone file
    ///
    /// The SOA comes first, the rest in no order. Nothing is held in memory,
    /// here or there: a zone may be as large as it likes.
    Dump(DumpArgs),
    /// Ask the running server and show which way the answer came
    ///
    /// The way: our copy of a zone with its serial, a primary, binder, public
    /// resolvers, a rule of the server's own, or its cache; aliases are
    /// followed through zones of ours. It is looked up just before the
    /// question is put.
    Query(query::QueryArgs),
    /// Have a zone's primary asked now, and wait for the outcome
    Refresh(RefreshArgs),
    /// Forget what other servers answered
    ///
    /// Replicated zones are no cache and stay.
    Flush(FlushArgs),
}

#[derive(Args)]
struct ZonesArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    page: PageArgs,
}

#[derive(Args)]
struct DumpArgs {
    /// Zone
    #[arg(value_parser = ZoneName::parse)]
    zone: ZoneName,
    /// Print a JSON object a line, for each record
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    page: PageArgs,
}

#[derive(Args)]
struct RefreshArgs {
    /// Zone
    #[arg(value_parser = ZoneName::parse)]
    zone: ZoneName,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    page: PageArgs,
}

#[derive(Args)]
struct FlushArgs {
    /// Only answers for this name and those below it
    name: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    page: PageArgs,
}

pub(super) async fn dns(args: DnsArgs) -> Result<bool> {
    match args.verb {
        DnsVerb::Zones(args) => zones(args).await,
        DnsVerb::Dump(args) => dump(args).await,
        DnsVerb::Query(args) => query::query(args).await,
        DnsVerb::Refresh(args) => refresh(args).await,
        DnsVerb::Flush(args) => flush(args).await,
    }
}

/// What the agent answered to `GET path`.
async fn get(page: &PageArgs, path: &str) -> Result<(String, Answer)> {
    let url = page.url(path)?;
    let answer = Http::new(LIMIT, None).get(&url, &[], ANSWER).await;
    Ok((url, answer.context("config-agent does not answer; does it run?")?))
}

/// What it answered to a change.
async fn change(
    page: &PageArgs,
    path: &str,
    limit: Duration,
) -> Result<(String, Answer)> {
    let url = page.url(path)?;
    let headers = [(CHANGE_HEADER, "1")];
    let answer = Http::new(limit, None).post_with(&url, &headers, ANSWER).await;
    Ok((url, answer.context("config-agent does not answer; does it run?")?))
}

/// The answer's JSON; its own words when it says why not.
fn read<T: for<'de> Deserialize<'de>>(
    (url, answer): (String, Answer),
) -> Result<T> {
    match (answer.status, std::str::from_utf8(&answer.body)) {
        (200, _) => Ok(answer.json(&url)?),
        // An agent without a name server has no such pages.
        (404, Ok("")) => bail!("config-agent runs no name server"),
        (_, Ok(why)) => bail!("{}", why.trim_end()),
        (_, Err(_)) => Err(answer.error(&url).into()),
    }
}

async fn zones(args: ZonesArgs) -> Result<bool> {
    let report: StatusReport = read(get(&args.page, "/status.json").await?)?;
    if !report.names.enabled {
        bail!("config-agent runs no name server");
    }
    if args.json {
        say!("{}", serde_json::to_string_pretty(&report.zones)?);
    } else {
        say!("{}", table(&report.zones).trim_end());
    }
    let well = |zone: &ZonePart| zone.serial.is_some() && !zone.expired;
    Ok(report.zones.iter().all(well))
}

fn table(zones: &[ZonePart]) -> String {
    let head =
        ["ZONE", "SERIAL", "RECORDS", "BYTES", "CONFIRMED", "FROM", "STATE"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for zone in zones {
        let dash = || "-".to_owned();
        rows.push(vec![
            zone.name.clone(),
            zone.serial.map_or_else(dash, |serial| serial.to_string()),
            zone.records.to_string(),
            zone.bytes.to_string(),
            match zone.age_seconds {
                None => dash(),
                age => format!("{} ago", duration(age)),
            },
            zone.primary.clone().unwrap_or_else(dash),
            state(zone),
        ]);
    }
    let mut out = String::new();
    columns(&mut out, &rows);
    out
}

fn state(zone: &ZonePart) -> String {
    let error = |what: &str| match &zone.last_error {
        Some(error) => format!("{what}: {error}"),
        None => what.to_owned(),
    };
    match zone {
        ZonePart { serial: None, .. } => error("no copy"),
        ZonePart { expired: true, .. } => error("expired"),
        ZonePart { held_back: Some(other), .. } => format!(
            "held back: {} shows {} records",
            other.primary, other.records
        ),
        ZonePart { from_disk: true, .. } => error("from disk"),
        ZonePart { last_error: Some(_), .. } => error("unconfirmed"),
        _ => "current".to_owned(),
    }
}

async fn dump(args: DumpArgs) -> Result<bool> {
    let form = if args.json { "?form=json" } else { "" };
    let url = args.page.url(&format!("/dns/zone/{}{form}", args.zone))?;
    let mut out = BufWriter::new(std::io::stdout());
    let copied = Http::new(LIMIT, None).copy(&url, &mut out).await;
    match copied {
        Ok(()) => {}
        Err(ApiError::Status { status: 404, .. }) => {
            bail!("the agent holds no copy of a zone {}", args.zone)
        }
        // Whoever read us has seen enough (`| head`).
        Err(error) if is_broken_pipe(&error) => return Ok(true),
        Err(error) => return Err(error.into()),
    }
    match out.flush() {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error.into())
        }
        _ => Ok(true),
    }
}

fn is_broken_pipe(error: &ApiError) -> bool {
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        if let Some(cause) = cause.downcast_ref::<std::io::Error>() {
            return cause.kind() == ErrorKind::BrokenPipe;
        }
        next = cause.source();
    }
    false
}

async fn refresh(args: RefreshArgs) -> Result<bool> {
    let path = format!("/dns/refresh?zone={}", args.zone);
    let limit = REFRESH_LIMIT + LIMIT;
    let zone: ZonePart = read(change(&args.page, &path, limit).await?)?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&zone)?);
    } else {
        say!("{}", table(std::slice::from_ref(&zone)).trim_end());
    }
    Ok(zone.serial.is_some() && zone.last_error.is_none())
}

async fn flush(args: FlushArgs) -> Result<bool> {
    #[derive(Deserialize)]
    struct Flushed {
        forgotten: u64,
    }
    let path = match &args.name {
        None => "/dns/flush".to_owned(),
        Some(name) => format!("/dns/flush?name={}", encode(name)),
    };
    let flushed: Flushed = read(change(&args.page, &path, LIMIT).await?)?;
    if args.json {
        let forgotten = flushed.forgotten;
        say!("{}", serde_json::json!({ "forgotten": forgotten }));
    } else {
        say!("{} answers forgotten", flushed.forgotten);
    }
    Ok(true)
}

/// `text` as it may stand in a query string (RFC 3986 §2).
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_pass_through_a_url() {
        assert_eq!(encode("_a.b-c.Example."), "_a.b-c.Example.");
        assert_eq!(encode("*&x=\\ "), "%2A%26x%3D%5C%20");
    }
}
