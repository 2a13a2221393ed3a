// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Sessions: the page, the cookie, the way out.

use serde_json::json;
use tokio::time::{Duration, sleep};

use super::{House, NAME, PASSWORD, SESSION, cookie_of};

const PAGE: &[&str] = &["Accept: text/html,*/*;q=0.8"];

/// 1.9.15: no session, the password crosses on each request; no logout.
#[tokio::test]
async fn people_sign_in_by_a_page_and_out_again() {
    let house = House::open().await;
    // In place of any page, without a challenge that would open a box.
    let page = house.get_with("/d/x?y=1&z=2", PAGE).await;
    assert_eq!(page.status, 401);
    assert_eq!(page.all("www-authenticate"), [""; 0]);
    assert_eq!(page.all("cache-control"), ["no-store"]);
    assert!(page.body.contains("value=\"/d/x?y=1&amp;z=2\""), "{page:?}");
    let csp = page.all("content-security-policy");
    assert!(csp[0].contains("default-src 'none'"), "{csp:?}");
    let wrong = house.form("boss", "wrong", "/d/x").await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.body.contains("Login or password is wrong"));
    let right = house.form("boss", PASSWORD, "/d/x?y=1").await;
    assert_eq!(right.status, 303, "{right:?}");
    assert_eq!(right.all("location"), ["/d/x?y=1"]);
    for cookie in right.all("set-cookie") {
        for word in ["__Host-", "Secure", "HttpOnly", "SameSite=", "Path=/"] {
            assert!(cookie.contains(word), "{cookie}");
        }
    }
    let cookie = cookie_of(&right).unwrap();
    house.ufds.asked();
    for _ in 0..20 {
        assert_eq!(house.with(&cookie).await.status, 200);
    }
    assert_eq!(house.ufds.asked().compares.len(), 0, "a session asks nothing");
    let asked = house.zone.grafana.asked();
    for asked in &asked {
        assert_eq!(asked.all("cookie"), [""; 0], "Grafana sees no session");
        assert_eq!(asked.all("authorization"), [""; 0]);
    }
    // Out, from a link of Grafana's own.
    let from_here = "Sec-Fetch-Site: same-origin";
    let cookies = format!("Cookie: {cookie}");
    let page = "Sec-Fetch-Dest: document";
    let out = house.get_with("/logout", &[&cookies, from_here, page]).await;
    assert_eq!(out.status, 200);
    assert!(out.body.contains("You have signed out."), "{out:?}");
    assert!(out.all("set-cookie")[0].contains("Max-Age=0"), "{out:?}");
    // A copy of the cookie is worth nothing any more, nor after a restart.
    assert_eq!(house.with(&cookie).await.status, 401);
    house.restart().await;
    super::eventually("it runs again", async || {
        let answer = house.with(&cookie).await;
        (answer.status == 401).then_some(())
    })
    .await;
}

/// Sessions go on over a restart of the proxy; each has an end.
#[tokio::test]
async fn a_session_outlives_a_restart_and_has_an_end() {
    let short = json!({"grafana_session_idle": 120,
        "grafana_session_length": 120});
    let house = House::open_with(short).await;
    let cookie = house.session("boss").await;
    house.restart().await;
    super::eventually("it lets in again", async || {
        (house.with(&cookie).await.status == 200).then_some(())
    })
    .await;
    // Its file says less for the rest of this, of one and of the other.
    let path = "opt/triton/grafana/etc/auth.json";
    let whole = house.zone.bench.text(path).unwrap();
    let file = house.zone.bench.path("short.json");
    let there = house.zone.bench.file(path);
    let shorter = format!("cat {} > {}", file.display(), there.display());
    // The agent would put it back.
    house.zone.agent.signal(nix::sys::signal::Signal::SIGSTOP);
    for key in ["session_idle_seconds", "session_seconds"] {
        let (long, short) = (format!("\"{key}\":120"), format!("\"{key}\":3"));
        assert_eq!(whole.matches(&long).count(), 1, "{whole}");
        house.zone.bench.write(&file, whole.replace(&long, &short));
        house.zone.bench.shell(&shorter).await;
        house.restart().await;
        let cookie = super::eventually("a new session", async || {
            let answer = house.form("boss", PASSWORD, "/").await;
            cookie_of(&answer)
        })
        .await;
        assert_eq!(house.with(&cookie).await.status, 200);
        sleep(Duration::from_secs(4)).await;
        let cookies = format!("Cookie: {cookie}");
        let over = house.get_with("/", &[PAGE[0], &cookies]).await;
        assert_eq!(over.status, 401, "{key}");
        assert!(over.body.contains("Your session has ended."), "{over:?}");
        assert!(over.all("set-cookie")[0].contains("Max-Age=0"), "{over:?}");
    }
    house.zone.agent.signal(nix::sys::signal::Signal::SIGCONT);
}

/// A cookie that we did not make, or not for that, is none.
#[tokio::test]
async fn no_other_cookie_is_a_session() {
    let house = House::open().await;
    let answer = house.form("boss", PASSWORD, "/").await;
    let good = cookie_of(&answer).unwrap();
    let cookies = answer.all("set-cookie");
    let device = cookies.iter().find(|it| it.contains("device")).unwrap();
    let device = device.split(['=', ';']).nth(1).unwrap();
    let cut = &good[..good.len() - 1];
    let renamed = good.replace("__Host-", "");
    for bad in [
        format!("{SESSION}={device}"),
        format!("{SESSION}="),
        format!("{SESSION}=s1.x.y.z"),
        cut.to_owned(),
        renamed,
        good.to_uppercase(),
        format!("{good}; {good}"),
        format!("{good}; {SESSION}=x"),
        good.replacen("s1.", "d1.", 1),
    ] {
        assert_eq!(house.with(&bad).await.status, 401, "{bad}");
    }
    let among = format!("a=b; {good}; __Secure-x=y");
    assert_eq!(house.with(&among).await.status, 200);
}

/// Pages of others neither sign anybody in or out nor use a session.
#[tokio::test]
async fn pages_of_others_cannot_use_a_session() {
    let house = House::open().await;
    let cookie = house.session("boss").await;
    let cookies = format!("Cookie: {cookie}");
    let evil = "Origin: https://evil.test";
    let own = format!("Origin: https://{NAME}");
    let cross = "Sec-Fetch-Site: cross-site";
    for (headers, status) in [
        (vec![cookies.as_str(), &own], 200),
        (vec![&cookies], 200),
        (vec![&cookies, evil], 401),
        (vec![&cookies, "Origin: null"], 401),
        (vec![&cookies, &own, cross], 401),
        (vec![&cookies, "Sec-Fetch-Site: same-site"], 401),
    ] {
        let line = "POST /api/dashboards/db";
        let answer = house.zone.ask(line, None, &headers, b"x").await;
        assert_eq!(answer.status, status, "{headers:?}");
    }
    // A WebSocket is a GET that can do more.
    let socket = ["Upgrade: websocket", evil, &cookies];
    assert_eq!(house.get_with("/api/live/ws", &socket).await.status, 401);
    // The form, from elsewhere.
    let body = b"login=boss&password=secret&to=/";
    let kind = "Content-Type: application/x-www-form-urlencoded";
    for headers in [vec![kind, evil], vec![kind], vec![kind, &own, cross]] {
        for path in ["/sign-in", "/logout"] {
            let line = format!("POST {path}");
            let answer = house.zone.ask(&line, None, &headers, body).await;
            assert_eq!(answer.status, 400, "{path} {headers:?}");
            assert_eq!(answer.all("set-cookie"), [""; 0]);
        }
    }
    let out = house.get_with("/logout", &[&cookies, cross]).await;
    assert!(out.body.contains("<button"), "{out:?}");
    assert_eq!(house.with(&cookie).await.status, 200, "still in");
    // Nobody is led elsewhere.
    for to in ["https://evil.test/", "//evil.test", "/\\evil.test", "x"] {
        let answer = house.form("boss", PASSWORD, to).await;
        assert_eq!(answer.all("location"), ["/"], "{to}");
    }
}

/// A picture in a text panel, a frame or a script of Grafana's own pages signs
/// nobody out: there it is from the same origin.
#[tokio::test]
async fn only_a_link_signs_out() {
    let house = House::open().await;
    let cookie = house.session("boss").await;
    let cookies = format!("Cookie: {cookie}");
    let from_here = "Sec-Fetch-Site: same-origin";
    for to in ["image", "iframe", "empty", "object", ""] {
        let to = format!("Sec-Fetch-Dest: {to}");
        let out = house.get_with("/logout", &[&cookies, from_here, &to]).await;
        assert!(out.body.contains("<button"), "{to}: {out:?}");
        assert_eq!(out.all("set-cookie"), [""; 0], "{to}");
        assert_eq!(house.with(&cookie).await.status, 200, "{to}: still in");
    }
    // The button does.
    let own = format!("Origin: https://{NAME}");
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let headers = [kind, &own, from_here, &cookies];
    let out = house.zone.ask("POST /logout", None, &headers, b"").await;
    assert!(out.body.contains("You have signed out."), "{out:?}");
    assert_eq!(house.with(&cookie).await.status, 401);
}

/// Only what a browser shows as a page becomes the page.
#[tokio::test]
async fn programs_get_a_challenge_and_scripts_get_none() {
    let house = House::open().await;
    let program = house.get_with("/api/x", &["Accept: */*"]).await;
    assert_eq!(program.all("www-authenticate").len(), 1);
    assert!(program.body.contains("Unauthorized"));
    let script = [
        "Accept: application/json",
        "Sec-Fetch-Mode: cors",
        "Sec-Fetch-Dest: empty",
    ];
    let script = house.get_with("/api/x", &script).await;
    assert_eq!(script.status, 401);
    assert_eq!(script.all("www-authenticate"), [""; 0]);
    assert!(!script.body.contains("<form"));
    let posted = house.zone.ask("POST /x", None, PAGE, b"login=x").await;
    assert_eq!(posted.status, 401);
    assert!(!posted.body.contains("<form"));
    // 12.x sends titles of panels in headers: bytes outside ASCII.
    let title = "X-Panel-Title: \u{c9}tat";
    let cookie = format!("Cookie: {}", house.session("boss").await);
    assert_eq!(house.get_with("/api/x", &[title, &cookie]).await.status, 200);
}
