// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! How one upstream is doing: its usual round trip, and whether it is to be
//! asked at all. Plain numbers; who asks and who looks again is elsewhere.
//!
//! ```text
//! good ──overtaken, silent──▶ suspect ──probe unanswered──▶ open
//!   ▲                            │                            │ ▲
//!   └────────── any reply ───────┴────────────────────────────┘ └ refused
//! ```
//!
//! A suspect is asked after all that are good: one name that takes a resolver
//! long does not make it dead, and the probe will tell. One whose circuit is
//! open is asked only when all others are as bad.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::upstream::Tried;
use crate::model::dns::ZoneName;

/// Until a server's time is known, the next is asked after this: with three
/// more to follow, five unknown ones have all been asked within 7 ms.
const UNKNOWN: Duration = Duration::from_millis(4);
/// The least that counts as late: the grain of our timers, and a busy machine.
const GRAIN: Duration = Duration::from_millis(2);
/// A silent first server may cost half a round trip and this.
const SHORT: Duration = Duration::from_millis(15);
/// Bounds of the wait before a datagram is sent again, and what it is while
/// nothing is known (RFC 6298 §2.4 says a second, for the whole Internet;
/// these servers are near).
const RESEND_MIN: Duration = Duration::from_millis(150);
const RESEND_MAX: Duration = Duration::from_secs(1);
const RESEND_UNKNOWN: Duration = Duration::from_millis(300);

/// For how long one that had no answer is asked after the others.
const FRUITLESS: Duration = Duration::from_secs(30);

/// Smaller is better.
pub(crate) type Rank = (UpstreamState, bool, u32);

/// Whether an upstream is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum UpstreamState {
    /// Asked.
    #[default]
    Good,
    /// Late of late: asked after the good ones, and looked at.
    Suspect,
    /// The circuit is open: not asked, but looked at from time to time.
    Open,
}

/// How one upstream is doing.
#[derive(Clone, Debug)]
pub struct UpstreamStatus {
    /// The forward zone it serves.
    pub suffix: ZoneName,
    /// Its address.
    pub addr: SocketAddr,
    /// Whether it is asked by TLS.
    pub tls: bool,
    /// Whether it answers, with whatever rcode. True before the first
    /// question.
    pub alive: bool,
    /// The same in more words.
    pub state: UpstreamState,
    /// Smoothed round-trip time; `None` before the first answer.
    pub rtt: Option<Duration>,
    /// What happened so far.
    pub counts: UpstreamCounts,
    /// Why it is not alive.
    pub last_error: Option<String>,
}

/// What happened with one upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamCounts {
    /// Questions sent, those of probes included, repetitions not.
    pub asked: u64,
    /// Replies to them, of any rcode.
    pub replies: u64,
    /// Replies that were no answer: SERVFAIL, and REFUSED by a resolver.
    pub no_answer: u64,
    /// Replies whose signatures did not hold, where they are checked.
    pub bogus: u64,
    /// Questions that got no reply in time.
    pub silences: u64,
    /// Questions that the network or the other end broke off.
    pub errors: u64,
    /// Times that another one answered first, though asked later.
    pub overtaken: u64,
    /// Times that the circuit opened.
    pub opened: u64,
}

/// The numbers behind it.
#[derive(Debug, Default)]
pub(crate) struct Health {
    pub(crate) state: UpstreamState,
    rtt: Option<Rtt>,
    pub(crate) counts: UpstreamCounts,
    pub(crate) last_error: Option<String>,
    /// A task looks at it.
    pub(crate) probed: bool,
    /// When it last said that it has no answer, if nothing better came since.
    fruitless: Option<Instant>,
}

/// Smoothed time and its variation (RFC 6298 §2).
#[derive(Clone, Copy, Debug)]
struct Rtt {
    smoothed: Duration,
    variation: Duration,
}

impl Rtt {
    fn first(time: Duration) -> Self {
        Self { smoothed: time, variation: time / 2 }
    }

    fn next(self, time: Duration) -> Self {
        let off = self.smoothed.abs_diff(time);
        Self {
            variation: (self.variation * 3 + off) / 4,
            smoothed: (self.smoothed * 7 + time) / 8,
        }
    }

    /// What an answer takes at most, as a rule.
    fn usual(self) -> Duration {
        self.smoothed + (self.variation * 4).max(GRAIN)
    }
}

impl Health {
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.rtt.map(|rtt| rtt.smoothed)
    }

    /// How long to wait for it before another is asked, too.
    ///
    /// The usual round trip; of far servers less, half of it and a little: so
    /// an answer is there within one and a half of them and 20 ms even if the
    /// first ones asked have just died, at the price of a second question.
    pub(crate) fn patience(&self) -> Duration {
        self.rtt
            .map_or(UNKNOWN, |rtt| rtt.usual().min(rtt.smoothed / 2 + SHORT))
    }

    /// How long to wait before a datagram is sent again.
    pub(crate) fn resend(&self) -> Duration {
        self.rtt.map_or(RESEND_UNKNOWN, |rtt| {
            rtt.usual().clamp(RESEND_MIN, RESEND_MAX)
        })
    }

    /// Takes note of how a question went. True when this changed between
    /// being open and not.
    pub(crate) fn note(&mut self, tried: &Tried) -> bool {
        self.counts.asked += 1;
        let before = self.state;
        match tried {
            Tried::Reply { time, .. } => {
                self.counts.replies += 1;
                if let Some(time) = *time {
                    self.rtt = Some(self.rtt.map_or_else(
                        || Rtt::first(time),
                        |rtt| rtt.next(time),
                    ));
                }
                self.state = UpstreamState::Good;
                self.last_error = None;
            }
            Tried::Silent(error) => {
                self.counts.silences += 1;
                self.last_error = Some(error.chain());
                self.state = self.state.max(UpstreamState::Suspect);
            }
            // It need not be waited for: it has said so.
            Tried::Broken(error) => {
                self.counts.errors += 1;
                self.last_error = Some(error.chain());
                self.open();
            }
        }
        (before == UpstreamState::Open) != (self.state == UpstreamState::Open)
    }

    pub(crate) fn open(&mut self) {
        if self.state != UpstreamState::Open {
            self.state = UpstreamState::Open;
            self.counts.opened += 1;
        }
    }

    /// Another one, asked later, has answered; this one has been waited for
    /// so long.
    pub(crate) fn overtaken(&mut self, waited: Duration) {
        let late = self.rtt.map_or(UNKNOWN, Rtt::usual);
        if waited >= late {
            self.counts.overtaken += 1;
            self.state = self.state.max(UpstreamState::Suspect);
        }
    }

    /// It had an answer.
    pub(crate) fn answered(&mut self) {
        self.fruitless = None;
    }

    /// Signatures in what it said did not hold. It is for the judge to say
    /// that this is no answer.
    pub(crate) fn was_bogus(&mut self) {
        self.counts.bogus += 1;
    }

    /// It is alive, but had none: SERVFAIL, REFUSED.
    pub(crate) fn gave_nothing(&mut self, now: Instant) {
        self.counts.no_answer += 1;
        self.fruitless = Some(now);
    }

    /// Whom to ask first: by state; who had no answer of late after the
    /// others, however quick to say so; then by time, in powers of two of a
    /// millisecond, so that equals stay in order. Who is unknown goes first
    /// among the good ones, to become known.
    pub(crate) fn rank(&self, now: Instant) -> Rank {
        let fruitless = self.fruitless.is_some_and(|since| {
            now.saturating_duration_since(since) < FRUITLESS
        });
        let millis = self.rtt.map_or(0, |rtt| rtt.smoothed.as_millis());
        (self.state, fruitless, u128::BITS - millis.leading_zeros())
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, OpCode};

    use super::*;
    use crate::dns::error::DnsError;

    fn reply(millis: u64) -> Tried {
        Tried::Reply {
            message: Box::new(Message::response(0, OpCode::Query)),
            time: Some(Duration::from_millis(millis)),
        }
    }

    fn silence() -> Tried {
        let server = "192.0.2.1:53".parse().unwrap();
        Tried::Silent(DnsError::Silent { server, limit: GRAIN })
    }

    #[test]
    fn the_next_is_asked_in_time_for_the_bound() {
        let mut health = Health::default();
        // Three more follow, a millisecond apart.
        let bound = |rtt: Duration| rtt / 2 + Duration::from_millis(20 - 3);
        assert!(health.patience() < bound(Duration::ZERO));
        for millis in [0, 1, 5, 30, 100, 400] {
            for _ in 0..50 {
                health.note(&reply(millis));
            }
            let rtt = health.rtt().unwrap();
            assert!(rtt.abs_diff(Duration::from_millis(millis)) < GRAIN);
            assert!(health.patience() < bound(rtt), "{millis}");
            assert!(health.patience() >= rtt / 2 + GRAIN.min(rtt));
        }
    }

    #[test]
    fn a_near_server_is_given_its_usual_time() {
        let mut health = Health::default();
        for n in 0..50 {
            health.note(&reply(if n % 2 == 0 { 2 } else { 4 }));
        }
        let patience = health.patience();
        assert!(patience > Duration::from_millis(4), "{patience:?}");
        assert!(patience < Duration::from_millis(9), "{patience:?}");
        assert_eq!(health.resend(), RESEND_MIN);
    }

    #[test]
    fn silence_is_suspect_and_a_word_clears_it() {
        let mut health = Health::default();
        assert!(!health.note(&silence()));
        assert_eq!(health.state, UpstreamState::Suspect);
        assert!(health.last_error.is_some());
        health.open();
        health.open();
        assert_eq!(health.counts.opened, 1);
        assert!(health.note(&reply(1)), "open no more");
        assert_eq!(health.state, UpstreamState::Good);
        assert_eq!(health.last_error, None);
        assert_eq!((health.counts.asked, health.counts.replies), (2, 1));
    }

    #[test]
    fn who_is_late_goes_last_but_not_who_was_not_waited_for() {
        let mut health = Health::default();
        health.note(&reply(20));
        health.overtaken(Duration::from_millis(10));
        assert_eq!(health.state, UpstreamState::Good);
        health.overtaken(Duration::from_millis(100));
        assert_eq!(health.state, UpstreamState::Suspect);
        let now = Instant::now();
        assert!(health.rank(now) > Health::default().rank(now));
    }

    #[test]
    fn the_nearest_is_asked_first() {
        let now = Instant::now();
        let rank = |millis| {
            let mut health = Health::default();
            health.note(&reply(millis));
            health.rank(now)
        };
        assert!(rank(1) < rank(10) && rank(10) < rank(100));
        assert_eq!(rank(4), rank(7), "as good as equal");
        assert!(Health::default().rank(now) <= rank(0));
    }

    #[test]
    fn who_had_no_answer_is_asked_later_for_a_while() {
        let now = Instant::now();
        let (mut near, mut far) = (Health::default(), Health::default());
        near.note(&reply(1));
        far.note(&reply(50));
        near.gave_nothing(now);
        assert!(near.rank(now) > far.rank(now));
        assert!(near.rank(now + FRUITLESS) < far.rank(now + FRUITLESS));
        near.answered();
        assert!(near.rank(now) < far.rank(now));
        assert_eq!(near.counts.no_answer, 1);
    }
}
