// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Dead and late upstreams: what they cost, and how they come back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::health::UpstreamState;
use super::tests::{BINDER, always, brief, limits, pool, pool_with, silent};
use super::{ForwardLimits, ForwardPool, Upstreams};
use crate::dns::secondary::fake::{FakeServer, Replies, name, record, reply};

/// An answer to any question for an address.
fn address(query: &Message) -> Message {
    let mut answer = reply(query, ResponseCode::NoError);
    answer.metadata.recursion_available = true;
    let mut record = record("x", 60, "A 10.0.0.1");
    record.name = query.queries[0].name().clone();
    answer.add_answer(record);
    answer
}

/// A server so far away; ends when dropped.
struct Far {
    addr: SocketAddr,
    asked: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Far {
    async fn new(rtt: Duration) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        let (socket, mut tasks) = (Arc::new(socket), JoinSet::new());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tasks.spawn(async move {
            let mut replies = JoinSet::new();
            let mut buffer = [0; 512];
            loop {
                let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let query = Message::from_vec(&buffer[..len]).unwrap();
                let socket = Arc::clone(&socket);
                replies.spawn(async move {
                    sleep(rtt).await;
                    let reply = address(&query).to_vec().unwrap();
                    socket.send_to(&reply, from).await.unwrap();
                });
            }
        });
        Self { addr, asked, _tasks: tasks }
    }
}

/// Nobody is given it who asks for any port.
fn closed() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

/// No cache, so that each question is asked.
fn uncached(mut limits: ForwardLimits) -> ForwardLimits {
    limits.cache.bytes = 0;
    limits
}

/// The time until there is an answer.
async fn timed(pool: &ForwardPool, text: &str) -> Duration {
    let (started, asked) = (Instant::now(), name(text));
    let answer = pool.ask(&asked, RecordType::A).await.into_answer();
    assert_eq!(answer.answers.len(), 1, "{text}: {answer:?}");
    started.elapsed()
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("{what}"));
}

/// Once at least it takes less: a busy machine may be late, but not always.
async fn quick(
    what: &str,
    bound: Duration,
    mut one: impl AsyncFnMut() -> Duration,
) {
    let (begin, mut best) = (Instant::now(), Duration::MAX);
    while best >= bound {
        assert!(begin.elapsed() < PATIENCE, "{what}: {best:?}");
        best = best.min(one().await);
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn four_of_five_dead_cost_the_first_question_half_a_round_trip() {
    let rtt = Duration::from_millis(30);
    let bound = rtt * 3 / 2 + Duration::from_millis(20);
    let far = Far::new(rtt).await;
    let (quiet, refusing) =
        (silent().await, always(ResponseCode::Refused).await);
    for dead in [closed(), quiet.addr, refusing.addr] {
        let addrs = [dead, dead, dead, dead, far.addr];
        let fresh =
            || pool_with(Upstreams::Recursive, &addrs, uncached(limits()));
        quick(&format!("{dead}: first"), bound, async || {
            timed(&fresh(), "first").await
        })
        .await;
        // No penalty but the grain of timers.
        let fair = rtt + Duration::from_millis(8);
        quick(&format!("{dead}: later ones"), fair, async || {
            let pool = fresh();
            timed(&pool, "first").await;
            let mut worst = Duration::ZERO;
            for n in 0..2 {
                worst = worst.max(timed(&pool, &format!("n{n}")).await);
            }
            worst
        })
        .await;
    }
}

#[tokio::test]
async fn those_that_die_later_cost_no_more() {
    let rtt = Duration::from_millis(30);
    let bound = rtt * 3 / 2 + Duration::from_millis(20);
    quick("after", bound, async || {
        let mut mortal = Vec::new();
        for _ in 0..4 {
            mortal.push(Far::new(rtt).await);
        }
        let last = Far::new(rtt).await;
        let mut addrs: Vec<SocketAddr> =
            mortal.iter().map(|f| f.addr).collect();
        addrs.push(last.addr);
        let pool = pool_with(Upstreams::Recursive, &addrs, uncached(limits()));
        let known = || pool.upstreams().all(|server| server.rtt.is_some());
        for n in 0..40 {
            timed(&pool, &format!("before{n}")).await;
            if known() {
                break;
            }
        }
        assert!(known());
        // Bound still, but nobody reads: silence.
        let mut held = Vec::new();
        for far in mortal {
            let addr = far.addr;
            drop(far);
            let rebound = async {
                loop {
                    match UdpSocket::bind(addr).await {
                        Ok(socket) => return socket,
                        Err(_) => sleep(Duration::from_millis(1)).await,
                    }
                }
            };
            // Somebody else may have been given the port.
            match timeout(Duration::from_secs(5), rebound).await {
                Ok(socket) => held.push(socket),
                Err(_) => return Duration::MAX,
            }
        }
        timed(&pool, "after").await
    })
    .await;
}

#[tokio::test]
async fn a_healthy_first_server_is_asked_alone() {
    let begin = Instant::now();
    // A busy machine makes the near one late, and then it is not near.
    loop {
        let far = Far::new(Duration::from_millis(400)).await;
        let near = Far::new(Duration::ZERO).await;
        let addrs = [far.addr, near.addr];
        let pool = pool_with(BINDER, &addrs, uncached(limits()));
        for n in 0..4 {
            timed(&pool, &format!("warm{n}")).await;
        }
        let counts =
            || [&far, &near].map(|server| server.asked.load(Ordering::SeqCst));
        let before = counts();
        for n in 0..50 {
            timed(&pool, &format!("n{n}")).await;
        }
        let after = counts();
        let [more, most] = [0, 1].map(|n| after[n] - before[n]);
        if more < 25 && most >= 25 {
            return;
        }
        let late = begin.elapsed() > PATIENCE;
        assert!(!late, "of 50, {more} asked of the far, {most} of the near");
    }
}

#[tokio::test]
async fn a_code_without_an_answer_means_the_next_at_once() {
    use ResponseCode::{NotImp, Refused, ServFail};
    let good = Far::new(Duration::ZERO).await;
    let mut bad = Vec::new();
    for rcode in [Refused, NotImp, ServFail, Refused] {
        bad.push(always(rcode).await);
    }
    let mut addrs: Vec<SocketAddr> = bad.iter().map(|s| s.addr).collect();
    addrs.push(good.addr);
    let bound = Duration::from_millis(20);
    quick("the next", bound, async || {
        let pool = pool_with(Upstreams::Recursive, &addrs, uncached(limits()));
        let took = timed(&pool, "a").await;
        assert!(pool.upstreams().all(|upstream| upstream.alive));
        let counts = pool.upstreams().next().unwrap().counts;
        if took < bound {
            assert_eq!((counts.no_answer, counts.silences), (1, 0));
        }
        took
    })
    .await;
}

#[tokio::test]
async fn a_dead_server_is_known_for_one_and_comes_back_by_itself() {
    let quiet = Arc::new(AtomicUsize::new(1));
    let now = Arc::clone(&quiet);
    let moody =
        FakeServer::start(move |query, _| match now.load(Ordering::SeqCst) {
            0 => address(query).into(),
            _ => Replies::default(),
        })
        .await;
    let good = Far::new(Duration::ZERO).await;
    let addrs = [moody.addr, good.addr];
    let pool = pool_with(BINDER, &addrs, uncached(brief()));
    timed(&pool, "a").await;
    let status = || pool.upstreams().next().unwrap();
    until("its circuit opens", || !status().alive).await;
    let down = status();
    assert_eq!(down.state, UpstreamState::Open);
    assert!(down.last_error.unwrap().contains("did not answer within"));
    let asked = down.counts.asked;
    for n in 0..20 {
        // No answer in half a second there may be, on a busy machine.
        pool.ask(&name(&format!("n{n}")), RecordType::A).await;
    }
    assert!(status().counts.asked <= asked + 1, "not asked while open");
    quiet.store(0, Ordering::SeqCst);
    until("it is back", || status().alive).await;
    let counts = status().counts;
    assert_eq!((counts.opened, status().last_error), (1, None));
    assert!(counts.replies > 0 && counts.silences > 0);
}

#[tokio::test]
async fn a_name_that_takes_long_does_not_make_its_server_dead() {
    // A domain whose servers are gone; all else it answers.
    let server = FakeServer::start(|query, _| {
        match *query.queries[0].name() == name("hole") {
            true => Replies::default(),
            false => address(query).into(),
        }
    })
    .await;
    let each = Duration::from_secs(2);
    let limits = uncached(ForwardLimits { each, ..limits() });
    let pool = pool_with(Upstreams::Recursive, &[server.addr], limits);
    timed(&pool, "a").await;
    let hole = name("hole");
    for _ in 0..3 {
        let told = pool.ask(&hole, RecordType::A).await;
        assert_eq!(told.into_answer().rcode, ResponseCode::ServFail);
    }
    let status = || pool.upstreams().next().unwrap();
    until("cleared", || status().state == UpstreamState::Good).await;
    assert_eq!(status().counts.opened, 0);
    timed(&pool, "b").await;
}

#[tokio::test]
async fn nobody_waits_long_for_the_dead() {
    let dead = silent().await;
    let addrs = [dead.addr; 2];
    let pool = pool_with(Upstreams::Recursive, &addrs, brief());
    let fails = async |asked: &str| {
        let started = Instant::now();
        let asked = name(asked);
        let answer = pool.ask(&asked, RecordType::A).await.into_answer();
        assert_eq!(answer.rcode, ResponseCode::ServFail);
        started.elapsed()
    };
    quick("bounded", brief().whole, async || fails("a").await).await;
    until("known", || pool.upstreams().all(|server| !server.alive)).await;
    let mut n = 0;
    quick("at once", brief().each, async || {
        n += 1;
        fails(&format!("b{n}")).await
    })
    .await;
}

#[tokio::test]
async fn a_lost_datagram_is_sent_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = FakeServer::start(move |query, _| {
        match count.fetch_add(1, Ordering::SeqCst) {
            0 => Replies::default(),
            _ => address(query).into(),
        }
    })
    .await;
    let pool = pool(BINDER, &[&server]);
    timed(&pool, "a").await;
    assert!(asked.load(Ordering::SeqCst) >= 2);
    let status = pool.upstreams().next().unwrap();
    assert_eq!(status.rtt, None, "nobody knows which was answered");
}
