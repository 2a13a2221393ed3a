// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

use super::*;
use crate::deploy::status::example::{NAME, NOW, SERIAL, image, picture};
use crate::deploy::status::{Missed, UploadsSeen};

/// What spoils a picture; whom the finding is about, what it says, on what
/// grounds, and what mends it.
type Case =
    (fn(&mut Picture), &'static str, &'static str, &'static str, &'static str);

const ZLOGIN: &str =
    "sdc-oneachnode -n cn1 'zlogin d0000000-0000-0000-0000-000000000000 ";

#[test]
fn nothing_is_wrong_where_nothing_is() {
    assert_eq!(judge(&picture()), (Verdict::Well, Vec::new()));
}

fn sidecar(picture: &mut Picture) -> &mut UploadsSeen {
    match picture.instances[0].uploads.get_mut("thanos-sidecar") {
        Some(Look::Seen(seen)) => seen,
        other => panic!("{other:?}"),
    }
}

fn name(picture: &mut Picture) -> &mut crate::deploy::status::NamesSeen {
    picture.instances[0].agent_mut().names.get_mut(NAME).unwrap()
}

fn seen_shards(picture: &mut Picture) -> &mut Shards {
    match &mut picture.shards {
        Look::Seen(shards) => shards,
        other => panic!("{other:?}"),
    }
}

const CASES: &[Case] = &[
    (
        |p| p.instances[0].zone = Look::Seen(None),
        "prometheus0",
        "has no zone",
        "VMAPI has no such zone",
        "monadm post-setup prometheus",
    ),
    (
        |p| p.instances[0].running_zone().state = "stopped".into(),
        "prometheus0",
        "its zone is stopped",
        "is stopped",
        "?action=start",
    ),
    (
        |p| p.instances[0].running_zone().state = "failed".into(),
        "prometheus0",
        "its zone is failed",
        "is failed",
        "sdc-vmapi /vms/d0000000",
    ),
    (
        |p| p.instances[0].running_zone().server_status = "unknown".into(),
        "prometheus0",
        "its server is not up",
        "server cn1 is unknown",
        "sdc-server list",
    ),
    (
        |p| p.instances[0].agent = Look::Failed("refused".into()),
        "prometheus0",
        "config-agent does not answer",
        "refused",
        "svcs -xv config-agent",
    ),
    (
        |p| p.instances[0].agent = Look::Unasked,
        "prometheus0",
        "has no address",
        "no such NIC",
        "monadm post-setup prometheus",
    ),
    (
        |p| p.instances[0].health = Look::Failed("503".into()),
        "prometheus0",
        "prometheus does not answer that it is well",
        "503",
        "config-agent status",
    ),
    (
        |p| p.instances[0].running_zone().image = Look::Seen(image("p", 4)),
        "prometheus0",
        "older than its service's",
        "main-20300104",
        "monadm update prometheus",
    ),
    (
        |p| {
            let agent = p.instances[0].agent_mut();
            agent.files_not_in_force = vec!["prometheus.yml".into()];
            agent.faults = 1;
        },
        "prometheus0",
        "is not as SAPI wants it",
        "prometheus.yml is not in force",
        ZLOGIN,
    ),
    (
        |p| {
            let agent = p.instances[0].agent_mut();
            agent.daemons.insert("thanos-sidecar".into(), false);
        },
        "prometheus0",
        "is not as SAPI wants it",
        "thanos-sidecar does not run",
        "config-agent status",
    ),
    (
        |p| p.instances[0].agent_mut().faults = 2,
        "prometheus0",
        "is not as SAPI wants it",
        "counts 2 faults more",
        "config-agent status",
    ),
    (
        |p| p.instances[0].agent_mut().sapi_age_seconds = Some(1801),
        "prometheus0",
        "is not as SAPI wants it",
        "SAPI did not answer",
        "config-agent status",
    ),
    (
        |p| {
            let agent = p.instances[0].agent_mut();
            agent.sapi_age_seconds = None;
            agent.sapi_failures = 11;
            agent.revision_age_seconds = None;
        },
        "prometheus0",
        "has no configuration yet",
        "its last 11 polls",
        "config-agent status",
    ),
    (
        |p| p.instances[0].agent_mut().discovery_up = Some(false),
        "prometheus0",
        "is not as SAPI wants it",
        "which Prometheus takes for no targets",
        "config-agent status",
    ),
    (
        |p| p.instances[0].agent_mut().targets = Some(0),
        "prometheus0",
        "CMON lists no zone for it",
        "with 0 zones",
        "monadm shard status",
    ),
    (
        |p| p.instances[0].agent_mut().data_available_bytes = Some(9 << 30),
        "prometheus0",
        "data folder is nearly full",
        "9216 MiB of 102400 MiB",
        "retention_size",
    ),
    (
        |p| {
            let left = 30 * 86_400 - 1;
            let agent = p.instances[0].agent_mut();
            agent.certificates.insert("cmon.crt".into(), left);
        },
        "prometheus0",
        "cmon.crt ends in 29 days",
        "s are left",
        "config-agent certgen",
    ),
    (
        |p| {
            let agent = p.instances[3].agent_mut();
            agent.certificates.insert("server.crt".into(), -5);
        },
        "grafana0",
        "server.crt has ended",
        "-5 s are left",
        "config-agent status",
    ),
    (
        |p| name(p).serial = None,
        "prometheus0",
        "is not as SAPI wants it",
        "it has no copy",
        "config-agent status",
    ),
    (
        |p| name(p).expired = true,
        "prometheus0",
        "is not as SAPI wants it",
        "has expired",
        "config-agent status",
    ),
    (
        |p| name(p).held_back = true,
        "prometheus0",
        "is not as SAPI wants it",
        "is not believed",
        "config-agent status",
    ),
    (
        |p| name(p).age_seconds = Some(601),
        "prometheus0",
        "copy of dc1.cns.triton.test is old",
        "confirmed 601 s ago",
        "config-agent dns refresh dc1.cns.triton.test",
    ),
    (
        |p| {
            *name(p) = crate::deploy::status::NamesSeen {
                serial: Some(SERIAL - 1),
                age_seconds: Some(121),
                ..Default::default()
            };
        },
        "prometheus0",
        "copy of dc1.cns.triton.test is old",
        "cns0: serial 407825025",
        "config-agent dns refresh",
    ),
    (
        |p| sidecar(p).last = Some(NOW - 5 * 3600 - 1),
        "prometheus0",
        "thanos-sidecar uploaded nothing for 5 h",
        "125 uploads",
        "svcs -L thanos-sidecar",
    ),
    (
        |p| {
            let seen = sidecar(p);
            (seen.last, seen.failures) = (None, 3);
        },
        "prometheus0",
        "thanos-sidecar uploaded nothing for 250 h",
        "3 failures",
        "svcs -L thanos-sidecar",
    ),
    (
        |p| sidecar(p).prometheus_up = Some(false),
        "prometheus0",
        "does not reach its Prometheus",
        "thanos_sidecar_prometheus_up 0",
        "config-agent status",
    ),
    (
        |p| {
            let halted = UploadsSeen { halted: true, ..Default::default() };
            let halted = Look::Seen(halted);
            p.instances[2].uploads.insert("thanos-compact".into(), halted);
        },
        "thanos0",
        "thanos-compact has halted",
        "thanos_compact_halted 1",
        "svcs -L thanos-compact",
    ),
    (
        |p| {
            let failed = Look::Failed("refused".into());
            p.instances[0].uploads.insert("thanos-sidecar".into(), failed);
        },
        "prometheus0",
        "thanos-sidecar does not say how it fares",
        "refused",
        "config-agent status",
    ),
    (
        |p| {
            let server = p.instances[0].running_zone().server;
            p.instances[1].running_zone().server = server;
        },
        "shard-0",
        "one server takes all of it down",
        "prometheus0 and prometheus1 are on server cn1",
        "monadm post-setup prometheus",
    ),
    (
        |p| p.cns[0].zones = Look::Failed("silent".into()),
        "cns0",
        "does not say which zones it serves",
        "silent",
        "sdc-login cns",
    ),
    (
        |p| seen_shards(p).scraped_by_nobody = 3,
        "shards",
        "3 zones are scraped by nobody",
        "",
        "monadm shard apply",
    ),
    (
        |p| seen_shards(p).scraped_twice = 2,
        "shards",
        "2 zones are scraped by more than one",
        "",
        "monadm shard apply",
    ),
    (
        |p| seen_shards(p).ungrouped = 1,
        "shards",
        "1 prometheus without a group",
        "",
        "monadm shard status",
    ),
    (
        |p| {
            let gone = &mut seen_shards(p).without_pair;
            gone.insert("shard-9".into(), 4);
        },
        "shards",
        "4 zones bear shard-9",
        "no prometheus has shard-9",
        "monadm shard apply",
    ),
    (
        |p| {
            let seen = seen_shards(p);
            seen.shards.insert("shard-1".into(), Default::default());
            seen.imbalance = 2.0;
        },
        "shards",
        "loads are far apart",
        "the least has 0 zones, the most 120",
        "monadm shard plan",
    ),
    (
        |p| p.instances.retain(|one| one.service != "prometheus"),
        "prometheus",
        "nothing monitors this datacenter",
        "no instance",
        "monadm post-setup prometheus",
    ),
];

#[test]
fn each_ill_is_found_alone_with_its_grounds_and_what_mends_it() {
    for (spoil, about, says, evidence, mend) in CASES {
        let mut picture = picture();
        spoil(&mut picture);
        let (verdict, found) = judge(&picture);
        assert_eq!(verdict, Verdict::Wrong, "{says}");
        let [one] = &found[..] else { panic!("{says}: {found:#?}") };
        assert_eq!((one.weight, &*one.about), (Weight::Wrong, *about));
        assert!(one.says.contains(says), "{says}: {one:#?}");
        let grounds = one.evidence.join("\n");
        assert!(grounds.contains(evidence), "{evidence}: {one:#?}");
        let command = one.mend.as_deref().unwrap_or_default();
        assert!(command.contains(mend), "{mend}: {one:#?}");
    }
}

#[test]
fn what_was_not_seen_is_said_and_is_no_fault() {
    let mut picture = picture();
    for one in &mut picture.instances {
        one.zone = Look::Failed("VMAPI hangs".into());
    }
    picture.shards = Look::Failed("VMAPI hangs".into());
    picture.instances[0].wanted_image = Look::Failed("IMGAPI hangs".into());
    let missed = Missed { what: "servers (CNAPI)".into(), why: "hangs".into() };
    picture.missed.push(missed);
    let (verdict, found) = judge(&picture);
    assert_eq!(verdict, Verdict::Unseen);
    let said: Vec<String> =
        found.iter().map(|f| format!("{}: {}", f.about, f.says)).collect();
    assert_eq!(
        said,
        [
            "shards: not looked at",
            "servers (CNAPI): not looked at",
            "zone (VMAPI): of prometheus0 and 3 more not looked at",
            "image (IMGAPI): of prometheus0 not looked at",
        ]
    );
    // Nor is a datacenter empty whose SAPI does not answer.
    let mut blind = Picture::default();
    blind.missed.push(Missed { what: "sdc".into(), why: "hangs".into() });
    assert_eq!(judge(&blind).0, Verdict::Unseen);
    // What is wrong weighs more.
    picture.instances[0].health = Look::Failed("503".into());
    assert_eq!(judge(&picture).0, Verdict::Wrong);
}

/// None of these is anybody's business.
#[test]
fn what_only_looks_ill_is_let_be() {
    let fine: &[fn(&mut Picture)] = &[
        // CNS has just changed; the copy is confirmed every half minute.
        |p| name(p).serial = Some(SERIAL - 100),
        // Each CNS counts its own changes.
        |p| {
            name(p).age_seconds = Some(300);
            let mut other = p.cns[0].clone();
            let zones = [(NAME.to_owned(), Some(SERIAL + 90))].into();
            other.zones = Look::Seen(zones);
            p.cns.push(other);
        },
        // A newer serial than that of a CNS whose store was wiped.
        |p| {
            name(p).serial = Some(SERIAL + 5);
            name(p).age_seconds = Some(300);
        },
        // No bucket, or a sidecar that has just started.
        |p| sidecar(p).last = None,
        // An image newer than what new instances get.
        |p| p.instances[0].running_zone().image = Look::Seen(image("p", 6)),
        // A Thanos zone that answers no queries.
        |p| p.instances[2].health = Look::Failed("refused".into()),
        // One zone more or less.
        |p| {
            let seen = seen_shards(p);
            seen.shards.insert("shard-1".into(), Default::default());
            seen.shards.get_mut("shard-0").unwrap().zones = 1;
            seen.imbalance = 2.0;
        },
    ];
    for (number, spoil) in fine.iter().enumerate() {
        let mut picture = picture();
        spoil(&mut picture);
        let (verdict, found) = judge(&picture);
        assert_eq!(verdict, Verdict::Well, "{number}: {found:#?}");
    }
    let mut alone = picture();
    alone.instances.remove(1);
    let (verdict, found) = judge(&alone);
    assert_eq!((verdict, found[0].weight), (Verdict::Well, Weight::Note));
    assert!(found[0].says.contains("prometheus0 has no partner"));
}

/// Of who does the same work, once all have had the time to ask SAPI.
#[test]
fn a_pair_whose_configurations_differ_is_good_to_know() {
    let mut two = picture();
    let agent = two.instances[1].agent_mut();
    agent.shared_revision = Some("00ff".repeat(16));
    let (verdict, found) = judge(&two);
    let [one] = &found[..] else { panic!("{found:#?}") };
    assert_eq!((verdict, one.weight), (Verdict::Well, Weight::Note));
    assert_eq!(one.about, "shard-0");
    assert!(one.says.contains("their configurations differ"), "{one:?}");
    let says = "prometheus1: shared revision 00ff00ff00ff, for 4320 min";
    assert_eq!(one.evidence[1], says);
    let silent: &[fn(&mut Picture)] = &[
        // It has just been changed.
        |p| p.instances[1].agent_mut().revision_age_seconds = Some(600),
        // An older agent.
        |p| p.instances[1].agent_mut().shared_revision = None,
        // It does something else.
        |p| {
            let daemons = &mut p.instances[1].agent_mut().daemons;
            daemons.insert("other".into(), true);
        },
        |p| p.instances[1].groups = vec!["shard-1".into()],
    ];
    for (number, spoil) in silent.iter().enumerate() {
        let mut picture = two.clone();
        spoil(&mut picture);
        let (_, found) = judge(&picture);
        let told = found.iter().any(|one| one.says.contains("differ"));
        assert!(!told, "{number}: {found:#?}");
    }
    // One that is not as SAPI wants it is told for that.
    let agent = two.instances[1].agent_mut();
    agent.files_not_in_force = vec!["x".into()];
    let (_, found) = judge(&two);
    assert_eq!(found.len(), 1, "{found:#?}");
}

#[test]
fn serials_wrap_around() {
    let mut picture = picture();
    let of = |serial: u32| Look::Seen([(NAME.to_owned(), Some(serial))].into());
    for (own, cns, older) in [
        (5, 5, false),
        (4, 5, true),
        (5, 4, false),
        (u32::MAX, 3, true),
        (3, u32::MAX, false),
    ] {
        picture.cns[0].zones = of(cns);
        assert_eq!(behind(&picture, NAME, own), older, "{own} {cns}");
    }
    assert!(!behind(&picture, "other.test", 1), "nobody knows");
}
