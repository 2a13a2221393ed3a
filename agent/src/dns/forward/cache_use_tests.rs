// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the cache and the merging of questions spare the upstreams, and what
//! is given while they are silent.

use futures_util::FutureExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::tests::{Asked, BINDER, brief, limits, pool_with, silent};
use super::{ForwardLimits, ForwardPool, Upstreams};
use crate::dns::secondary::fake::{FakeServer, Replies, name, record, reply};
use crate::dns::serve::answer::Answer;

/// Answers while it is in the mood; counts.
struct Moody {
    server: FakeServer,
    quiet: Arc<AtomicBool>,
    asked: Asked,
}

impl Moody {
    async fn start() -> Self {
        let quiet = Arc::new(AtomicBool::new(false));
        let asked = Asked::default();
        let (mood, seen) = (Arc::clone(&quiet), asked.clone());
        let server = FakeServer::start(move |query, _| {
            if *query.queries[0].name() == name("a") {
                seen.note(query);
            }
            if mood.load(Ordering::SeqCst) {
                return Replies::default();
            }
            let mut answer = reply(query, ResponseCode::NoError);
            answer.metadata.recursion_available = true;
            let mut record = record("a", 60, "A 10.0.0.1");
            record.name = query.queries[0].name().clone();
            answer.add_answer(record);
            answer.into()
        })
        .await;
        Self { server, quiet, asked }
    }

    fn asked(&self) -> usize {
        self.asked.count()
    }

    /// With answers that are fresh for this long.
    fn pool(&self, fresh: Duration) -> ForwardPool {
        let mut limits = limits();
        limits.each = Duration::from_secs(4);
        limits.patience = Duration::from_millis(50);
        limits.cache.max_ttl = fresh;
        pool_with(BINDER, &[self.server.addr], limits)
    }
}

async fn ask(pool: &ForwardPool, text: &str) -> Answer {
    let asked = name(text);
    pool.ask(&asked, RecordType::A).await.into_answer()
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = timeout(Duration::from_secs(60), waiting).await;
    waited.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn many_askers_are_one_question() {
    let moody = Moody::start().await;
    let pool = Arc::new(moody.pool(Duration::from_secs(60)));
    let mut askers = JoinSet::new();
    for _ in 0..200 {
        let pool = Arc::clone(&pool);
        askers.spawn(async move { ask(&pool, "a").await });
    }
    while let Some(answer) = askers.join_next().await {
        assert_eq!(answer.unwrap().answers.len(), 1);
    }
    assert_eq!(moody.asked(), 1);
}

#[tokio::test]
async fn a_question_goes_on_when_its_asker_gives_up() {
    let moody = Moody::start().await;
    let pool = moody.pool(Duration::from_secs(60));
    let asked = name("a");
    // Polled once, and dropped: on its way.
    let asking = pool.ask(&asked, RecordType::A);
    assert!(asking.now_or_never().is_none());
    until("kept", || pool.status().cache.entries == 1).await;
    ask(&pool, "a").await;
    assert_eq!(moody.asked(), 1);
    assert_eq!(pool.status().cache.hits, 1);
}

#[tokio::test]
async fn a_hot_name_is_asked_for_again_before_its_end() {
    let moody = Moody::start().await;
    let pool = moody.pool(Duration::from_millis(400));
    ask(&pool, "a").await;
    let renewing = async {
        while moody.asked() < 2 {
            ask(&pool, "a").await;
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(20), renewing).await.unwrap();
    let cache = pool.status().cache;
    // A machine that slept through the last tenth renews like anyone.
    assert!(cache.prefetches == 1 || cache.misses == 2, "{cache:?}");
}

#[tokio::test]
async fn silence_is_answered_with_what_was() {
    let moody = Moody::start().await;
    let pool = moody.pool(Duration::from_millis(1));
    assert_eq!(ask(&pool, "a").await.answers.len(), 1);
    moody.quiet.store(true, Ordering::SeqCst);
    sleep(Duration::from_millis(2)).await;
    let started = Instant::now();
    let old = ask(&pool, "a").await;
    assert_eq!(old.answers[0].ttl, 30, "stale, given for half a minute");
    let waited = started.elapsed();
    assert!(waited >= Duration::from_millis(50), "not before: {waited:?}");
    assert!(waited < Duration::from_secs(4), "nor much later: {waited:?}");
    until("known", || pool.upstreams().all(|server| !server.alive)).await;
    // Dark: at once, and nobody is bothered.
    let before = moody.asked();
    for _ in 0..50 {
        assert_eq!(ask(&pool, "a").await.answers[0].ttl, 30);
    }
    assert_eq!(moody.asked(), before);
    assert_eq!(pool.status().cache.stale, 51);
    // A name that nobody asked for before.
    assert_eq!(ask(&pool, "b").await.rcode, ResponseCode::ServFail);
    moody.quiet.store(false, Ordering::SeqCst);
    until("back", || pool.upstreams().all(|server| server.alive)).await;
    let renewed = async {
        while moody.asked() == before {
            ask(&pool, "a").await;
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), renewed).await.unwrap();
}

#[tokio::test]
async fn the_dark_holds_few_questions_at_a_time() {
    let dead = silent().await;
    let limits = ForwardLimits { in_flight: 8, ..brief() };
    let addrs = [dead.addr; 4];
    let pool = Arc::new(pool_with(Upstreams::Recursive, &addrs, limits));
    let started = Instant::now();
    let mut askers = JoinSet::new();
    for n in 0..500 {
        let pool = Arc::clone(&pool);
        askers.spawn(async move {
            let began = Instant::now();
            let answer = ask(&pool, &format!("n{n}")).await;
            (answer.rcode, began.elapsed())
        });
    }
    let mut turned_away = 0;
    while let Some(told) = askers.join_next().await {
        let (rcode, took) = told.unwrap();
        assert_eq!(rcode, ResponseCode::ServFail);
        turned_away += usize::from(took < limits.each / 2);
    }
    assert!(turned_away >= 400, "{turned_away}");
    assert!(started.elapsed() < Duration::from_secs(20));
    let asked: u64 = pool.upstreams().map(|server| server.counts.asked).sum();
    // Eight sockets, and a look at each server.
    assert!(asked <= 8 * 4 + 2 * 4, "{asked}");
}

#[tokio::test]
async fn a_failure_is_not_asked_about_twice_in_a_moment() {
    let asked = Asked::default();
    let seen = asked.clone();
    let server = FakeServer::start(move |query, _| {
        seen.note(query);
        reply(query, ResponseCode::ServFail).into()
    })
    .await;
    let pool = pool_with(BINDER, &[server.addr], limits());
    for _ in 0..20 {
        assert_eq!(ask(&pool, "a").await.rcode, ResponseCode::ServFail);
    }
    // A second or two may pass on a busy machine.
    assert!(asked.count() <= 10);
}

#[tokio::test]
async fn what_is_known_outlives_a_change_of_upstreams() {
    let (moody, other) = (Moody::start().await, Moody::start().await);
    let old = moody.pool(Duration::from_secs(60));
    ask(&old, "a").await;
    let addrs = [moody.server.addr, other.server.addr];
    let new = pool_with(BINDER, &addrs, limits()).inherit(&old);
    drop(old);
    assert_eq!(ask(&new, "a").await.answers.len(), 1);
    assert_eq!((moody.asked(), other.asked()), (1, 0));
    let known: Vec<bool> = new.upstreams().map(|u| u.rtt.is_some()).collect();
    assert_eq!(known, [true, false]);
    // To resolvers a refusal means something else.
    let kind = Upstreams::Recursive;
    let another = pool_with(kind, &addrs, limits()).inherit(&new);
    assert_eq!(another.status().cache.entries, 0);
}
