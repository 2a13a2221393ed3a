// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Which secondaries CNS knows: the look at an address after a transfer, and
//! NOTIFY to those it recorded.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use hickory_proto::op::{
    Edns, Message, MessageType, OpCode, Query, ResponseCode,
};
use hickory_proto::rr::{DNSClass, RData, RecordType};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, info};

use super::server::Pending;
use super::{Cns, PeerConfig};
use crate::dns_server::name_of;

/// Checks and NOTIFY messages under way at once.
const MAX_TASKS: usize = 64;
/// Peers remembered at most; the real one has no limit.
const MAX_PEERS: usize = 1024;
/// How often a peer that lags is looked at; the real one never gives up.
const MAX_CHECKS: usize = 30;
/// After so many failures a peer is left alone.
const MAX_FAILURES: u32 = 5;
/// EDNS size of the SOA query.
const CHECK_UDP: u16 = 1200;

/// What a recorded peer asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PeerCounters {
    pub(super) soa: u64,
    pub(super) ixfr: u64,
    pub(super) axfr: u64,
    pub(super) goodxfer: u64,
}

/// One secondary that answered for a zone it had transferred.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    pub(super) serials: BTreeMap<String, u32>,
    pub(super) version: Option<String>,
    pub(super) using_notify: bool,
    pub(super) using_ixfr: bool,
    pub(super) counters: PeerCounters,
    failures: u32,
    last_confirmed: Option<Instant>,
    last_failure: Option<Instant>,
}

impl Peer {
    /// Whether NOTIFY may go there. Five failures close the door until a
    /// confirmed transfer is old enough and nothing failed since.
    fn may_notify(&mut self, forgive_after: Duration) -> bool {
        let forgiven = self.last_confirmed.is_some_and(|at| {
            at.elapsed() >= forgive_after && self.last_failure < Some(at)
        });
        if self.failures >= MAX_FAILURES && forgiven {
            self.failures = 0;
        }
        self.failures < MAX_FAILURES
    }
}

/// All recorded peers.
#[derive(Clone, Debug, Default)]
pub(super) struct Peers(pub(super) BTreeMap<IpAddr, Peer>);

impl Peers {
    /// Counts for a recorded peer; others are not counted.
    pub(super) fn count(
        &mut self,
        ip: IpAddr,
        change: impl FnOnce(&mut PeerCounters),
    ) {
        if let Some(peer) = self.0.get_mut(&ip) {
            change(&mut peer.counters);
        }
    }

    /// The oldest serial of a zone that a known peer holds.
    fn oldest(&self, zone: &str) -> Option<u32> {
        self.0.values().filter_map(|peer| peer.serials.get(zone)).min().copied()
    }

    fn record(&mut self, done: &Transferred, held: u32) {
        if self.0.len() >= MAX_PEERS && !self.0.contains_key(&done.ip) {
            return;
        }
        let peer = self.0.entry(done.ip).or_default();
        peer.serials.insert(done.zone.clone(), held);
        if held >= done.serial {
            peer.using_ixfr |= done.incremental;
            peer.last_confirmed = Some(Instant::now());
            let counters = &mut peer.counters;
            counters.goodxfer += 1;
            counters.ixfr += u64::from(done.incremental);
            counters.axfr += u64::from(!done.incremental);
        }
    }
}

/// A transfer that went out.
#[derive(Clone, Debug)]
pub(super) struct Transferred {
    pub(super) ip: IpAddr,
    pub(super) zone: String,
    pub(super) serial: u32,
    pub(super) incremental: bool,
}

/// Checks after transfers; every `notify_interval`, history is cleaned up
/// and lagging peers get one NOTIFY for each zone. Ends never by itself.
pub(super) async fn run(
    cns: &Cns,
    socket: &std::sync::Arc<UdpSocket>,
    mut transferred: mpsc::Receiver<Transferred>,
    pending: &Pending,
) {
    let mut cycle = interval(cns.state().config.peers.notify_interval);
    cycle.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Asked from where it answers: secondaries know it by that address.
    let own = socket.local_addr().map(|at| at.ip()).ok();
    // Aborted when dropped.
    let mut tasks = JoinSet::new();
    loop {
        // Channel, timer and JoinSet lose nothing when another arm wins.
        tokio::select! {
            Some(done) = transferred.recv() => {
                if tasks.len() < MAX_TASKS {
                    tasks.spawn(check(cns.clone(), own, done));
                }
            }
            _ = cycle.tick() => {
                for (ip, zone) in clean_up(cns) {
                    if tasks.len() < MAX_TASKS {
                        tasks.spawn(notify(
                            cns.clone(),
                            std::sync::Arc::clone(socket),
                            std::sync::Arc::clone(pending),
                            ip,
                            zone,
                        ));
                    }
                }
            }
            Some(_) = tasks.join_next() => (),
        }
    }
}

/// Trims all histories and returns who wants a NOTIFY.
fn clean_up(cns: &Cns) -> Vec<(IpAddr, String)> {
    let mut state = cns.state();
    let state = &mut *state;
    let forgive_after = state.config.peers.forgive_after;
    let mut due = Vec::new();
    for (zone, history) in &mut state.zones {
        history.trim(state.peers.oldest(zone));
        for (ip, peer) in &mut state.peers.0 {
            let behind = peer
                .serials
                .get(zone)
                .is_some_and(|held| *held < history.serial());
            if behind && peer.may_notify(forgive_after) {
                due.push((*ip, zone.clone()));
            }
        }
    }
    due
}

/// Asks the address that transferred for the zone's SOA and records it.
async fn check(cns: Cns, own: Option<IpAddr>, done: Transferred) {
    let config = cns.state().config.peers.clone();
    for _ in 0..MAX_CHECKS {
        sleep(config.delay).await;
        cns.state().counters.peer_checks += 1;
        let soa = ask(&config, own, done.ip, &done.zone, RecordType::SOA);
        let serial = soa.await.and_then(|reply| match reply.answers.first() {
            Some(record) => match &record.data {
                RData::SOA(soa) => Some(soa.serial),
                _ => None,
            },
            None => None,
        });
        let Some(held) = serial else {
            debug!(ip = %done.ip, "no secondary answers there");
            return;
        };
        cns.state().peers.record(&done, held);
        if held >= done.serial {
            info!(ip = %done.ip, zone = %done.zone, "peer confirmed");
            break;
        }
    }
    for name in ["version.server", "version.bind", "version._cns_meta"] {
        let reply = ask(&config, own, done.ip, name, RecordType::TXT).await;
        let text = reply.and_then(|reply| match &reply.answers.first()?.data {
            RData::TXT(text) => Some(text.to_string()),
            _ => None,
        });
        if text.is_some() {
            let mut state = cns.state();
            if let Some(peer) = state.peers.0.get_mut(&done.ip) {
                peer.version = text;
            }
            return;
        }
    }
}

/// One question to a secondary, from a random port. `None` unless a good
/// answer comes in time.
async fn ask(
    config: &PeerConfig,
    own: Option<IpAddr>,
    ip: IpAddr,
    name: &str,
    record_type: RecordType,
) -> Option<Message> {
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let mut message =
        Message::new(fastrand::u16(..), MessageType::Query, OpCode::Query);
    let mut question = Query::query(name_of(name)?, record_type);
    if record_type == RecordType::TXT && name != "version._cns_meta" {
        question.set_query_class(DNSClass::CH);
    }
    message.add_query(question);
    let mut edns = Edns::new();
    edns.set_max_payload(CHECK_UDP);
    message.set_edns(edns);
    let exchange = async {
        let own = own.filter(|own| own.is_ipv4() == ip.is_ipv4());
        let socket = UdpSocket::bind((own.unwrap_or(any), 0)).await.ok()?;
        socket.connect((ip, config.port)).await.ok()?;
        socket.send(&message.to_vec().ok()?).await.ok()?;
        let mut buffer = [0_u8; CHECK_UDP as usize];
        let length = socket.recv(&mut buffer).await.ok()?;
        Message::from_vec(&buffer[..length]).ok()
    };
    let reply = timeout(config.timeout, exchange).await.ok()??;
    let good = reply.metadata.id == message.metadata.id
        && reply.metadata.response_code == ResponseCode::NoError;
    good.then_some(reply)
}

/// One NOTIFY: opcode 4, the SOA question, neither AA nor an answer.
async fn notify(
    cns: Cns,
    socket: std::sync::Arc<UdpSocket>,
    pending: Pending,
    ip: IpAddr,
    zone: String,
) {
    let config = cns.state().config.peers.clone();
    let Some(name) = name_of(&zone) else { return };
    let id = fastrand::u16(..);
    let mut message = Message::new(id, MessageType::Query, OpCode::Notify);
    message.add_query(Query::query(name, RecordType::SOA));
    let Ok(bytes) = message.to_vec() else { return };
    let (good, answered) = oneshot::channel();
    pending.lock().expect("no holder panics").insert((ip, id), good);
    let to = SocketAddr::new(ip, config.port);
    let sent = socket.send_to(&bytes, to).await.is_ok();
    cns.state().counters.notify_sent += u64::from(sent);
    let good = sent
        && matches!(
            timeout(config.notify_timeout, answered).await,
            Ok(Ok(true))
        );
    pending.lock().expect("no holder panics").remove(&(ip, id));
    let mut state = cns.state();
    state.counters.notify_answered += u64::from(good);
    if let Some(peer) = state.peers.0.get_mut(&ip) {
        if good {
            peer.using_notify = true;
            peer.failures = 0;
        } else {
            peer.failures += 1;
            peer.last_failure = Some(Instant::now());
        }
    }
}

/// The address in a REST path.
pub(super) fn parse_ip(text: &str) -> Option<IpAddr> {
    IpAddr::from_str(text).ok()
}
