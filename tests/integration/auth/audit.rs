// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the log says of who came in and who did not.

use localdc::ufds::Fault;
use serde_json::{Value, json};

use super::{House, NAME, PASSWORD};

/// The lines that say `message`.
fn lines(house: &House, message: &str) -> Vec<Value> {
    let log = house.log();
    let all = log.lines().filter_map(|line| serde_json::from_str(line).ok());
    all.filter(|line: &Value| line["msg"] == message).collect()
}

/// However quiet Grafana is to be, who comes in is said, and who does not.
#[tokio::test]
async fn a_quiet_log_tells_decisions_still() {
    let house = House::open_with(json!({"grafana_log_level": "error"})).await;
    let right = house.form("boss", PASSWORD, "/").await;
    assert_eq!(right.status, 303, "{right:?}");
    assert_eq!(house.form("boss", "wrong", "/").await.status, 401);
    let judged = lines(&house, "password judged");
    let [right, wrong] = judged.as_slice() else { panic!("{judged:?}") };
    assert_eq!(right["login"], "boss");
    assert_eq!(right["outcome"], "right");
    assert_eq!(wrong["login"], "boss");
    assert_eq!(wrong["reason"], "wrong_password");
}

/// What was turned away without asking UFDS is told too: the login by a digest
/// that lines about judged passwords carry as well.
#[tokio::test]
async fn what_ufds_was_not_asked_about_is_told() {
    let house = House::open_with(json!({"grafana_tokens": true})).await;
    // The same wrong password, and too many others.
    for _ in 0..3 {
        house.direct("192.0.2.1", "boss:guess0", &[]).await;
    }
    for at in 1..5 {
        house.direct("192.0.2.1", &format!("boss:guess{at}"), &[]).await;
    }
    let judged = lines(&house, "password judged");
    let digest = judged[0]["login_digest"].as_str().unwrap();
    assert_eq!(digest.len(), 16, "{judged:?}");
    let again = lines(&house, "the same wrong password again");
    assert_eq!(again.len(), 1, "once a minute: {again:?}");
    let many = lines(&house, "too many wrong passwords");
    assert_eq!(many.len(), 2, "{many:?}");
    for line in again.iter().chain(&many) {
        assert_eq!(line["login_digest"], digest, "{line}");
        assert_eq!(line["address"], "192.0.2.1", "{line}");
    }
    // Tokens, once a minute each, and what is no token.
    let secret = "aB3d".repeat(8);
    let token = format!("Authorization: Bearer glsa_{secret}_0123abcd");
    for _ in 0..2 {
        assert_eq!(house.get_with("/api/x", &[&token]).await.status, 200);
    }
    let passed = lines(&house, "token passed on");
    assert_eq!(passed.len(), 1, "{passed:?}");
    for (header, what) in [
        (token.as_str(), "token"),
        ("Authorization: Digest MARKER-odd", "header"),
    ] {
        assert_eq!(house.get_with("/", &[header]).await.status, 401);
        let odd = lines(&house, "odd credentials refused");
        assert_eq!(odd.last().unwrap()["what"], what, "{odd:?}");
    }
    house.form("boss", "", "/").await;
    let odd = lines(&house, "odd credentials refused");
    assert_eq!(odd.last().unwrap()["what"], "form", "{odd:?}");
    // A page of somebody else.
    let cookie = format!("Cookie: {}", house.session("other").await);
    let evil = ["Origin: https://evil.test", &cookie];
    let answer = house.zone.ask("POST /api/x", None, &evil, b"x").await;
    assert_eq!(answer.status, 401, "{answer:?} {NAME}");
    let foreign = lines(&house, "session used from another site, refused");
    assert_eq!(foreign.len(), 1, "{foreign:?}");
    // More than there is room for.
    house.ufds.set_fault(Fault::Silent);
    let tries = (0..300).map(|_| house.direct("192.0.2.9", "reader:x", &[]));
    futures_util::future::join_all(tries).await;
    let busy = lines(&house, "too many sign-ins at a time");
    assert_eq!(busy.len(), 1, "{busy:?}");
    let log = house.log();
    for bad in [secret.as_str(), "MARKER-odd", "guess0"] {
        assert!(!log.contains(bad), "{bad}");
    }
}
