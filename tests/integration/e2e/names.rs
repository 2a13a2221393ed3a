// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The zone's name server as programs in the zone see it.

use localdc::world::World;
use localdc::world::{
    CMON_EXTERNAL, PROMETHEUS, PROMETHEUS_UUID, PUBLIC_NAME, SAPI,
};

use super::{all_up, sh, soon, status, when, world, world_with};

/// What dig says: status, flags, and the answers as `type data`.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    status: String,
    flags: String,
    answers: Vec<String>,
}

async fn dig(world: &World, question: &str) -> Said {
    let output = sh(world, &format!("dig +tries=1 +time=5 {question}")).await;
    let text = &output.stdout;
    let after = |mark: &str| {
        let rest = text.split_once(mark).map_or("", |(_, rest)| rest);
        rest.split([',', ';', '\n']).next().unwrap().trim().to_owned()
    };
    let answers = text
        .lines()
        .skip_while(|line| !line.starts_with(";; ANSWER"))
        .skip(1)
        .take_while(|line| !line.is_empty());
    let answers = answers.map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words[3..].join(" ")
    });
    Said {
        status: after("status: "),
        flags: after(";; flags: "),
        answers: answers.collect(),
    }
}

/// Asked again where somebody was too busy to answer in time.
async fn is_told(
    world: &World,
    question: &str,
    wanted: impl Fn(&Said) -> bool,
) {
    soon(question, async || {
        let said = dig(world, question).await;
        when(wanted(&said), || format!("{said:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dig_gets_what_each_source_knows() {
    let world = world().await;
    all_up(&world).await;
    let cmon = "cmon.dc1.cns.triton.test";
    let vm = format!("{PROMETHEUS_UUID}.{cmon}");
    let (public, public_ip) = PUBLIC_NAME;
    let cname = format!("CNAME {cmon}.");
    let a = |ip: std::net::Ipv4Addr| format!("A {ip}");
    for (question, status, answers) in [
        (format!("{cmon} A"), "NOERROR", vec![a(CMON_EXTERNAL)]),
        (format!("{vm} A"), "NOERROR", vec![cname.clone(), a(CMON_EXTERNAL)]),
        (format!("{vm} CNAME"), "NOERROR", vec![cname.clone()]),
        (format!("{cmon} AAAA"), "NOERROR", vec![]),
        (format!("{vm} AAAA"), "NOERROR", vec![cname]),
        (format!("nobody.{cmon} A"), "NXDOMAIN", vec![]),
        ("sapi.dc1.triton.test A".into(), "NOERROR", vec![a(SAPI)]),
        ("sapi.dc1.triton.test AAAA".into(), "NOERROR", vec![]),
        (format!("{public} A"), "NOERROR", vec![a(public_ip)]),
        ("nowhere.example.org A".into(), "NXDOMAIN", vec![]),
        ("localhost A".into(), "NOERROR", vec!["A 127.0.0.1".into()]),
    ] {
        for transport in ["+notcp", "+tcp"] {
            let asked = format!("{question} {transport}");
            is_told(&world, &asked, |said| {
                said.status == status
                    && said.answers == answers
                    && said.flags.contains("ra")
            })
            .await;
        }
    }
    let ipv6 = format!("@::1 {cmon} A");
    is_told(&world, &ipv6, |said| said.answers == [a(CMON_EXTERNAL)]).await;
    is_told(&world, "@::1 version.bind CH TXT", |said| {
        said.answers.iter().any(|text| text.contains("config-agent"))
    })
    .await;
    // Binder turns strangers away; to a program that must be an answer it
    // understands, and a quick one.
    let unknown = "nothing.dc1.triton.test A";
    is_told(&world, unknown, |said| said.status == "NXDOMAIN").await;

    // The C library, with the search domain.
    for (name, ip) in
        [("sapi.dc1", SAPI), ("prometheus.dc1.triton.test", PROMETHEUS)]
    {
        soon(name, async || {
            let found = sh(&world, &format!("getent ahostsv4 {name}")).await;
            let good = found.stdout.starts_with(&ip.to_string());
            when(good, || format!("{found:?}"))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_may_not_transfer_is_named_until_it_may() {
    let world = world_with(|spec| spec.transfers = false).await;
    soon("status says so", async || {
        let faults = status(&world).await?.faults;
        let said = faults.iter().any(|f| f.contains("REFUSED"));
        when(said, || faults.join("; "))
    })
    .await;
    let cns = &world.services().cns;
    let zone = PROMETHEUS.to_string().parse().unwrap();
    cns.reconfigure(|config| config.allow_transfer = vec![zone]);
    all_up(&world).await;
    soon("a copy of the zone", async || {
        let report = status(&world).await?;
        when(report.healthy, || report.faults.join("; "))
    })
    .await;
}
