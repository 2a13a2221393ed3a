// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What is written is looked for in CMON, over real TLS and with a certificate
//! of certgen's.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use localdc::cmon::{Cmon, ServerIdentity};
use localdc::datacenter::Nic;
use localdc::http::Fault;
use localdc::loopback::own_address;
use localdc::triton::ids;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::{Ended, program};
use super::site::{Site, uuid};

const KEYS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/src/certgen/testdata/");

/// A site with a CMON where VMAPI says that it is.
struct Seen {
    site: Site,
    cmon: Cmon,
    _stop: DropGuard,
}

impl Seen {
    async fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let site = Site::new().await;
        certgen(site.folder.path()).await;
        let line = std::fs::read_to_string(format!("{KEYS}rsa.openssh.pub"));
        let datacenter = Arc::clone(&site.triton.datacenter);
        let ip = own_address();
        datacenter.update(|facts| {
            facts.accounts[0].keys = vec![line.unwrap()];
            let cmon0 = facts.vms.iter_mut().find(|vm| vm.uuid == ids::CMON0);
            cmon0.unwrap().nics[0].ip = ip;
        });
        let cmon = Cmon::new(datacenter);
        let at = SocketAddr::from((ip, 9163));
        let listener = TcpListener::bind(at).await.unwrap();
        let stop = CancellationToken::new();
        let identity = ServerIdentity::default_of_cmon().unwrap();
        tokio::spawn(cmon.clone().serve(listener, identity, stop.clone()));
        Self { site, cmon, _stop: stop.drop_guard() }
    }

    async fn apply(&self, more: &[&str]) -> Ended {
        let file = |name| self.site.folder.path().join(name);
        let (cert, key) = (file("cmon.crt"), file("cmon.key"));
        let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
        let words = [&["--cert", cert, "--key", key], more].concat();
        self.site.apply(&words).await
    }
}

#[expect(clippy::disallowed_methods, reason = "the agent's own verb")]
async fn certgen(out: &Path) {
    let status = Command::new(program().with_file_name("config-agent"))
        .args(["certgen", "--login", "admin", "--out"])
        .arg(out)
        .args(["--account-key", &format!("{KEYS}rsa.openssh")])
        .stdout(Stdio::null())
        .status()
        .await;
    assert!(status.unwrap().success());
}

#[tokio::test]
async fn each_group_is_seen_to_hold_what_the_plan_says() {
    let seen = Seen::new().await;
    let site = &seen.site;
    // CMON lists no stopped zone and no NAT zone: none is missed.
    site.change(&uuid(0xb0, 1), |vm| vm.state = "stopped".to_owned());
    site.change(&uuid(0xb0, 2), |vm| {
        vm.tags.insert("smartdc_role".to_owned(), json!("nat"));
    });
    // It starts: the first answers are those of an empty cache.
    let empty = Fault::Refusal(200, Some(json!({"containers": []})));
    seen.cmon.front().add_fault("/v1/discover", Some(2), empty.clone());
    let ended = seen.apply(&[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let said = "CMON lists 44 zones in their shard's group";
    assert!(ended.stdout.contains(said), "{ended:?}");
    let asked = seen.cmon.front().requests_of("GET", "/v1/discover").len();
    assert_eq!(asked, 3);

    // It stays so: each zone is told, and the run has failed.
    seen.cmon.front().add_fault("/v1/discover", None, empty);
    let ended = seen.apply(&["--cmon-wait", "1", "--json"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let shown: Value = serde_json::from_str(&ended.stdout).unwrap();
    let problems = shown["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 44, "{shown}");
    assert!(
        problems[0].as_str().unwrap().contains("CMON has no such zone"),
        "{shown}"
    );
    let unasked = seen.apply(&["--no-verify"]).await;
    assert_eq!(unasked.code, Some(0), "{unasked:?}");
    // Who cannot ask it is told so; who would not, knows.
    let said = "CMON was not asked";
    assert!(!unasked.stdout.contains(said), "{unasked:?}");
    let unasked = site.apply(&[]).await;
    assert_eq!(unasked.code, Some(0), "{unasked:?}");
    assert!(unasked.stdout.contains(said), "{unasked:?}");
    seen.cmon.front().clear_faults();

    seen.cmon.configure(|settings| settings.refuse_certificates = true);
    let refused = seen.apply(&["--cmon-wait", "0"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let said = "CMON could not be asked: https://cmon.dc1.triton.test:9163";
    assert!(refused.stdout.contains(said), "{refused:?}");
    assert!(refused.stdout.contains("answered 401"), "{refused:?}");
}

#[tokio::test]
async fn a_cmon_that_is_not_there_and_words_that_do_not_fit() {
    let seen = Seen::new().await;
    seen.site.change(ids::CMON0, |vm| {
        vm.nics = vec![Nic { ip: Ipv4Addr::LOCALHOST, ..vm.nics[0].clone() }];
    });
    let ended = seen.apply(&["--cmon-wait", "0"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("CMON could not be asked"), "{ended:?}");
    // The tags are written whatever CMON says.
    assert_eq!(seen.site.tags().len(), 46);
    let odd = seen.apply(&["--cmon", "https://10.88.0.37:9163"]).await;
    assert!(odd.stderr.contains("HOST beginning \"cmon.\""), "{odd:?}");
    for words in [&["--cert", "a"][..], &["--cmon", "https://cmon.x"]] {
        let ended = seen.site.apply(words).await;
        assert_eq!(ended.code, Some(64), "{ended:?}");
    }
    let lost = seen.site.apply(&["--cert", "/nowhere", "--key", "/no"]).await;
    assert!(lost.stderr.contains("could not read /nowhere"), "{lost:?}");
}
