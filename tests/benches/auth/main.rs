// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The sign-in proxy of the released config-agent beside a double of today's
//! (`graf-proxy.cjs`), both asked by one nginx about requests of wrk, over the
//! same stand-in of UFDS.
//!
//! What counts is requests a second of CPU: that of the proxy alone, by its
//! clock, whatever else the machine does. Latency is what wrk sees through
//! nginx, without TLS, which is the same for both.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use localdc::loopback::own_port;
use localdc::measure::{Measured, bar, bar_at_least, released_agent};
use localdc::ufds::{Certificate, Server, Ufds};
use serde_json::json;

const PASSWORD: &str = "root-password";
const BOSS: &str = "3f0e8a55-0000-4000-8000-000000000001";

/// Where setup.sh puts the client of UFDS.
const CLIENT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../target/ufds-client");
const DOUBLE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/benches/auth/graf-proxy.cjs");

/// What a run takes, seconds, and the requests that memory is watched over.
const SECONDS: u64 = 10;
const MANY: u64 = 1_000_000;

/// What is asked for: times today's requests a CPU second, milliseconds at the
/// 99th percentile, MiB that a million requests may add.
const TIMES: f64 = 20.0;
const P99_MS: f64 = 5.0;
const GROWTH_MIB: f64 = 2.0;

fn main() -> Result<()> {
    // `cargo test --benches` only wants to know that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let agent = released_agent()?;
    ensure!(Path::new(CLIENT).exists(), "{CLIENT}: tests/setup.sh bench-auth");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ufds = Ufds::new(PASSWORD);
    ufds.account(BOSS, "boss", "secret", &[("givenname", "Boss")]);
    ufds.operator(BOSS);
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let certificate = Certificate::make()?;
    let server = runtime.block_on(Server::start(&ufds, any, &certificate))?;
    let dir = tempfile::tempdir()?;
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(dir.path(), open)?;

    let ours = start_ours(dir.path(), &agent, server.address)?;
    let todays = start_todays(dir.path(), server.address)?;
    let at = own_port()?;
    let _nginx = start_nginx(dir.path(), at)?;
    let pair = STANDARD.encode("boss:secret");
    let basic = format!("Authorization: Basic {pair}");
    // Both are connected to UFDS, and know who asks.
    let answer = runtime.block_on(let_in(at, "ours", &basic))?;
    let cookie = session(&answer)?;
    runtime.block_on(let_in(at, "todays", &basic))?;

    println!("proxy    how        req/s  req/CPU-s  p99 ms");
    let old = run(at, "todays", &basic, &todays)?;
    old.print("today's", "basic");
    let basic = run(at, "ours", &basic, &ours)?;
    basic.print("ours", "basic");
    let before = ours.resident_mib()?;
    let mut asked = 0;
    let mut session = None;
    while asked < MANY {
        let one = run(at, "ours", &cookie, &ours)?;
        asked += one.requests;
        session = Some(one);
    }
    let session = session.context("no run")?;
    session.print("ours", "session");
    let growth = ours.resident_mib()? - before;
    println!("{asked} requests more: {before:.1} MiB and {growth:+.1}");
    bar_at_least("auth_basic_times", basic.per_cpu / old.per_cpu, TIMES);
    bar_at_least("auth_session_times", session.per_cpu / old.per_cpu, TIMES);
    bar("auth_session_p99_ms", session.p99_ms, P99_MS);
    bar("auth_growth_mib", growth, GROWTH_MIB);
    Ok(())
}

/// What a run of wrk came to.
struct Run {
    requests: u64,
    per_second: f64,
    per_cpu: f64,
    p99_ms: f64,
}

impl Run {
    fn print(&self, who: &str, how: &str) {
        println!(
            "{who:8} {how:8} {:>8.0} {:>10.0} {:>7.2}",
            self.per_second, self.per_cpu, self.p99_ms
        );
    }
}

#[expect(clippy::disallowed_methods, reason = "wrk starts here")]
fn run(
    at: SocketAddr,
    path: &str,
    header: &str,
    proxy: &Measured,
) -> Result<Run> {
    let before = proxy.cpu()?;
    let output = Command::new("wrk")
        .args(["-t1", "-c16", "--latency"])
        .arg(format!("-d{SECONDS}s"))
        .args(["-H", header])
        .arg(format!("http://{at}/{path}"))
        .output()
        .context("wrk")?;
    let cpu = proxy.cpu()? - before;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(!text.contains("Non-2xx"), "{text}");
    let word = |label: &str, at: usize| {
        let mut lines = text.lines().map(str::trim);
        let line = lines.find(|line| line.contains(label))?;
        line.split_whitespace().nth(at).map(str::to_owned)
    };
    let requests: u64 = word("requests in", 0)
        .and_then(|text| text.parse().ok())
        .with_context(|| text.clone())?;
    let p99 = word("99%", 1).with_context(|| text.clone())?;
    let p99_ms = milliseconds(&p99)?;
    let requests_f = requests as f64;
    Ok(Run {
        requests,
        per_second: requests_f / SECONDS as f64,
        per_cpu: requests_f / cpu.as_secs_f64().max(0.001),
        p99_ms,
    })
}

/// wrk's `1.20ms`, `900.00us`, `1.05s`.
fn milliseconds(text: &str) -> Result<f64> {
    for (unit, factor) in [("us", 0.001), ("ms", 1.0), ("s", 1_000.0)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Ok(number.parse::<f64>()? * factor);
        }
    }
    bail!("no time: {text}")
}

/// Asks until it is let in.
async fn let_in(
    at: SocketAddr,
    path: &str,
    basic: &str,
) -> Result<reqwest::Response> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let (name, value) = basic.split_once(": ").context("a header")?;
    let begin = Instant::now();
    loop {
        let url = format!("http://{at}/{path}");
        let sent = client.get(url).header(name, value).send().await?;
        let status = sent.status();
        if status.is_success() {
            return Ok(sent);
        }
        let late = begin.elapsed() > Duration::from_secs(60);
        ensure!(!late, "{path}: {status}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The header that a browser sends from then on.
fn session(answer: &reqwest::Response) -> Result<String> {
    let cookie = answer.headers().get("set-cookie").context("no cookie")?;
    let pair = cookie.to_str()?.split(';').next().unwrap_or_default();
    Ok(format!("Cookie: {pair}"))
}

fn start_ours(dir: &Path, agent: &Path, ufds: SocketAddr) -> Result<Measured> {
    let config = dir.join("auth.json");
    let text = json!({
        "socket": dir.join("ours.sock"), "state": dir,
        "peers": ["root", "daemon"], "title": "bench", "log_level": "info",
        "ufds": {"addresses": [ufds.to_string()], "bind_dn": "cn=root",
            "password": PASSWORD, "trust": "first_use"},
        "roles": {"operators": "Admin", "readers": "Viewer"},
        "email": "ufds", "session_idle_seconds": 3_600,
        "session_seconds": 43_200, "tokens": false,
    });
    fs::write(&config, text.to_string())?;
    let agent = agent.display().to_string();
    let config = config.display().to_string();
    start(dir, &[&agent, "auth", "--config", &config], "ours.sock")
}

fn start_todays(dir: &Path, ufds: SocketAddr) -> Result<Measured> {
    let socket = dir.join("todays.sock").display().to_string();
    let url = format!("ldaps://{ufds}");
    let words = ["node", DOUBLE, CLIENT, &socket, &url, PASSWORD];
    start(dir, &words, "todays.sock")
}

fn start_nginx(dir: &Path, at: SocketAddr) -> Result<Measured> {
    let here = dir.display();
    let conf = format!(
        "daemon off; user daemon daemon; worker_processes 1;\n\
         pid {here}/nginx.pid; error_log stderr error;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; client_body_temp_path {here}/body;\n\
         proxy_temp_path {here}/proxy; proxy_http_version 1.1;\n\
         keepalive_requests 1000000000;\n\
         upstream ours {{ server unix:{here}/ours.sock; keepalive 32; }}\n\
         upstream todays {{ server unix:{here}/todays.sock; keepalive 32; }}\n\
         server {{ listen {at};\n\
         location = /ours {{ auth_request /.ours;\n\
         auth_request_set $c $upstream_http_set_cookie;\n\
         add_header Set-Cookie $c; empty_gif; }}\n\
         location = /todays {{ auth_request /.todays; empty_gif; }}\n\
         location = /.ours {{ internal; proxy_set_header Connection \"\";\n\
         proxy_set_header X-Real-IP $remote_addr;\n\
         proxy_set_header X-Original-Method $request_method;\n\
         proxy_pass http://ours/auth; }}\n\
         location = /.todays {{ internal;\n\
         proxy_set_header Connection \"\"; proxy_pass http://todays/auth; }}\n\
         }} }}\n"
    );
    let path = dir.join("nginx.conf");
    fs::write(&path, conf)?;
    let path = path.display().to_string();
    start(dir, &["nginx", "-e", "stderr", "-c", &path], "nginx.pid")
}

/// Starts a program, and waits for the file that says that it is up.
#[expect(clippy::disallowed_methods, reason = "the programs start here")]
fn start(dir: &Path, words: &[&str], up: &str) -> Result<Measured> {
    let log = fs::File::create(dir.join(format!("{up}.log")))?;
    let child = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| words.join(" "))?;
    let mut running = Measured::new(child);
    let begin = Instant::now();
    let up = dir.join(up);
    while !up.exists() {
        let ended = running.try_wait()?;
        ensure!(ended.is_none(), "{words:?} ended: {ended:?}");
        ensure!(begin.elapsed() < Duration::from_secs(60), "{words:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    // nginx' workers are no root.
    if up.extension().is_some_and(|it| it == "sock") {
        fs::set_permissions(&up, fs::Permissions::from_mode(0o666))?;
    }
    Ok(running)
}
