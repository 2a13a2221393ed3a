// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Zones weighed, and pairs judged, by what real Prometheus servers say.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use localdc::datacenter::{Nic, Zone};
use localdc::http::Fault;
use localdc::loopback::own_address;
use localdc::triton::ids;
use localdc::world::eventually;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use super::super::monadm;
use super::site::{Site, uuid};

const PATIENCE: Duration = Duration::from_secs(120);
/// Zones of `Site` that have so many series, the first so many of them.
const HEAVY: (usize, usize) = (8, 900);
const LIGHT: usize = 40;

/// A Prometheus that scrapes itself, as instance `own`, and zones.
struct Server {
    child: Child,
    url: String,
    _data: TempDir,
}

/// Answers `/N` with N series.
async fn zones() -> SocketAddr {
    let page = async |Path(count): Path<usize>| {
        (0..count).map(|n| format!("fake{{n=\"{n}\"}} 1\n")).collect::<String>()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let router = Router::new().route("/{count}", get(page));
    tokio::spawn(async { axum::serve(listener, router).await });
    at
}

fn job(name: &str, path: &str, instance: &str, at: SocketAddr) -> Value {
    json!({"job_name": name, "metrics_path": path, "static_configs":
        [{"targets": [at.to_string()], "labels": {"instance": instance}}]})
}

impl Server {
    /// Where a member of a pair has its own, with zones and what each of them
    /// has.
    #[expect(clippy::disallowed_methods, reason = "the real server")]
    fn start(
        ip: Ipv4Addr,
        own: &str,
        zones: SocketAddr,
        scraped: &[(String, usize)],
    ) -> Self {
        let at = SocketAddr::from((ip, 9090));
        let mut jobs = vec![job("prometheus_dc1", "/metrics", own, at)];
        jobs.extend(scraped.iter().enumerate().map(|(n, (uuid, count))| {
            job(&format!("admin_{n}"), &format!("/{count}"), uuid, zones)
        }));
        let config = json!({"global": {"scrape_interval": "1s"},
            "scrape_configs": jobs});
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("prometheus.yml");
        std::fs::write(&file, config.to_string()).unwrap();
        let child = Command::new("/usr/bin/prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}/data", data.path().display()))
            .arg(format!("--web.listen-address={at}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child, url: format!("http://{at}"), _data: data }
    }

    async fn answers(&self) {
        let url = format!("{}/-/ready", self.url);
        let ready = async || match reqwest::get(&url).await {
            Ok(answer) if answer.status() == 200 => Ok(()),
            Ok(answer) => Err(answer.status().to_string()),
            Err(error) => Err(error.to_string()),
        };
        eventually("Prometheus answers", PATIENCE, ready).await.unwrap();
    }

    /// Waits until it knows of so many zones, and of itself for as long as a
    /// rate needs.
    async fn knows(&self, zones: usize) {
        let enough = async || {
            let ask = async |query: &str| -> Result<f64, String> {
                let url = format!("{}/api/v1/query", self.url);
                let url =
                    reqwest::Url::parse_with_params(&url, [("query", query)]);
                let answer = reqwest::get(url.unwrap()).await;
                let text = answer.map_err(|error| error.to_string())?.text();
                let text = text.await.map_err(|error| error.to_string())?;
                let answer: Value = serde_json::from_str(&text)
                    .map_err(|error| error.to_string())?;
                let value = &answer["data"]["result"][0]["value"][1];
                let value = value.as_str().ok_or(answer.to_string())?;
                value.parse().map_err(|_| answer.to_string())
            };
            let known =
                ask("count(scrape_series_added{job=~\"admin_.+\"})").await?;
            let late = "sum(increase(prometheus_target_interval_length_seconds_count\
                 [15m]))";
            let rate = ask(late).await?;
            match known as usize == zones && rate > 0.0 {
                true => Ok(()),
                false => Err(format!("{known} zones, {rate} scrapes")),
            }
        };
        eventually("Prometheus knows them", PATIENCE, enough).await.unwrap();
    }
}

/// Two pairs, of each of which the first half answers, and heavy zones that
/// all are on one of them.
struct Measured {
    site: Site,
    servers: [Server; 2],
}

async fn measured() -> Measured {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let site = Site::new().await;
    let zones = zones().await;
    let mut scraped: [Vec<(String, usize)>; 2] = Default::default();
    for n in 0..40 {
        let heavy = n < HEAVY.0;
        let shard = if heavy { 0 } else { n % 2 };
        let series = if heavy { HEAVY.1 } else { LIGHT };
        let zone = uuid(0xb0, n);
        site.set_tag(&zone, &format!("shard-{shard}"));
        scraped[shard].push((zone, series));
    }
    let server = |shard: usize| {
        let (ip, own) = (own_address(), uuid(0xd0, 2 * shard));
        site.change(&own, |vm| {
            vm.nics = vec![Nic {
                nic_tag: "admin".to_owned(),
                ip,
                network_uuid: ids::ADMIN_NETWORK.to_owned(),
            }];
        });
        Server::start(ip, &own, zones, &scraped[shard])
    };
    let servers = [server(0), server(1)];
    for (server, scraped) in servers.iter().zip(&scraped) {
        server.knows(scraped.len()).await;
    }
    Measured { site, servers }
}

fn weight(plan: &Value, shard: usize, when: &str) -> u64 {
    plan["shards"][shard]["weight"][when].as_u64().unwrap()
}

#[tokio::test]
async fn zones_are_weighed_by_live_servers() {
    let Measured { site, mut servers } = measured().await;
    let plan = site.plan(&["--weight", "series"]).await;
    // 8 heavy and 16 light ones beside 16 light ones; the other six, which
    // nobody scrapes, count as the mean.
    let (heavy, light) =
        (weight(&plan, 0, "before"), weight(&plan, 1, "before"));
    let light_sum = 16 * LIGHT as u64;
    assert!((light_sum..light_sum * 2).contains(&light), "{plan}");
    let heavy_sum = (HEAVY.0 * HEAVY.1) as u64 + light_sum;
    assert!((heavy_sum..heavy_sum + light_sum).contains(&heavy), "{plan}");
    let notes = plan["notes"].to_string();
    assert!(notes.contains("6 of 46 zones could not be weighed"), "{plan}");
    assert!(notes.contains("prometheus1 was not asked"), "{plan}");
    let ended =
        site.write(&["rebalance"], &["--yes", "--weight", "series"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let after = site.plan(&["--weight", "series"]).await;
    let both = [weight(&after, 0, "before"), weight(&after, 1, "before")];
    assert!(both[0].abs_diff(both[1]) <= HEAVY.1 as u64, "{after}");
    // Counted by zones the same is uneven: the heavy ones are split.
    let split = (0..HEAVY.0).map(|n| site.tag(&uuid(0xb0, n)).unwrap());
    let split = split.filter(|tag| tag == "shard-0").count();
    assert!((3..=5).contains(&split), "{split}");

    let [first, second] = [0, 1].map(|n| servers[n].url.clone());
    let both = ["--prometheus", &first, "--prometheus", &second];
    let words = [&["--weight", "samples"], &both[..]].concat();
    let samples = site.plan(&words).await;
    assert!(weight(&samples, 0, "before") > 0, "{samples}");

    // What nobody knows is not guessed: nothing moves for it.
    servers[1].child.kill().await.unwrap();
    for words in [&[][..], &both] {
        let words = [&["shard", "plan", "--weight", "series"], words].concat();
        let ended = site.run(&words).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("could not weigh zones"), "{ended:?}");
        assert!(ended.stderr.contains("did not answer"), "{ended:?}");
    }
    // One that has lost its data answers, and knows nothing.
    let address = servers[1].url.strip_prefix("http://").unwrap();
    let address: SocketAddr = address.parse().unwrap();
    let IpAddr::V4(ip) = address.ip() else { panic!("{address}") };
    servers[1] = Server::start(ip, &uuid(0xd0, 2), address, &[]);
    servers[1].answers().await;
    let ended = site.run(&["shard", "plan", "--weight", "series"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("has its pair lost its data"), "{ended:?}");
    // Nor is nonsense believed.
    let sapi = site.triton.sapi.url();
    for fault in [
        Fault::Garbage,
        Fault::HugeBody(40 << 20),
        Fault::Close,
        Fault::Refusal(
            422,
            Some(json!({"status": "error", "error": "too many samples"})),
        ),
    ] {
        let papi = &site.triton.papi;
        papi.handle.front().clear_faults();
        papi.handle.front().set_fault(fault.clone());
        let url = papi.url();
        let words = ["shard", "plan", "--weight", "series", "--prometheus"];
        let ended = monadm(&sapi, &[&words, &[&*url][..]].concat()).await;
        assert_eq!(ended.code, Some(1), "{fault:?}: {ended:?}");
        assert!(ended.stderr.contains("could not weigh zones"), "{ended:?}");
        let refused = matches!(fault, Fault::Refusal(..));
        assert!(
            !refused || ended.stderr.contains("too many samples"),
            "{ended:?}"
        );
    }
}

#[tokio::test]
async fn status_says_how_pairs_bear_it_and_what_to_do() {
    let Measured { site, mut servers } = measured().await;
    site.apply(&["--extent", "assign"]).await;
    let status = async || {
        let ended = site.run(&["shard", "status", "--json"]).await;
        let shown: Value = serde_json::from_str(&ended.stdout).unwrap();
        (ended.code, shown)
    };
    let (_, shown) = status().await;
    for shard in 0..2 {
        let load = &shown["shards"][shard]["load"];
        let number = |key: &str| load[key].as_u64().unwrap();
        assert!(number("series") > 16 * LIGHT as u64, "{shown}");
        assert!(number("memory_used_bytes") > 8 << 20, "{shown}");
        assert_eq!(number("memory_limit_bytes"), 1 << 30, "{shown}");
        assert!(number("scrapes") > 0, "{shown}");
    }
    // A zone too small for what it has.
    for number in 0..4 {
        let zone = Zone { memory_mib: 8, ..Zone::default() };
        let mut stock = site.triton.datacenter.stock();
        stock.zones.insert(uuid(0xd0, number), zone);
    }
    let (code, shown) = status().await;
    assert_eq!(code, Some(1), "{shown}");
    let problems = shown["problems"].to_string();
    let said = "shard-0, shard-1 are overloaded: saw 2 shards, wanted ";
    assert!(problems.contains(said), "{shown}");
    assert!(problems.contains("post-setup prometheus --shards"), "{shown}");
    // People see it too, in 80 columns.
    let ended = site.run(&["shard", "status"]).await;
    let table = ended.stdout.lines().take(3);
    assert!(table.clone().all(|line| line.len() <= 80), "{ended:?}");
    assert!(table.clone().next().unwrap().contains("MEMORY"), "{ended:?}");

    // Half of the answer is no reason for advice.
    servers[1].child.kill().await.unwrap();
    let (code, shown) = status().await;
    assert_eq!(code, Some(1), "{shown}");
    let said = json!(["shard-1: no server says how it fares"]);
    assert_eq!(shown["problems"], said, "{shown}");
}
