// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! From a picture to what is wrong in it. Pure.
//!
//! The limits are those of the alerts in `templates/*/rules`, so that this
//! tool and the pager tell one story.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    AgentSeen, Finding, Look, NamesSeen, Picture, Seen, Shards, UploadsSeen,
    Verdict, Weight, ZoneSeen,
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
/// Shards further apart than this, as most over mean, are worth a look.
const IMBALANCE: f64 = 1.2;

impl Finding {
    /// To be mended.
    pub(super) fn wrong(about: &str, says: impl Into<String>) -> Self {
        Self {
            weight: Weight::Wrong,
            about: about.to_owned(),
            says: says.into(),
            evidence: Vec::new(),
            mend: None,
        }
    }

    /// Not looked at.
    pub(super) fn unseen(about: &str, says: impl Into<String>) -> Self {
        Self { weight: Weight::Unseen, ..Self::wrong(about, says) }
    }

    /// Good to know.
    pub(super) fn note(about: &str, says: impl Into<String>) -> Self {
        Self { weight: Weight::Note, ..Self::wrong(about, says) }
    }

    /// Looked at, and well.
    pub(super) fn well(about: &str, says: impl Into<String>) -> Self {
        Self { weight: Weight::Well, ..Self::wrong(about, says) }
    }

    /// What was answered.
    pub(super) fn on(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }

    /// What mends it.
    pub(super) fn mend(mut self, command: impl Into<String>) -> Self {
        self.mend = Some(command.into());
        self
    }
}

/// What is wrong, the heaviest first, and the verdict.
pub fn judge(picture: &Picture) -> (Verdict, Vec<Finding>) {
    let mut found = Vec::new();
    for one in &picture.instances {
        instance(picture, one, &mut found);
    }
    groups(picture, &mut found);
    for cns in &picture.cns {
        if let Look::Failed(why) = &cns.zones {
            let says = "CNS does not say which zones it serves";
            found.push(
                Finding::wrong(&cns.alias, says)
                    .on(why)
                    .mend("sdc-login cns svcs -xv"),
            );
        }
    }
    match &picture.shards {
        Look::Seen(seen) => shards(seen, &mut found),
        Look::Failed(why) => {
            found.push(Finding::unseen("shards", "not looked at").on(why))
        }
        Look::Unasked => {}
    }
    for missed in &picture.missed {
        found.push(
            Finding::unseen(&missed.what, "not looked at").on(&missed.why),
        );
    }
    unseen(picture, &mut found);
    if !found.iter().any(|one| one.weight == Weight::Unseen)
        && !picture.instances.iter().any(|one| one.service == "prometheus")
    {
        found.push(
            Finding::wrong("prometheus", "nothing monitors this datacenter")
                .on("SAPI lists no instance of service prometheus")
                .mend("monadm post-setup prometheus"),
        );
    }
    found.sort_by_key(|one| one.weight);
    (Verdict::of(&found), found)
}

/// A command in an instance's zone, from the headnode.
pub(super) fn within(one: &Seen, command: &str) -> String {
    let zlogin = format!("zlogin {} {command}", one.uuid);
    let zone = one.zone.seen().and_then(Option::as_ref);
    match zone.map(|zone| (&zone.hostname, zone.server)) {
        Some((name, _)) if !name.is_empty() => {
            format!("sdc-oneachnode -n {name} '{zlogin}'")
        }
        Some((_, Some(server))) => {
            format!("sdc-oneachnode -n {server} '{zlogin}'")
        }
        _ => zlogin,
    }
}

fn instance(picture: &Picture, one: &Seen, found: &mut Vec<Finding>) {
    let zone = match &one.zone {
        Look::Seen(Some(zone)) => zone,
        Look::Seen(None) => {
            found.push(
                Finding::wrong(&one.alias, "has no zone")
                    .on(format!(
                        "SAPI lists instance {}; VMAPI has no such zone",
                        one.uuid
                    ))
                    .mend(format!("monadm post-setup {}", one.service)),
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
                .mend(format!("monadm post-setup {}", one.service)),
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
            .mend(format!("monadm update {}", one.service)),
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
        found.push(
            Finding::wrong(&one.alias, says)
                .on(format!("its config-agent: {left} s are left"))
                .mend(within(one, "config-agent certgen")),
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
    if !stale && !(behind && age > NAMES_BEHIND) {
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
    let refresh = format!("config-agent dns refresh {name}");
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

/// Instances that stand in for each other.
pub(super) fn together(
    picture: &Picture,
) -> BTreeMap<(&str, &str, Option<&str>), Vec<&Seen>> {
    let mut all: BTreeMap<_, Vec<&Seen>> = BTreeMap::new();
    for one in &picture.instances {
        let group = one.groups.first().map(String::as_str);
        let group = group.filter(|_| one.service == "prometheus");
        let key = (one.application.as_str(), one.service.as_str(), group);
        all.entry(key).or_default().push(one);
    }
    all
}

/// Pairs: two, on two servers.
fn groups(picture: &Picture, found: &mut Vec<Finding>) {
    for ((_, service, group), members) in together(picture) {
        let name = group.unwrap_or(service);
        let zones = members.iter();
        let zones: Vec<&ZoneSeen> =
            zones.filter_map(|one| one.zone.seen()?.as_ref()).collect();
        let servers: BTreeSet<_> =
            zones.iter().filter_map(|zone| zone.server).collect();
        if zones.len() > 1 && zones.len() == members.len() && servers.len() == 1
        {
            let aliases: Vec<&str> =
                members.iter().map(|one| one.alias.as_str()).collect();
            found.push(
                Finding::wrong(name, "one server takes all of it down")
                    .on(format!(
                        "{} are on server {}",
                        aliases.join(" and "),
                        zones[0].hostname
                    ))
                    .mend(format!("monadm post-setup {service} --servers ...")),
            );
        }
        if service == "prometheus" && members.len() == 1 {
            let one = &members[0].alias;
            let says =
                format!("{one} has no partner: no samples while it is away");
            found.push(
                Finding::note(name, says)
                    .mend(format!("monadm post-setup {service} --replicas 2")),
            );
        }
    }
}

fn shards(seen: &Shards, found: &mut Vec<Finding>) {
    if seen.shards.is_empty() {
        return;
    }
    let mut wrong = |count: usize, says: String, mend: &str| {
        if count > 0 {
            let finding = Finding::wrong("shards", says);
            found.push(finding.mend(mend));
        }
    };
    let nobody = seen.scraped_by_nobody;
    wrong(
        nobody,
        format!("{nobody} zones are scraped by nobody"),
        "monadm shard apply --extent assign",
    );
    let twice = seen.scraped_twice;
    wrong(
        twice,
        format!("{twice} zones are scraped by more than one shard"),
        "monadm shard apply --extent assign",
    );
    let ungrouped = seen.ungrouped;
    wrong(
        ungrouped,
        format!("{ungrouped} prometheus without a group scrape everything"),
        "monadm shard status",
    );
    for (group, zones) in &seen.without_pair {
        let says = format!("{zones} zones bear {group}, which nobody scrapes");
        found.push(
            Finding::wrong("shards", says)
                .on(format!("no prometheus has {group} in metadata groups"))
                .mend("monadm shard apply"),
        );
    }
    let loads = seen.shards.values().map(|shard| shard.zones);
    let (least, most) = (loads.clone().min(), loads.max());
    let (least, most) = (least.unwrap_or(0), most.unwrap_or(0));
    if seen.imbalance > IMBALANCE && most - least > 1 {
        found.push(
            Finding::wrong("shards", "loads are far apart")
                .on(format!("the least has {least} zones, the most {most}"))
                .mend("monadm shard plan"),
        );
    }
}

/// What was not looked at, once for each API.
fn unseen(picture: &Picture, found: &mut Vec<Finding>) {
    let mut say = |about: &str, all: Vec<(&str, &str)>| {
        let [(first, why), rest @ ..] = &all[..] else { return };
        let says = match rest.len() {
            0 => format!("of {first} not looked at"),
            more => format!("of {first} and {more} more not looked at"),
        };
        found.push(Finding::unseen(about, says).on(*why));
    };
    let of = |look: fn(&Seen) -> Option<&str>| {
        let all = picture.instances.iter();
        all.filter_map(|one| Some((one.alias.as_str(), look(one)?))).collect()
    };
    say("zone (VMAPI)", of(|one| one.zone.failure()));
    say(
        "image (IMGAPI)",
        of(|one| {
            let zone = one.zone.seen().and_then(Option::as_ref);
            let own = zone.and_then(|zone| zone.image.failure());
            own.or(one.wanted_image.failure())
        }),
    );
}
