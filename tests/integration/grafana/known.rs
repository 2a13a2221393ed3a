// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What others have been through (contract sheet on Grafana, 1.9.14, 2.3, 3.2
//! and 3.5), a test each where no other test is about it.

use super::{ETC, Zone, nothing};

/// The value of a key of grafana.ini.
fn value(zone: &Zone, section: &str, key: &str) -> String {
    let text = zone.bench.text(&format!("{ETC}/grafana.ini")).unwrap();
    let lines = text.lines().skip_while(|line| *line != section).skip(1);
    let mut lines = lines.take_while(|line| !line.starts_with('['));
    let line =
        lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(" ="));
    line.unwrap_or_else(|| panic!("{section} {key}")).trim().to_owned()
}

/// None of these paths leads to Grafana, whoever asks.
async fn refused(zone: &Zone, paths: &[&str]) {
    for path in paths {
        for who in [None, Some("operator")] {
            let answer = zone.get(path, who).await;
            assert_eq!(answer.status, 400, "{path}");
            assert_eq!(answer.all("location"), [""; 0], "{path}");
        }
    }
    assert_eq!(zone.grafana.asked().len(), 0, "Grafana was asked");
}

/// These do, for those who are signed in.
async fn needs_a_sign_in(zone: &Zone, lines: &[&str]) {
    for line in lines {
        let answer = zone.ask(line, None, &[], &[]).await;
        assert_eq!(answer.status, 401, "{line}");
        assert_eq!(zone.grafana.asked().len(), 0, "Grafana was asked");
        let answer = zone.ask(line, Some("operator"), &[], &[]).await;
        assert_eq!(answer.status, 200, "{line}");
        assert_eq!(zone.grafana.asked().len(), 1, "{line}");
    }
}

/// 1.9.14: UFDS' `admin` has the login of Grafana's own server administrator,
/// and is one.
#[tokio::test]
async fn no_login_of_ufds_is_grafanas_built_in_administrator() {
    let zone = Zone::start(nothing()).await;
    let kept = "data/grafana/secrets/admin_login";
    for key in ["admin_user", "admin_email"] {
        let named = value(&zone, "[security]", key);
        assert!(named.ends_with(&format!("{kept}}}")), "{named}");
    }
    let login = zone.bench.text(kept).unwrap();
    assert!(login.len() >= 32 && login != "admin", "{login}");
    assert_eq!(value(&zone, "[auth.basic]", "enabled"), "false");
    assert_eq!(value(&zone, "[auth]", "disable_login_form"), "true");
}

/// 3.2: who was let in once is remembered, with the role of then.
#[tokio::test]
async fn grafana_remembers_no_identity_between_requests() {
    let zone = Zone::start(nothing()).await;
    for (key, wanted) in [
        ("sync_ttl", "0"),
        ("enable_login_token", "false"),
        ("headers_encoded", "true"),
        ("header_property", "username"),
    ] {
        assert_eq!(value(&zone, "[auth.proxy]", key), wanted, "{key}");
    }
}

/// CVE-2026-33376: an IPv6 address without a mask lets a whole net in. The
/// list is of no use on a socket, and stays empty.
#[tokio::test]
async fn cve_2026_33376_there_is_no_whitelist_to_be_misread() {
    let zone = Zone::start(nothing()).await;
    assert_eq!(value(&zone, "[auth.proxy]", "whitelist"), "");
    assert_eq!(value(&zone, "[server]", "protocol"), "socket");
    assert_eq!(value(&zone, "[server]", "socket_mode"), "0660");
}

/// CVE-2022-35957: a data source that is Grafana itself, with the identity as
/// a header of its own.
#[tokio::test]
async fn cve_2022_35957_no_data_source_leads_to_grafana_itself() {
    let zone = Zone::start(nothing()).await;
    let reachable = value(&zone, "[security]", "data_source_proxy_whitelist");
    assert!(!reachable.is_empty(), "empty is everything");
    for place in reachable.split(' ') {
        let (host, port) = place.rsplit_once(':').unwrap();
        assert!(host.starts_with("prometheus."), "{place}");
        assert_eq!(port, "9090", "{place}");
    }
    // And what nginx answers without a sign-in says nothing of anybody.
    let local = format!("http://{}:9167", zone.bench.address);
    for path in ["/", "/api/users", "/api/org", "/login", "/metrics/x"] {
        let asked = zone.bench.get(&format!("{local}{path}")).await;
        assert_eq!(asked.unwrap().0, 404, "{path}");
    }
    assert_eq!(zone.grafana.asked().len(), 0, "Grafana was asked");
}

/// CVE-2022-21703: Grafana compares Origin and Host; both reach it as the
/// browser sent them.
#[tokio::test]
async fn cve_2022_21703_grafana_sees_where_a_request_comes_from() {
    let zone = Zone::start(nothing()).await;
    let evil = "Origin: https://evil.test";
    let line = "POST /api/org/users";
    zone.ask(line, Some("operator"), &[evil], b"{}").await;
    let asked = zone.grafana.asked();
    assert_eq!(asked[0].all("origin"), ["https://evil.test"]);
    assert_eq!(asked[0].all("host"), [super::NAME]);
}

/// CVE-2021-39226: snapshots were read and deleted by anybody.
/// CVE-2026-28380: and deleted by any editor. There are none.
#[tokio::test]
async fn cve_2021_39226_snapshots_need_a_sign_in_and_are_off() {
    let zone = Zone::start(nothing()).await;
    needs_a_sign_in(
        &zone,
        &[
            "GET /api/snapshots/x",
            "GET /api/snapshots-delete/x",
            "DELETE /api/snapshots/x",
            "GET /dashboard/snapshot/x",
            "GET /api/snapshots/:key",
        ],
    )
    .await;
    assert_eq!(value(&zone, "[snapshots]", "enabled"), "false");
    assert_eq!(value(&zone, "[public_dashboards]", "enabled"), "false");
}

/// CVE-2022-39306: an invitation let its holder choose any login and e-mail.
#[tokio::test]
async fn cve_2022_39306_invitations_need_a_sign_in() {
    let zone = Zone::start(nothing()).await;
    needs_a_sign_in(
        &zone,
        &[
            "GET /invite/x",
            "GET /api/user/invite/x",
            "POST /api/user/invite/complete",
            "POST /api/user/signup",
            "POST /api/user/password/send-reset-email",
        ],
    )
    .await;
    assert_eq!(value(&zone, "[users]", "allow_sign_up"), "false");
}

/// CVE-2021-43798: out of a plugin's assets into the file system.
#[tokio::test]
async fn cve_2021_43798_no_path_climbs_out_of_a_plugins_assets() {
    let zone = Zone::start(nothing()).await;
    refused(
        &zone,
        &[
            "/public/plugins/alertlist/../../../../../etc/passwd",
            "/public/plugins/alertlist/..%2f..%2f..%2fetc/passwd",
            "/public/plugins/alertlist/%2e%2e/%2e%2e/etc/passwd",
            "/public/plugins/alertlist/.%2e%5c.%2e%5cetc/passwd",
        ],
    )
    .await;
}

/// CVE-2025-4123: a redirect to elsewhere by a path that climbs.
#[tokio::test]
async fn cve_2025_4123_no_path_leads_to_another_host() {
    let zone = Zone::start(nothing()).await;
    refused(
        &zone,
        &[
            "/public/..%2f%5cevil.test%2f%3f%2f..%2f..",
            "//evil.test/%2e%2e",
            "/public/../%5cevil.test/%3f/..",
            "/%5c%5cevil.test/..",
        ],
    )
    .await;
}

/// CVE-2026-27880: two slashes are one to the router, and none to the check.
#[tokio::test]
async fn cve_2026_27880_two_slashes_are_refused() {
    let zone = Zone::start(nothing()).await;
    refused(
        &zone,
        &["/api//datasources/1", "/api/datasources%2f%2f1", "//api/org"],
    )
    .await;
}
