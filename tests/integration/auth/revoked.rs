// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Who loses a right is out within a minute.

use std::time::Instant;

use tokio::time::{Duration, sleep};

use super::{House, MINUTE, PASSWORD};

/// A group that is gone is an answer, and no outage: what it held before is
/// not believed on.
#[tokio::test]
async fn without_operators_nobody_stays_in() {
    let house = House::open().await;
    let cookie = house.session("boss").await;
    assert_eq!(house.with(&cookie).await.status, 200);
    let begin = Instant::now();
    house.ufds.remove("cn=operators, ou=groups, o=smartdc");
    loop {
        let took = begin.elapsed();
        assert!(took < MINUTE, "the session goes on after {took:?}");
        if house.with(&cookie).await.status == 503 {
            println!("out after {took:?}");
            break;
        }
        sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(house.get(Some("boss")).await.status, 503);
}

/// What happens to an account, and what its owner is told.
const FATES: [(&str, &str); 6] = [
    ("removed", "may not use Grafana any more"),
    ("gone", "may not use Grafana any more"),
    ("disabled", "is disabled"),
    ("locked", "is locked"),
    ("expired", "has expired"),
    ("changed", "was changed"),
];

fn uuid(at: usize) -> String {
    format!("3f0e8a55-0000-4000-8000-00000000020{at}")
}

/// 1.9.1: removal from operators, disabling, a lock, a new password take
/// effect after up to two minutes; 1.9.3: disabling never does.
#[tokio::test]
async fn revocation_reaches_sessions_and_passwords_within_a_minute() {
    let house = House::open().await;
    let mut cookies = Vec::new();
    for (at, (login, _)) in FATES.iter().enumerate() {
        house.ufds.account(&uuid(at), login, PASSWORD, &[]);
        house.ufds.operator(&uuid(at));
    }
    // Groups are looked at on a clock of their own: not to wait for it.
    house.restart().await;
    for (at, (login, _)) in FATES.iter().enumerate() {
        let from = format!("198.51.100.{at}");
        let pair = format!("{login}:{PASSWORD}");
        let answer = house.direct(&from, &pair, &[]).await;
        cookies.push(super::cookie_of(&answer).unwrap());
    }
    let begin = Instant::now();
    for (at, (fate, _)) in FATES.iter().enumerate() {
        let uuid = uuid(at);
        let far = (house.ufds.now_ms() + 3_600_000).to_string();
        match *fate {
            "removed" => house.ufds.remove_member("operators", &uuid),
            "gone" => {
                house.ufds.remove(&format!("uuid={uuid}, ou=users, o=smartdc"))
            }
            "disabled" => house.ufds.set_of(&uuid, "disabled", &["true"]),
            "locked" => {
                house.ufds.set_of(&uuid, "pwdaccountlockedtime", &[&far]);
            }
            "expired" => house.ufds.set_of(&uuid, "pwdendtime", &["1"]),
            _ => house.ufds.set_password(&uuid, "another1"),
        }
    }
    for (at, (fate, notice)) in FATES.iter().enumerate() {
        loop {
            let took = begin.elapsed();
            assert!(took < MINUTE, "{fate} still comes in after {took:?}");
            let session = house.with(&cookies[at]).await.status;
            let from = format!("198.51.100.{at}");
            let pair = format!("{fate}:{PASSWORD}");
            let basic = house.direct(&from, &pair, &[]).await.status;
            if session == 401 && basic == 401 {
                println!("{fate}: out after {took:?}");
                break;
            }
            sleep(Duration::from_millis(250)).await;
        }
        // Its owner proved the password, so he is told why.
        let cookie = format!("Cookie: {}", cookies[at]);
        let page = ["Accept: text/html", &cookie];
        let page = house.get_with("/", &page).await;
        assert!(page.body.contains(notice), "{fate}: {page:?}");
    }
    // Who is an operator still, goes on.
    assert_eq!(house.get(Some("boss")).await.status, 200);
}
