// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The DNS side of CNS on its sockets: which query goes where, faults, who
//! may transfer.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::answer::{ZoneView, answer};
use super::peers::{self, Transferred};
use super::transfer::{self, Oddities};
use super::{Cns, is_loopback};
use crate::dns_server::{
    self, Handler, MNAME_UDP, Reply, Transport, answer_to, error_to, text_of,
};

/// Transfers whose receiver waits to be looked at; more are passed over.
const MAX_WAITING_CHECKS: usize = 256;

/// NOTIFY messages without response: by peer and message ID.
pub(super) type Pending =
    Arc<Mutex<HashMap<(IpAddr, u16), oneshot::Sender<bool>>>>;

impl Cns {
    /// Serves DNS, looks at secondaries and notifies them, until `stop` or a
    /// crash. NOTIFY leaves from `udp`.
    pub async fn serve_dns(
        self,
        udp: UdpSocket,
        tcp: TcpListener,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let tcp_idle = self.state().config.tcp_idle;
        let udp = Arc::new(udp);
        let (transfers, transferred) = mpsc::channel(MAX_WAITING_CHECKS);
        let pending = Pending::default();
        let front = Arc::new(Front {
            cns: self.clone(),
            transfers,
            pending: Arc::clone(&pending),
        });
        // All arms end for good; what they hold is closed by the drop.
        tokio::select! {
            done = dns_server::serve(
                front, Arc::clone(&udp), tcp, tcp_idle, stop,
            ) => done,
            () = peers::run(&self, &udp, transferred, &pending) => Ok(()),
            () = self.wait_crash() => Ok(()),
        }
    }
}

struct Front {
    cns: Cns,
    transfers: mpsc::Sender<Transferred>,
    pending: Pending,
}

impl Handler for Front {
    fn handle(
        &self,
        from: SocketAddr,
        transport: Transport,
        query: &Message,
    ) -> Reply {
        let reply = self.decide(from.ip(), transport, query);
        let mut state = self.cns.state();
        state.counters.queries += 1;
        if matches!(reply, Reply::Drop) {
            state.counters.dropped += 1;
        }
        reply
    }

    fn response(&self, from: SocketAddr, response: &Message) {
        let key = (from.ip(), response.metadata.id);
        let mut pending = self.pending.lock().expect("no holder panics");
        if let Some(waiting) = pending.remove(&key) {
            let good = response.metadata.op_code == OpCode::Notify
                && response.metadata.response_code == ResponseCode::NoError;
            // The waiting side may have timed out just now.
            let _ = waiting.send(good);
        }
    }
}

impl Front {
    fn decide(
        &self,
        from: IpAddr,
        transport: Transport,
        query: &Message,
    ) -> Reply {
        let mut state = self.cns.state();
        // How it takes a query without a question is assumed.
        let ([question], OpCode::Query) =
            (query.queries.as_slice(), query.metadata.op_code)
        else {
            return Reply::Drop;
        };
        if state.faults.silent || self.cns.crashed() {
            return Reply::Drop;
        }
        let wanted = question.query_type;
        match wanted {
            RecordType::SOA => {
                state.counters.soa += 1;
                state.peers.count(from, |counters| counters.soa += 1);
            }
            RecordType::AXFR => state.counters.axfr += 1,
            RecordType::IXFR => state.counters.ixfr += 1,
            _ => (),
        }
        if state.faults.servfail_all {
            return Reply::one(error_to(query, ResponseCode::ServFail));
        }
        let name = text_of(&question.name);
        if wanted == RecordType::TXT
            && question.query_class == DNSClass::IN
            && name.eq_ignore_ascii_case("version._cns_meta")
        {
            return Reply::one(version(query));
        }
        let Some(zone) = state.view_for(&name) else {
            return Reply::one(error_to(query, ResponseCode::ServFail));
        };
        if !matches!(wanted, RecordType::AXFR | RecordType::IXFR) {
            return Reply::one(answer(query, &zone));
        }
        // Transfers of a name that is not an apex are refused: assumed.
        if !state.may_transfer(from) || question.name != zone.name {
            state.counters.refused += 1;
            return Reply::one(error_to(query, ResponseCode::Refused));
        }
        drop(state);
        self.transfer(from, transport, query, &zone)
    }

    fn transfer(
        &self,
        from: IpAddr,
        transport: Transport,
        query: &Message,
        zone: &ZoneView,
    ) -> Reply {
        let faults = self.cns.faults();
        let odd = Oddities {
            duplicates: faults.duplicate_records,
            empty_steps: faults.empty_diff,
            late_commit: faults.late_commit,
        };
        let wants_differences = query
            .queries
            .first()
            .is_some_and(|question| question.query_type == RecordType::IXFR);
        let mut messages = if wants_differences {
            let Some(serial) = transfer::serial_in(query) else {
                self.cns.crash();
                return Reply::Drop;
            };
            let (messages, differences) =
                transfer::incremental(query, zone, serial, odd);
            let mut state = self.cns.state();
            state.counters.ixfr_differences += u64::from(differences);
            messages
        } else {
            transfer::full(query, zone, odd)
        };
        if let (Transport::Tcp, Some(limit)) =
            (transport, faults.cut_transfer_after)
        {
            messages.truncate(limit);
            return Reply::SendAndCut(messages);
        }
        if !is_loopback(from) {
            let done = Transferred {
                ip: from,
                zone: text_of(&zone.name).to_ascii_lowercase(),
                serial: zone.history.serial(),
                incremental: wants_differences,
            };
            // A full queue only means one check less.
            let _ = self.transfers.try_send(done);
        }
        Reply::Send(messages)
    }
}

/// `version._cns_meta`: CNS and Node version.
fn version(query: &Message) -> Message {
    let mut reply = answer_to(query, MNAME_UDP);
    let text = TXT::new(vec!["0.2.1".to_owned(), "v6.17.1".to_owned()]);
    reply.answers = query
        .queries
        .iter()
        .map(|question| {
            let data = RData::TXT(text.clone());
            Record::from_rdata(question.name.clone(), 0, data)
        })
        .collect();
    reply
}
