// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Judges a file of flags, one a line, as a program reads it by `@FILE`,
//! against the table of what that program takes. A flag that it refuses would
//! leave the daemon down until someone looks; here it costs the file only.
//!
//! Narrower than the programs' own reader (kingpin): a value stands behind
//! `=`, never on a line of its own; comments and blank lines are no flags;
//! an empty value is a mistake unless the table lists it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Bytes of a line beyond which the programs' reader gives up.
const LINE_LIMIT: usize = 60_000;

/// `templates/<role>/<program>-flags.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// For people.
    #[serde(rename = "note")]
    _note: String,
    /// Versions that take every flag listed.
    versions: Vec<String>,
    /// Flags of every command.
    flags: Vec<Flag>,
    /// Further flags of each command.
    commands: BTreeMap<String, Vec<Flag>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Flag {
    name: String,
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default)]
    choices: Vec<String>,
    #[serde(default)]
    repeatable: bool,
    #[serde(default)]
    required: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Bool,
    String,
    Enum,
    Int,
    Uint,
    Float,
    /// Go's: hours at most.
    Duration,
    /// Prometheus': up to years.
    PromDuration,
    /// RFC 3339, or a Prometheus duration relative to now.
    TimeOrDuration,
    Bytes,
    /// `host:port`, perhaps with a DNS prefix.
    Address,
    Url,
}

/// Checks `lines` against `table` (JSON text) for `command`, which is `None`
/// for a program without commands.
///
/// Errors: every line that will not do, with flag, value seen and what is
/// wanted; or what is wrong with the table.
pub(super) fn check(
    table: &str,
    command: Option<&str>,
    lines: &str,
) -> Result<(), String> {
    let table: Table = serde_json::from_str(table)
        .map_err(|e| format!("the table of flags is none: {e}"))?;
    let own = match command {
        None => &[][..],
        Some(command) => table.commands.get(command).ok_or_else(|| {
            format!("the table of flags knows no command {command:?}")
        })?,
    };
    let known: BTreeMap<&str, &Flag> = table
        .flags
        .iter()
        .chain(own)
        .map(|flag| (flag.name.as_str(), flag))
        .collect();
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for (number, line) in lines.lines().enumerate() {
        match check_line(&known, line) {
            Ok(flag) if !seen.insert(&flag.name) && !flag.repeatable => {
                problems.push(format!(
                    "line {}: {} again, wanted once",
                    number + 1,
                    flag.name
                ));
            }
            Ok(_) => {}
            Err(reason) => {
                problems.push(format!("line {}: {reason}", number + 1));
            }
        }
    }
    for flag in known.values() {
        if flag.required && !seen.contains(&flag.name) {
            problems.push(format!("{} is missing", flag.name));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} (versions {})",
        problems.join("; "),
        table.versions.join(", ")
    ))
}

fn check_line<'a>(
    known: &BTreeMap<&str, &'a Flag>,
    line: &str,
) -> Result<&'a Flag, String> {
    if line.len() > LINE_LIMIT {
        return Err(format!("longer than {LINE_LIMIT} bytes"));
    }
    let (name, value) = match line.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (line, None),
    };
    if !name.starts_with("--") {
        return Err(format!(
            "saw {}, wanted a flag, --name or --name=value",
            shown(line)
        ));
    }
    let Some(flag) = known.get(name) else {
        let plain = name.strip_prefix("--no-").map(|rest| format!("--{rest}"));
        return match plain.and_then(|plain| known.get(plain.as_str())) {
            Some(flag) if flag.kind == Kind::Bool => no_value(flag, value),
            _ => Err(format!("no flag {}", shown(name))),
        };
    };
    if flag.kind == Kind::Bool {
        return no_value(flag, value);
    }
    let wanted = wanted(flag);
    let Some(value) = value else {
        return Err(format!("{name}: saw no value, wanted {wanted}"));
    };
    if value.chars().any(char::is_control) || !fits(flag, value) {
        return Err(format!("{name}: saw {}, wanted {wanted}", shown(value)));
    }
    Ok(flag)
}

fn no_value<'a>(
    flag: &'a Flag,
    value: Option<&str>,
) -> Result<&'a Flag, String> {
    match value {
        None => Ok(flag),
        Some(value) => Err(format!(
            "{}: saw {}, wanted no value (or --no-{})",
            flag.name,
            shown(value),
            flag.name.trim_start_matches('-')
        )),
    }
}

fn fits(flag: &Flag, value: &str) -> bool {
    match flag.kind {
        Kind::Bool => false,
        Kind::String => !value.is_empty(),
        Kind::Enum => flag.choices.iter().any(|choice| choice == value),
        Kind::Int => value.parse::<i64>().is_ok(),
        Kind::Uint => value.parse::<u64>().is_ok(),
        Kind::Float => value.parse::<f64>().is_ok_and(f64::is_finite),
        Kind::Duration => is_go_duration(value),
        Kind::PromDuration => is_prometheus_duration(value),
        Kind::TimeOrDuration => {
            OffsetDateTime::parse(value, &Rfc3339).is_ok()
                || is_prometheus_duration(
                    value.strip_prefix('-').unwrap_or(value),
                )
        }
        Kind::Bytes => is_bytes(value),
        Kind::Address => is_address(value),
        Kind::Url => ["http://", "https://"].iter().any(|scheme| {
            value.strip_prefix(scheme).is_some_and(|rest| {
                !rest.is_empty() && !rest.contains(char::is_whitespace)
            })
        }),
    }
}

fn wanted(flag: &Flag) -> String {
    match flag.kind {
        Kind::Bool => "no value".to_owned(),
        Kind::String => "a text".to_owned(),
        Kind::Enum => format!("one of {}", flag.choices.join(", ")),
        Kind::Int => "a whole number".to_owned(),
        Kind::Uint => "a whole number, not negative".to_owned(),
        Kind::Float => "a number".to_owned(),
        Kind::Duration => "a duration of h, m, s, ms, us, ns".to_owned(),
        Kind::PromDuration => {
            "a duration of y, w, d, h, m, s, ms, in that order".to_owned()
        }
        Kind::TimeOrDuration => {
            "an RFC 3339 time or a duration such as -3d".to_owned()
        }
        Kind::Bytes => "a size with a unit, such as 250MB".to_owned(),
        Kind::Address => "host:port, perhaps behind dns+".to_owned(),
        Kind::Url => "a URL with http:// or https://".to_owned(),
    }
}

/// Go's `time.ParseDuration`, without signs and fractions.
fn is_go_duration(text: &str) -> bool {
    const HOURS: u64 = 2_562_047;
    let mut rest = text;
    if rest == "0" {
        return true;
    }
    while !rest.is_empty() {
        let Some((number, tail)) = number(rest) else { return false };
        let units = ["ns", "us", "ms", "s", "m", "h"];
        // `ms` before `m`.
        let Some(unit) = units.iter().find(|unit| tail.starts_with(**unit))
        else {
            return false;
        };
        if number > HOURS && *unit == "h" || number > u64::from(u32::MAX) {
            return false;
        }
        rest = &tail[unit.len()..];
    }
    !text.is_empty()
}

/// Prometheus' `ParseDuration`: each unit once, the largest first.
fn is_prometheus_duration(text: &str) -> bool {
    if text == "0" {
        return true;
    }
    let mut rest = text;
    for (unit, most) in [
        ("y", 290),
        ("w", 15_000),
        ("d", 106_000),
        ("h", 2_562_047),
        ("ms", u64::from(u32::MAX)),
        ("m", 100_000_000),
        ("s", u64::from(u32::MAX)),
        ("ms", u64::from(u32::MAX)),
    ] {
        let Some((number, tail)) = number(rest) else { break };
        let Some(tail) = tail.strip_prefix(unit) else { continue };
        // Milliseconds come last.
        if number > most || unit == "ms" && !tail.is_empty() {
            return false;
        }
        rest = tail;
    }
    rest.is_empty() && !text.is_empty()
}

fn is_bytes(text: &str) -> bool {
    let units =
        ["B", "KB", "MB", "GB", "TB", "PB", "KiB", "MiB", "GiB", "TiB", "PiB"];
    text == "0"
        || number(text).is_some_and(|(number, unit)| {
            units.contains(&unit) && number < 1 << 33
        })
}

fn is_address(text: &str) -> bool {
    let prefixes = ["dnsdualstack+", "dnssrvnoa+", "dnssrv+", "dns+"];
    let rest = prefixes.iter().find_map(|p| text.strip_prefix(p));
    let srv = text.starts_with("dnssrv");
    let host = |host: &str| {
        !host.is_empty()
            && host.chars().all(|c| c.is_ascii_graphic())
            && !host.contains('/')
    };
    match rest.unwrap_or(text).rsplit_once(':') {
        Some((name, port)) => {
            host(name) && port.parse::<u16>().is_ok_and(|port| port > 0)
        }
        None => srv && rest.is_some_and(host),
    }
}

/// Leading digits as a number, and what follows them.
fn number(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    Some((number.parse().ok()?, rest))
}

/// A text for a message, cut short.
fn shown(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((at, _)) => format!("{:?}...", &text[..at]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests;
