// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A picture as one screen. Pure.

use crate::deploy::status::judge::{behind, ills, serials};
use crate::deploy::status::{
    AgentSeen, Finding, Look, Picture, Seen, UploadsSeen, Verdict,
};
use crate::status::duration;

use super::super::screen::{Cell, Paint, Row, WIDE, findings, table};

/// Findings of a kind that a screen shows, and lines of evidence.
const SHOWN: (usize, usize) = (8, 2);
/// DNS zones that it shows.
const ZONES: usize = 6;

/// The screen.
pub(super) fn screen(
    picture: &Picture,
    verdict: Verdict,
    found: &[Finding],
    paint: Paint,
) -> String {
    let (word, painted) = match verdict {
        Verdict::Well => ("well", paint.green("well")),
        Verdict::Wrong => ("WRONG", paint.red("WRONG")),
        Verdict::Unseen => {
            ("well, in part not seen", paint.yellow("well, in part not seen"))
        }
    };
    let room = WIDE - word.len();
    let mut out = format!("{:room$}{painted}\n", picture.datacenter);
    instances(&mut out, picture, paint);
    pairs(&mut out, picture, paint);
    names(&mut out, picture, paint);
    findings(&mut out, found, SHOWN, paint);
    out
}

fn instances(out: &mut String, picture: &Picture, paint: Paint) {
    let mut rows = Vec::new();
    let head = [
        "INSTANCE", "ZONE", "SERVER", "UP", "CONFIG", "REV", "DNS", "UPLOAD",
        "CERTS",
    ];
    let mut last = None;
    for one in &picture.instances {
        let service = (&one.application, &one.service);
        if last != Some(service) {
            rows.push(Row::Line(String::new()));
            rows.push(Row::Line(heading(one)));
            if last.is_none() {
                rows.push(Row::Cells(head.map(Cell::new).to_vec()));
            }
            last = Some(service);
        }
        rows.push(Row::Cells(cells(picture, one)));
        if let Some(line) = other_image(one) {
            rows.push(Row::Line(line));
        }
    }
    table(out, &rows, paint);
}

/// A service and the image that it asks for.
fn heading(one: &Seen) -> String {
    let service = match one.application.as_str() {
        "sdc" => one.service.clone(),
        application => format!("{} of {application}", one.service),
    };
    // Each of Manta's instances asks for its own.
    match &one.wanted_image {
        Look::Seen(image) if one.application == "sdc" => {
            format!("{service}  {} {}", image.name, image.version)
        }
        _ => service,
    }
}

/// The image that an instance runs, where that is not the service's.
fn other_image(one: &Seen) -> Option<String> {
    let runs = one.zone.seen()?.as_ref()?.image.seen()?;
    let wanted = one.wanted_image.seen();
    if wanted.is_some_and(|wanted| wanted.uuid == runs.uuid) {
        return None;
    }
    let older = wanted.is_some_and(|w| runs.published_at < w.published_at);
    let says = if older { ", older than its service's" } else { "" };
    let version = match runs.version.as_str() {
        "" => runs.uuid.to_string(),
        version => version.to_owned(),
    };
    Some(format!("  image {} {version}{says}", runs.name))
}

fn cells(picture: &Picture, one: &Seen) -> Vec<Cell> {
    let unknown = || Cell::new("?");
    let (state, server) = match &one.zone {
        Look::Seen(Some(zone)) => {
            let state = match zone.state.as_str() {
                "running" => Cell::new("running"),
                state => Cell::wrong(state),
            };
            let server = match zone.server_status.as_str() {
                "" | "running" => Cell::new(&zone.hostname),
                status => Cell::wrong(format!("{} {status}", zone.hostname)),
            };
            (state, server)
        }
        Look::Seen(None) => (Cell::wrong("none"), unknown()),
        _ => (unknown(), unknown()),
    };
    let up = match &one.health {
        Look::Seen(()) => Cell::new("yes"),
        Look::Failed(_) => Cell::wrong("NO"),
        Look::Unasked => unknown(),
    };
    let mut cells = vec![Cell::new(&one.alias), state, server, up];
    match &one.agent {
        Look::Seen(agent) => {
            let ill = !ills(agent).is_empty();
            let age = duration(agent.revision_age_seconds);
            cells.push(match ill {
                true => Cell::wrong("NO"),
                false => Cell::new(format!("ok {age}")),
            });
            let shared = agent.shared_revision.as_deref().unwrap_or("-");
            cells.push(Cell::new(format!("{shared:.7}")));
            cells.push(copies(picture, agent));
            cells.push(uploads(picture.at, one));
            let least = agent.certificates.values().min();
            cells.push(match least {
                None => Cell::new("-"),
                Some(..0) => Cell::wrong("ended"),
                Some(left) => Cell::new(format!("{} d", left / 86_400)),
            });
        }
        Look::Failed(_) => {
            cells.push(Cell::wrong("silent"));
            cells.extend((0..4).map(|_| unknown()));
        }
        Look::Unasked => cells.extend((0..5).map(|_| unknown())),
    }
    cells
}

/// Whether the zones that are replicated are what CNS has.
fn copies(picture: &Picture, agent: &AgentSeen) -> Cell {
    let mut old = false;
    for (name, seen) in &agent.names {
        let Some(serial) = seen.serial else { return Cell::wrong("none") };
        if seen.expired || seen.held_back {
            return Cell::wrong("NO");
        }
        old |= behind(picture, name, serial);
    }
    Cell::new(match (old, agent.names.is_empty()) {
        (_, true) => "-",
        (true, _) => "behind",
        (false, _) => "ok",
    })
}

fn uploads(at: u64, one: &Seen) -> Cell {
    let mut said = Cell::new("-");
    for (daemon, seen) in &one.uploads {
        if daemon == "thanos-compact" {
            continue;
        }
        said = match seen {
            Look::Seen(UploadsSeen { last: Some(last), .. }) => {
                Cell::new(duration(Some(at.saturating_sub(*last))))
            }
            Look::Seen(_) => Cell::new("never"),
            _ => Cell::wrong("?"),
        };
    }
    said
}

fn pairs(out: &mut String, picture: &Picture, paint: Paint) {
    let Look::Seen(shards) = &picture.shards else { return };
    if shards.shards.is_empty() {
        return;
    }
    out.push('\n');
    let mut rows = vec![Row::Cells(
        ["SHARD", "PAIR", "UP", "ZONES"].map(Cell::new).to_vec(),
    )];
    for (name, shard) in &shards.shards {
        let members = picture.instances.iter();
        let members: Vec<&Seen> =
            members.filter(|one| shard.members.contains(&one.uuid)).collect();
        let up = members.iter();
        let up = up.filter(|one| one.health.seen().is_some()).count();
        let aliases: Vec<&str> =
            members.iter().map(|one| one.alias.as_str()).collect();
        let count = format!("{up} of {}", shard.members.len());
        rows.push(Row::Cells(vec![
            Cell::new(name),
            Cell::new(aliases.join(" ")),
            match up == shard.members.len() {
                true => Cell::new(count),
                false => Cell::wrong(count),
            },
            Cell::new(shard.zones.to_string()),
        ]));
    }
    rows.push(Row::Line(format!(
        "imbalance {:.3}; {} zones scraped by nobody, {} twice",
        shards.imbalance, shards.scraped_by_nobody, shards.scraped_twice
    )));
    table(out, &rows, paint);
}

/// CNS' zones that somebody replicates, and how many copies are current.
fn names(out: &mut String, picture: &Picture, paint: Paint) {
    let agents = || picture.instances.iter().filter_map(|i| i.agent.seen());
    let mut all: Vec<&String> =
        agents().flat_map(|agent| agent.names.keys()).collect();
    all.sort();
    all.dedup();
    if all.is_empty() {
        return;
    }
    out.push('\n');
    let head = ["DNS ZONE", "SERIAL", "COPIES"];
    let mut rows = vec![Row::Cells(head.map(Cell::new).to_vec())];
    for name in all.iter().take(ZONES) {
        let copies = agents().filter_map(|agent| agent.names.get(*name));
        let copies: Vec<_> = copies.collect();
        let current = copies.iter().filter(|seen| {
            seen.serial.is_some_and(|own| !behind(picture, name, own))
        });
        let of_cns: Vec<String> = serials(picture, name)
            .map(|(_, serial)| serial.to_string())
            .collect();
        rows.push(Row::Cells(vec![
            Cell::new(name),
            Cell::new(match of_cns.is_empty() {
                true => "?".to_owned(),
                false => of_cns.join(" "),
            }),
            Cell::new(format!(
                "{} of {} current",
                current.count(),
                copies.len()
            )),
        ]));
    }
    if let Some(more @ 1..) = all.len().checked_sub(ZONES) {
        rows.push(Row::Line(format!("and {more} more; --json has all")));
    }
    table(out, &rows, paint);
}

#[cfg(test)]
mod tests;
