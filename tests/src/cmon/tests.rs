// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! CMON over real TLS, one test per step of its request path.

use std::net::SocketAddr;

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
};
use reqwest::{Certificate, Client, Identity};
use serde_json::Value;
use tokio_util::sync::DropGuard;

use super::*;
use crate::http::Fault;
use crate::testing::{
    ALICE, NAT, POSEIDON, Reply, SERVER as NODE, VMAPI0, WEB, facts,
};

const KEY_PEM: &str =
    include_str!("../../../agent/src/certgen/testdata/rsa.pkcs8");
const KEY_LINE: &str =
    include_str!("../../../agent/src/certgen/testdata/rsa.openssh.pub");
const KEY_ID: &str = "ed:2d:44:c9:cd:03:8a:3a:71:df:4f:34:02:10:1f:3b";

struct Running {
    cmon: Cmon,
    datacenter: Arc<Datacenter>,
    address: SocketAddr,
    _stop: DropGuard,
}

/// All accounts share one key; alice owns one VM, poseidon none.
async fn running() -> Running {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut facts = facts();
    for account in &mut facts.accounts {
        account.keys = vec![KEY_LINE.to_owned()];
    }
    let datacenter = Arc::new(Datacenter::new(facts));
    let cmon = Cmon::new(datacenter.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let identity = ServerIdentity::default_of_cmon().unwrap();
    tokio::spawn(cmon.clone().serve(listener, identity, stop.clone()));
    Running { cmon, datacenter, address, _stop: stop.drop_guard() }
}

/// Key and certificate as certgen writes them, by rcgen alone.
fn identity(login: &str) -> String {
    let subject_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, login);
    params.not_before = OffsetDateTime::now_utc() - Duration::HOUR;
    params.not_after = OffsetDateTime::now_utc() + Duration::DAY;
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 4, 1, 38678, 1, 4, 2]),
    ];
    let mut of_issuer = CertificateParams::default();
    of_issuer.distinguished_name = rcgen::DistinguishedName::new();
    of_issuer
        .distinguished_name
        .push(DnType::CommonName, format!("MD5:{KEY_ID}"));
    let signer = KeyPair::from_pem(KEY_PEM).unwrap();
    let issuer = Issuer::from_params(&of_issuer, &signer);
    let certificate = params.signed_by(&subject_key, &issuer).unwrap();
    format!("{}{}", subject_key.serialize_pem(), certificate.pem())
}

impl Running {
    fn client(&self, login: Option<&str>, hosts: &[&str]) -> Client {
        let mut builder = Client::builder()
            .no_proxy()
            .tls_danger_accept_invalid_certs(true)
            .timeout(std::time::Duration::from_secs(10));
        for host in hosts {
            builder = builder.resolve(host, self.address);
        }
        if let Some(login) = login {
            let pem = identity(login);
            builder =
                builder.identity(Identity::from_pem(pem.as_bytes()).unwrap());
        }
        builder.build().unwrap()
    }

    /// `label` is the first label of the host name asked.
    async fn get(&self, login: Option<&str>, label: &str, path: &str) -> Reply {
        let host = format!("{label}.any.suffix");
        let client = self.client(login, &[&host]);
        // An address in the URL would end in a connection without SNI too.
        let url = format!("https://{host}:{}{path}", self.address.port());
        // URLs are lower-cased by the client; the label must not be.
        let full = format!("{host}:{}", self.address.port());
        let response = client.get(url).header("host", full).send().await;
        Reply::read(response.unwrap()).await
    }
}

fn uuids(reply: &Reply) -> Vec<String> {
    let json = reply.json();
    let all = json["containers"].as_array().unwrap().iter();
    all.map(|c| c["vm_uuid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn host_ping_and_certificate() {
    let dc = running().await;
    let reply = dc.get(Some("admin"), "other", "/v1/discover").await;
    assert_eq!((reply.status, reply.code().as_str()), (404, "NotFoundError"));
    let url = format!("https://{}/_ping", dc.address);
    let bare = dc.client(None, &[]).get(url).send().await.unwrap();
    assert_eq!(bare.status(), 404);
    for path in ["/_ping", "/v1/_ping"] {
        let reply = dc.get(None, "CMON", path).await;
        assert_eq!((reply.status, reply.text.as_str()), (200, "OK"));
    }
    let reply = dc.get(None, "cmon", "/v1/discover").await;
    assert_eq!(reply.status, 401);
    assert_eq!(reply.text, r#"{"code":"UnauthorizedError","message":""}"#);
    assert_eq!(reply.header("server"), Some("cmon"));
    for name in ["x-request-id", "x-response-time", "x-server-name"] {
        assert!(reply.header(name).is_some(), "{name}");
    }
    let reply = dc.get(Some("nobody"), "cmon", "/v1/discover").await;
    assert_eq!(reply.status, 401);
    let reply = dc.get(Some("admin"), "cmon", "/v1/discover").await;
    assert_eq!(reply.status, 200);
    dc.cmon.configure(|s| s.clock_ahead = Duration::days(-1));
    let reply = dc.get(Some("admin"), "cmon", "/v1/discover").await;
    assert_eq!(reply.status, 401, "not in force yet by CMON's clock");
    dc.cmon.configure(|s| {
        s.clock_ahead = Duration::ZERO;
        s.refuse_certificates = true;
    });
    let reply = dc.get(Some("admin"), "cmon", "/v1/discover").await;
    assert_eq!(reply.status, 401);
}

#[tokio::test]
async fn a_verifying_client_fails_on_the_default_certificate() {
    let dc = running().await;
    let client = Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .resolve("cmon.any", dc.address)
        .build()
        .unwrap();
    let url = format!("https://cmon.any:{}/_ping", dc.address.port());
    assert!(client.get(url).send().await.unwrap_err().is_connect());
}

#[tokio::test]
async fn an_installed_certificate_with_names_is_verified() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dc = Arc::new(Datacenter::new(facts()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let identity =
        ServerIdentity::with_names(&["cmon.zone.test".to_owned()]).unwrap();
    let root = Certificate::from_der(identity.certificate_der()).unwrap();
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn(Cmon::new(dc).serve(listener, identity, stop));
    let client = Client::builder()
        .no_proxy()
        .tls_certs_only([root])
        .resolve("cmon.zone.test", address)
        .resolve("cmon.other.test", address)
        .build()
        .unwrap();
    let ping = |host: &str| {
        client.get(format!("https://{host}:{}/_ping", address.port())).send()
    };
    assert_eq!(ping("cmon.zone.test").await.unwrap().status(), 200);
    assert!(ping("cmon.other.test").await.is_err());
}

#[tokio::test]
async fn discovery_by_account_state_and_groups() {
    let dc = running().await;
    let of = |login: &'static str, query: &str| {
        let path = format!("/v1/discover{query}");
        let dc = &dc;
        async move { dc.get(Some(login), "cmon", &path).await }
    };
    // The NAT zone is never cached.
    let all = of("admin", "").await;
    assert_eq!(uuids(&all), [VMAPI0]);
    let one = &all.json()["containers"][0];
    assert_eq!(one["groups"], json!(["a", "b"]));
    assert_eq!(one["has_core_tag"], true);
    assert_eq!(one["vm_state"], "running");
    assert!(one.get("manta_group").is_none());
    assert_eq!(uuids(&of("alice", "").await), [WEB]);
    assert!(uuids(&of("poseidon", "").await).is_empty());

    assert_eq!(uuids(&of("admin", "?groups=x,b").await), [VMAPI0]);
    assert!(uuids(&of("admin", "?groups=x").await).is_empty());
    assert!(uuids(&of("admin", "?groups=vmapi").await).is_empty());
    assert!(uuids(&of("alice", "?groups=a").await).is_empty());
    for bad in ["?groups=", "?groups=a,a", "?groups=a%20b", "?groups=a.b"] {
        let reply = of("admin", bad).await;
        assert_eq!(reply.status, 400, "{bad}");
        assert_eq!(reply.code(), "BadRequestError");
    }

    // Poseidon's manta_role counts as a group.
    dc.datacenter.update(|facts| {
        let web = &mut facts.vms[2];
        web.owner_uuid = POSEIDON.to_owned();
        web.tags.insert("manta_role".to_owned(), json!("moray"));
    });
    let moray = of("poseidon", "?groups=moray").await;
    assert_eq!(uuids(&moray), [WEB]);
    assert_eq!(moray.json()["containers"][0]["manta_group"], "moray");

    let state = |state: &str| {
        let state = state.to_owned();
        dc.datacenter.update(|facts| facts.vms[2].state = state);
    };
    state("stopped");
    assert!(uuids(&of("poseidon", "").await).is_empty());
    dc.cmon.configure(|s| s.include_stopped = true);
    assert_eq!(uuids(&of("poseidon", "").await), [WEB]);
    state("destroyed");
    assert!(uuids(&of("poseidon", "").await).is_empty());
    dc.cmon.configure(|s| s.empty_discovery = true);
    assert!(uuids(&of("admin", "").await).is_empty());
}

#[tokio::test]
async fn compute_nodes_are_listed_for_all_but_scraped_by_operators() {
    let dc = running().await;
    for login in ["admin", "alice"] {
        let reply = dc.get(Some(login), "cmon", "/v1/gz/discover").await;
        assert_eq!(
            reply.json(),
            json!({"cns": [
                {"server_uuid": NODE, "server_hostname": "headnode"},
            ]})
        );
    }
    let node = dc.get(Some("admin"), NODE, "/metrics").await;
    assert_eq!(node.status, 200);
    assert!(node.text.contains("arcstats_hits_total "));
    let node = dc.get(Some("alice"), NODE, "/metrics").await;
    assert_eq!(node.status, 404, "no operator");
    let node = dc.get(Some("poseidon"), NODE, "/metrics").await;
    assert_eq!(node.status, 404, "an operator without a cached VM");
}

#[tokio::test]
async fn metrics_by_host() {
    let dc = running().await;
    let get = |label: &str| {
        let label = label.to_owned();
        let dc = &dc;
        async move { dc.get(Some("admin"), &label, "/metrics").await }
    };
    let good = get(VMAPI0).await;
    assert_eq!(good.status, 200);
    assert_eq!(good.header("content-type"), Some("text/plain"));
    for name in [
        "time_of_day ",
        "cpu_user_usage ",
        "mem_agg_usage ",
        "net_agg_bytes_in{interface=\"vnic0\"} ",
    ] {
        assert!(good.text.contains(name), "{name}");
    }
    assert_eq!(get(WEB).await.status, 404, "somebody else's");
    assert_eq!(get(NAT).await.status, 404, "not cached");
    assert_eq!(get(&VMAPI0.to_uppercase()).await.status, 404, "upper case");
    assert_eq!(get("cmon").await.code(), "ResourceNotFound");
    let path = format!("/v1/{VMAPI0}/metrics");
    let reply = dc.get(Some("admin"), "cmon", &path).await;
    assert_eq!(reply.code(), "ResourceNotFound");
    dc.datacenter.update(|facts| facts.vms[0].state = "stopped".to_owned());
    assert_eq!(get(VMAPI0).await.status, 404, "not running");
    let seen = dc.cmon.front().requests_of("GET", "/metrics");
    assert_eq!(seen.first().unwrap().status, Some(200));
    let host = seen.first().unwrap().header("host").unwrap();
    assert!(host.starts_with(VMAPI0));
}

#[tokio::test]
async fn the_rate_limit_spares_the_admin() {
    let dc = running().await;
    // A bucket emptied here rather than by a thousand requests.
    let now = Instant::now() + std::time::Duration::from_secs(3600);
    for login in ["alice", "admin"] {
        let mut limit = dc.cmon.inner.limit.lock().unwrap();
        while limit.take(login, now) {}
    }
    let reply = dc.get(Some("alice"), "cmon", "/v1/discover").await;
    assert_eq!(reply.status, 429);
    assert_eq!(reply.code(), "TooManyRequestsError");
    assert!(reply.text.contains("100 r/s"));
    assert!(reply.header("retry-after").is_none());
    let reply = dc.get(Some("admin"), "cmon", "/v1/discover").await;
    assert_eq!(reply.status, 200);
    assert_eq!(dc.datacenter.facts().account("alice").unwrap().uuid, ALICE);
}

#[tokio::test]
async fn a_subuser_signs_for_the_account_and_faults_apply() {
    let dc = running().await;
    dc.datacenter.update(|facts| facts.accounts[0].keys.clear());
    let reply = dc.get(Some("admin"), "cmon", "/v1/discover").await;
    assert_eq!(reply.status, 401);
    dc.cmon.configure(|s| {
        s.administrators = vec![Administrator {
            account: "admin".to_owned(),
            keys: vec![KEY_LINE.to_owned()],
        }];
    });
    let reply = dc.get(Some("admin"), "cmon", "/v1/discover").await;
    assert_eq!(reply.status, 200);
    dc.cmon.front().set_fault(Fault::Hang);
    let host = "cmon.any";
    let url = format!("https://{host}:{}/_ping", dc.address.port());
    let hung = dc.client(None, &[host]).get(url);
    let hung = hung.timeout(std::time::Duration::from_secs(3)).send();
    assert!(hung.await.unwrap_err().is_timeout());
    assert_eq!(Value::Null, dc.get_status_of_last());
}

impl Running {
    /// Null when the last request got no answer.
    fn get_status_of_last(&self) -> Value {
        json!(self.cmon.front().requests().last().and_then(|r| r.status))
    }
}

#[tokio::test]
async fn tls_1_2_is_the_newest() {
    let dc = running().await;
    let client = Client::builder()
        .no_proxy()
        .tls_danger_accept_invalid_certs(true)
        .tls_version_min(reqwest::tls::Version::TLS_1_3)
        .resolve("cmon.any", dc.address)
        .build()
        .unwrap();
    let url = format!("https://cmon.any:{}/_ping", dc.address.port());
    assert!(client.get(url).send().await.unwrap_err().is_connect());
}
