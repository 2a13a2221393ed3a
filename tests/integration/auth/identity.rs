// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Who comes in, and as whom.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt, stream};
use serde_json::json;

use super::{BOSS, House, OTHER, RUN};

/// The thinnest thread: Basic in, identity out, nobody else.
#[tokio::test]
async fn an_operator_comes_in_and_nobody_else() {
    let house = House::open().await;
    let answer = house.get(Some("boss")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "grafana\n"));
    let asked = house.zone.grafana.asked();
    let [asked] = asked.as_slice() else { panic!("{asked:?}") };
    let sent: Vec<_> = asked
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-grafana-"))
        .map(|(name, value)| (name.rsplit_once('-').unwrap().0, value.as_str()))
        .collect();
    assert_eq!(
        sent,
        [
            ("x-grafana-username", "boss"),
            ("x-grafana-name", "Zo=C3=AB"),
            ("x-grafana-email", &format!("{BOSS}@ufds.invalid")),
            ("x-grafana-role", "Admin"),
        ]
    );
    for who in [None, Some("customer"), Some("nobody"), Some("BOSS")] {
        let answer = house.get(who).await;
        assert_eq!(answer.status, 401, "{who:?}");
        assert_eq!(answer.all("www-authenticate").len(), 1, "{answer:?}");
    }
    let wrong = house.direct("192.0.2.1", "boss:mistyped", &[]).await;
    assert_eq!(wrong.status, 401);
    assert_eq!(house.zone.grafana.asked().len(), 0, "Grafana was asked");
    for secret in [super::ROOT_PASSWORD, "mistyped", "c2VjcmV0"] {
        assert!(!house.log().contains(secret), "{secret}");
    }
}

/// 1.9.6: today's proxy compares DNs as texts.
#[tokio::test]
async fn an_operator_whose_dn_was_written_otherwise_is_one_too() {
    let house = House::open().await;
    assert_eq!(house.get(Some("other")).await.status, 200);
}

/// 1.9.13: everyone is Admin.
#[tokio::test]
async fn readers_only_look_and_roles_can_be_mapped() {
    let house = House::open().await;
    let role = async |house: &House, who: &str| {
        house.zone.grafana.asked();
        assert_eq!(house.get(Some(who)).await.status, 200, "{who}");
        let asked = house.zone.grafana.asked();
        let headers = asked[0].headers.iter();
        let mut roles =
            headers.filter(|(name, _)| name.starts_with("x-grafana-role"));
        roles.next().unwrap().1.clone()
    };
    assert_eq!(role(&house, "boss").await, "Admin");
    assert_eq!(role(&house, "reader").await, "Viewer");
    let mapped = json!({"grafana_operators_role": "Editor",
        "grafana_readers_role": "none"});
    let house = House::open_with(mapped).await;
    assert_eq!(role(&house, "boss").await, "Editor");
    assert_eq!(house.get(Some("reader")).await.status, 401);
    // 3.2: Grafana looks people up by e-mail first.
    house.get(Some("boss")).await;
    let asked = house.zone.grafana.asked();
    let all = format!("{:?}", asked[0].headers);
    assert!(all.contains(&format!("{BOSS}@ufds.invalid")), "{all}");
}

/// 1.9.8: values go out as they are; several e-mails become several headers.
#[tokio::test]
async fn no_value_of_ufds_breaks_a_header() {
    let house = House::open_with(json!({"grafana_email": "ufds"})).await;
    let strange = [
        "\u{65e5}\u{672c}\u{8a9e}",
        "a\r\nX-Grafana-Role: Admin",
        "\u{202e}x",
        "=?utf-8?q?x?=",
        "",
    ];
    for name in strange {
        house.ufds.set_of(BOSS, "cn", &[name]);
        let mails = ["first@example.test", "second@example.test"];
        house.ufds.set_of(BOSS, "email", &mails);
        house.restart().await;
        let answer = house.get(Some("boss")).await;
        assert_eq!(answer.status, 200, "{name:?}");
        let asked = house.zone.grafana.asked();
        let all = asked[0].headers.iter();
        let ours: Vec<_> =
            all.filter(|(name, _)| name.starts_with("x-grafana-")).collect();
        // An empty one is not sent at all.
        assert!((3..=4).contains(&ours.len()), "{ours:?}");
        for (header, value) in &ours {
            assert!(value.is_ascii(), "{header}: {value}");
            assert!(!value.contains("second"), "{header}: {value}");
        }
        let all = format!("{ours:?}");
        assert!(all.contains("first@example.test"), "{all}");
        let roles: Vec<_> = ours
            .iter()
            .filter(|(name, _)| name.starts_with("x-grafana-role"))
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(roles, ["Admin"], "{name:?}");
    }
    // 3.2: an address of Grafana's own built-in account is nobody's.
    house.ufds.set_of(BOSS, "email", &["admin@localhost"]);
    house.restart().await;
    assert_eq!(house.get(Some("boss")).await.status, 200);
    let asked = house.zone.grafana.asked();
    let all = format!("{:?}", asked[0].headers);
    assert!(!all.contains("localhost"), "{all}");
    assert!(all.contains("ufds.invalid"), "{all}");
}

/// 1.9.12 and 2.3: a process of the zone claims to be anyone, by headers whose
/// names everybody knows.
#[tokio::test]
async fn the_names_of_identity_headers_cannot_be_guessed() {
    let house = House::open().await;
    let names = async |house: &House| {
        house.get(Some("boss")).await;
        let asked = house.zone.grafana.asked();
        let headers = asked[0].headers.iter();
        let mut names = headers
            .map(|(name, _)| name.clone())
            .filter(|name| name.starts_with("x-grafana-username"));
        names.next().unwrap()
    };
    let one = names(&house).await;
    assert_eq!(one.len(), "x-grafana-username-".len() + 32, "{one}");
    let ini = house.zone.bench.text("opt/triton/grafana/etc/grafana.ini");
    assert!(ini.unwrap().to_lowercase().contains(&one), "Grafana knows it");
    let other = names(&House::open().await).await;
    assert_ne!(one, other);
    // Who can read them can tell them: nginx' master and Grafana alone.
    use std::os::unix::fs::PermissionsExt;
    for file in ["nginx.conf", "grafana.ini", "auth.json"] {
        let path = format!("opt/triton/grafana/etc/{file}");
        let path = house.zone.bench.file(&path);
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let sockets = ["grafana/grafana.sock", "sign-in/sign-in.sock"];
    for socket in sockets {
        let path = house.zone.bench.file(RUN).join(socket);
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660, "{socket}");
    }
}

/// 2.3: tokens and cookies of clients are no identity either, unless metadata
/// lets tokens pass, and then for the API alone.
#[tokio::test]
async fn tokens_pass_where_metadata_says_so() {
    let token = format!("Bearer glsa_{}_0123abcd", "aB3d".repeat(8));
    let header = format!("Authorization: {token}");
    let cookie = "Cookie: grafana_session=stolen";
    for allowed in [false, true] {
        let more = json!({"grafana_tokens": allowed});
        let house = House::open_with(more).await;
        for (path, status) in [
            ("/api/search", if allowed { 200 } else { 401 }),
            ("/", 401),
            ("/api", 401),
            ("/API/search", 401),
            ("/d/x?/api/", 401),
        ] {
            let answer = house.get_with(path, &[&header, cookie]).await;
            assert_eq!(answer.status, status, "{allowed} {path}");
            let asked = house.zone.grafana.asked();
            assert_eq!(asked.len(), usize::from(status == 200), "{path}");
            for asked in asked {
                assert_eq!(asked.all("authorization"), [token.as_str()]);
                assert_eq!(asked.all("cookie"), [""; 0]);
                let headers = asked.headers.iter();
                let mut ours =
                    headers.filter(|(name, _)| name.starts_with("x-grafana-"));
                assert_eq!(ours.next(), None);
            }
        }
        let bad = "Authorization: Bearer eyJhbGciOiJub25lIn0.e30.";
        assert_eq!(house.get_with("/api/x", &[bad]).await.status, 401);
    }
}

/// CVE-2022-39328: under load a request got the identity of another that ran
/// at the same time.
#[tokio::test]
async fn cve_2022_39328_parallel_requests_never_mix_identities() {
    let house = House::open().await;
    let people = ["boss", "other", "reader"];
    let mut cookies = Vec::new();
    for login in people {
        cookies.push(format!("Cookie: {}", house.session(login).await));
    }
    house.zone.grafana.asked();
    let requests = (0..300).map(async |at| {
        let who = at % people.len();
        let path = format!("/api/x?who={}", people[who]);
        // Sessions and passwords among each other.
        let pair = STANDARD.encode(format!("{}:secret", people[who]));
        let basic = format!("Authorization: Basic {pair}");
        let header = if at % 2 == 0 { &cookies[who] } else { &basic };
        house.get_with(&path, &[header]).await.status
    });
    let requests = stream::iter(requests).buffer_unordered(60);
    let statuses: Vec<u16> = requests.collect().await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    let asked = house.zone.grafana.asked();
    assert_eq!(asked.len(), 300);
    for asked in asked {
        let (_, who) = asked.uri.split_once("who=").unwrap();
        let headers = asked.headers.iter();
        let logins: Vec<_> = headers
            .filter(|(name, _)| name.starts_with("x-grafana-username"))
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(logins, [who], "{}", asked.uri);
    }
}

/// CVE-2023-3128: whoever has another's e-mail address is that other one.
#[tokio::test]
async fn cve_2023_3128_an_address_identifies_nobody() {
    let house = House::open().await;
    // Not unique after all, as where UFDS was imported.
    house.ufds.set_of(OTHER, "email", &["boss@example.test"]);
    assert_eq!(house.get(Some("boss@example.test")).await.status, 401);
    for (login, uuid) in [("other", OTHER), ("boss", BOSS)] {
        assert_eq!(house.get(Some(login)).await.status, 200);
        let asked = house.zone.grafana.asked();
        let all = format!("{:?}", asked[0].headers);
        assert!(all.contains(&format!("{uuid}@ufds.invalid")), "{all}");
        assert!(!all.contains("boss@example.test"), "{all}");
    }
}

/// 3.2: a login equal to someone's e-mail is taken for that person. UFDS
/// allows `@` in logins.
#[tokio::test]
async fn nobody_is_called_as_anothers_address() {
    let house = House::open().await;
    let uuid = |at| format!("3f0e8a55-0000-4000-8000-00000000020{at}");
    for (at, (login, email)) in [
        ("boss@example.test", "mallory@example.test"),
        (&*format!("{BOSS}@ufds.invalid"), "eve@example.test"),
        ("admin@localhost", "admin@localhost"),
        ("joe@example.test", "joe@example.test"),
    ]
    .into_iter()
    .enumerate()
    {
        let uuid = uuid(at);
        let email = [("email", email)];
        house.ufds.account(&uuid, login, "secret", &email);
        house.ufds.operator(&uuid);
    }
    house.restart().await;
    let taken = format!("{BOSS}@ufds.invalid");
    for login in ["boss@example.test", &taken, "admin@localhost"] {
        let answer = house.get(Some(login)).await;
        assert_eq!(answer.status, 401, "{login}");
        assert!(house.zone.grafana.asked().is_empty(), "{login}");
    }
    let refusals = "grafana_sign_in_refusals_total{reason=\"misnamed\"}";
    assert_eq!(house.figure(refusals).await, 3);
    // His own is nobody else's. Until it is no more.
    assert_eq!(house.get(Some("joe@example.test")).await.status, 200);
    house.ufds.set_of(&uuid(3), "email", &["another@example.test"]);
    house.restart().await;
    assert_eq!(house.get(Some("joe@example.test")).await.status, 401);
}
