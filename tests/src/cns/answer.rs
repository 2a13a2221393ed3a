// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What CNS says to an ordinary query, its errors included. Pure; transfers
//! are in `transfer.rs`.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::CnsConfig;
use super::history::ZoneHistory;
use super::zone::{Contents, Data};
use crate::dns_server::{MNAME_UDP, answer_to, error_to, name_of, text_of};

/// NS records live longer than anything else in a CNS zone.
const NS_TTL: u32 = 3600;
/// The SOA's expire field: 30 days.
const EXPIRE: i32 = 2_592_000;
/// The SOA's minimum field.
const MINIMUM: u32 = 30;

/// One zone as it stood when a query came.
#[derive(Clone, Debug)]
pub(crate) struct ZoneView {
    /// Zone name.
    pub(crate) name: Name,
    mname: Name,
    rname: Name,
    ns: Vec<Name>,
    ttl: u32,
    refresh: i32,
    retry: i32,
    /// Serial, records, steps.
    pub(crate) history: ZoneHistory,
}

impl ZoneView {
    /// `None` if the configured names cannot be put into DNS.
    pub(crate) fn new(
        config: &CnsConfig,
        zone: &str,
        history: ZoneHistory,
    ) -> Option<Self> {
        let forward =
            config.naming.forward_zones.iter().find(|z| z.name == zone);
        let peers = forward.map(|z| z.peers.as_slice()).unwrap_or_default();
        let hidden = forward.is_some_and(|z| z.hidden_primary);
        let shown = peers.first().filter(|_| hidden);
        let own = Some(&config.my_name).filter(|_| shown.is_none());
        Some(Self {
            name: name_of(zone)?,
            mname: name_of(shown.unwrap_or(&config.my_name))?,
            rname: name_of(&config.hostmaster.replacen('@', ".", 1))?,
            ns: own
                .into_iter()
                .chain(peers)
                .filter_map(|n| name_of(n))
                .collect(),
            ttl: config.ttl,
            refresh: config.refresh,
            retry: config.retry,
            history,
        })
    }

    /// The SOA with any serial.
    pub(crate) fn soa(&self, serial: u32) -> Record {
        let soa = SOA::new(
            self.mname.clone(),
            self.rname.clone(),
            serial,
            self.refresh,
            self.retry,
            EXPIRE,
            MINIMUM,
        );
        Record::from_rdata(self.name.clone(), self.ttl, RData::SOA(soa))
    }

    /// The NS records.
    pub(crate) fn ns(&self) -> impl Iterator<Item = Record> {
        self.ns.iter().map(|ns| {
            let ns = RData::NS(NS(ns.clone()));
            Record::from_rdata(self.name.clone(), NS_TTL, ns)
        })
    }

    /// One record; `None` for a name that DNS does not take, which the
    /// contents do not hold.
    pub(crate) fn record(&self, owner: &Name, data: &Data) -> Option<Record> {
        let rdata = match data {
            Data::A(ip) => RData::A(A(*ip)),
            Data::Txt(text) => RData::TXT(TXT::new(vec![text.clone()])),
            Data::Srv { port, target } => {
                RData::SRV(SRV::new(0, 10, *port, name_of(target)?))
            }
            Data::Cname(target) => RData::CNAME(CNAME(name_of(target)?)),
            Data::Ptr(target) => RData::PTR(PTR(name_of(target)?)),
        };
        Some(Record::from_rdata(owner.clone(), self.ttl, rdata))
    }

    fn records(
        &self,
        owner: &Name,
        contents: &Contents,
        record_type: RecordType,
    ) -> Vec<Record> {
        let key = text_of(owner).to_ascii_lowercase();
        contents
            .get(&key)
            .into_iter()
            .flatten()
            .filter_map(|data| self.record(owner, data))
            .filter(|record| record.record_type() == record_type)
            .collect()
    }
}

/// Answers a query for something in (or only textually below) the zone.
pub(crate) fn answer(query: &Message, zone: &ZoneView) -> Message {
    let Some(question) = query.queries.first() else {
        return error_to(query, ResponseCode::FormErr);
    };
    let (name, wanted) = (&question.name, question.query_type);
    let serial = zone.history.serial();
    let contents = zone.history.contents();
    let mut reply = answer_to(query, MNAME_UDP);
    reply.metadata.authoritative = true;
    let key = text_of(name).to_ascii_lowercase();
    if *name == zone.name {
        match wanted {
            RecordType::SOA => {
                let mut soa = zone.soa(serial);
                soa.name = name.clone();
                reply.answers.push(soa);
                reply.authorities.extend(zone.ns());
            }
            RecordType::NS => {
                // Without AA, alone among the answers.
                reply.metadata.authoritative = false;
                reply.answers.extend(zone.ns());
            }
            _ => negative(&mut reply, zone, ResponseCode::NXDomain),
        }
        return reply;
    }
    // Only owners of records exist: an empty non-terminal is NXDOMAIN.
    if !contents.contains_key(&key) {
        negative(&mut reply, zone, ResponseCode::NXDomain);
        return reply;
    }
    let mut answers = zone.records(name, contents, wanted);
    if answers.is_empty() {
        answers = zone.records(name, contents, RecordType::CNAME);
        let target = answers.first().and_then(|record| match &record.data {
            RData::CNAME(CNAME(target)) => Some(target.clone()),
            _ => None,
        });
        if let Some(target) = target {
            answers.extend(zone.records(&target, contents, wanted));
        }
    }
    if answers.is_empty() {
        negative(&mut reply, zone, ResponseCode::NoError);
        return reply;
    }
    for record in &answers {
        if let RData::SRV(srv) = &record.data {
            let a = zone.records(&srv.target, contents, RecordType::A);
            for address in a {
                if !reply.additionals.contains(&address) {
                    reply.additionals.push(address);
                }
            }
        }
    }
    reply.answers = answers;
    reply.authorities.extend(zone.ns());
    reply
}

fn negative(reply: &mut Message, zone: &ZoneView, code: ResponseCode) {
    reply.metadata.response_code = code;
    reply.authorities.push(zone.soa(zone.history.serial()));
}
