// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A Grafana zone as the agent makes it: the real nginx in front, stand-ins
//! for Grafana and the sign-in proxy behind.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

mod change;
mod door;
mod known;
mod mutations;
mod trial;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use localdc::agent_bench::{Agent, Bench, PATIENCE, eventually};
use localdc::grafana::Socket;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) const RUN: &str = "opt/triton/grafana/run";
pub(crate) const ETC: &str = "opt/triton/grafana/etc";
const TLS: &str = "data/grafana/tls";

/// The name that the certificate is for while nobody sets another.
pub(crate) const NAME: &str = "grafana.dc1.triton.test";

/// A zone with all that runs in it.
pub(crate) struct Zone {
    pub(crate) bench: Bench,
    pub(crate) agent: Agent,
    pub(crate) grafana: Socket,
    sign_in: Option<Socket>,
}

/// An answer: status, head and body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// Every value of a header, names in any case.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }
}

impl Zone {
    async fn start(metadata: Value) -> Self {
        Self::start_on(Bench::grafana().await, metadata).await
    }

    async fn start_on(bench: Bench, metadata: Value) -> Self {
        let run = bench.file(RUN);
        // The stand-in answers for it, as for Grafana below.
        bench.unit("auth", "sleep 300");
        let sign_in = Socket::sign_in(&run.join("sign-in/sign-in.sock"));
        Self::start_with(bench, metadata, Some(sign_in.unwrap())).await
    }

    /// With this sign-in proxy, or with the one that the bench has a unit for.
    pub(crate) async fn start_with(
        bench: Bench,
        metadata: Value,
        sign_in: Option<Socket>,
    ) -> Self {
        bench.metadata(metadata);
        let conf = bench.file(&format!("{ETC}/nginx.conf"));
        let start = format!("nginx -e stderr -c {}", conf.display());
        bench.unit("nginx", &start);
        // The stand-in answers for it.
        bench.unit("grafana", "sleep 300");
        let pid = bench.file(&format!("{RUN}/nginx.pid"));
        let reload = format!("kill -HUP \"$(cat {})\"\n", pid.display());
        bench.write(&bench.path("units/nginx.reload"), reload);
        let run = bench.file(RUN);
        let grafana = Socket::grafana(&run.join("grafana/grafana.sock"));
        let agent = bench.start();
        let zone = Self { bench, agent, grafana: grafana.unwrap(), sign_in };
        eventually("all is in force", async || {
            let report = zone.bench.report().await?;
            let done = report["walk"]["passes"].as_u64()? > 0
                && zone.faults(&report).is_empty();
            let calls = zone.bench.service_calls().join("\n");
            let started = calls.contains("nginx") && calls.contains("grafana");
            (done && started).then_some(())
        })
        .await;
        zone.grafana.asked();
        zone
    }

    /// Faults of the walk; nobody answers DNS or CNS here.
    fn faults(&self, report: &Value) -> Vec<String> {
        let faults = report["faults"].as_array().cloned().unwrap_or_default();
        let faults = faults.iter().filter_map(Value::as_str);
        faults
            .filter(|fault| !fault.starts_with("discovery"))
            .map(str::to_owned)
            .collect()
    }

    pub(crate) async fn no_fault(&self) {
        eventually("no fault", async || {
            let report = self.bench.report().await?;
            self.faults(&report).is_empty().then_some(())
        })
        .await;
    }

    /// A TLS connection that takes no certificate but the one on disk.
    pub(crate) async fn connect(&self) -> TlsStream<TcpStream> {
        let pem = fs::read(self.bench.file(&format!("{TLS}/cert.pem")));
        let mut roots = rustls::RootCertStore::empty();
        let cert = CertificateDer::from_pem_slice(&pem.unwrap()).unwrap();
        roots.add(cert).unwrap();
        let config = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let address = (self.bench.address, 443);
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from(NAME).unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await.unwrap()
    }

    /// Sends a request as it is, of a person or of nobody.
    pub(crate) async fn ask(
        &self,
        line: &str,
        who: Option<&str>,
        headers: &[&str],
        body: &[u8],
    ) -> Answer {
        let mut stream = self.connect().await;
        let mut head = format!("{line} HTTP/1.1\r\nHost: {NAME}\r\n");
        if !headers.iter().any(|header| header.starts_with("Connection:")) {
            head.push_str("Connection: close\r\n");
        }
        if let Some(who) = who {
            let pair = STANDARD.encode(format!("{who}:secret"));
            head.push_str(&format!("Authorization: Basic {pair}\r\n"));
        }
        for header in headers {
            head.push_str(&format!("{header}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // The answer may come before all of it was read.
        let _ = stream.write_all(body).await;
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        let _ = tokio::time::timeout(PATIENCE, read).await.unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(crate) async fn get(&self, path: &str, who: Option<&str>) -> Answer {
        self.ask(&format!("GET {path}"), who, &[], &[]).await
    }

    /// nginx' master process.
    fn master(&self) -> String {
        let pid = self.bench.text(&format!("{RUN}/nginx.pid")).unwrap();
        pid.trim().to_owned()
    }

    /// Calls to the service manager since, looks left out.
    fn calls(&self, since: usize) -> Vec<String> {
        self.bench.service_calls().split_off(since)
    }

    fn certificate(&self) -> String {
        self.bench.text(&format!("{TLS}/cert.pem")).unwrap()
    }
}

/// A little while, for what must not happen.
const MOMENT: Duration = Duration::from_millis(300);

fn nothing() -> Value {
    json!({})
}
