// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! How often passwords may be tried: nobody is locked out from here.

use std::os::unix::fs::PermissionsExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use localdc::ufds::Fault;

use super::{
    BOSS, CUSTOMER, House, OTHER, PASSWORD, READER, SESSION, eventually,
};

/// 1.9.5: six anonymous requests lock any account of the cloud.
#[tokio::test]
async fn strangers_lock_nobody_out() {
    let house = House::open().await;
    // The owner has been here before.
    let device = house.known_browser("boss").await;
    let mut statuses = Vec::new();
    for at in 0..60 {
        let pair = format!("boss:guess{at}");
        let address = format!("198.51.100.{at}");
        statuses.push(house.direct(&address, &pair, &[]).await.status);
        let pair = format!("customer:guess{at}");
        house.direct(&format!("203.0.113.{at}"), &pair, &[]).await;
    }
    assert_eq!(statuses[..3], [401, 401, 401]);
    assert!(statuses[3..].iter().all(|status| *status == 403), "{statuses:?}");
    assert_eq!(house.ufds.get(CUSTOMER, "pwdfailuretime"), [""; 0]);
    assert_eq!(house.ufds.get(BOSS, "pwdfailuretime").len(), 3);
    // Over the minutes too, the lock is never reached.
    assert_eq!(house.ufds.get(BOSS, "pwdaccountlockedtime"), [""; 0]);
    // The owner comes in all the while, and what was counted is gone.
    let owner = house.form_with("boss", PASSWORD, "/", &[&device]).await;
    assert_eq!(owner.status, 303, "{owner:?}");
}

/// Or strangers would see which logins exist, and guess on while a program of
/// the owner's comes and goes.
#[tokio::test]
async fn a_sign_in_gives_strangers_no_new_tries() {
    let house = House::open().await;
    let known = house.known_browser("boss").await;
    for at in 0..3 {
        let address = format!("198.51.100.{at}");
        let pair = format!("boss:guess{at}");
        assert_eq!(house.direct(&address, &pair, &[]).await.status, 401);
    }
    let stranger = async |at| {
        let (address, pair) =
            (format!("203.0.113.{at}"), format!("boss:again{at}"));
        house.direct(&address, &pair, &[]).await.status
    };
    assert_eq!(stranger(0).await, 403);
    // Not one that is remembered.
    house.ufds.set_password(BOSS, "another1");
    let owner = house.form_with("boss", "another1", "/", &[&known]).await;
    assert_eq!(owner.status, 303, "{owner:?}");
    assert_eq!(stranger(1).await, 403);
    assert_eq!(house.ufds.get(BOSS, "pwdfailuretime"), [""; 0]);
}

/// A list that is nearly full was filled elsewhere: strangers add nothing to
/// it, and are told what everybody is told.
#[tokio::test]
async fn what_was_tried_elsewhere_counts_too() {
    let house = House::open().await;
    let now = house.ufds.now_ms();
    let times: Vec<String> = (0..5).map(|at| (now - at).to_string()).collect();
    let times: Vec<&str> = times.iter().map(String::as_str).collect();
    house.ufds.set_of(OTHER, "pwdfailuretime", &times);
    let wrong = house.direct("198.51.100.1", "other:no", &[]).await;
    let right = house.direct("198.51.100.2", "other:secret", &[]).await;
    assert_eq!((wrong.status, right.status), (401, 401));
    assert_eq!(house.ufds.asked().of(OTHER), 0, "nothing was judged");
    assert!(house.log().contains("near_lock"));
    assert_eq!(house.ufds.get(OTHER, "pwdfailuretime").len(), 5);
}

/// The wrong one that would lock comes from nobody, however long it was ago;
/// who was here before is told what helps.
#[tokio::test]
async fn not_even_a_known_browser_has_the_try_that_locks() {
    let house = House::open().await;
    let known = house.known_browser("other").await;
    // Not one that is remembered.
    house.ufds.set_password(OTHER, "another1");
    let ago = house.ufds.now_ms() - 40 * 24 * 3_600_000;
    let times: Vec<String> = (0..5).map(|at| (ago + at).to_string()).collect();
    let times: Vec<&str> = times.iter().map(String::as_str).collect();
    house.ufds.set_of(OTHER, "pwdfailuretime", &times);
    house.ufds.asked();
    for password in ["wrong", "another1"] {
        let page = house.form_with("other", password, "/", &[&known]).await;
        assert_eq!(page.status, 403, "{page:?}");
        assert_eq!(page.all("retry-after"), [""; 0], "waiting does not help");
        for word in ["Waiting does not", "AdminUI", "administrator"] {
            assert!(page.body.contains(word), "{word}: {page:?}");
        }
        // A program that keeps cookies.
        let pair = STANDARD.encode(format!("other:{password}"));
        let pair = format!("Authorization: Basic {pair}");
        let basic = house.get_with("/", &[&pair, &known]).await;
        assert_eq!(basic.status, 403, "{basic:?}");
        assert!(basic.body.contains("Waiting does not help"), "{basic:?}");
    }
    assert_eq!(house.ufds.asked().of(OTHER), 0, "nothing was judged");
    assert_eq!(house.ufds.get(OTHER, "pwdaccountlockedtime"), [""; 0]);
    // An administrator clears the list.
    house.ufds.set_of(OTHER, "pwdfailuretime", &[]);
    let right = house.form_with("other", "another1", "/", &[&known]).await;
    assert_eq!(right.status, 303, "{right:?}");
}

/// A stranger's right password that was not judged, so close to a lock, is no
/// wrong one in its owner's own browser.
#[tokio::test]
async fn what_was_not_judged_is_not_remembered_as_wrong() {
    let house = House::open().await;
    let known = house.known_browser("other").await;
    house.ufds.set_password(OTHER, "another1");
    let now = house.ufds.now_ms();
    let times: Vec<String> = (0..4).map(|at| (now - at).to_string()).collect();
    let times: Vec<&str> = times.iter().map(String::as_str).collect();
    house.ufds.set_of(OTHER, "pwdfailuretime", &times);
    // Strangers see what they see of a login that nobody has: one try counts,
    // the same again does not.
    for login in ["other", "nobody"] {
        let pair = format!("{login}:another1");
        for _ in 0..6 {
            let answer = house.direct("198.51.100.1", &pair, &[]).await;
            assert_eq!(answer.status, 401, "{login}: {answer:?}");
        }
    }
    assert!(house.log().contains("near_lock"));
    let right = house.form_with("other", "another1", "/", &[&known]).await;
    assert_eq!(right.status, 303, "{right:?}");
}

/// Who tries at the same moment as others is told by what each of them adds:
/// one more is free, and three ask.
#[tokio::test]
async fn tries_at_one_moment_are_judged_one_after_another() {
    let house = House::open().await;
    let now = house.ufds.now_ms();
    let times = [now - 2, now - 1].map(|at| at.to_string());
    let times: Vec<&str> = times.iter().map(String::as_str).collect();
    house.ufds.set_of(OTHER, "pwdfailuretime", &times);
    // All connections are there: none of the three waits for its own.
    for at in 0..8 {
        let address = format!("203.0.113.{at}");
        house.direct(&address, "nobody:guess", &[]).await;
    }
    house.ufds.asked();
    let late = std::time::Duration::from_millis(300);
    house.ufds.set_fault(Fault::Slow(late));
    let tries = (0..3).map(async |at| {
        let (address, pair) =
            (format!("198.51.100.{at}"), format!("other:guess{at}"));
        house.direct(&address, &pair, &[]).await.status
    });
    assert_eq!(join_all(tries).await, [401; 3]);
    assert_eq!(house.ufds.asked().of(OTHER), 1);
    assert_eq!(house.ufds.get(OTHER, "pwdfailuretime").len(), 3);
}

/// 1.9.6: a browser with an old password fires dozens of requests a page, and
/// uses up all six tries.
#[tokio::test]
async fn a_stale_browser_asks_once() {
    let house = House::open().await;
    house.ufds.asked();
    let tries = (0..50).map(|_| house.direct("192.0.2.9", "boss:old", &[]));
    let answers = join_all(tries).await;
    assert!(answers.iter().all(|answer| answer.status == 401));
    let asked = house.ufds.asked();
    assert_eq!(asked.of(BOSS), 1, "{asked:?}");
    assert_eq!(house.ufds.get(BOSS, "pwdfailuretime").len(), 1);
}

/// 1.9.7: a first page is as many searches and compares as it has parts.
#[tokio::test]
async fn a_first_page_asks_once() {
    let house = House::open().await;
    house.ufds.asked();
    let parts = (0..50).map(|_| house.direct("192.0.2.9", "boss:secret", &[]));
    let answers = join_all(parts).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let asked = house.ufds.asked();
    assert_eq!(asked.of(BOSS), 1, "{asked:?}");
}

/// Limits are told by nginx as 429, with how long to wait.
#[tokio::test]
async fn who_tries_too_often_is_told_to_wait() {
    let house = House::open().await;
    for at in 0..3 {
        let answer = house.form("nobody", &format!("guess{at}"), "/").await;
        assert_eq!(answer.status, 401, "{answer:?}");
    }
    let page = house.form("nobody", "guess4", "/").await;
    assert_eq!(page.status, 429);
    assert_eq!(page.all("retry-after").len(), 1, "{page:?}");
    assert!(page.body.contains("Too many attempts"));
    let basic = house.get(Some("nobody")).await;
    assert_eq!(basic.status, 429, "{basic:?}");
    let wait: u64 = basic.all("retry-after")[0].parse().unwrap();
    assert!((1..=1_800).contains(&wait), "{wait}");
    // From the same address, with the right one.
    assert!(super::cookie_of(&page).is_none());
    let boss = house.form("boss", PASSWORD, "/").await;
    assert!(boss.all("set-cookie")[0].starts_with(SESSION), "{boss:?}");
    assert!(
        house
            .figure("grafana_sign_in_requests_total{outcome=\"limited\"}")
            .await
            >= 2
    );
}

/// Programs keep no cookies: where they came in before, strangers elsewhere do
/// not keep them out.
#[tokio::test]
async fn a_program_comes_in_from_where_it_did_before() {
    let house = House::open().await;
    let home = "192.0.2.7";
    let right = format!("boss:{PASSWORD}");
    assert_eq!(house.direct(home, &right, &[]).await.status, 200);
    for at in 0..4 {
        let address = format!("198.51.100.{at}");
        house.direct(&address, &format!("boss:guess{at}"), &[]).await;
    }
    // Not one that is remembered.
    house.ufds.set_password(BOSS, "another1");
    let pair = "boss:another1";
    let elsewhere = house.direct("203.0.113.1", pair, &[]).await;
    assert_eq!(elsewhere.status, 403, "{elsewhere:?}");
    let answer = house.direct(home, pair, &[]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    // A restart forgets strangers' tries, and not where he came in from: they
    // use up what they have, again and again, and he comes in.
    for round in 0..2 {
        house.restart().await;
        for at in 0..4 {
            let address = format!("198.51.100.{at}");
            let pair = format!("boss:guess{round}{at}");
            house.direct(&address, &pair, &[]).await;
        }
        let elsewhere = house.direct("203.0.113.2", pair, &[]).await;
        assert_eq!(elsewhere.status, 403, "{elsewhere:?}");
        let answer = house.direct(home, pair, &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // A damaged file is said, and made anew at the next sign-in.
    let places = "data/grafana/sign-in/places";
    let file = house.zone.bench.file(places);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let broken = format!("echo x >{}", file.display());
    let broken = house.zone.bench.shell(&broken).await;
    assert_eq!(broken.code, Some(0), "{broken:?}");
    house.restart().await;
    house.logged("where logins signed in from is forgotten").await;
    assert_eq!(house.direct(home, pair, &[]).await.status, 200);
    let text = house.zone.bench.text(places).unwrap();
    assert!(text.starts_with("key ") && !text.contains("boss"), "{text}");
}

/// A password that UFDS counted, and whose verdict was lost on the way, was
/// tried.
#[tokio::test]
async fn what_ufds_may_have_counted_is_not_forgiven() {
    let house = House::open().await;
    house.ufds.asked();
    house.ufds.set_fault(Fault::Lost);
    let mut at = 0;
    let mut judged = 0;
    eventually("three were judged", async || {
        at += 1;
        let address = format!("198.51.100.{at}");
        let pair = format!("reader:guess{at}");
        let answer = house.direct(&address, &pair, &[]).await;
        assert_eq!(answer.status, 500, "{answer:?}");
        judged += house.ufds.asked().of(READER);
        (judged == 3).then_some(())
    })
    .await;
    assert_eq!(house.ufds.get(READER, "pwdfailuretime").len(), 3);
    house.ufds.set_fault(Fault::None);
    let next = house.direct("203.0.113.1", "reader:guess", &[]).await;
    assert_eq!(next.status, 403, "{next:?}");
}

/// Who goes away keeps the turn: the same password is asked about once.
#[tokio::test]
async fn who_goes_away_gives_no_second_try() {
    let house = House::open().await;
    house.ufds.asked();
    let late = std::time::Duration::from_secs(1);
    house.ufds.set_fault(Fault::Slow(late));
    for _ in 0..5 {
        let ask = house.direct("192.0.2.9", "boss:old", &[]);
        assert!(tokio::time::timeout(late / 4, ask).await.is_err());
    }
    let answer = house.direct("192.0.2.9", "boss:old", &[]).await;
    assert_eq!(answer.status, 401);
    assert_eq!(house.ufds.asked().of(BOSS), 1);
    assert_eq!(house.ufds.get(BOSS, "pwdfailuretime").len(), 1);
}

/// Those who wait are so many at most; more are told to come again.
#[tokio::test]
async fn no_more_wait_than_there_is_room_for() {
    let house = House::open().await;
    house.ufds.set_fault(Fault::Silent);
    let tries = (0..300).map(|_| house.direct("192.0.2.9", "boss:x", &[]));
    let answers = join_all(tries).await;
    let busy = answers.iter().filter(|answer| answer.status == 403);
    let busy: Vec<_> = busy.collect();
    assert!(!busy.is_empty(), "all of them waited");
    for answer in busy {
        assert_eq!(answer.all("retry-after"), ["5"], "{answer:?}");
    }
}
