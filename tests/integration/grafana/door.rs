// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Who comes in, with what in hand.

use std::net::Ipv4Addr;

use localdc::agent_bench::{Bench, PATIENCE, eventually};
use localdc::grafana::Asked;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{MOMENT, NAME, RUN, TLS, Zone, nothing};

/// Nobody signed in: everything but /ping is refused, and Grafana does not
/// even hear of it.
#[tokio::test]
async fn nobody_comes_in_without_signing_in() {
    let zone = Zone::start(nothing()).await;
    let ping = zone.get("/ping", None).await;
    assert_eq!((ping.status, ping.body.as_str()), {
        (200, "{\"database\": \"ok\"}")
    });
    let asked = zone.grafana.asked();
    assert_eq!(asked[0].uri, "/api/health");
    for path in [
        "/",
        "/login",
        "/logout",
        "/api/health",
        "/healthz",
        "/robots.txt",
        "/public/build/app.js",
        "/ping/",
        "/ping/x",
        "/pingx",
        "/api/live/ws",
        "/api/snapshots/x",
        "/public-dashboards/x",
        "/api/datasources",
        "/public/%61",
        "/avatar/x",
        "/PING",
        "/ping;x",
    ] {
        for line in [format!("GET {path}"), format!("POST {path}")] {
            let answer = zone.ask(&line, None, &[], &[]).await;
            assert_eq!(answer.status, 401, "{line}");
            let challenge = answer.all("www-authenticate");
            assert_eq!(challenge, ["Basic realm=\"Grafana\""], "{line}");
        }
    }
    for (path, status) in [
        ("/metrics", 404),
        ("/%6detrics", 404),
        ("/.sign-in", 404),
        ("//metrics", 400),
        ("/x/../metrics", 400),
        ("/x/%2e%2e/metrics", 400),
        ("/x/.%2E/ping", 400),
        ("//ping", 400),
        ("/%70ing/..%2f", 400),
        ("/ping/..", 400),
        ("/public//api/x", 400),
        ("/a\\..\\b", 400),
        ("/a%5c..%5Cb", 400),
        ("/%2fmetrics", 400),
        ("/public%2F%2fx", 400),
        ("/x%2f..%2Fmetrics", 400),
        ("/x%2F%2e/ping", 400),
    ] {
        for who in [None, Some("operator")] {
            let answer = zone.get(path, who).await;
            assert_eq!(answer.status, status, "{path}");
        }
    }
    let answer = zone.ask("POST /ping", None, &[], b"x").await;
    assert_eq!(answer.status, 405);
    assert_eq!(zone.grafana.asked().len(), 0, "Grafana was asked");
}

#[tokio::test]
async fn who_may_not_is_told_so_and_faults_close_the_door() {
    let mut zone = Zone::start(nothing()).await;
    let operator = Some("operator");
    assert_eq!(zone.get("/", operator).await.status, 200);
    zone.grafana.asked();
    assert_eq!(zone.get("/", Some("customer")).await.status, 403);
    let busy = zone.get("/", Some("busy")).await;
    assert_eq!(busy.status, 429);
    assert_eq!(busy.all("retry-after"), ["30"]);
    let broken = zone.get("/", Some("broken")).await;
    assert_eq!(broken.status, 503);
    assert!(broken.body.contains("Nobody can sign in"), "{broken:?}");
    zone.sign_in = None;
    eventually("the sign-in proxy is gone", async || {
        let answer = zone.get("/", operator).await;
        (answer.status == 503).then_some(())
    })
    .await;
    zone.grafana.asked();
    for path in ["/", "/public/x.css", "/api/live/ws"] {
        let answer = zone.get(path, operator).await;
        assert_eq!(answer.status, 503, "{path}");
    }
    assert_eq!(zone.grafana.asked().len(), 0, "Grafana was asked");
    assert_eq!(zone.get("/ping", None).await.status, 200);
}

/// What Grafana could take for an identity, whoever it is from.
const SPOOFED: [&str; 22] = [
    "X-Grafana-Username: mallory",
    "X-Grafana-Name: mallory",
    "X-Grafana-Email: mallory@example.com",
    "X-Grafana-Role: GrafanaAdmin mallory",
    "x-grafana-username: mallory",
    "X_Grafana_Username: mallory",
    "X-Grafana_Username: mallory",
    "X-Grafana-User: mallory",
    "X-Grafana-Login: mallory",
    "X-Grafana-Groups: mallory",
    "X-Grafana-Admin: mallory",
    "X-WEBAUTH-USER: mallory",
    "X-WEBAUTH-NAME: mallory",
    "X-WEBAUTH-EMAIL: mallory",
    "X-WEBAUTH-ROLE: mallory",
    "X-WEBAUTH-GROUPS: mallory",
    "X_WEBAUTH_USER: mallory",
    "X-JWT-Assertion: mallory",
    "X-DS-Authorization: mallory",
    "Proxy-Authorization: mallory",
    "X-Forwarded-Host: mallory",
    "X-Forwarded-For: mallory",
];

/// 2.3: headers that nobody sets, other spellings, two of one name, hop by hop,
/// and where a request is said to come from.
#[tokio::test]
async fn a_spoofed_identity_never_reaches_grafana() {
    let zone = Zone::start(json!({"grafana_live": true})).await;
    let mut spoofed = SPOOFED.to_vec();
    // Hop by hop: would take what nginx says away again.
    spoofed.push("Connection: close, X-Grafana-Username, X-Grafana-Role");
    for path in ["/", "/public/x.js", "/api/live/ws", "/api/x?y=//z"] {
        let line = format!("GET {path}");
        let who = Some("operator");
        let answer = zone.ask(&line, who, &spoofed, &[]).await;
        assert_eq!(answer.status, 200, "{path}");
        let asked = zone.grafana.asked();
        let [asked] = asked.as_slice() else { panic!("{asked:?}") };
        for (name, value) in [
            ("x-grafana-username", "operator"),
            ("x-grafana-name", "Zo=C3=AB"),
            ("x-grafana-email", "operator@example.com"),
            ("x-grafana-role", "Admin"),
        ] {
            assert_eq!(identity(asked, name), [value], "{path} {name}");
            assert_eq!(asked.all(name), [""; 0], "{path} {name}");
        }
        for (name, value) in [("host", NAME), ("x-forwarded-proto", "https")] {
            assert_eq!(asked.all(name), [value], "{path} {name}");
        }
        let all = format!("{:?}", asked.headers).to_ascii_lowercase();
        assert!(!all.contains("mallory"), "{path}: {all}");
        for name in ["authorization", "connection", "upgrade"] {
            assert_eq!(asked.all(name), [""; 0], "{path} {name}");
        }
    }
    // Where nobody signs in there is no identity at all.
    let answer = zone.ask("GET /ping", None, &spoofed, &[]).await;
    assert_eq!(answer.status, 200);
    let local = format!("http://{}:9167", zone.bench.address);
    for path in ["/metrics", "/ping"] {
        let script = format!(
            "curl -sf -H '{}' {local}{path}",
            SPOOFED[..5].join("' -H '")
        );
        assert_eq!(zone.bench.shell(&script).await.code, Some(0));
    }
    let asked = zone.grafana.asked();
    assert_eq!(asked.len(), 3, "{asked:?}");
    for asked in asked {
        let all = format!("{:?}", asked.headers).to_ascii_lowercase();
        assert!(!all.contains("mallory"), "{all}");
        let named = identity(&asked, "x-grafana-username");
        assert_eq!(named, [""; 0], "{asked:?}");
    }
    let (status, _) =
        zone.bench.get(&format!("{local}/api/users")).await.unwrap();
    assert_eq!(status, 404, "nothing else without signing in");
}

/// Every value of an identity header, whose name ends with what this zone made
/// up.
fn identity<'a>(asked: &'a Asked, name: &str) -> Vec<&'a str> {
    let headers = asked.headers.iter().filter(|(known, _)| {
        known.strip_prefix(name).is_some_and(|end| end.starts_with('-'))
    });
    headers.map(|(_, value)| value.as_str()).collect()
}

/// On the admin network, Grafana's metrics are for Prometheus alone.
#[tokio::test]
async fn only_the_datacenters_prometheus_scrapes_from_afar() {
    let bench = Bench::grafana().await;
    let [admin, prometheus, other] = [(); 3].map(|()| bench.other_address());
    bench.admin_address(&admin.to_string());
    let peer = |alias: &str, datacenter: &str, address| {
        json!({"instance": alias, "alias": alias, "service": "prometheus",
            "datacenter": datacenter, "flavor": "triton", "name": alias,
            "address": address, "listed_by": [datacenter]})
    };
    // What discovery found before: nobody answers it here.
    bench.write(
        &bench.path("state/found.json"),
        json!({"peers": [peer("p0", "dc1", prometheus),
            peer("p1", "dc2", other)]})
        .to_string(),
    );
    let zone = Zone::start_on(bench, nothing()).await;
    let from = async |source: Ipv4Addr, what: &str| {
        let script = format!(
            "curl -s --interface {source} -o /dev/null \
             -w '%{{http_code}}' {what}"
        );
        zone.bench.shell(&script).await.stdout
    };
    let metrics = format!("http://{admin}:9167/metrics");
    assert_eq!(from(prometheus, &metrics).await, "200");
    let asked = zone.grafana.asked();
    assert_eq!(asked.last().unwrap().uri, "/metrics");
    assert_eq!(from(prometheus, &format!("-d x {metrics}")).await, "405");
    for path in ["/", "/api/health", "/ping", "/metrics/x"] {
        let url = format!("http://{admin}:9167{path}");
        assert_eq!(from(prometheus, &url).await, "404", "{path}");
    }
    for source in [other, admin, zone.bench.address] {
        assert_eq!(from(source, &metrics).await, "403", "{source}");
    }
    assert_eq!(zone.grafana.asked().len(), 0, "Grafana was asked");
    // The agent says how long the certificate lasts that people see.
    let url = format!("http://{admin}:9165/metrics");
    let (_, text) = zone.bench.get(&url).await.unwrap();
    let name = "config_agent_server_certificate_expires_in_seconds{";
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(line.contains(&format!("{TLS}/cert.pem\"}}")), "{line}");
    let left = line.rsplit(' ').next().unwrap().parse::<i64>().unwrap();
    let days = left / 86_400;
    assert!((395..=397).contains(&days), "{line}");
}

/// What strangers send is not even read: to answer takes none of it, and none
/// of it is written down.
#[tokio::test]
async fn nothing_of_a_strangers_body_is_kept() {
    let zone = Zone::start(json!({"grafana_body_size": 32})).await;
    let bodies = zone.bench.file(RUN).join("tmp/body");
    let written = || {
        let folder = std::fs::metadata(&bodies).unwrap();
        folder.modified().unwrap()
    };
    let before = written();
    let size = 1 << 20;
    for (line, form, status) in [
        ("POST /api/dashboards/import", "length", 401),
        ("POST /api/dashboards/import", "chunked", 401),
        ("GET /", "length", 401),
        ("GET /", "chunked", 401),
        ("POST /sign-in", "length", 413),
        ("GET /sign-in", "length", 413),
        ("POST /logout", "length", 413),
        ("GET /ping", "length", 413),
    ] {
        let mut stream = zone.connect().await;
        let framing = match form {
            "length" => format!("Content-Length: {size}\r\n\r\n"),
            _ => format!("Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n"),
        };
        let head = format!("{line} HTTP/1.1\r\nHost: {NAME}\r\n{framing}");
        stream.write_all(head.as_bytes()).await.unwrap();
        // Half of it, and the rest never comes.
        let _ = stream.write_all(&vec![b'x'; size / 2]).await;
        let mut said = [0; 12];
        let read = stream.read_exact(&mut said);
        let read = tokio::time::timeout(PATIENCE, read).await;
        read.unwrap_or_else(|_| panic!("{line} {form}: waits")).unwrap();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(said, format!("HTTP/1.1 {status}"), "{line} {form}");
    }
    assert_eq!(written(), before, "a body was spooled");
    // Who may send it does, through that folder.
    let line = "POST /api/dashboards/import";
    let body = vec![b'x'; size];
    let full = zone.ask(line, Some("operator"), &[], &body).await;
    assert_eq!(full.status, 200);
    assert_ne!(written(), before);
    let none = zone.ask(line, None, &[], b"x").await;
    assert_eq!(none.all("content-type"), ["application/json"]);
    assert_eq!(none.body, "{\"message\":\"Unauthorized\"}\n");
    assert_eq!(none.all("x-frame-options"), ["deny"]);
}

/// Whoever keeps public files for others keeps no session with them.
#[tokio::test]
async fn public_files_set_no_cookie() {
    let zone = Zone::start(nothing()).await;
    let answer = zone.get("/public/x.js", Some("operator")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.all("set-cookie"), [""; 0]);
    for (name, value) in [
        ("strict-transport-security", "max-age=63072000"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "deny"),
        ("referrer-policy", "strict-origin-when-cross-origin"),
    ] {
        assert_eq!(answer.all(name), [value], "{answer:?}");
    }
}

#[tokio::test]
async fn a_request_has_a_size_and_an_answer_its_headers() {
    let zone = Zone::start(json!({"grafana_body_size": 1})).await;
    let who = Some("operator");
    let line = "POST /api/dashboards/import";
    let full = zone.ask(line, who, &[], &vec![b'x'; 1 << 20]).await;
    assert_eq!(full.status, 200);
    let asked = zone.grafana.asked();
    assert_eq!((asked[0].method.as_str(), asked[0].body), ("POST", 1 << 20));
    let more = zone.ask(line, who, &[], &vec![b'x'; (1 << 20) + 1]).await;
    assert_eq!(more.status, 413);
    assert_eq!(zone.grafana.asked().len(), 0);
    for answer in [&full, &more] {
        for (name, value) in [
            ("strict-transport-security", "max-age=63072000"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "deny"),
            ("server", "nginx"),
        ] {
            assert_eq!(answer.all(name), [value], "{answer:?}");
        }
    }
    assert_eq!(full.all("set-cookie"), ["session=1; Secure; HttpOnly"]);
    // Plain HTTP leads to TLS and nowhere else.
    let script = format!(
        "curl -s -o /dev/null -w '%{{http_code}} %{{redirect_url}}' \
         -H 'Host: {NAME}' 'http://{}/d/x?y=1'",
        zone.bench.address
    );
    let ended = zone.bench.shell(&script).await;
    assert_eq!(ended.stdout, format!("301 https://{NAME}/d/x?y=1"));
}

#[tokio::test]
async fn tls_is_1_2_or_1_3_and_for_the_zones_name() {
    let zone = Zone::start(nothing()).await;
    let address = zone.bench.address;
    for (version, cipher, good) in [
        ("-tls1_3", "", true),
        ("-tls1_2", "", true),
        ("-tls1_1", "-cipher ALL:@SECLEVEL=0", false),
        ("-tls1", "-cipher ALL:@SECLEVEL=0", false),
        // Without forward secrecy.
        ("-tls1_2", "-cipher AES128-GCM-SHA256", false),
        ("-tls1_2", "-cipher ECDHE-ECDSA-AES256-SHA", false),
    ] {
        let script = format!(
            "openssl s_client -connect {address}:443 {version} {cipher} \
             -brief </dev/null"
        );
        let ended = zone.bench.shell(&script).await;
        assert_eq!(ended.code == Some(0), good, "{version}: {ended:?}");
    }
    // Its SANs: the name and the zone's address.
    let cert = zone.bench.file("data/grafana/tls/cert.pem");
    let script = format!(
        "openssl x509 -in {} -noout -ext subjectAltName",
        cert.display()
    );
    let ended = zone.bench.shell(&script).await;
    for san in [format!("DNS:{NAME}"), "192.0.2.10".to_owned()] {
        assert!(ended.stdout.contains(&san), "{ended:?}");
    }
}

#[tokio::test]
async fn a_websocket_passes_where_it_is_wanted() {
    let request = |path: &str, who: &str| {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        let pair = STANDARD.encode(format!("{who}:secret"));
        format!(
            "GET {path} HTTP/1.1\r\nHost: {NAME}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nAuthorization: Basic {pair}\r\n\r\n"
        )
    };
    for (live, path, who, status) in [
        (true, "/api/live/ws", "operator", "101"),
        (true, "/api/live/ws", "customer", "403"),
        (true, "/api/other", "operator", "200"),
        (false, "/api/live/ws", "operator", "200"),
    ] {
        let zone = Zone::start(json!({"grafana_live": live})).await;
        let mut stream = zone.connect().await;
        let text = request(path, who);
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        let head = String::from_utf8_lossy(&head);
        assert_eq!(head, format!("HTTP/1.1 {status}"), "{live} {path} {who}");
        let asked = zone.grafana.asked();
        let upgrades = asked.iter().flat_map(|a| a.all("upgrade")).count();
        assert_eq!(upgrades, usize::from(status == "101"), "{asked:?}");
        if status != "101" {
            continue;
        }
        let mut byte = [0];
        let mut end = Vec::new();
        while !end.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).await.unwrap();
            end.push(byte[0]);
        }
        for text in [b"there", b"again"] {
            stream.write_all(text).await.unwrap();
            let mut echo = [0; 5];
            stream.read_exact(&mut echo).await.unwrap();
            assert_eq!(&echo, text);
        }
        let silence = stream.read_exact(&mut byte);
        assert!(tokio::time::timeout(MOMENT, silence).await.is_err());
    }
}
