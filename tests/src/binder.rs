// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Binder, Triton's service DNS: answers A, SRV and PTR for what it was told
//! (in place of ZooKeeper) and turns everything else away with the codes of
//! the real one.
//!
//! Left out: recursion to the binders of other datacenters. Their names are
//! REFUSED, as they are where UFDS lists no resolvers for them.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, PTR, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;

use crate::cns::zone::reverse_name;
use crate::dns_server::{
    self, Handler, MNAME_UDP, Reply, TCP_IDLE, Transport, answer_to, error_to,
    name_of, text_of,
};

/// TTL of core services, in seconds.
const SERVICE_TTL: u32 = 60;
/// TTL of everything that states none, in seconds.
const DEFAULT_TTL: u32 = 30;
/// Different questions counted; later ones only in the total.
const MAX_COUNTED: usize = 10_000;

/// What is wrong with a binder just now; nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BinderFaults {
    /// No reply at all.
    pub silent: bool,
    /// ZooKeeper cannot be reached: SERVFAIL.
    pub zookeeper_down: bool,
}

/// A handle on one binder; clones are the same binder.
#[derive(Clone)]
pub struct Binder {
    state: Arc<Mutex<State>>,
}

struct State {
    /// `dnsDomain`, in the case it is configured.
    domain: String,
    faults: BinderFaults,
    services: BTreeMap<String, Service>,
    hosts: BTreeMap<String, Ipv4Addr>,
    pointers: BTreeMap<String, String>,
    counts: HashMap<(String, RecordType), u64>,
    total: u64,
}

#[derive(Default)]
struct Service {
    /// Host name (one label) and address of each live instance.
    instances: Vec<(String, Ipv4Addr)>,
    /// Ports by `_service._protocol`.
    ports: BTreeMap<String, u16>,
}

impl Binder {
    /// A binder for one domain; the case of `domain` is the only one that
    /// queries may use.
    pub fn new(domain: &str) -> Self {
        let state = State {
            domain: domain.trim_end_matches('.').to_owned(),
            faults: BinderFaults::default(),
            services: BTreeMap::new(),
            hosts: BTreeMap::new(),
            pointers: BTreeMap::new(),
            counts: HashMap::new(),
            total: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The live instances of a service, `cns.dc1.triton.test`; none is a
    /// service without a live instance. Hosts get the names `i0`, `i1`, ...
    pub fn set(&self, service: &str, addresses: Vec<Ipv4Addr>) {
        let named = addresses.into_iter().enumerate();
        self.set_instances(
            service,
            named.map(|(n, ip)| (format!("i{n}"), ip)).collect(),
        );
    }

    /// The live instances of a service by host name (one label). Each is
    /// also found under `<host>.<service>`.
    pub fn set_instances(
        &self,
        service: &str,
        instances: Vec<(String, Ipv4Addr)>,
    ) {
        let service = service.to_ascii_lowercase();
        let mut state = self.state();
        let entry = state.services.entry(service.clone()).or_default();
        let gone = std::mem::replace(&mut entry.instances, instances.clone());
        for (host, _) in gone {
            state.hosts.remove(&format!("{host}.{service}"));
        }
        for (host, ip) in instances {
            state.hosts.insert(format!("{host}.{service}"), ip);
        }
    }

    /// A port of a service, found as SRV of `<kind>.<service>`; `kind` is
    /// `_http._tcp` and the like.
    pub fn set_srv(&self, service: &str, kind: &str, port: u16) {
        let mut state = self.state();
        let service = service.to_ascii_lowercase();
        let entry = state.services.entry(service).or_default();
        entry.ports.insert(kind.to_ascii_lowercase(), port);
    }

    /// The name of an address.
    pub fn set_ptr(&self, ip: Ipv4Addr, target: &str) {
        let (_, name) = reverse_name(ip);
        self.state().pointers.insert(name, target.to_owned());
    }

    /// Forgets a service with its hosts and ports.
    pub fn remove(&self, service: &str) {
        self.set_instances(service, Vec::new());
        self.state().services.remove(&service.to_ascii_lowercase());
    }

    /// Makes this binder fail, or heals it.
    pub fn update_faults(&self, change: impl FnOnce(&mut BinderFaults)) {
        change(&mut self.state().faults);
    }

    /// How often a name (any case) was asked for with a type (`A`, `AAAA`).
    pub fn count(&self, name: &str, record_type: &str) -> u64 {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let Ok(record_type) = record_type.parse() else { return 0 };
        let state = self.state();
        state.counts.get(&(name, record_type)).copied().unwrap_or(0)
    }

    /// All queries.
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

impl Handler for Binder {
    fn handle(
        &self,
        _from: SocketAddr,
        _transport: Transport,
        query: &Message,
    ) -> Reply {
        let mut state = self.state();
        let ([question], OpCode::Query) =
            (query.queries.as_slice(), query.metadata.op_code)
        else {
            return Reply::Drop;
        };
        let name = text_of(&question.name);
        state.total += 1;
        let key = (name.to_ascii_lowercase(), question.query_type);
        if state.counts.len() < MAX_COUNTED || state.counts.contains_key(&key) {
            *state.counts.entry(key).or_default() += 1;
        }
        if state.faults.silent {
            return Reply::Drop;
        }
        let message = state
            .answer(query, &question.name, &name, question.query_type)
            .unwrap_or_else(|code| error_to(query, code));
        Reply::one(message)
    }
}

impl State {
    fn answer(
        &self,
        query: &Message,
        owner: &Name,
        name: &str,
        wanted: RecordType,
    ) -> Result<Message, ResponseCode> {
        // The type comes first, then the name, then ZooKeeper: the order
        // among the last two is assumed.
        let lower = match wanted {
            RecordType::A | RecordType::SRV => self.own_name(name)?,
            RecordType::PTR => name.to_ascii_lowercase(),
            _ => return Err(ResponseCode::NotImp),
        };
        if self.faults.zookeeper_down {
            return Err(ResponseCode::ServFail);
        }
        let mut reply = answer_to(query, MNAME_UDP);
        match wanted {
            RecordType::A => self.answer_a(&mut reply, owner, &lower)?,
            RecordType::SRV => self.answer_srv(&mut reply, owner, &lower)?,
            _ => {
                let target = self
                    .pointers
                    .get(&lower)
                    .and_then(|target| name_of(target))
                    .ok_or(ResponseCode::Refused)?;
                reply.answers.push(Record::from_rdata(
                    owner.clone(),
                    DEFAULT_TTL,
                    RData::PTR(PTR(target)),
                ));
            }
        }
        Ok(reply)
    }

    /// Lower-cases a name under the domain. The suffix test comes first, so
    /// that the suffix has to be in the configured case.
    fn own_name(&self, name: &str) -> Result<String, ResponseCode> {
        let prefix = name
            .strip_suffix(&self.domain)
            .and_then(|prefix| prefix.strip_suffix('.'))
            .ok_or(ResponseCode::Refused)?;
        let lower = name.to_ascii_lowercase();
        let plain = lower.bytes().all(|b| {
            b.is_ascii_lowercase()
                || b.is_ascii_digit()
                || matches!(b, b'_' | b'.' | b'-')
        });
        // A search list artefact: `x.dc1.triton.test.dc1.triton.test`.
        let doubled = prefix.contains(&format!(".{}", self.domain));
        if plain && !doubled { Ok(lower) } else { Err(ResponseCode::Refused) }
    }

    fn answer_a(
        &self,
        reply: &mut Message,
        owner: &Name,
        name: &str,
    ) -> Result<(), ResponseCode> {
        if let Some(service) = self.services.get(name) {
            // No live instance: empty, without SOA, and AA and RA are off.
            for (_, ip) in shuffled(&service.instances) {
                reply.answers.push(address(owner, SERVICE_TTL, ip));
            }
            return Ok(());
        }
        let ip = self.hosts.get(name).ok_or(ResponseCode::Refused)?;
        reply.answers.push(address(owner, DEFAULT_TTL, *ip));
        Ok(())
    }

    fn answer_srv(
        &self,
        reply: &mut Message,
        owner: &Name,
        name: &str,
    ) -> Result<(), ResponseCode> {
        let mut parts = name.splitn(3, '.');
        let split = match (parts.next(), parts.next(), parts.next()) {
            (Some(kind), Some(protocol), Some(service))
                if kind.starts_with('_') && protocol.starts_with('_') =>
            {
                Some((format!("{kind}.{protocol}"), service))
            }
            _ => None,
        };
        let asked = split.as_ref().map_or(name, |(_, service)| service);
        if self.hosts.contains_key(asked) {
            reply.authorities.extend(self.soa());
            return Ok(());
        }
        let service = self.services.get(asked).ok_or(ResponseCode::Refused)?;
        let Some(port) =
            split.and_then(|(kind, _)| service.ports.get(&kind).copied())
        else {
            reply.metadata.response_code = ResponseCode::NXDomain;
            reply.authorities.extend(self.soa());
            return Ok(());
        };
        for (host, ip) in shuffled(&service.instances) {
            let Some(host) = name_of(&format!("{host}.{asked}")) else {
                continue;
            };
            let srv = RData::SRV(SRV::new(0, 10, port, host.clone()));
            reply.answers.push(Record::from_rdata(
                owner.clone(),
                SERVICE_TTL,
                srv,
            ));
            reply.additionals.push(address(&host, SERVICE_TTL, ip));
        }
        Ok(())
    }

    /// The SOA of empty and NXDOMAIN answers; its fields are assumed.
    fn soa(&self) -> Option<Record> {
        let zone = name_of(&self.domain)?;
        let mname = name_of(&format!("binder.{}", self.domain))?;
        let rname = name_of(&format!("hostmaster.{}", self.domain))?;
        let soa = SOA::new(mname, rname, 1, 30, 60, 3600, DEFAULT_TTL);
        Some(Record::from_rdata(zone, DEFAULT_TTL, RData::SOA(soa)))
    }
}

fn address(owner: &Name, ttl: u32, ip: Ipv4Addr) -> Record {
    Record::from_rdata(owner.clone(), ttl, RData::A(A(ip)))
}

fn shuffled(instances: &[(String, Ipv4Addr)]) -> Vec<(String, Ipv4Addr)> {
    let mut instances = instances.to_vec();
    fastrand::shuffle(&mut instances);
    instances
}

#[cfg(test)]
mod tests;
