// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The report for a terminal.

use std::fmt::Write;

use super::StatusReport;
use crate::model::Flavor;

/// Renders `report` as tables; `colour` for a terminal only.
pub fn table(report: &StatusReport, colour: bool) -> String {
    let paint = |text: &str, code: &str| {
        if colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    };
    let mut out = String::new();
    let r = report;
    let verdict = if r.healthy {
        paint("healthy", "32")
    } else {
        paint("UNHEALTHY", "31;1")
    };
    let _ = writeln!(
        out,
        "config-agent {}  {}  {}  {verdict}",
        r.agent.version, r.agent.role, r.agent.instance
    );
    for fault in &r.faults {
        let _ = writeln!(out, "  {} {fault}", paint("fault:", "31"));
    }
    for warning in &r.warnings {
        let _ = writeln!(out, "  {} {warning}", paint("warning:", "33"));
    }
    let mut rows = vec![
        vec!["up".to_owned(), duration(Some(r.agent.up_seconds))],
        vec![
            "SAPI".to_owned(),
            format!(
                "{}, answered {} ago",
                r.sapi.url,
                duration(r.sapi.last_success_age_seconds)
            ),
        ],
        vec![
            "configuration".to_owned(),
            match (&r.sapi.revision, &r.sapi.origin) {
                (Some(revision), Some(origin)) => format!(
                    "{revision:.12} from {origin}, {} old; shared {:.7}",
                    duration(r.sapi.revision_age_seconds),
                    r.sapi.shared_revision.as_deref().unwrap_or("-")
                ),
                _ => "none yet".to_owned(),
            },
        ],
        vec![
            "passes".to_owned(),
            format!(
                "{}, last {} ago in {} ms; {} written, {} put back, {} \
                 reloads, {} refused",
                r.walk.passes,
                duration(r.walk.age_seconds),
                r.walk.took_ms,
                r.walk.writes,
                r.walk.repairs,
                r.walk.reloads,
                r.walk.refusals
            ),
        ],
    ];
    if let Some(file) = &r.walk.last_repair {
        rows.push(vec![
            "put back last".to_owned(),
            format!("{file}, {} ago", duration(r.walk.last_repair_age_seconds)),
        ]);
    }
    for daemon in &r.daemons {
        let ready = if daemon.ready { "ready" } else { "not ready" };
        rows.push(vec![
            daemon.name.clone(),
            format!("{}, {ready}", daemon.state),
        ]);
    }
    rows.push(vec![
        "certificate".to_owned(),
        match &r.certificate {
            Some(c) => format!(
                "{} by {}, {} days left",
                c.login,
                c.fingerprint,
                c.expires_in_seconds / 86_400
            ),
            None => "none".to_owned(),
        },
    ]);
    for served in &r.served {
        rows.push(vec![
            "certificate".to_owned(),
            format!(
                "{}, {} days left",
                served.file,
                served.expires_in_seconds / 86_400
            ),
        ]);
    }
    rows.push(vec![
        "discovery".to_owned(),
        match (r.discovery.targets, &r.discovery.error) {
            (_, Some(error)) => error.clone(),
            (Some(n), None) => format!("{n} zones at {}", r.discovery.endpoint),
            (None, None) => "not asked yet".to_owned(),
        },
    ]);
    columns(&mut out, &rows);
    out.push('\n');
    let mut rows =
        vec![["FILE", "OUTCOME", "TARGET"].map(str::to_owned).to_vec()];
    for file in &r.files {
        let target = file.target.as_ref();
        rows.push(vec![
            file.name.clone(),
            file.outcome.as_str().to_owned(),
            target.map(|t| t.display().to_string()).unwrap_or_default(),
        ]);
    }
    columns(&mut out, &rows);
    if !r.peers.is_empty() {
        out.push('\n');
        peers(&mut out, report);
    }
    if r.names.enabled {
        out.push('\n');
        names(&mut out, report);
    }
    out
}

fn peers(out: &mut String, report: &StatusReport) {
    let head = ["INSTANCE", "ALIAS", "SERVICE", "DATACENTER", "ADDRESS"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for peer in &report.peers {
        let address = match peer.address {
            Some(address) => address.to_string(),
            None => "no address".to_owned(),
        };
        rows.push(vec![
            peer.instance.clone(),
            peer.alias.clone(),
            match peer.flavor {
                Flavor::Triton => peer.service.clone(),
                Flavor::Manta => format!("{} (manta)", peer.service),
            },
            peer.datacenter.clone(),
            if peer.own { format!("{address} (this)") } else { address },
        ]);
    }
    columns(out, &rows);
}

fn names(out: &mut String, report: &StatusReport) {
    let head = ["ZONE", "SERIAL", "RECORDS", "CONFIRMED", "PRIMARY"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for zone in &report.zones {
        rows.push(vec![
            zone.name.clone(),
            zone.serial.map_or("-".to_owned(), |s| s.to_string()),
            zone.records.to_string(),
            format!("{} ago", duration(zone.age_seconds)),
            zone.primary.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    columns(out, &rows);
    out.push('\n');
    let head = ["FORWARD", "UPSTREAM", "STATE"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for upstream in &report.upstreams {
        let state = match (&upstream.last_error, upstream.alive) {
            (_, true) => "up".to_owned(),
            (Some(error), false) => format!("down: {error}"),
            (None, false) => "down".to_owned(),
        };
        rows.push(vec![
            upstream.suffix.clone(),
            upstream.address.clone(),
            state,
        ]);
    }
    columns(out, &rows);
}

/// Writes rows with aligned columns; the last one is not padded.
pub fn columns(out: &mut String, rows: &[Vec<String>]) {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|at| {
            rows.iter()
                .filter_map(|row| row.get(at))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    for row in rows {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            if at + 1 == row.len() {
                line.push_str(cell);
            } else {
                let _ = write!(line, "{cell:width$}  ", width = widths[at]);
            }
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

/// Seconds in the largest unit that says enough.
pub fn duration(seconds: Option<u64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(s) if s < 120 => format!("{s} s"),
        Some(s) if s < 7_200 => format!("{} min", s / 60),
        Some(s) if s < 172_800 => format!("{} h", s / 3_600),
        Some(s) => format!("{} d", s / 86_400),
    }
}
