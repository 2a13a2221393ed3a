// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Signing in to Grafana: the real config-agent renders and runs, the real
//! nginx asks the real sign-in proxy, which asks a stand-in of UFDS.
//!
//! Files are named after what they show; tests after the weakness of today's
//! proxy, of nginx and of Grafana that they show to be gone.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

mod attempts;
mod audit;
mod browser;
mod directory;
mod identity;
mod leaks;
mod opinions;
mod outage;
mod revoked;
mod sessions;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use localdc::agent_bench::{Bench, PATIENCE, eventually, program};
use localdc::ufds::{Certificate, Server, Ufds};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::grafana::{Answer, ETC, NAME, RUN, Zone};

/// Root's password of the directory; no log may ever hold it.
const ROOT_PASSWORD: &str = "MARKER-root-5e1c";

/// What `Zone::ask` sends, and so everybody's password.
const PASSWORD: &str = "secret";

const BOSS: &str = "3f0e8a55-0000-4000-8000-000000000001";
const READER: &str = "3f0e8a55-0000-4000-8000-000000000002";
const CUSTOMER: &str = "3f0e8a55-0000-4000-8000-000000000003";
const OTHER: &str = "3f0e8a55-0000-4000-8000-000000000004";

const SESSION: &str = "__Host-grafana-session";

/// A zone with its sign-in proxy, and a directory.
struct House {
    zone: Zone,
    ufds: Ufds,
    address: SocketAddr,
    certificate: Certificate,
    server: Option<Server>,
}

impl House {
    async fn open() -> Self {
        Self::open_with(json!({})).await
    }

    /// An operator `boss`, another one, a reader, a customer.
    async fn open_with(more: Value) -> Self {
        let ufds = Ufds::new(ROOT_PASSWORD);
        for (uuid, login) in [
            (BOSS, "boss"),
            (READER, "reader"),
            (CUSTOMER, "customer"),
            (OTHER, "other"),
        ] {
            let name = [("givenname", "Zo\u{eb}")];
            ufds.account(uuid, login, PASSWORD, &name);
        }
        ufds.operator(BOSS);
        // Written by hand, without spaces.
        ufds.member("operators", &format!("UUID={OTHER},ou=users,o=smartdc"));
        ufds.member("readers", &format!("uuid={READER}, ou=users, o=smartdc"));
        let certificate = Certificate::make().unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::start(&ufds, any, &certificate).await.unwrap();
        let address = server.address;
        let bench = Bench::grafana().await;
        let config = bench.file(&format!("{ETC}/auth.json"));
        // As its unit does, whose account a set-up makes.
        let user = match nix::unistd::Uid::effective().is_root() {
            true => "setpriv --reuid nobody --regid daemon --clear-groups ",
            false => "",
        };
        let program = program();
        let (program, config) = (program.display(), config.display());
        let start = format!("{user}{program} auth --config {config}");
        bench.unit("auth", &start);
        let mut metadata = json!({
            "ufds_ldap_root_dn": "cn=root",
            "ufds_ldap_root_pw": ROOT_PASSWORD,
            "grafana_ufds": [address.to_string()],
            "grafana_log_level": "debug",
        });
        for (key, value) in more.as_object().unwrap() {
            metadata[key] = value.clone();
        }
        let zone = Zone::start_with(bench, metadata, None).await;
        let house =
            Self { zone, ufds, address, certificate, server: Some(server) };
        let socket = house.socket();
        eventually("the sign-in proxy runs", async || {
            UnixStream::connect(&socket).await.ok()
        })
        .await;
        house
    }

    /// Starts the sign-in proxy anew: it knows nothing of before.
    async fn restart(&self) {
        let ended = self.zone.bench.shell("systemctl restart auth").await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let socket = self.socket();
        eventually("the sign-in proxy runs again", async || {
            UnixStream::connect(&socket).await.ok()
        })
        .await;
    }

    fn socket(&self) -> PathBuf {
        self.zone.bench.file(RUN).join("sign-in/sign-in.sock")
    }

    /// The directory at its address again, with this certificate.
    async fn serve(&mut self, certificate: &Certificate) {
        self.server = None;
        let started = Server::start(&self.ufds, self.address, certificate);
        self.server = Some(started.await.unwrap());
    }

    /// What the sign-in proxy has said.
    fn log(&self) -> String {
        let log = self.zone.bench.path("units/auth.log");
        std::fs::read_to_string(log).unwrap_or_default()
    }

    async fn logged(&self, text: &str) {
        eventually(&format!("the log says {text:?}"), async || {
            self.log().contains(text).then_some(())
        })
        .await;
    }

    /// A page for somebody with everybody's password.
    async fn get(&self, who: Option<&str>) -> Answer {
        self.zone.get("/", who).await
    }

    /// A page with headers of one's own.
    async fn get_with(&self, path: &str, headers: &[&str]) -> Answer {
        self.zone.ask(&format!("GET {path}"), None, headers, &[]).await
    }

    /// What a browser sends with the filled in form.
    async fn form(&self, login: &str, password: &str, to: &str) -> Answer {
        self.form_with(login, password, to, &[]).await
    }

    async fn form_with(
        &self,
        login: &str,
        password: &str,
        to: &str,
        headers: &[&str],
    ) -> Answer {
        let mut body = String::new();
        for (name, value) in
            [("login", login), ("password", password), ("to", to)]
        {
            let value: String =
                value.bytes().map(|b| format!("%{b:02X}")).collect();
            body.push_str(&format!("{name}={value}&"));
        }
        let origin = format!("Origin: https://{NAME}");
        let mut all = vec![
            "Content-Type: application/x-www-form-urlencoded",
            "Sec-Fetch-Site: same-origin",
            &origin,
        ];
        all.extend(headers);
        let line = "POST /sign-in";
        self.zone.ask(line, None, &all, body.as_bytes()).await
    }

    /// Signs in by the form; the session's cookie, as a browser sends it.
    async fn session(&self, login: &str) -> String {
        let answer = self.form(login, PASSWORD, "/").await;
        assert_eq!(answer.status, 303, "{answer:?}");
        cookie_of(&answer).unwrap()
    }

    /// Signs in by the form; what the browser is known by from then on.
    async fn known_browser(&self, login: &str) -> String {
        let answer = self.form(login, PASSWORD, "/").await;
        assert_eq!(answer.status, 303, "{answer:?}");
        let cookies = answer.all("set-cookie");
        let device = cookies.iter().find(|it| it.contains("device")).unwrap();
        format!("Cookie: {}", device.split(';').next().unwrap())
    }

    /// A page for who has this cookie.
    async fn with(&self, cookie: &str) -> Answer {
        self.get_with("/", &[&format!("Cookie: {cookie}")]).await
    }

    /// Asks as nginx does, for a client at `address`.
    async fn direct(
        &self,
        address: &str,
        pair: &str,
        headers: &[&str],
    ) -> Answer {
        let mut stream = UnixStream::connect(self.socket()).await.unwrap();
        let pair = STANDARD.encode(pair);
        let mut text = format!(
            "GET /auth HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\
             X-Real-IP: {address}\r\nX-Original-Method: GET\r\n\
             X-Original-URI: /\r\nAuthorization: Basic {pair}\r\n"
        );
        for header in headers {
            text.push_str(&format!("{header}\r\n"));
        }
        text.push_str("\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// A figure of the sign-in proxy's metrics.
    async fn figure(&self, line: &str) -> u64 {
        let local = self.zone.bench.address;
        let url = format!("http://{local}:9167/sign-in/metrics");
        let (status, text) = self.zone.bench.get(&url).await.unwrap();
        assert_eq!(status, 200);
        let found = text.lines().find_map(|it| it.strip_prefix(line));
        found
            .unwrap_or_else(|| panic!("{line}: {text}"))
            .trim()
            .parse()
            .unwrap()
    }
}

/// `name=value` of the session in an answer.
fn cookie_of(answer: &Answer) -> Option<String> {
    let cookies = answer.all("set-cookie").into_iter();
    let mut values = cookies.filter_map(|it| it.split(';').next());
    let found = values.find(|pair| pair.starts_with(SESSION))?;
    (!found.ends_with('=')).then(|| found.to_owned())
}

/// What may differ from one no to the next left out.
fn plain(answer: &Answer) -> (u16, Vec<String>, String) {
    let head = answer
        .head
        .lines()
        .filter(|line| !line.to_ascii_lowercase().starts_with("date:"));
    let head = head.map(str::to_owned).collect();
    (answer.status, head, answer.body.clone())
}

/// Revocation reaches everybody within this.
const MINUTE: Duration = Duration::from_secs(60);
