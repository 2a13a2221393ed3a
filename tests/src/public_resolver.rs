// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A public recursive resolver as seen from outside: RA set, addresses from a
//! table, NXDOMAIN for the rest. It asks nobody.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;

use crate::dns_server::{
    self, Handler, Reply, TCP_IDLE, Transport, answer_to, text_of,
};

/// The EDNS size of today's resolvers.
const UDP_LIMIT: u16 = 1232;
/// TTL of all answers, in seconds.
const TTL: u32 = 300;

/// What is wrong with the resolver just now; nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResolverFaults {
    /// No reply at all.
    pub silent: bool,
    /// SERVFAIL to every query.
    pub servfail: bool,
}

/// A handle on one resolver; clones are the same resolver.
#[derive(Clone, Default)]
pub struct PublicResolver {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    names: BTreeMap<String, Vec<Ipv4Addr>>,
    faults: ResolverFaults,
    total: u64,
}

impl PublicResolver {
    /// A resolver that knows no name yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The addresses of a name; none makes it a name without addresses.
    pub fn set(&self, name: &str, addresses: Vec<Ipv4Addr>) {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.state().names.insert(name, addresses);
    }

    /// Makes the resolver fail, or heals it.
    pub fn update_faults(&self, change: impl FnOnce(&mut ResolverFaults)) {
        change(&mut self.state().faults);
    }

    /// All queries so far.
    pub fn total(&self) -> u64 {
        self.state().total
    }

    /// Serves UDP and TCP until `stop`.
    pub async fn serve(
        self,
        udp: UdpSocket,
        tcp: TcpListener,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let udp = Arc::new(udp);
        dns_server::serve(Arc::new(self), udp, tcp, TCP_IDLE, stop).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

impl Handler for PublicResolver {
    fn handle(
        &self,
        _from: SocketAddr,
        _transport: Transport,
        query: &Message,
    ) -> Reply {
        let mut state = self.state();
        state.total += 1;
        if state.faults.silent {
            return Reply::Drop;
        }
        let mut reply = answer_to(query, UDP_LIMIT);
        reply.metadata.recursion_available = true;
        reply.metadata.response_code = match query.queries.as_slice() {
            _ if state.faults.servfail => ResponseCode::ServFail,
            _ if query.metadata.op_code != OpCode::Query => {
                ResponseCode::NotImp
            }
            [question] => {
                let key = text_of(&question.name).to_ascii_lowercase();
                let found = state.names.get(&key);
                if question.query_type == RecordType::A {
                    reply.answers = found
                        .into_iter()
                        .flatten()
                        .map(|ip| {
                            let data = RData::A(A(*ip));
                            Record::from_rdata(question.name.clone(), TTL, data)
                        })
                        .collect();
                }
                if reply.answers.is_empty() {
                    reply.authorities.push(root_soa());
                }
                match found {
                    Some(_) => ResponseCode::NoError,
                    None => ResponseCode::NXDomain,
                }
            }
            _ => ResponseCode::FormErr,
        };
        Reply::one(reply)
    }

    fn reads_like_mname(&self) -> bool {
        false
    }
}

/// Every negative answer seems to come from the root zone.
fn root_soa() -> Record {
    let root = Name::root();
    let soa = SOA::new(root.clone(), root.clone(), 1, 1800, 900, 604_800, 60);
    Record::from_rdata(root, TTL, RData::SOA(soa))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bind_both;
    use crate::dns_test_client::{ask, ask_tcp, is_silent, query};

    #[tokio::test]
    async fn answers_from_the_table_and_nxdomain_otherwise() {
        let (udp, tcp) = bind_both(Ipv4Addr::LOCALHOST.into()).await.unwrap();
        let at = udp.local_addr().unwrap();
        let resolver = PublicResolver::new();
        resolver.set("Example.org", vec![Ipv4Addr::new(192, 0, 2, 1)]);
        let stop = CancellationToken::new();
        let task = tokio::spawn(resolver.clone().serve(udp, tcp, stop.clone()));

        let known = query("example.ORG", RecordType::A);
        for reply in [ask(at, &known).await, ask_tcp(at, &known).await.unwrap()]
        {
            assert!(reply.metadata.recursion_available);
            assert!(!reply.metadata.authoritative);
            assert_eq!(reply.answers.len(), 1);
        }
        let nodata = query("example.org", RecordType::AAAA);
        let reply = ask(at, &nodata).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
        assert!(reply.answers.is_empty() && reply.authorities.len() == 1);
        let other = query("nowhere.test", RecordType::A);
        let reply = ask(at, &other).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);

        resolver.update_faults(|faults| faults.servfail = true);
        let reply = ask(at, &known).await;
        assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
        resolver.update_faults(|faults| faults.silent = true);
        assert!(is_silent(at, &known).await);
        while resolver.total() < 6 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
        task.await.unwrap().unwrap();
    }
}
