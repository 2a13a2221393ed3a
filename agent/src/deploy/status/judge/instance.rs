// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What is wrong with one instance. Pure.

use super::{made_by, within, word};
use crate::deploy::status::{
    AgentSeen, Finding, Look, NamesSeen, Picture, Seen, UploadsSeen, ZoneSeen,
};

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const DAY: i64 = 86_400;
/// SAPI silent for so long: `SapiUnreachable`.
const SAPI_QUIET: u64 = 30 * MINUTE;
/// A DNS zone unconfirmed for so long: `ZoneStale`.
const NAMES_STALE: u64 = 10 * MINUTE;
/// A copy older than its primary's is on its way for so long: two refreshes.
const NAMES_BEHIND: u64 = 2 * MINUTE;
/// A client certificate is renewed long before: `CmonCertificateEnds`.
const CMON_CERTIFICATE: i64 = 30 * DAY;
/// And others: `ServerCertificateEnds`.
const CERTIFICATE: i64 = 20 * DAY;
/// A block is uploaded every two hours: `ThanosUploadStalled`.
const UPLOADS_STALLED: u64 = 5 * HOUR;
/// What is wrong with one instance.
pub(super) fn instance(
    picture: &Picture,
    one: &Seen,
    found: &mut Vec<Finding>,
) {
    let zone = match &one.zone {
        Look::Seen(Some(zone)) => zone,
        Look::Seen(None) => {
            found.push(
                Finding::wrong(&one.alias, "has no zone")
                    .on(format!(
                        "SAPI lists instance {}; VMAPI has no such zone",
                        one.uuid
                    ))
                    .mend(made_by(one)),
            );
            return;
        }
        // Said once for all of them.
        Look::Failed(_) | Look::Unasked => &ZoneSeen::default(),
    };
    if !matches!(zone.server_status.as_str(), "" | "running") {
        found.push(
            Finding::wrong(&one.alias, "its server is not up")
                .on(format!(
                    "CNAPI: server {} is {}",
                    zone.hostname, zone.server_status
                ))
                .mend("sdc-server list"),
        );
        return;
    }
    if !matches!(zone.state.as_str(), "" | "running") {
        let says = format!("its zone is {}", zone.state);
        let start = format!("sdc-vmapi /vms/{}?action=start -X POST", one.uuid);
        found.push(
            Finding::wrong(&one.alias, says)
                .on(format!("VMAPI: zone {} is {}", one.uuid, zone.state))
                .mend(match zone.state.as_str() {
                    "stopped" => start,
                    _ => format!("sdc-vmapi /vms/{}", one.uuid),
                }),
        );
        return;
    }
    image(one, zone, found);
    match &one.agent {
        Look::Seen(agent) => {
            converged(one, agent, found);
            targets(one, agent, found);
            room(one, agent, found);
            certificates(one, agent, found);
            for (name, seen) in &agent.names {
                names(picture, one, name, seen, found);
            }
        }
        Look::Failed(why) => found.push(
            Finding::wrong(&one.alias, "its config-agent does not answer")
                .on(why)
                .mend(within(one, "svcs -xv config-agent")),
        ),
        Look::Unasked if one.zone.seen().is_some() => found.push(
            Finding::wrong(&one.alias, "has no address on the admin network")
                .on(format!("VMAPI: zone {} has no such NIC", one.uuid))
                .mend(made_by(one)),
        ),
        Look::Unasked => {}
    }
    if let Look::Failed(why) = &one.health
        && !all_daemons_run(one)
    {
        let says = format!("{} does not answer that it is well", one.service);
        found.push(
            Finding::wrong(&one.alias, says)
                .on(why)
                .mend(within(one, "config-agent status")),
        );
    }
    for (daemon, seen) in &one.uploads {
        uploads(picture.at, one, daemon, seen, found);
    }
}

/// Not every Thanos zone answers queries: there the agent's word is enough.
fn all_daemons_run(one: &Seen) -> bool {
    let daemons = one.agent.seen().map(|agent| &agent.daemons);
    one.service == "thanos"
        && daemons.is_some_and(|all| all.values().all(|up| *up))
}

fn image(one: &Seen, zone: &ZoneSeen, found: &mut Vec<Finding>) {
    let (Some(runs), Some(wanted)) =
        (zone.image.seen(), one.wanted_image.seen())
    else {
        return;
    };
    if runs.uuid == wanted.uuid || runs.published_at >= wanted.published_at {
        return;
    }
    found.push(
        Finding::wrong(&one.alias, "runs an image older than its service's")
            .on(format!("VMAPI: image {} {}", runs.name, runs.version))
            .on(format!("SAPI: image {} {}", wanted.name, wanted.version))
            .mend(match one.application.as_str() {
                "manta" => made_by(one),
                _ => format!("monadm update {}", one.service),
            }),
    );
}

/// Whether what SAPI asks for is in force and runs: all that the agent itself
/// counts as faults, in one finding.
fn converged(one: &Seen, agent: &AgentSeen, found: &mut Vec<Finding>) {
    let ills = ills(agent);
    if ills.is_empty() {
        return;
    }
    let says = match agent.revision_age_seconds {
        None => "has no configuration yet",
        Some(_) => "is not as SAPI wants it",
    };
    let mut finding = Finding::wrong(&one.alias, says);
    finding.evidence = ills;
    found.push(finding.mend(within(one, "config-agent status")));
}

/// Why an agent's zone is not as it should be.
pub fn ills(agent: &AgentSeen) -> Vec<String> {
    let mut ills = Vec::new();
    let files = agent.files_not_in_force.iter();
    ills.extend(files.map(|file| format!("{file} is not in force")));
    let down = agent.daemons.iter().filter(|(_, up)| !**up);
    ills.extend(down.map(|(daemon, _)| format!("{daemon} does not run")));
    let quiet = agent.sapi_age_seconds.is_some_and(|s| s > SAPI_QUIET);
    if quiet || (agent.sapi_age_seconds.is_none() && agent.sapi_failures > 10) {
        let polls = agent.sapi_failures;
        ills.push(format!("SAPI did not answer its last {polls} polls"));
    }
    if agent.discovery_up == Some(false) {
        ills.push(
            "CMON does not answer discovery, which Prometheus takes for no \
             targets"
                .to_owned(),
        );
    }
    ills.extend(agent.names.iter().filter_map(|(name, seen)| {
        let why = match seen {
            NamesSeen { serial: None, .. } => "it has no copy",
            NamesSeen { expired: true, .. } => "its copy has expired",
            NamesSeen { held_back: true, .. } => {
                "a much smaller version is not believed"
            }
            _ => return None,
        };
        Some(format!("DNS zone {name}: {why}"))
    }));
    let told = u64::try_from(ills.len()).unwrap_or(u64::MAX);
    if let Some(more @ 1..) = agent.faults.checked_sub(told) {
        ills.push(format!("config-agent counts {more} faults more"));
    }
    ills
}

/// CMON answers, and lists nothing: a group that no zone bears, or an account
/// without zones.
fn targets(one: &Seen, agent: &AgentSeen, found: &mut Vec<Finding>) {
    if agent.targets != Some(0) || agent.discovery_up != Some(true) {
        return;
    }
    let groups = match one.groups.is_empty() {
        true => "none: every zone of the account".to_owned(),
        false => one.groups.join(", "),
    };
    found.push(
        Finding::wrong(&one.alias, "CMON lists no zone for it to scrape")
            .on("its config-agent: discovery is answered, with 0 zones")
            .on(format!("SAPI: its groups are {groups}"))
            .mend("monadm shard status"),
    );
}

/// A tenth is what daemons need to compact: `DataFolderNearlyFull`.
fn room(one: &Seen, agent: &AgentSeen, found: &mut Vec<Finding>) {
    let (Some(size), Some(left)) =
        (agent.data_size_bytes, agent.data_available_bytes)
    else {
        return;
    };
    if left >= size / 10 {
        return;
    }
    let (size, left) = (size >> 20, left >> 20);
    found.push(
        Finding::wrong(&one.alias, "its data folder is nearly full")
            .on(format!("its config-agent: {left} MiB of {size} MiB are left"))
            .mend(within(one, "config-agent explain retention_size")),
    );
}

fn certificates(one: &Seen, agent: &AgentSeen, found: &mut Vec<Finding>) {
    for (file, left) in &agent.certificates {
        let limit = match file.as_str() {
            "cmon.crt" => CMON_CERTIFICATE,
            _ => CERTIFICATE,
        };
        if *left >= limit {
            continue;
        }
        let says = match left / DAY {
            _ if *left < 0 => format!("certificate {file} has ended"),
            days => format!("certificate {file} ends in {days} days"),
        };
        // certgen makes that of CMON's client alone.
        let mend = match file.contains("cmon") {
            true => "config-agent certgen",
            false => "config-agent status",
        };
        found.push(
            Finding::wrong(&one.alias, says)
                .on(format!("its config-agent: {left} s are left"))
                .mend(within(one, mend)),
        );
    }
}

/// A copy may be behind for a moment: CNS has just changed. What counts is
/// that it stays so, or is not confirmed.
fn names(
    picture: &Picture,
    one: &Seen,
    name: &str,
    seen: &NamesSeen,
    found: &mut Vec<Finding>,
) {
    let (Some(serial), Some(age), false) =
        (seen.serial, seen.age_seconds, seen.expired)
    else {
        return;
    };
    let behind = behind(picture, name, serial);
    let stale = age > NAMES_STALE;
    if !stale && (!behind || age <= NAMES_BEHIND) {
        return;
    }
    let mut finding =
        Finding::wrong(&one.alias, format!("its copy of {name} is old")).on(
            format!("its config-agent: serial {serial}, confirmed {age} s ago"),
        );
    finding.evidence.extend(
        serials(picture, name)
            .map(|(alias, serial)| format!("{alias}: serial {serial}")),
    );
    let refresh = match word(name) {
        Some(name) => format!("config-agent dns refresh {name}"),
        None => "config-agent dns".to_owned(),
    };
    found.push(finding.mend(within(one, &refresh)));
}

/// The serials that the instances of CNS have for a DNS zone.
pub fn serials<'a>(
    picture: &'a Picture,
    name: &'a str,
) -> impl Iterator<Item = (&'a str, u32)> {
    picture.cns.iter().filter_map(move |cns| {
        let serial = cns.zones.seen()?.get(name)?;
        Some((cns.alias.as_str(), (*serial)?))
    })
}

/// Whether a serial is older than that of every CNS. Theirs differ, as each
/// counts its own changes, and the copy may be of any.
pub fn behind(picture: &Picture, name: &str, serial: u32) -> bool {
    let mut others = serials(picture, name).peekable();
    // RFC 1982, section 3.2.
    let older = |other: u32| {
        let ahead = other.wrapping_sub(serial);
        ahead != 0 && ahead < 1 << 31
    };
    others.peek().is_some() && others.all(|(_, other)| older(other))
}

fn uploads(
    at: u64,
    one: &Seen,
    daemon: &str,
    seen: &Look<UploadsSeen>,
    found: &mut Vec<Finding>,
) {
    let seen = match seen {
        Look::Seen(seen) => seen,
        Look::Failed(why) => {
            let says = format!("{daemon} does not say how it fares");
            found.push(
                Finding::wrong(&one.alias, says)
                    .on(why)
                    .mend(within(one, "config-agent status")),
            );
            return;
        }
        Look::Unasked => return,
    };
    if seen.halted {
        let says = format!("{daemon} has halted: nothing is compacted");
        found.push(
            Finding::wrong(&one.alias, says)
                .on("thanos_compact_halted 1")
                .mend(within(one, "svcs -L thanos-compact")),
        );
    }
    if seen.prometheus_up == Some(false) {
        let says = format!("{daemon} does not reach its Prometheus");
        found.push(
            Finding::wrong(&one.alias, says)
                .on("thanos_sidecar_prometheus_up 0")
                .mend(within(one, "config-agent status")),
        );
    }
    // One without a bucket never uploads, nor does one that is young; a
    // compactor does when there is something to compact.
    let since = seen.last.or(seen.started.filter(|_| seen.failures > 0));
    let Some(since) = since.filter(|_| daemon != "thanos-compact") else {
        return;
    };
    let silent = at.saturating_sub(since);
    if silent > UPLOADS_STALLED {
        let says = format!("{daemon} uploaded nothing for {} h", silent / HOUR);
        found.push(
            Finding::wrong(&one.alias, says)
                .on(format!(
                    "{daemon}: {} uploads, {} failures since its start",
                    seen.uploads, seen.failures
                ))
                .mend(within(one, &format!("svcs -L {daemon}"))),
        );
    }
}
