// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The real agent as a secondary when things go wrong around it: killed while
//! it transfers and writes, a full disk, a clock that jumps, primaries and
//! upstreams that keep silent. Names from the store go on being answered.
#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

mod clock;
mod disk;
mod killed;
mod silence;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use localdc::agent_bench::{Agent, Bench, Starter, eventually};
use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::dns_secondary::real::{Kind, Real, Signed, ZONE};

/// What is answered from memory comes within this, on a busy machine too.
const PROMPT: Duration = Duration::from_secs(2);

/// A bench whose agent follows one zone of a real primary, whole transfers
/// only, and asks for it many times a second.
struct Rig {
    bench: Bench,
    real: Real,
    at: SocketAddr,
}

impl Rig {
    /// With so many records that nothing is done in a moment.
    async fn start(filler: usize, seed: u64) -> Self {
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let real =
            Real::large(Kind::Knot, Signed::No, nobody, seed, filler).await;
        let mut bench = Bench::new().await;
        let at = SocketAddr::from((bench.address, 5353));
        let primary = real.at();
        bench.configure(json!({
            "dnsListen": [at],
            "logLevel": "info",
            "dns": {"saveGapMin": 1, "saveGapMax": 50},
            "secondary": {
                "notify": false,
                "incremental": false,
                "refreshMin": 20,
                "refreshMax": 50,
                "shrinkPercent": 0,
                "zones": [{"name": ZONE, "primaries":
                    [{"address": primary.ip(), "port": primary.port()}]}],
            },
        }));
        Self { bench, real, at }
    }

    fn starter(&self, script: &str) -> Starter {
        self.bench.starter().prepared_by(script)
    }

    fn zones(&self) -> PathBuf {
        self.bench.path("state/zones")
    }

    fn file(&self) -> PathBuf {
        self.zones().join(format!("{ZONE}.zone"))
    }

    /// The serial it answers with, once it answers at all. What is answered
    /// must be the zone's.
    async fn first_serial(&self) -> u32 {
        eventually("an answer", async || serial(self.at).await).await
    }

    async fn until_serial(&self, wanted: u32) {
        eventually(&format!("serial {wanted}"), async || {
            (serial(self.at).await? == wanted).then_some(())
        })
        .await;
    }

    /// How the agent's status has the zone.
    async fn zone(&self) -> Option<Value> {
        let report = self.bench.report().await?;
        let zones = report["zones"].as_array()?.iter();
        zones.clone().find(|zone| zone["name"] == ZONE).cloned()
    }

    async fn until_zone(&self, what: &str, holds: impl Fn(&Value) -> bool) {
        let mut last = None;
        let seen = eventually(what, async || {
            let zone = self.zone().await?;
            if last.as_ref() != Some(&zone["last_error"]) {
                println!("{zone}");
            }
            last = Some(zone["last_error"].clone());
            holds(&zone).then_some(())
        });
        seen.await;
    }

    /// What is on disk, as the agent sees it, is a whole zone.
    fn assert_readable(&self, agent: &Agent) {
        let bytes = std::fs::read(agent.sees(&self.file())).unwrap();
        serial_of(&bytes);
    }
}

/// Of a zone file, which must be whole.
fn serial_of(file: &[u8]) -> u32 {
    use monitoring_agent::dns::{ZoneLimits, reread};
    use monitoring_agent::model::dns::ZoneName;
    let zone = ZoneName::parse(ZONE).unwrap();
    let read = reread(&zone, file, true, ZoneLimits::default());
    let read = read.unwrap_or_else(|| panic!("{} bytes, damaged", file.len()));
    read.serial
}

/// One question by datagram; `None` while nobody answers.
async fn ask(
    at: SocketAddr,
    name: &str,
    rtype: RecordType,
    limit: Duration,
) -> Option<Message> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    let name = Name::from_ascii(name).unwrap();
    message.add_query(Query::query(name, rtype));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(at).await.unwrap();
    socket.send(&message.to_vec().unwrap()).await.ok()?;
    let mut buffer = vec![0; 4096];
    let len = timeout(limit, socket.recv(&mut buffer)).await.ok()?.ok()?;
    Some(Message::from_vec(&buffer[..len]).unwrap())
}

/// Of the zone's SOA. An answer that is none is the end of the test.
async fn serial(at: SocketAddr) -> Option<u32> {
    let apex = format!("{ZONE}.");
    let answer = ask(at, &apex, RecordType::SOA, PROMPT).await?;
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    match answer.answers[..] {
        [ref soa] => match &soa.data {
            RData::SOA(soa) => Some(soa.serial),
            other => panic!("{other:?}"),
        },
        ref other => panic!("{other:?}"),
    }
}
