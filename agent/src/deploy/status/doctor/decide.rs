// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! From a closer look to findings, also of what is well. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Allowed, Closer, name_of};
use crate::deploy::setup::transfer::holds;
use crate::deploy::status::judge::{node, together, within};
use crate::deploy::status::{Finding, Look, Picture, Seen};
use crate::triton::cns::AllowedPeer;

/// A clock further off than this is wrong; seconds. What is compared is exact
/// to one or two.
const CLOCK: i64 = 5;
/// The quota that every package of Triton's has, GiB: small for metrics.
const SMALL_QUOTA: u64 = 25;

/// What follows from a closer look.
pub fn decide(picture: &Picture, closer: &Closer) -> Vec<Finding> {
    let mut found = Vec::new();
    apis(closer, &mut found);
    cns(picture, closer, &mut found);
    cmon(closer, &mut found);
    binder(picture, closer, &mut found);
    firewall(picture, closer, &mut found);
    clocks(picture, &mut found);
    quotas(picture, &mut found);
    labels(picture, closer, &mut found);
    compactors(picture, &mut found);
    found.sort_by_key(|one| one.weight);
    found
}

fn apis(closer: &Closer, found: &mut Vec<Finding>) {
    let mut well = Vec::new();
    for (api, seen) in &closer.apis {
        let why = match seen {
            Look::Seen(true) => {
                well.push(*api);
                continue;
            }
            Look::Seen(false) => "GET /ping: it says that it is not".to_owned(),
            Look::Failed(why) => why.clone(),
            Look::Unasked => continue,
        };
        found.push(
            Finding::wrong(api, "is not well").on(why).mend("sdcadm health"),
        );
    }
    if !well.is_empty() {
        found.push(Finding::well(
            "Triton's APIs",
            format!("{} answer that they are well", well.join(", ")),
        ));
    }
    if closer.sapi_full == Look::Seen(false) {
        found.push(
            Finding::wrong("SAPI", "is in proto mode: it makes no zones")
                .on("GET /ping: mode proto")
                .mend("sdc-sapi /mode?mode=full -X POST"),
        );
    }
}

/// Each instance that replicates must be let transfer by each CNS.
fn cns(picture: &Picture, closer: &Closer, found: &mut Vec<Finding>) {
    if picture.cns.is_empty() {
        found.push(
            Finding::wrong("CNS", "is not there")
                .on("SAPI lists no instance of service cns")
                .mend("sdcadm post-setup cns"),
        );
    }
    let secondaries = picture.instances.iter().filter(|one| {
        let agent = one.agent.seen();
        one.service == "prometheus"
            || agent.is_some_and(|agent| !agent.names.is_empty())
    });
    let secondaries: Vec<(&Seen, IpAddr)> =
        secondaries.filter_map(|one| Some((one, one.address?))).collect();
    for (alias, allowed) in &closer.allowed {
        let allowed = match allowed {
            Look::Seen(allowed) => allowed,
            Look::Failed(why) => {
                let says = "whom it lets transfer was not looked at";
                found.push(Finding::unseen(alias, says).on(why));
                continue;
            }
            Look::Unasked => {
                let says = "whom it lets transfer was not looked at";
                let why = "its admin address is not known";
                found.push(Finding::unseen(alias, says).on(why));
                continue;
            }
        };
        let lets = |ip: IpAddr| {
            allowed.iter().any(|Allowed { address, mask }| {
                AllowedPeer { address: *address, mask: *mask }.holds(ip)
            })
        };
        let (in_, out): (Vec<_>, Vec<_>) =
            secondaries.iter().partition(|(_, ip)| lets(*ip));
        for (one, ip) in out {
            // Of Manta's too: manta-adm tells CNS nothing.
            let again = "monadm post-setup prometheus".to_owned();
            let (sapi, mend) = match &closer.allow_transfer {
                Look::Seen(entries) if holds(entries, ip) => (
                    "SAPI has it: CNS has not taken it in".to_owned(),
                    "sdc-login cns svcadm restart cns".to_owned(),
                ),
                Look::Seen(_) | Look::Unasked => (
                    "metadata allow_transfer of service cns in SAPI lacks it"
                        .to_owned(),
                    again,
                ),
                Look::Failed(why) => {
                    (format!("what SAPI has is not known: {why}"), again)
                }
            };
            let says = format!("{alias} does not let it transfer names");
            found.push(
                Finding::wrong(&one.alias, says)
                    .on(format!("GET /allowed-peers of {alias}: lacks {ip}"))
                    .on(sapi)
                    .mend(mend),
            );
        }
        if !in_.is_empty() {
            let aliases: Vec<&str> =
                in_.iter().map(|(one, _)| one.alias.as_str()).collect();
            found.push(Finding::well(
                alias,
                format!("lets transfer names: {}", aliases.join(", ")),
            ));
        }
    }
}

/// That CNS names CMON shows that the admin account is known to it.
fn cmon(closer: &Closer, found: &mut Vec<Finding>) {
    let all = match &closer.cmon {
        Look::Seen(all) => all,
        Look::Failed(why) => {
            found.push(Finding::unseen("CMON", "not looked at").on(why));
            return;
        }
        Look::Unasked => return,
    };
    if all.is_empty() {
        found.push(
            Finding::wrong("CMON", "is not there")
                .on("SAPI lists no instance of service cmon")
                .mend("sdcadm post-setup cmon"),
        );
    }
    for one in all {
        match (&one.ping, one.address) {
            (Look::Seen(()), Some(ip)) => found.push(Finding::well(
                "CMON",
                format!("answers at {ip}; that it takes our certificates, only the agents can tell"),
            )),
            (Look::Failed(why), _) => found.push(
                Finding::wrong("CMON", "does not answer")
                    .on(why)
                    .mend("sdc-login cmon svcs -xv"),
            ),
            _ => found.push(
                Finding::unseen("CMON", "was not asked")
                    .on("its admin address is not known"),
            ),
        }
        match &one.names {
            Look::Seen(names) => found.push(match names.first() {
                Some(name) => Finding::well(
                    "CNS",
                    format!("knows the admin account: it has {name}"),
                ),
                None => Finding::wrong(
                    "CNS",
                    "has no name for CMON: is CNS enabled for the account?",
                )
                .on(format!("GET /vm/{}: no names", one.uuid))
                .mend("sdc-useradm replace-attr admin triton_cns_enabled true"),
            }),
            Look::Failed(why) => found.push(
                Finding::wrong("CNS", "does not say how CMON is called")
                    .on(why)
                    .mend("sdc-useradm get admin"),
            ),
            Look::Unasked => {}
        }
    }
}

fn binder(picture: &Picture, closer: &Closer, found: &mut Vec<Finding>) {
    let all = match &closer.binder {
        Look::Seen(all) => all,
        Look::Failed(why) => {
            found.push(Finding::unseen("binder", "not looked at").on(why));
            return;
        }
        Look::Unasked => return,
    };
    let mut wanted: BTreeMap<String, Vec<(&Seen, IpAddr)>> = BTreeMap::new();
    for one in &picture.instances {
        if let (Some(name), Some(ip)) = (name_of(picture, one), one.address) {
            wanted.entry(name).or_default().push((one, ip));
        }
    }
    for (address, names) in all {
        for (name, seen) in names {
            let seen = match seen {
                Look::Seen(seen) => seen,
                Look::Failed(why) => {
                    let about = format!("binder {address}");
                    let says = format!("does not answer for {name}");
                    found.push(
                        Finding::wrong(&about, says)
                            .on(why)
                            .mend("sdc-login binder svcs -xv"),
                    );
                    continue;
                }
                Look::Unasked => continue,
            };
            let all = wanted.get(name).map_or(&[][..], Vec::as_slice);
            let lacks = all.iter().filter(|(_, ip)| !seen.contains(ip));
            let mut whole = true;
            for (one, ip) in lacks {
                whole = false;
                let shown: Vec<String> =
                    seen.iter().map(ToString::to_string).collect();
                let says = format!("is not found under {name}");
                found.push(
                    Finding::wrong(&one.alias, says)
                        .on(format!(
                            "binder {address}: {}, and not {ip}",
                            shown.join(" ")
                        ))
                        .mend(within(one, "svcs -xv registrar")),
                );
            }
            if whole && !all.is_empty() {
                found.push(Finding::well(
                    &format!("binder {address}"),
                    format!("{name} leads to all {} instances", all.len()),
                ));
            }
        }
    }
}

/// Triton's own rule lets the admin network in. Only where somebody is silent
/// does it matter that there is none.
fn firewall(picture: &Picture, closer: &Closer, found: &mut Vec<Finding>) {
    let rules = match &closer.rules {
        Look::Seen(rules) => rules,
        Look::Failed(why) => {
            found.push(
                Finding::unseen("firewall (FWAPI)", "not looked at").on(why),
            );
            return;
        }
        Look::Unasked => return,
    };
    let open = rules.iter().find(|rule| {
        rule.contains("ALLOW tcp PORT all") && rule.contains("smartdc_role")
    });
    let silent = |application: &'static str| {
        let all = picture.instances.iter();
        let mut all = all.filter(move |one| one.application == application);
        all.find(|one| one.agent.failure().is_some())
    };
    match (open, silent("sdc")) {
        (Some(rule), _) => {
            found.push(
                Finding::well("firewall", "lets the admin network in").on(rule),
            );
        }
        (None, Some(one)) => found.push(
            Finding::wrong(
                &one.alias,
                "is silent, and no firewall rule lets the admin network in",
            )
            .on("FWAPI: no enabled rule TO tag smartdc_role ALLOW tcp PORT all")
            .mend("monadm post-setup prometheus"),
        ),
        (None, None) => {}
    }
    if let Some(one) = silent("manta") {
        found.push(
            Finding::note(
                &one.alias,
                "is silent; Triton's firewall rules do not hold for Manta's \
                 zones, whose own were not looked at",
            )
            .mend("sdc-fwapi /rules?tag=manta_role"),
        );
    }
}

fn clocks(picture: &Picture, found: &mut Vec<Finding>) {
    let mut seen = 0;
    for one in &picture.instances {
        let agent = one.agent.seen();
        let Some(ahead) = agent.and_then(|agent| agent.clock_ahead_seconds)
        else {
            continue;
        };
        seen += 1;
        if ahead.abs() <= CLOCK {
            continue;
        }
        let way = if ahead > 0 { "ahead of" } else { "behind" };
        let off = ahead.unsigned_abs();
        let says = format!("its clock is {off} s {way} the headnode's");
        let zone = one.zone.seen().and_then(Option::as_ref);
        let finding = Finding::wrong(&one.alias, says).on(
            "header Date of its config-agent; CMON refuses certificates that \
             are not valid yet",
        );
        found.push(match zone.and_then(node) {
            Some(node) => {
                finding.mend(format!("sdc-oneachnode -n {node} 'ntpq -p'"))
            }
            None => finding,
        });
    }
    if seen > 0 && !found.iter().any(|one| one.says.starts_with("its clock")) {
        let says = format!("{seen} agree with the headnode's to {CLOCK} s");
        found.push(Finding::well("clocks", says));
    }
}

fn quotas(picture: &Picture, found: &mut Vec<Finding>) {
    for one in &picture.instances {
        let zone = one.zone.seen().and_then(Option::as_ref);
        let quota = zone.map_or(0, |zone| zone.quota_gib);
        let keeps = matches!(one.service.as_str(), "prometheus" | "thanos");
        if keeps && (1..=SMALL_QUOTA).contains(&quota) {
            found.push(
                Finding::note(
                    &one.alias,
                    format!("its quota of {quota} GiB is small for metrics"),
                )
                .on("every sdc_ package has the same 25 GiB")
                .mend(format!(
                    "sdc-vmapi /vms/{}?action=update -X POST -d '{{\"quota\":100}}'",
                    one.uuid
                )),
            );
        }
    }
}

/// Members of a pair differ in label `replica` and in nothing else.
fn labels(picture: &Picture, closer: &Closer, found: &mut Vec<Finding>) {
    for (uuid, seen) in &closer.labels {
        if let Look::Failed(why) = seen {
            let one = picture.instances.iter().find(|one| one.uuid == *uuid);
            let alias = one.map_or("prometheus", |one| one.alias.as_str());
            let says = "its labels were not looked at";
            found.push(Finding::unseen(alias, says).on(why));
        }
    }
    for ((_, service, group), members) in together(picture) {
        if service != "prometheus" {
            continue;
        }
        let mut all: Vec<(&str, &BTreeMap<String, String>)> = Vec::new();
        for one in members {
            let seen = closer.labels.get(&one.uuid).and_then(Look::seen);
            all.extend(seen.map(|labels| (one.alias.as_str(), labels)));
        }
        let [(first, wanted), rest @ ..] = &all[..] else { continue };
        if rest.is_empty() {
            continue;
        }
        let name = group.unwrap_or(service);
        let shared = |labels: &BTreeMap<String, String>| {
            let mut labels = labels.clone();
            labels.remove("replica");
            labels
        };
        let shown = |labels: &BTreeMap<String, String>| {
            let all = labels.iter().map(|(k, v)| format!("{k}={v}"));
            all.collect::<Vec<_>>().join(" ")
        };
        let evidence = || {
            all.iter().map(|(alias, labels)| {
                format!("external labels of {alias}: {}", shown(labels))
            })
        };
        let mut well = true;
        if rest.iter().any(|(_, labels)| shared(labels) != shared(wanted)) {
            well = false;
            let mut finding = Finding::wrong(
                name,
                "its members are no pair to Thanos: they differ in more than \
                 label replica",
            );
            finding.evidence.extend(evidence());
            found.push(finding.mend("config-agent explain shard"));
        }
        let replicas: BTreeSet<Option<&String>> =
            all.iter().map(|(_, labels)| labels.get("replica")).collect();
        if replicas.len() < all.len() || replicas.contains(&None) {
            well = false;
            let mut finding = Finding::wrong(
                name,
                "its members do not differ in label replica",
            );
            finding.evidence.extend(evidence());
            found.push(finding.mend("config-agent explain replica"));
        }
        if well {
            let says = format!(
                "{first} and {} more differ in label replica alone",
                rest.len()
            );
            found.push(Finding::well(name, says));
        }
    }
}

/// Two at work on one bucket spoil it.
fn compactors(picture: &Picture, found: &mut Vec<Finding>) {
    let mut all: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    for one in &picture.instances {
        let daemons = one.agent.seen().map(|agent| &agent.daemons);
        if daemons.is_some_and(|all| all.contains_key("thanos-compact")) {
            let bucket = one.bucket.as_deref().unwrap_or_default();
            all.entry(bucket).or_default().push(one);
        }
    }
    for (bucket, compactors) in all {
        let aliases: Vec<&str> =
            compactors.iter().map(|one| one.alias.as_str()).collect();
        match &compactors[..] {
            [] => {}
            [one] => found.push(Finding::well(
                &one.alias,
                format!("is the only compactor here of bucket {bucket}"),
            )),
            [_, second, ..] => found.push(
                Finding::wrong("bucket", "has more than one compactor")
                    .on(format!("{} compact {bucket}", aliases.join(" and ")))
                    .mend(within(
                        second,
                        "config-agent explain thanos_components",
                    )),
            ),
        }
    }
}
