// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! One upstream server of a forward zone: a question there and a reply back,
//! by UDP and TCP or by TLS. A reply of any rcode means "alive", only silence
//! and network errors mean "down"; what a rcode means is left to `judge.rs`.
//!
//! Against forged replies: the system draws the port and a cryptographic
//! generator the id, anew for each question; the socket is connected, so only
//! the server's address counts; the question must come back, and in the mix of
//! capitals it was sent in, where the server bears that
//! (draft-vixie-dnsext-dns0x20). Binder does not: it is asked in lower case.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::Name;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use super::health::{Health, UpstreamState, UpstreamStatus};
use super::kept::Question;
use super::line::Line;
use crate::dns::error::DnsError;
use crate::dns::exchange;
use crate::model::dns::ZoneName;

/// How a question to one server went.
#[derive(Debug)]
pub(crate) enum Tried {
    /// With the time it took; `None` where that says little about the way.
    Reply { message: Box<Message>, time: Option<Duration> },
    /// Nothing in time.
    Silent(DnsError),
    /// The network or the server broke it off.
    Broken(DnsError),
}

/// How a server takes capitals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Case {
    /// Not seen yet.
    Unknown,
    /// Gives the question back as it was.
    Kept,
    /// Does not, or takes it for another name.
    Lost,
    /// Not to be tried.
    Never,
}

pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    /// For the log and the status.
    pub(crate) suffix: ZoneName,
    source: Option<IpAddr>,
    /// Questions go this way, if by TLS.
    line: Option<Line>,
    /// Signatures are wanted with the answers.
    signed: bool,
    /// It takes EDNS for an error (RFC 6891 §6.2.2) and is asked without.
    plain: AtomicBool,
    case: AtomicU8,
    health: Mutex<Health>,
}

impl Server {
    /// Nothing is sent before the first question. `case`: whether it may be
    /// asked in mixed case; `signed`: whether for signatures, too.
    pub(crate) fn new(
        suffix: ZoneName,
        addr: SocketAddr,
        source: Option<IpAddr>,
        case: Case,
        line: Option<Line>,
        signed: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            addr,
            suffix,
            source,
            line,
            signed,
            plain: AtomicBool::new(false),
            case: AtomicU8::new(case as u8),
            health: Mutex::default(),
        })
    }

    pub(crate) fn health(&self) -> MutexGuard<'_, Health> {
        // Numbers; a panic between two leaves numbers.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> UpstreamState {
        self.health().state
    }

    pub(crate) fn status(&self) -> UpstreamStatus {
        let health = self.health();
        UpstreamStatus {
            suffix: self.suffix.clone(),
            addr: self.addr,
            tls: self.line.is_some(),
            alive: health.state != UpstreamState::Open,
            state: health.state,
            rtt: health.rtt(),
            counts: health.counts,
            last_error: health.last_error.clone(),
        }
    }

    /// Asks within `limit` and takes note of how that went.
    pub(crate) async fn ask(
        &self,
        question: &Question,
        limit: Duration,
    ) -> Tried {
        let started = Instant::now();
        let asking = async {
            match &self.line {
                Some(line) => self.by_tls(line, question, started).await,
                None => self.by_datagram(question, started).await,
            }
        };
        let silent = DnsError::Silent { server: self.addr, limit };
        let tried = match timeout(limit, asking).await {
            Err(_) => Tried::Silent(silent),
            Ok(Ok(tried)) => tried,
            Ok(Err(error)) => Tried::Broken(error),
        };
        self.note(&tried);
        tried
    }

    async fn by_tls(
        &self,
        line: &Line,
        question: &Question,
        started: Instant,
    ) -> Result<Tried, DnsError> {
        let query = self.query(question.name(), question);
        let message = Box::new(line.ask(query).await?);
        Ok(Tried::Reply { message, time: Some(started.elapsed()) })
    }

    async fn by_datagram(
        &self,
        question: &Question,
        started: Instant,
    ) -> Result<Tried, DnsError> {
        let lower = question.name();
        let case = self.case();
        if matches!(case, Case::Lost | Case::Never) {
            let (message, sent) = self.exchange(question, lower, false).await?;
            return Ok(reply(message, sent, started));
        }
        let mixed = mix(&lower);
        let strict = case == Case::Kept;
        let (message, sent) =
            self.exchange(question, mixed.clone(), strict).await?;
        let kept = message
            .queries
            .first()
            .is_none_or(|query| query.name().eq_case(&mixed));
        let good = matches!(
            message.metadata.response_code,
            ResponseCode::NoError | ResponseCode::NXDomain
        );
        if case == Case::Kept || kept && good && !message.queries.is_empty() {
            self.learn(Case::Kept);
            return Ok(reply(message, sent, started));
        }
        if !kept {
            self.learn(Case::Lost);
        }
        if good {
            return Ok(reply(message, sent, started));
        }
        // Perhaps it minds the capitals.
        let again = Instant::now();
        let (plain, sent) = self.exchange(question, lower, false).await?;
        if plain.metadata.response_code != message.metadata.response_code {
            self.learn(Case::Lost);
        }
        Ok(reply(plain, sent, again))
    }

    /// By UDP, and by TCP if the answer was cut short. `strict`: only a reply
    /// in the very spelling counts.
    async fn exchange(
        &self,
        question: &Question,
        name: Name,
        strict: bool,
    ) -> Result<(Message, u32), DnsError> {
        let mut query = self.query(name.clone(), question);
        let (mut reply, mut sent) = self.send(&query, strict).await?;
        let minds_edns = |reply: &Message| {
            reply.metadata.response_code == ResponseCode::FormErr
                && reply.edns.is_none()
        };
        if query.edns.is_some() && minds_edns(&reply) {
            query.edns = None;
            (reply, sent) = self.send(&query, strict).await?;
            if !minds_edns(&reply) {
                self.plain.store(true, Ordering::Relaxed);
            }
        }
        if reply.metadata.truncation {
            let (server, source) = (self.addr, self.source);
            let whole = exchange::ask_tcp(server, source, &query).await?;
            // Longer than the way of a datagram.
            return Ok((whole, 2));
        }
        Ok((reply, sent))
    }

    fn query(&self, name: Name, question: &Question) -> Message {
        let mut query = exchange::query(name, question.rtype());
        if self.plain.load(Ordering::Relaxed) {
            query.edns = None;
        } else if let Some(edns) = query.edns.as_mut().filter(|_| self.signed) {
            edns.enable_dnssec();
        }
        query
    }

    async fn send(
        &self,
        query: &Message,
        strict: bool,
    ) -> Result<(Message, u32), DnsError> {
        let resend = self.health().resend();
        let asked = query.queries.first().map(|query| query.name().clone());
        let name = asked.unwrap_or_else(Name::root);
        let (server, source) = (self.addr, self.source);
        let mut odd = 0_u32;
        let accepts = |reply: &Message| {
            let spelled = reply
                .queries
                .first()
                .is_none_or(|query| query.name().eq_case(&name));
            let ours = exchange::answers(reply, query);
            if ours && strict && !spelled {
                odd += 1;
                // Once is a forger. Time and again is a server that has
                // changed its ways: learned anew with the next question.
                if odd > 1 {
                    self.learn(Case::Unknown);
                }
            }
            ours && (spelled || !strict)
        };
        exchange::ask_udp(server, source, query, resend, accepts).await
    }

    fn case(&self) -> Case {
        match self.case.load(Ordering::Relaxed) {
            0 => Case::Unknown,
            1 => Case::Kept,
            2 => Case::Lost,
            _ => Case::Never,
        }
    }

    fn learn(&self, case: Case) {
        self.case.store(case as u8, Ordering::Relaxed);
    }

    fn note(&self, tried: &Tried) {
        let (changed, state) = {
            let mut health = self.health();
            (health.note(tried), health.state)
        };
        let error = match tried {
            Tried::Silent(error) | Tried::Broken(error) => error.chain(),
            Tried::Reply { .. } => String::new(),
        };
        if changed {
            self.tell(state, &error);
        } else if !error.is_empty() {
            debug!(upstream = %self.addr, err.message = error, "no reply");
        }
    }

    /// Says that the circuit has opened or closed.
    pub(crate) fn tell(&self, state: UpstreamState, error: &str) {
        let (suffix, upstream) = (&self.suffix, self.addr);
        match state {
            UpstreamState::Open => warn!(
                %suffix,
                %upstream,
                err.message = error,
                "upstream does not answer"
            ),
            _ => info!(%suffix, %upstream, "upstream is back"),
        }
    }
}

/// Of an answer to a question sent twice nobody knows which it answers (Karn).
fn reply(message: Message, sent: u32, started: Instant) -> Tried {
    let time = (sent == 1).then(|| started.elapsed());
    Tried::Reply { message: Box::new(message), time }
}

/// The name with each letter a capital or not, at random.
fn mix(name: &Name) -> Name {
    let mut coins = [0; 32];
    if SystemRandom::new().fill(&mut coins).is_err() {
        return name.clone();
    }
    let mut at = 0;
    let mut labels = Vec::new();
    for label in name.iter() {
        let mut label = label.to_vec();
        for byte in &mut label {
            if coins[at / 8 % coins.len()] >> (at % 8) & 1 == 1 {
                byte.make_ascii_uppercase();
            }
            at += 1;
        }
        labels.push(label);
    }
    let mixed = Name::from_labels(labels);
    mixed.unwrap_or_else(|_| name.clone())
}
