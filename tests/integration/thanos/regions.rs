// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Zones of two regions, each with its agent: they make certificates under
//! one authority, and OpenSSL judges them. Its server, anew for each
//! connection, stands for Thanos, which takes a new pair up by itself.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use localdc::agent_bench::{Agent, Bench, eventually};
use monitoring_agent::certgen::{
    Authority, RegionPaths, ensure_region, make_authority,
};
use monitoring_agent::model::Secret;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const TLS: &str = "data/thanos/tls";

struct Zone {
    bench: Bench,
    agent: Agent,
}

/// An authority as SAPI's metadata has it.
fn authority() -> Value {
    let made = make_authority("test", OffsetDateTime::now_utc()).unwrap();
    json!({"thanos_ca_certificate": made.certificate,
        "thanos_ca_private_key": made.private_key.expose()})
}

/// Says 200 to everybody, as a component that is ready.
async fn ready(bench: &Bench, port: u16) {
    let listener = TcpListener::bind((bench.address, port)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\
                           Content-Length: 0\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    });
}

/// When a certificate ends.
fn ends(pem: &str) -> OffsetDateTime {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    certificate.validity().not_after.to_datetime()
}

impl Zone {
    async fn start(metadata: Value) -> Self {
        let bench = Bench::thanos().await;
        bench.metadata(metadata);
        ready(&bench, 10_902).await;
        ready(&bench, 10_904).await;
        let tls = bench.file(TLS);
        let serve = format!(
            "sh -c 'while :; do openssl s_server -accept {}:10901 -quiet \
             -www -naccept 1 -cert {tls}/grpc.crt -key {tls}/grpc.key \
             -CAfile {tls}/ca.crt -Verify 1 -verify_return_error; done'",
            bench.address,
            tls = tls.display()
        );
        bench.unit("thanos-query", &serve);
        bench.unit("thanos-query-frontend", "sleep 300");
        let agent = bench.start();
        let zone = Self { bench, agent };
        eventually("the certificate is made", async || {
            zone.bench.text(&format!("{TLS}/grpc.crt")).map(drop)
        })
        .await;
        zone.no_fault().await;
        zone
    }

    async fn no_fault(&self) {
        eventually("no fault", async || {
            let report = self.bench.report().await?;
            let calls = self.bench.service_calls().join(" ");
            let faults = report["faults"].as_array()?;
            let none = faults.is_empty() && calls.contains("thanos-query");
            none.then_some(())
        })
        .await;
    }

    fn text(&self, name: &str) -> String {
        self.bench.text(&format!("{TLS}/{name}")).unwrap()
    }

    /// Asks `server` over TLS, with this zone's own pair, trusting whom
    /// `trusting` does; what OpenSSL says.
    async fn asks(&self, server: &Zone, trusting: &Zone) -> Result<(), String> {
        let tls = self.bench.file(TLS).display().to_string();
        let ca = trusting.bench.file(&format!("{TLS}/ca.crt"));
        let ca = ca.display();
        let address = server.bench.address;
        let script = format!(
            "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 20 openssl s_client \
             -connect {address}:10901 -verify_ip {address} -ign_eof \
             -verify_return_error -CAfile {ca} -cert {tls}/grpc.crt \
             -key {tls}/grpc.key 2>&1"
        );
        let said = self.bench.shell(&script).await.stdout;
        // The server has taken our certificate once it answers.
        let answered = said.contains("HTTP/1.0 200 ok");
        if answered { Ok(()) } else { Err(said) }
    }

    /// Why `server` and this zone do not get along. The server begins anew
    /// after each connection: nobody there for a moment is no reason.
    async fn is_refused(&self, server: &Zone, trusting: &Zone) -> String {
        eventually("a word from the other side", async || {
            let said = self.asks(server, trusting).await.unwrap_err();
            (!said.contains("Connection refused")).then_some(said)
        })
        .await
    }

    async fn meets(&self, other: &Zone) {
        for (one, two) in [(self, other), (other, self)] {
            eventually("both know each other", async || {
                one.asks(two, one).await.ok()
            })
            .await;
        }
    }

    fn restarts(&self) -> usize {
        let calls = self.bench.service_calls();
        calls.iter().filter(|call| call.contains("restart thanos-")).count()
    }
}

#[tokio::test]
async fn zones_of_two_regions_authenticate_each_other() {
    let bench = Bench::new().await;
    let file = bench.path("authority.json");
    let path = file.display().to_string();
    let make = ["certgen", "authority", "--out", &path];
    assert_eq!(bench.verb(&make).await.code, Some(0));
    let text = fs::read_to_string(&file).unwrap();
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(bench.verb(&make).await.code, Some(1), "never overwritten");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    let made: Value = serde_json::from_str(&text).unwrap();
    let ours = made["metadata"].clone();
    let one = Zone::start(ours.clone()).await;
    let two = Zone::start(ours.clone()).await;
    one.meets(&two).await;
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    for name in ["grpc.key", "grpc.crt", "ca.crt"] {
        let path = one.bench.file(&format!("{TLS}/{name}"));
        let metadata = fs::metadata(path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o600, "{name}");
        assert_eq!(metadata.uid(), nobody.uid.as_raw(), "{name}");
    }
    let stranger = Zone::start(authority()).await;
    let said = stranger.is_refused(&one, &stranger).await;
    assert!(said.contains("verify error"), "{said}");
    // One that would trust us is still not trusted by us.
    let said = stranger.is_refused(&one, &one).await;
    assert!(said.contains("alert unknown ca"), "{said}");
    assert!(!one.agent.log().contains("PRIVATE KEY"));
}

#[tokio::test]
async fn a_certificate_is_renewed_and_the_daemon_runs_on() {
    let ours = authority();
    let zone = Zone::start(ours.clone()).await;
    let before = zone.text("grpc.crt");
    let key = zone.text("grpc.key");
    // As it would look with less than a third of its life left.
    let text = |key: &str| ours[key].as_str().unwrap().to_owned();
    let now = OffsetDateTime::now_utc();
    let secret = Secret::new(text("thanos_ca_private_key"));
    let signer =
        Authority::parse(&text("thanos_ca_certificate"), &secret, now).unwrap();
    let file = |name| zone.bench.file(&format!("{TLS}/{name}"));
    let paths = RegionPaths {
        key: file("grpc.key"),
        cert: file("grpc.crt"),
        ca: file("ca.crt"),
        owner: None,
    };
    let names = [zone.bench.address.to_string()];
    let earlier = now - Duration::days(21);
    let old = ensure_region(&paths, &signer, &names, earlier).unwrap();
    assert!(old.not_after < now + Duration::days(10));
    eventually("a new certificate", async || {
        let text = zone.text("grpc.crt");
        (text != before && ends(&text) > old.not_after).then_some(())
    })
    .await;
    assert_eq!(zone.text("grpc.key"), key);
    zone.bench.settle(&zone.agent).await;
    zone.no_fault().await;
    assert_eq!(zone.restarts(), 0, "Thanos takes it up by itself");
}

#[tokio::test]
async fn an_authority_is_replaced_with_a_restart_each_time_and_no_gap() {
    let (old, new) = (authority(), authority());
    let one = Zone::start(old.clone()).await;
    let two = Zone::start(old.clone()).await;
    let certificate = |authority: &Value| {
        authority["thanos_ca_certificate"].as_str().unwrap().to_owned()
    };
    let both = certificate(&old) + &certificate(&new);
    for (restarts, change) in [
        (1, json!({"thanos_ca_certificate": both})),
        (
            1,
            json!({"thanos_ca_private_key":
            new["thanos_ca_private_key"]}),
        ),
        (2, json!({"thanos_ca_certificate": certificate(&new)})),
    ] {
        for zone in [&one, &two] {
            zone.bench.metadata(change.clone());
            zone.bench.polls(2).await;
            zone.bench.settle(&zone.agent).await;
            zone.no_fault().await;
            one.meets(&two).await;
            assert_eq!(zone.restarts(), restarts);
        }
    }
}

#[tokio::test]
async fn a_new_file_of_the_operator_is_one_restart_and_a_bad_one_none() {
    let first = Zone::start(authority()).await;
    let other = Zone::start(authority()).await;
    let folder = first.bench.path("operator");
    let given = |name: &str| folder.join(name);
    for name in ["grpc.crt", "grpc.key", "ca.crt"] {
        first.bench.write(&given(name), first.text(name));
    }
    let path = |name| given(name).display().to_string();
    first.bench.settle(&first.agent).await;
    let before = first.restarts();
    first.bench.metadata(json!({"thanos_ca_certificate": null,
        "thanos_ca_private_key": null, "thanos_tls": {"cert":
        path("grpc.crt"), "key": path("grpc.key"), "ca": path("ca.crt")}}));
    eventually("the flags name them, and count", async || {
        let flags = first.bench.text("opt/triton/thanos/etc/query.flags")?;
        let names = flags.contains(&path("ca.crt"));
        (names && first.restarts() > before).then_some(())
    })
    .await;
    first.bench.settle(&first.agent).await;
    let before = first.restarts();
    first.bench.write(&given("ca.crt"), "damaged");
    first.bench.said("faults", &["ca.crt is no certificate"]).await;
    first.bench.settle(&first.agent).await;
    assert_eq!(first.restarts(), before);
    let both = format!("{}{}", first.text("ca.crt"), other.text("ca.crt"));
    first.bench.write(&given("ca.crt"), both);
    eventually("one restart", async || {
        (first.restarts() > before).then_some(())
    })
    .await;
    first.bench.settle(&first.agent).await;
    first.no_fault().await;
    assert_eq!(first.restarts(), before + 1);
}
