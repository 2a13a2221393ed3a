// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! From a picture to what is wrong in it. Pure.
//!
//! The limits are those of the alerts in `templates/*/rules`, so that this
//! tool and the pager tell one story.

mod instance;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Look, Picture, Seen, Shards, Verdict, Weight, ZoneSeen};

pub use self::instance::{behind, ills, serials};

/// Shards further apart than this, as most over mean, are worth a look.
const IMBALANCE: f64 = 1.2;

/// Seconds in which each agent has asked SAPI without an ETag: twice
/// `fullPollInterval`.
const SETTLED: u64 = 600;

/// What is wrong, the heaviest first, and the verdict.
pub fn judge(picture: &Picture) -> (Verdict, Vec<Finding>) {
    let mut found = Vec::new();
    for one in &picture.instances {
        instance::instance(picture, one, &mut found);
    }
    groups(picture, &mut found);
    revisions(picture, &mut found);
    for cns in &picture.cns {
        let says = "CNS does not say which zones it serves";
        match &cns.zones {
            Look::Seen(_) => {}
            Look::Failed(why) => found.push(
                Finding::wrong(&cns.alias, says)
                    .on(why)
                    .mend("sdc-login cns svcs -xv"),
            ),
            Look::Unasked => found.push(
                Finding::unseen(&cns.alias, says)
                    .on("its admin address is not known"),
            ),
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

/// The command that makes what an instance lacks.
fn made_by(one: &Seen) -> String {
    match one.application.as_str() {
        "manta" => format!("manta-adm update FILE {}", one.service),
        _ => format!("monadm post-setup {}", one.service),
    }
}

/// A command in an instance's zone, from the headnode.
pub(super) fn within(one: &Seen, command: &str) -> String {
    let zlogin = format!("zlogin {} {command}", one.uuid);
    let zone = one.zone.seen().and_then(Option::as_ref);
    match zone.and_then(node) {
        Some(node) => format!("sdc-oneachnode -n {node} '{zlogin}'"),
        None => zlogin,
    }
}

/// A zone's server, as sdc-oneachnode takes it.
pub(super) fn node(zone: &ZoneSeen) -> Option<String> {
    let name = word(&zone.hostname).map(str::to_owned);
    name.or_else(|| zone.server.map(|server| server.to_string()))
}

/// Text of others that may stand in a command that somebody copies into a
/// shell: a word, and no option.
pub(super) fn word(text: &str) -> Option<&str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let good =
        !text.is_empty() && !text.starts_with('-') && text.bytes().all(plain);
    good.then_some(text)
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
    for ((application, service, group), members) in together(picture) {
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
                    .mend(match application {
                        "manta" => made_by(members[0]),
                        // None of these is moved, nor taken away.
                        _ => format!(
                            "monadm post-setup {service} --replicas {} \
                             --servers ...",
                            members.len() + 1
                        ),
                    }),
            );
        }
        if service == "prometheus" && members.len() == 1 {
            let one = members[0];
            let says = format!(
                "{} has no partner: no samples while it is away",
                one.alias
            );
            let mend = match application {
                "manta" => made_by(one),
                _ => format!("monadm post-setup {service} --replicas 2"),
            };
            found.push(Finding::note(name, says).mend(mend));
        }
    }
}

/// Who does the same work by different configurations, for longer than agents
/// need to ask SAPI again: good to know, as instances may have metadata of
/// their own.
fn revisions(picture: &Picture, found: &mut Vec<Finding>) {
    type Member<'a> = (&'a Seen, &'a str, u64);
    for ((_, service, group), members) in together(picture) {
        let mut alike: BTreeMap<Vec<&str>, Vec<Member<'_>>> = BTreeMap::new();
        for one in members {
            let Some(agent) = one.agent.seen() else { continue };
            let (Some(shared), Some(age), true) = (
                agent.shared_revision.as_deref(),
                agent.revision_age_seconds,
                ills(agent).is_empty(),
            ) else {
                continue;
            };
            // Components of Thanos have configurations of their own.
            let work = agent.daemons.keys().map(String::as_str).collect();
            alike.entry(work).or_default().push((one, shared, age));
        }
        for members in alike.values() {
            let revisions: BTreeSet<&str> =
                members.iter().map(|(_, shared, _)| *shared).collect();
            let settled = members.iter().all(|(.., age)| *age > SETTLED);
            if revisions.len() < 2 || !settled {
                continue;
            }
            let says = "their configurations differ; right where SAPI has \
                        metadata of an instance's own";
            let mut finding = Finding::note(group.unwrap_or(service), says);
            for (one, shared, age) in members {
                finding = finding.on(format!(
                    "{}: shared revision {shared:.12}, for {} min",
                    one.alias,
                    age / 60
                ));
            }
            let one = members[0].0.uuid;
            found.push(finding.mend(format!("sdc-sapi /instances/{one}")));
        }
    }
}

fn shards(seen: &Shards, found: &mut Vec<Finding>) {
    if seen.shards.is_empty() {
        return;
    }
    let verb = |verb: &str| format!("monadm shard {verb}{}", seen.asked);
    let mut wrong = |count: usize, says: String, mend: String| {
        if count > 0 {
            let finding = Finding::wrong("shards", says);
            found.push(finding.mend(mend));
        }
    };
    let nobody = seen.scraped_by_nobody;
    wrong(
        nobody,
        format!("{nobody} zones are scraped by nobody"),
        verb("apply --extent assign"),
    );
    let twice = seen.scraped_twice;
    wrong(
        twice,
        format!("{twice} zones are scraped by more than one shard"),
        verb("apply --extent assign"),
    );
    let ungrouped = seen.ungrouped;
    wrong(
        ungrouped,
        format!("{ungrouped} prometheus without a group scrape everything"),
        verb("status"),
    );
    for (group, zones) in &seen.without_pair {
        let says = format!("{zones} zones bear {group}, which nobody scrapes");
        found.push(
            Finding::wrong("shards", says)
                .on(format!("no prometheus has {group} in metadata groups"))
                .mend(verb("apply --extent assign")),
        );
    }
    let loads = seen.shards.values().map(|shard| shard.zones);
    let (least, most) = (loads.clone().min(), loads.max());
    let (least, most) = (least.unwrap_or(0), most.unwrap_or(0));
    if seen.imbalance > IMBALANCE && most - least > 1 {
        found.push(
            Finding::wrong("shards", "loads are far apart")
                .on(format!("the least has {least} zones, the most {most}"))
                .mend(verb("plan")),
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
