// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! For the stand-ins' own tests: one on a free port, with a client.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::datacenter::{Account, Facts, Nic, Server, Vm};

/// A running stand-in; dropping it stops it.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) client: reqwest::Client,
    _stop: DropGuard,
}

impl Running {
    pub(crate) async fn start<F>(
        serve: impl FnOnce(TcpListener, CancellationToken) -> F,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // Whoever comes first installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, stop.clone()));
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()
            .unwrap();
        Self { address, client, _stop: stop.drop_guard() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], None).await
    }

    /// Sends, with a JSON body if there is one.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Reply {
        let mut request = self.client.request(method, self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        Reply::read(request.send().await.unwrap()).await
    }
}

/// An answer, read to its end.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) async fn read(response: reqwest::Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().unwrap())
    }

    /// The body as JSON; null when it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

pub(crate) const ADMIN: &str = "e0000000-0000-4000-8000-000000000001";
pub(crate) const POSEIDON: &str = "e0000000-0000-4000-8000-000000000002";
pub(crate) const ALICE: &str = "e0000000-0000-4000-8000-000000000003";
pub(crate) const SERVER: &str = "90000000-0000-4000-8000-000000000001";
pub(crate) const VMAPI0: &str = "c0000000-0000-4000-8000-0000000000a1";
pub(crate) const NAT: &str = "c0000000-0000-4000-8000-0000000000a2";
pub(crate) const WEB: &str = "c0000000-0000-4000-8000-0000000000b1";

/// One server; zones of admin (one of them a NAT zone) and a VM of alice.
pub(crate) fn facts() -> Facts {
    let account = |uuid: &str, login: &str, operator| Account {
        uuid: uuid.to_owned(),
        login: login.to_owned(),
        operator,
        keys: vec![],
    };
    let vm = |uuid: &str, alias: &str, owner: &str, tags: Value| Vm {
        uuid: uuid.to_owned(),
        alias: alias.to_owned(),
        owner_uuid: owner.to_owned(),
        server_uuid: SERVER.to_owned(),
        state: "running".to_owned(),
        brand: "joyent-minimal".to_owned(),
        image_uuid: crate::sapi::ids::IMAGE.to_owned(),
        tags: tags.as_object().unwrap().clone(),
        nics: vec![Nic {
            nic_tag: "admin".to_owned(),
            ip: "192.0.2.20".parse().unwrap(),
            network_uuid: "10000000-0000-4000-8000-000000000001".to_owned(),
        }],
    };
    use serde_json::json;
    Facts {
        datacenter_name: "dc1".to_owned(),
        dns_domain: "triton.test".to_owned(),
        region_name: "region1".to_owned(),
        accounts: vec![
            account(ADMIN, "admin", true),
            account(POSEIDON, "poseidon", true),
            account(ALICE, "alice", false),
        ],
        servers: vec![Server {
            uuid: SERVER.to_owned(),
            hostname: "headnode".to_owned(),
        }],
        vms: vec![
            vm(
                VMAPI0,
                "vmapi0",
                ADMIN,
                json!({"smartdc_role": "vmapi", "triton.cmon.groups": "a,b"}),
            ),
            vm(NAT, "nat0", ADMIN, json!({"smartdc_role": "nat"})),
            vm(WEB, "web", ALICE, json!({})),
        ],
    }
}
