// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! UFDS slow, silent, gone, or somebody else.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use localdc::ufds::{Certificate, Fault, Server};
use serde_json::json;
use tokio::time::sleep;

use super::{House, PASSWORD, eventually};

/// Those who are in go on; nobody new comes, and is told so; nothing piles up.
#[tokio::test]
async fn while_ufds_is_out_of_order_sessions_go_on() {
    let mut house = House::open().await;
    let cookie = house.session("boss").await;
    // Slow: new ones wait for it, the others do not.
    house.ufds.set_fault(Fault::Slow(Duration::from_secs(2)));
    let begin = Instant::now();
    assert_eq!(house.with(&cookie).await.status, 200);
    assert!(begin.elapsed() < Duration::from_secs(1), "it was waited for");
    let other = house.form("other", PASSWORD, "/").await;
    assert_eq!(other.status, 303, "{other:?}");
    for fault in [Fault::Silent, Fault::Unavailable, Fault::Close] {
        house.ufds.set_fault(fault);
        let begin = Instant::now();
        let tries = (0..20).map(async |at| {
            let address = format!("198.51.100.{at}");
            house.direct(&address, &format!("reader:{fault:?}{at}"), &[]).await
        });
        let answers = join_all(tries).await;
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(30), "{fault:?}: {took:?}");
        for answer in answers {
            assert!(matches!(answer.status, 500 | 403), "{fault:?} {answer:?}");
        }
        // Not one that is remembered.
        let typed = format!("{fault:?}");
        let page = house.form("customer", &typed, "/").await;
        assert_eq!(page.status, 503, "{fault:?} {page:?}");
        assert!(page.body.contains("Nobody can sign in"), "{page:?}");
        let begin = Instant::now();
        assert_eq!(house.with(&cookie).await.status, 200, "{fault:?}");
        assert!(begin.elapsed() < Duration::from_secs(2), "{fault:?}");
        // What nobody could tell is not held against anyone.
        house.ufds.set_fault(Fault::None);
        eventually("it is judged again", async || {
            let answer = house.form("customer", &typed, "/").await;
            (answer.status == 401).then_some(())
        })
        .await;
    }
    // Gone altogether, for longer than anything is fresh.
    house.server = None;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(45) {
        let asked = Instant::now();
        assert_eq!(house.with(&cookie).await.status, 200);
        assert!(asked.elapsed() < Duration::from_secs(8));
        sleep(Duration::from_millis(500)).await;
    }
    let local = house.zone.bench.address;
    let url = format!("http://{local}:9167/sign-in/healthz");
    assert_eq!(house.zone.bench.get(&url).await.unwrap().0, 503);
    assert_eq!(house.figure("grafana_sign_in_ufds_up").await, 0);
    let certificate = house.certificate.clone();
    house.serve(&certificate).await;
    eventually("it is well again", async || {
        let (status, _) = house.zone.bench.get(&url).await?;
        (status == 200).then_some(())
    })
    .await;
    assert_eq!(house.form("other", PASSWORD, "/").await.status, 303);
}

/// Somebody blanked a key of SAPI; the zone says so and goes on as it was.
#[tokio::test]
async fn without_the_password_in_sapi_the_last_one_stays_in_force() {
    let house = House::open().await;
    let cookie = house.session("boss").await;
    let bench = &house.zone.bench;
    let before = bench.service_calls().len();
    bench.metadata(json!({"ufds_ldap_root_pw": ""}));
    bench.said("faults", &["nobody can sign in", "ufds_ldap_root_pw"]).await;
    bench.polls(2).await;
    let calls = bench.service_calls().split_off(before);
    let told: Vec<_> = calls.iter().filter(|it| it.contains("auth")).collect();
    assert_eq!(told, [""; 0], "it was touched");
    assert_eq!(house.with(&cookie).await.status, 200);
    assert_eq!(house.form("other", PASSWORD, "/").await.status, 303);
    bench.metadata(json!({"ufds_ldap_root_pw": super::ROOT_PASSWORD}));
    house.zone.no_fault().await;
}

/// 1.9.9: a failed look at the groups is read as "not a member".
#[tokio::test]
async fn no_group_of_operators_is_a_fault_and_no_refusal() {
    let house = House::open().await;
    house.ufds.remove("cn=readers, ou=groups, o=smartdc");
    assert_eq!(house.get(Some("boss")).await.status, 200, "readers may lack");
    let house = House::open().await;
    house.ufds.remove("cn=operators, ou=groups, o=smartdc");
    house.restart().await;
    assert_eq!(house.get(Some("boss")).await.status, 503);
    house.logged("UFDS has no cn=operators").await;
}

/// 1.9.10: whoever stands in between learns the root password of the cloud.
#[tokio::test]
async fn another_certificate_is_not_ufds() {
    let mut house = House::open().await;
    let other = Certificate::make().unwrap();
    assert_eq!(house.get(Some("boss")).await.status, 200);
    let pin = "data/grafana/sign-in/ufds.sha256";
    let kept = house.zone.bench.text(pin).unwrap();
    let line =
        |of: &Certificate| format!("{} {}\n", house.address, of.digest());
    assert_eq!(kept, line(&house.certificate));
    let wanted = line(&other);
    house.serve(&other).await;
    house.ufds.asked();
    eventually("nobody new comes in", async || {
        let answer = house.form("other", PASSWORD, "/").await;
        (answer.status == 503).then_some(())
    })
    .await;
    house.logged(&other.digest()).await;
    assert_eq!(house.ufds.asked().binds, 0, "it was told the password");
    // An operator made UFDS anew, and says so.
    std::fs::remove_file(house.zone.bench.file(pin)).unwrap();
    eventually("the new one is taken", async || {
        let answer = house.form("other", PASSWORD, "/").await;
        (answer.status == 303).then_some(())
    })
    .await;
    assert_eq!(house.zone.bench.text(pin).unwrap(), wanted);
}

/// The other kinds of trust, from metadata; the master elsewhere, too.
#[tokio::test]
async fn a_certificate_may_be_given_beforehand() {
    let certificate = Certificate::make().unwrap();
    for (key, value) in [
        ("grafana_ufds_ca", json!(certificate.pem)),
        ("grafana_ufds_pins", json!([certificate.digest()])),
    ] {
        let mut more = json!({});
        more[key] = value;
        // One that is not there comes first.
        let mut house = House::open_with(more).await;
        assert_eq!(house.get(Some("boss")).await.status, 503, "{key}");
        assert_eq!(house.ufds.asked().binds, 0);
        house.serve(&certificate).await;
        eventually("the one that was given is taken", async || {
            let answer = house.get(Some("boss")).await;
            (answer.status == 200).then_some(())
        })
        .await;
    }
}

/// Another address takes over when the first one fails, with a certificate of
/// its own: each UFDS has made one. It is the last of as many as metadata may
/// list, and those in between are away.
#[tokio::test]
async fn another_address_of_ufds_takes_over() {
    let mut house = House::open().await;
    assert_eq!(house.form("reader", PASSWORD, "/").await.status, 303);
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let certificate = Certificate::make().unwrap();
    let last = Server::start(&house.ufds, any, &certificate).await.unwrap();
    let (first, last_at) =
        (house.address.to_string(), last.address.to_string());
    let mut all = vec![first.clone()];
    all.extend((1..=6).map(|port| format!("127.0.0.1:{port}")));
    all.push(last_at.clone());
    // As it was written when there was one for all addresses.
    let pin = house.zone.bench.file("data/grafana/sign-in/ufds.sha256");
    let old = format!("echo {} >{}", house.certificate.digest(), pin.display());
    assert_eq!(house.zone.bench.shell(&old).await.code, Some(0));
    house.zone.bench.metadata(json!({"grafana_ufds": all}));
    eventually("all are known", async || {
        let text = house.zone.bench.text("opt/triton/grafana/etc/auth.json")?;
        text.contains(&last_at).then_some(())
    })
    .await;
    house.zone.no_fault().await;
    eventually("it runs with all of them", async || {
        let answer = house.form("boss", PASSWORD, "/").await;
        (answer.status == 303).then_some(())
    })
    .await;
    house.server = None;
    eventually("the last takes over", async || {
        let answer = house.form("other", PASSWORD, "/").await;
        (answer.status == 303).then_some(())
    })
    .await;
    let mut wanted = [
        format!("{first} {}", house.certificate.digest()),
        format!("{last_at} {}", certificate.digest()),
    ];
    wanted.sort();
    let kept = std::fs::read_to_string(&pin).unwrap();
    assert_eq!(kept.lines().collect::<Vec<_>>(), wanted);
}

/// Many questions that are lost at once are one failure: who is back after
/// half a second is asked at once, and not after a growing while.
#[tokio::test]
async fn what_many_lose_at_once_is_one_failure() {
    let mut house = House::open().await;
    // All connections are there.
    for at in 0..8 {
        let address = format!("203.0.113.{at}");
        house.direct(&address, "nobody:guess", &[]).await;
    }
    house.ufds.set_fault(Fault::Slow(Duration::from_secs(5)));
    let server = house.server.take();
    let tries = join_all((0..8).map(async |at| {
        let (address, pair) =
            (format!("198.51.100.{at}"), format!("nobody{at}:guess"));
        house.direct(&address, &pair, &[]).await.status
    }));
    let back = async {
        sleep(Duration::from_millis(500)).await;
        drop(server);
        house.ufds.set_fault(Fault::None);
        let (address, certificate) = (house.address, &house.certificate);
        let server = Server::start(&house.ufds, address, certificate);
        let server = server.await.unwrap();
        let begin = Instant::now();
        eventually("somebody new comes in", async || {
            let answer = house.form("boss", PASSWORD, "/").await;
            (answer.status == 303).then_some(())
        })
        .await;
        (server, begin.elapsed())
    };
    let (_, (_server, took)) = tokio::join!(tries, back);
    assert!(took < Duration::from_secs(3), "{took:?}");
}
