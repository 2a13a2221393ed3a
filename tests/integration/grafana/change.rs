// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a change costs, and what a bad one does: nothing.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use localdc::agent_bench::eventually;
use serde_json::json;

use super::{ETC, NAME, TLS, Zone, nothing};

/// A pair as an operator would bring it.
fn operators_pair() -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec![NAME.to_owned()];
    let params = rcgen::CertificateParams::new(names).unwrap();
    let cert = params.self_signed(&key).unwrap();
    (key.serialize_pem(), cert.pem())
}

/// The certificate that nginx shows.
async fn shown(zone: &Zone) -> String {
    let script = format!(
        "openssl s_client -connect {}:443 </dev/null 2>/dev/null | \
         openssl x509",
        zone.bench.address
    );
    zone.bench.shell(&script).await.stdout
}

fn plain(pem: &str) -> String {
    pem.split_whitespace().collect()
}

#[tokio::test]
async fn an_operators_certificate_is_read_by_the_same_nginx_and_kept() {
    let zone = Zone::start(nothing()).await;
    let master = zone.master();
    let ours = zone.certificate();
    assert_eq!(plain(&shown(&zone).await), plain(&ours));
    let key = zone.bench.file(&format!("{TLS}/key.pem"));
    let mode = fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (new_key, new_cert) = operators_pair();
    let cert = zone.bench.file(&format!("{TLS}/cert.pem"));
    // One after the other, as people do: in between it fits nobody.
    fs::write(&cert, &new_cert).unwrap();
    zone.bench.said("faults", &["certificate", "is not the key of"]).await;
    zone.bench.settle(&zone.agent).await;
    assert_eq!(plain(&shown(&zone).await), plain(&ours), "still the old one");
    assert_eq!(fs::read_to_string(&cert).unwrap(), new_cert, "untouched");
    fs::write(&key, &new_key).unwrap();
    eventually("nginx shows the new one", async || {
        (plain(&shown(&zone).await) == plain(&new_cert)).then_some(())
    })
    .await;
    zone.no_fault().await;
    assert_eq!(zone.master(), master, "the same master process");
    // Another name of the zone is no reason to touch what is not ours.
    zone.bench.metadata(json!({"grafana_server_names": "other.test"}));
    zone.bench.settle(&zone.agent).await;
    assert_eq!(fs::read_to_string(&cert).unwrap(), new_cert);
    assert_eq!(zone.get("/", Some("operator")).await.status, 200);
    // Both gone: ours again. The key first: a key without a certificate would
    // be signed for.
    fs::remove_file(&key).unwrap();
    fs::remove_file(&cert).unwrap();
    zone.bench.settle(&zone.agent).await;
    assert_ne!(zone.certificate(), new_cert);
    zone.no_fault().await;
    assert_eq!(zone.master(), master);
}

#[tokio::test]
async fn a_change_costs_what_its_key_says() {
    let zone = Zone::start(nothing()).await;
    let master = zone.master();
    for (change, calls) in [
        (json!({"grafana_body_size": 3}), vec!["reload nginx.service"]),
        (json!({"grafana_connections": 33}), vec!["reload nginx.service"]),
        (
            json!({"grafana_log_level": "warn"}),
            vec!["restart auth.service", "restart grafana.service"],
        ),
        (json!({"grafana_thanos": "t.test"}), vec!["restart grafana.service"]),
        (json!({"unheard_of": 1}), vec![]),
    ] {
        let before = zone.bench.service_calls().len();
        zone.bench.metadata(change.clone());
        eventually("the daemon is told", async || {
            (zone.calls(before).len() >= calls.len()).then_some(())
        })
        .await;
        zone.bench.polls(2).await;
        zone.bench.settle(&zone.agent).await;
        zone.no_fault().await;
        let seen = zone.calls(before);
        assert_eq!(seen.len(), calls.len(), "{change}: {seen:?}");
        for (seen, wanted) in seen.iter().zip(calls) {
            assert!(seen.contains(wanted), "{change}: {seen}");
        }
    }
    assert_eq!(zone.master(), master);
    let files = fs::read_dir(zone.bench.file(&format!("{ETC}/dashboards")));
    let files = files.unwrap().flatten().map(|entry| entry.path());
    let files: Vec<_> = files.collect();
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let board: serde_json::Value = serde_json::from_str(&text).unwrap();
        let uid = board["uid"].as_str().unwrap();
        assert_eq!(file.file_stem().unwrap(), uid, "{file:?}");
    }
}

#[tokio::test]
async fn what_would_stop_a_daemon_is_refused_and_it_runs_on() {
    let zone = Zone::start(nothing()).await;
    let master = zone.master();
    let default = "isDefault: {{ loop.first }}";
    for (template, from, to, target, why) in [
        (
            "nginx.conf.tera",
            "server_tokens off;",
            "server_tokens perhaps;",
            "nginx.conf",
            "perhaps",
        ),
        (
            "datasources.yml.tera",
            default,
            "isDefault: true",
            "provisioning/datasources/triton.yml",
            "default already",
        ),
        (
            "dashboards.yml.tera",
            "allowUiUpdates: false",
            "allowUIUpdates: false",
            "provisioning/dashboards/triton.yml",
            "allowUIUpdates",
        ),
        (
            "grafana.ini.tera",
            "protocol = socket",
            "protocol = http",
            "grafana.ini",
            "protocol",
        ),
    ] {
        let template =
            zone.bench.path(&format!("templates/grafana/{template}"));
        let good = fs::read_to_string(&template).unwrap();
        let target = zone.bench.file(&format!("{ETC}/{target}"));
        let before = fs::read(&target).unwrap();
        let calls = zone.bench.service_calls().len();
        // Two data sources, that two may be the default.
        assert!(good.contains(from));
        fs::write(&template, good.replace(from, to)).unwrap();
        zone.bench.said("faults", &["checker refused", why]).await;
        zone.bench.settle(&zone.agent).await;
        assert_eq!(fs::read(&target).unwrap(), before, "{why}");
        assert_eq!(zone.calls(calls), [""; 0], "{why}");
        assert_eq!(zone.get("/", Some("operator")).await.status, 200);
        fs::write(&template, good).unwrap();
        zone.no_fault().await;
    }
    assert_eq!(zone.master(), master);
}

#[tokio::test]
async fn a_lost_secret_is_a_fault_and_not_a_new_secret() {
    let zone = Zone::start(nothing()).await;
    let path = zone.bench.file("data/grafana/secrets/secret_key");
    let secret = fs::read(&path).unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    assert_eq!(metadata.uid(), nobody.uid.as_raw());
    let text = String::from_utf8(secret.clone()).unwrap();
    for file in ["grafana.ini", "nginx.conf", "grafana.env"] {
        let shown = zone.bench.text(&format!("{ETC}/{file}")).unwrap();
        assert!(!shown.contains(&text), "{file}");
    }
    let calls = zone.bench.service_calls().len();
    fs::write(&path, "").unwrap();
    zone.bench.metadata(json!({"grafana_log_level": "error"}));
    zone.bench.said("faults", &["secret_key", "is damaged"]).await;
    fs::remove_file(&path).unwrap();
    zone.bench.metadata(json!({"grafana_log_level": "debug"}));
    zone.bench.said("faults", &["secret_key", "is gone"]).await;
    zone.bench.settle(&zone.agent).await;
    assert!(!path.exists());
    // It needs no secret of Grafana's, and has the same level of its log.
    let mut calls = zone.calls(calls);
    calls.retain(|call| !call.contains("auth.service"));
    assert_eq!(calls, [""; 0], "Grafana runs on as it was");
    fs::write(&path, &secret).unwrap();
    zone.bench.settle(&zone.agent).await;
    zone.no_fault().await;
    assert!(!zone.agent.log().contains(&text), "the log shows the secret");
}

/// Verb check, with the real nginx, on a machine where nothing of it runs.
#[tokio::test]
async fn every_site_passes_the_checkers() {
    let bench = localdc::agent_bench::Bench::grafana().await;
    let site = json!({"datacenter_name": "dc1", "dns_domain": "t.test",
        "ufds_ldap_root_pw": "p"});
    // nginx -t listens, so where loopback has no IPv6 it refuses the file.
    let mut listen = vec![bench.address.to_string()];
    if std::net::UdpSocket::bind("[::1]:0").is_ok() {
        listen.push("::1".into());
    }
    let all = json!({
        "datacenter_name": "dc1", "dns_domain": "t.test",
        "ufds_ldap_root_pw": "p", "region_name": "r 1", "grafana_live": "true",
        "grafana_listen": listen,
        "grafana_https_port": 8443, "grafana_http_port": 0,
        "grafana_metrics_listen": [format!("{}:9168", bench.address)],
        "grafana_server_names": ["a.test", "::1"],
        "grafana_regions": [
            {"name": "r 1", "thanos": "t.test"},
            {"name": "r2", "datacenters": ["a", "b"], "manta": true},
        ],
        "grafana_thanos_ca": operators_pair().1,
    });
    // Into this one nobody would get.
    let mut nobody = site.clone();
    nobody["ufds_ldap_root_pw"] = json!("");
    for metadata in [site, all, nobody] {
        let file = bench.path("metadata.json");
        bench.write(&file, metadata.to_string());
        let file = file.display().to_string();
        let templates = bench.path("templates").display().to_string();
        let args = ["check", "--role", "grafana", "--metadata", &file];
        let args = [&args[..], &["--templates", &templates]].concat();
        let ended = bench.verb(&args).await;
        let told = ended.stdout.contains("SAPI has neither ufds_ldap_root_pw");
        let without = metadata["ufds_ldap_root_pw"] == "";
        assert_eq!(told, without, "{ended:?}");
        assert_eq!(ended.code == Some(0), !without, "{ended:?}");
        assert!(ended.stdout.contains("ok      grafana/nginx.conf"));
    }
}
