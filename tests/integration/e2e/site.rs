// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! From nothing: an operator on a headnode, servers that boot what is made.

use std::path::Path;

use localdc::sapi::UFDS_ADMIN_PASSWORD;
use localdc::ufds::Fault;
use localdc::world::{Programs, Site, WorldSpec, joined};

use super::{LONG, soon, text, when};

/// Nothing of ours is in it yet.
pub(super) async fn site() -> Site {
    let localdc = Path::new(env!("CARGO_BIN_EXE_localdc"));
    let programs = Programs::beside(localdc).unwrap_or_else(|e| panic!("{e}"));
    let started = Site::start(WorldSpec::new(programs), |_| ()).await;
    started.unwrap_or_else(|error| panic!("{}", joined(&error)))
}

pub(super) async fn set_up(site: &Site, words: &[&str]) {
    let done = site.post_setup(words).await;
    done.unwrap_or_else(|error| panic!("{}", joined(&error)));
}

/// Both halves of the pair scrape all there is.
pub(super) async fn both_scrape(site: &Site) {
    for alias in ["prometheus0", "prometheus1"] {
        let zone = site.zone(alias).unwrap();
        let up = site.ground().all_up(zone.daemons(), LONG).await;
        up.unwrap_or_else(|error| panic!("{alias}: {}", joined(&error)));
    }
}

/// By nginx, the sign-in proxy and UFDS, and while UFDS is away nobody new;
/// Prometheus scrapes all of that.
async fn operators_get_into_grafana(site: &Site) {
    let url = "https://grafana.dc1.triton.test/api/user";
    let code = "\n%{http_code}";
    let asked = async |who: &str| {
        let curl = ["curl", "-sSk", "-m", "20", "-w", code, "-u", who, url];
        let ended = site.headnode().exec(curl, LONG).await.unwrap();
        assert!(ended.success(), "{ended:?}");
        ended.stdout
    };
    let admin = format!("admin:{UFDS_ADMIN_PASSWORD}");
    let answer = asked(&admin).await;
    let user = "{\"login\":\"admin\",\"role\":\"Admin\"}\n200";
    assert_eq!(answer, user);
    assert!(asked("admin:another").await.ends_with("\n401"));
    let zone = site.zone("prometheus0").unwrap();
    // It asks SAPI for others when it starts, then every five minutes.
    zone.zone().restart_unit("config-agent").await.unwrap();
    let up = async |query: &str, wanted: &str| {
        soon(query, async || {
            let seen = text(zone.daemons().value(query).await)?;
            when(seen.as_deref() == Some(wanted), || format!("{seen:?}"))
        })
        .await;
    };
    up("up{job=\"sign_in_dc1\"}", "1").await;
    up("grafana_sign_in_ufds_up", "1").await;
    site.services().ufds.set_fault(Fault::Close);
    up("grafana_sign_in_ufds_up", "0").await;
    let poseidon = format!("poseidon:{UFDS_ADMIN_PASSWORD}");
    assert!(asked(&poseidon).await.ends_with("\n503"));
    site.services().ufds.set_fault(Fault::None);
    up("grafana_sign_in_ufds_up", "1").await;
    assert!(asked(&poseidon).await.ends_with("\n200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn from_nothing_to_a_pair_that_scrapes_thanos_and_grafana() {
    let site = site().await;
    let all =
        [&["prometheus", "--replicas", "2"][..], &["thanos"], &["grafana"]];
    for words in all {
        set_up(&site, words).await;
    }
    both_scrape(&site).await;
    // A pair is lost with one server, if it stands on one.
    let servers: Vec<String> = site.datacenter().read(|facts| {
        let pair = facts.vms.iter();
        let pair = pair.filter(|vm| vm.alias.starts_with("prometheus"));
        pair.map(|vm| vm.server_uuid.clone()).collect()
    });
    assert!(servers.len() == 2 && servers[0] != servers[1], "{servers:?}");
    // What it says of itself is converged, and names come from CNS, which
    // lets none transfer but whom it was told of.
    for alias in ["prometheus0", "prometheus1", "thanos0", "grafana0"] {
        let zone = site.zone(alias).unwrap();
        soon(alias, async || {
            let report = text(zone.daemons().status().await)?;
            when(report.healthy, || report.faults.join("; "))
        })
        .await;
    }
    operators_get_into_grafana(&site).await;
    for words in all {
        let again = [&["post-setup"], words].concat();
        let ended = site.monadm(&again, LONG).await.unwrap();
        let said = format!("{words:?}: {ended:?}");
        assert!(ended.success(), "{said}");
        assert!(ended.stdout.contains("othing to do"), "{said}");
    }
}
