// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A datacenter to be looked at: all of Triton's APIs, a CNS, and zones that
//! answer at addresses of their own, properly or not at all.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use localdc::cns::{Cns, CnsConfig};
use localdc::datacenter::{Nic, Vm};
use localdc::http::Fault;
use localdc::loopback::own_address;
use localdc::sapi::Kind;
use localdc::triton::{Triton, facts, ids};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Ended, monadm};

const SERVICE: &str = "5e000000-0000-4000-8000-000000000001";

/// How a zone answers on one port.
#[derive(Clone)]
pub(super) enum Zone {
    /// 200, and this text.
    Text(String),
    /// The same, by a clock that stands at this date.
    At(&'static str, String),
    /// This status, and an empty body.
    Status(u16),
    /// Takes the request, and is silent.
    Hang,
    /// Bytes that are no HTTP.
    Garbage,
    /// A body without an end.
    Huge,
    /// A proper answer, a byte a second.
    Trickle,
    /// The connection is closed without an answer.
    Close,
    /// The first of these once, and then the other.
    First(Box<[Zone; 2]>),
}

/// The datacenter.
pub(super) struct Site {
    pub(super) triton: Triton,
    pub(super) cns: Cns,
    stop: CancellationToken,
    _stop: DropGuard,
}

/// What an agent says that is well, `more` lines beside.
pub(super) fn agent_says(more: &str) -> String {
    format!(
        "# HELP config_agent_healthy Whether nothing is at fault.\n\
         config_agent_info{{version=\"0.1.0\",role=\"prometheus\"}} 1\n\
         config_agent_healthy 1\n\
         config_agent_faults 0\n\
         config_agent_revision_age_seconds 7200\n\
         config_agent_sapi_last_success_age_seconds 30\n\
         config_agent_daemon_up{{daemon=\"prometheus\"}} 1\n{more}"
    )
}

impl Site {
    /// One with CNS, and no instance of ours.
    pub(super) async fn new() -> Self {
        let mut facts = facts();
        let cns_address = own_address();
        for vm in &mut facts.vms {
            let own =
                if vm.uuid == ids::CNS0 { cns_address } else { own_address() };
            vm.nics[0].ip = own;
        }
        let config = CnsConfig::new(&facts);
        let triton = Triton::start(facts).await.unwrap();
        let cns = Cns::new(triton.datacenter.clone(), config);
        let listener = TcpListener::bind((cns_address, 80)).await.unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(cns.clone().serve_rest(listener, stop.clone()));
        let service = json!({"uuid": SERVICE, "name": "prometheus",
            "application_uuid": ids::SDC, "type": "vm",
            "params": {"image_uuid": ids::CORE_IMAGE}});
        triton.sapi.handle.put(Kind::Service, service);
        let _stop = stop.clone().drop_guard();
        Self { triton, cns, stop, _stop }
    }

    /// An instance of prometheus, number `n`, on a server of its own. Nothing
    /// answers in its zone yet.
    pub(super) fn prometheus(&self, n: usize, address: Ipv4Addr) -> String {
        let uuid = format!("d0000000-0000-4000-8000-{n:012x}");
        let instance = json!({"uuid": uuid, "service_uuid": SERVICE,
            "params": {"alias": format!("prometheus{n}")}});
        self.triton.sapi.handle.put(Kind::Instance, instance);
        let server = [ids::HEADNODE, ids::SERVER1][n % 2];
        self.zone(&uuid, &format!("prometheus{n}"), server, address);
        uuid
    }

    /// A zone of the admin account.
    pub(super) fn zone(
        &self,
        uuid: &str,
        alias: &str,
        server: &str,
        address: Ipv4Addr,
    ) {
        self.triton.datacenter.update(|facts| {
            let like = facts.vms[0].clone();
            facts.vms.push(Vm {
                uuid: uuid.to_owned(),
                alias: alias.to_owned(),
                server_uuid: server.to_owned(),
                nics: vec![Nic { ip: address, ..like.nics[0].clone() }],
                ..like
            });
        });
    }

    /// An instance whose agent and Prometheus are well.
    pub(super) async fn well(&self, n: usize) -> Ipv4Addr {
        let address = own_address();
        self.prometheus(n, address);
        self.answers(address, 9165, Zone::Text(agent_says(""))).await;
        self.answers(address, 9090, Zone::Text("healthy".into())).await;
        address
    }

    /// From now on a zone answers like this on a port.
    pub(super) async fn answers(&self, ip: Ipv4Addr, port: u16, zone: Zone) {
        let at = SocketAddr::from((ip, port));
        let listener = TcpListener::bind(at).await.unwrap();
        let stop = self.stop.clone();
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            let mut zone = zone;
            while let Ok((stream, _)) = listener.accept().await {
                let next = match &zone {
                    Zone::First(both) => both[1].clone(),
                    only => only.clone(),
                };
                let zone = std::mem::replace(&mut zone, next);
                tokio::spawn(async move {
                    let _ = answer(stream, &zone).await;
                });
            }
        }));
    }

    /// Each API as it is called, and what makes it misbehave.
    pub(super) fn ill(&self, api: &str, fault: Fault) {
        let triton = &self.triton;
        match api {
            "SAPI" => triton.sapi.handle.front().set_fault(fault),
            "VMAPI" => triton.vmapi.handle.front().set_fault(fault),
            "IMGAPI" => triton.imgapi.handle.front().set_fault(fault),
            "CNAPI" => triton.cnapi.handle.front().set_fault(fault),
            "NAPI" => triton.napi.handle.front().set_fault(fault),
            "FWAPI" => triton.fwapi.handle.front().set_fault(fault),
            other => panic!("no such API: {other}"),
        }
    }

    pub(super) async fn run(&self, words: &[&str]) -> Ended {
        monadm(&self.triton.sapi.url(), words).await
    }

    /// What a verb says by `--json`, and its exit code.
    pub(super) async fn json(&self, words: &[&str]) -> (i32, Value) {
        let words = [words, &["--json", "--timeout", "2"]].concat();
        let ended = self.run(&words).await;
        let said = serde_json::from_str(&ended.stdout);
        let said = said.unwrap_or_else(|e| panic!("{e}: {ended:?}"));
        (ended.code.expect("it was not killed"), said)
    }
}

/// Findings as `weight about: says`.
pub(super) fn found(said: &Value) -> Vec<String> {
    let all = said["findings"].as_array().unwrap().iter();
    let word = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    all.map(|one| {
        let [weight, about, says] =
            ["weight", "about", "says"].map(|key| word(one, key));
        format!("{weight} {about}: {says}")
    })
    .collect()
}

async fn answer(mut stream: TcpStream, zone: &Zone) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    said(stream, zone).await
}

async fn said(mut stream: TcpStream, zone: &Zone) -> std::io::Result<()> {
    let text = |status: u16, date: &str, body: &str| {
        format!(
            "HTTP/1.1 {status} X\r\n{date}content-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            body.len()
        )
    };
    match zone {
        Zone::Text(body) => {
            stream.write_all(text(200, "", body).as_bytes()).await?;
        }
        Zone::At(date, body) => {
            let date = format!("date: {date}\r\n");
            stream.write_all(text(200, &date, body).as_bytes()).await?;
        }
        Zone::Status(status) => {
            stream.write_all(text(*status, "", "").as_bytes()).await?;
        }
        Zone::First(both) => {
            return Box::pin(said(stream, &both[0])).await;
        }
        Zone::Close => {}
        Zone::Hang => std::future::pending().await,
        Zone::Garbage => stream.write_all(b"\x00\xff SSH-2.0\r\n\r\n").await?,
        Zone::Huge => {
            let head = "HTTP/1.1 200 X\r\nconnection: close\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream.write_all(&[b'a'; 1 << 16]).await?;
            }
        }
        Zone::Trickle => {
            for byte in text(200, "", &agent_says("")).bytes() {
                stream.write_all(&[byte]).await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    stream.shutdown().await
}
