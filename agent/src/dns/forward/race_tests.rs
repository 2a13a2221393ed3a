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
use super::tests::{BINDER, always, limits, pool, pool_with, silent};
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

fn closed() -> SocketAddr {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

/// No cache, so that each question is asked.
fn uncached() -> ForwardLimits {
    let mut limits = limits();
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
    let waited = timeout(Duration::from_secs(20), waiting).await;
    waited.unwrap_or_else(|_| panic!("{what}"));
}

/// The best of some: a busy machine may be late, but not always.
const TRIES: usize = 8;

#[tokio::test]
async fn four_of_five_dead_cost_the_first_question_half_a_round_trip() {
    let rtt = Duration::from_millis(30);
    let bound = rtt * 3 / 2 + Duration::from_millis(20);
    let far = Far::new(rtt).await;
    let (quiet, refusing) =
        (silent().await, always(ResponseCode::Refused).await);
    for dead in [closed(), quiet.addr, refusing.addr] {
        let addrs = [dead, dead, dead, dead, far.addr];
        let (mut first, mut later) = (Duration::MAX, Duration::MAX);
        for _ in 0..TRIES {
            let pool = pool_with(Upstreams::Recursive, &addrs, uncached());
            first = first.min(timed(&pool, "first").await);
            let mut worst = Duration::ZERO;
            for n in 0..2 {
                worst = worst.max(timed(&pool, &format!("n{n}")).await);
            }
            later = later.min(worst);
        }
        assert!(first < bound, "{dead}: first after {first:?}");
        // No penalty but the grain of timers.
        let fair = rtt + Duration::from_millis(8);
        assert!(later < fair, "{dead}: later ones after {later:?}");
    }
}

#[tokio::test]
async fn those_that_die_later_cost_no_more() {
    let rtt = Duration::from_millis(30);
    let bound = rtt * 3 / 2 + Duration::from_millis(20);
    let mut best = Duration::MAX;
    for _ in 0..TRIES {
        let mut mortal = Vec::new();
        for _ in 0..4 {
            mortal.push(Far::new(rtt).await);
        }
        let last = Far::new(rtt).await;
        let mut addrs: Vec<SocketAddr> =
            mortal.iter().map(|f| f.addr).collect();
        addrs.push(last.addr);
        let pool = pool_with(Upstreams::Recursive, &addrs, uncached());
        for n in 0..4 {
            timed(&pool, &format!("before{n}")).await;
        }
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
            held.push(timeout(Duration::from_secs(5), rebound).await.unwrap());
        }
        best = best.min(timed(&pool, "after").await);
    }
    assert!(best < bound, "{best:?}");
}

#[tokio::test]
async fn a_healthy_first_server_is_asked_alone() {
    let (first, second) =
        (Far::new(Duration::from_millis(4)).await, Far::new(Duration::ZERO));
    let second = second.await;
    let pool = pool_with(BINDER, &[first.addr, second.addr], uncached());
    for n in 0..4 {
        timed(&pool, &format!("warm{n}")).await;
    }
    // The nearer one by now.
    let before = (
        first.asked.load(Ordering::SeqCst),
        second.asked.load(Ordering::SeqCst),
    );
    for n in 0..50 {
        timed(&pool, &format!("n{n}")).await;
    }
    let more = first.asked.load(Ordering::SeqCst) - before.0;
    // A busy machine makes one late now and then.
    assert!(more < 25, "{more} of 50 asked of both");
    let most = second.asked.load(Ordering::SeqCst) - before.1;
    assert!(most >= 25, "{most} of 50 asked of the nearer");
}

#[tokio::test]
async fn a_code_without_an_answer_means_the_next_at_once() {
    use ResponseCode::{NotImp, Refused, ServFail};
    let good = Far::new(Duration::ZERO).await;
    let mut best = Duration::MAX;
    let mut bad = Vec::new();
    for rcode in [Refused, NotImp, ServFail, Refused] {
        bad.push(always(rcode).await);
    }
    let mut addrs: Vec<SocketAddr> = bad.iter().map(|s| s.addr).collect();
    addrs.push(good.addr);
    for _ in 0..TRIES {
        let pool = pool_with(Upstreams::Recursive, &addrs, uncached());
        best = best.min(timed(&pool, "a").await);
        assert!(pool.upstreams().all(|upstream| upstream.alive));
        let counts = pool.upstreams().next().unwrap().counts;
        assert_eq!((counts.no_answer, counts.silences), (1, 0));
    }
    assert!(best < Duration::from_millis(20), "{best:?}");
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
    let pool = pool_with(BINDER, &[moody.addr, good.addr], uncached());
    timed(&pool, "a").await;
    let status = || pool.upstreams().next().unwrap();
    until("its circuit opens", || !status().alive).await;
    let down = status();
    assert_eq!(down.state, UpstreamState::Open);
    assert!(down.last_error.unwrap().contains("did not answer within"));
    let asked = down.counts.asked;
    for n in 0..20 {
        timed(&pool, &format!("n{n}")).await;
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
    let pool = pool_with(Upstreams::Recursive, &[server.addr], uncached());
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
    let pool = pool(Upstreams::Recursive, &[&dead, &dead]);
    let started = Instant::now();
    let asked = name("a");
    let answer = pool.ask(&asked, RecordType::A).await.into_answer();
    assert_eq!(answer.rcode, ResponseCode::ServFail);
    assert!(started.elapsed() < limits().whole, "bounded");
    until("known", || pool.upstreams().all(|server| !server.alive)).await;
    let started = Instant::now();
    let asked = name("b");
    let answer = pool.ask(&asked, RecordType::A).await.into_answer();
    assert_eq!(answer.rcode, ResponseCode::ServFail);
    assert!(started.elapsed() < limits().each);
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
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let status = pool.upstreams().next().unwrap();
    assert_eq!(status.rtt, None, "nobody knows which was answered");
}
