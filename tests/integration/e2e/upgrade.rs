// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A pair of real Prometheus zones goes to another image by `monadm update`,
//! and whoever asks the pair has an answer all the while. Reprovisions are
//! VMAPI's jobs; servers below it take each zone down, give it a new root and
//! boot it.

use std::path::PathBuf;
use std::time::Duration;

use localdc::triton::ids;
use localdc::world::{Instance, Site};
use localdc::zone::ExecOutput;
use serde_json::{Value, json};

use super::site::{both_scrape, set_up, site};
use super::{soon, text, when};

const NEW: &str = "f0000000-0000-4000-8000-0000000000aa";
const PAIR: [&str; 2] = ["prometheus0", "prometheus1"];
/// Far longer than both zones take.
const LIMIT: Duration = Duration::from_secs(400);
/// Between two questions to the pair.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks both of a pair, again and again: how often either knew, and when
/// neither did.
#[derive(Default)]
struct Asker {
    answered: usize,
    silent: Vec<String>,
}

impl Asker {
    async fn run(&mut self, site: &Site) {
        loop {
            let ask = async |alias| {
                let zone = site.platform().zone(alias)?;
                text(zone.daemons().value("count(up == 1)").await)
            };
            let both = tokio::join!(ask(PAIR[0]), ask(PAIR[1]));
            let known = [&both.0, &both.1]
                .into_iter()
                .any(|said| matches!(said, Ok(Some(count)) if count != "0"));
            match known {
                true => self.answered += 1,
                false => self.silent.push(format!("{both:?}")),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// What must be there after as before: the client's key, and the first piece
/// of the log that series are kept in.
fn kept(instance: &Instance) -> (Vec<u8>, PathBuf) {
    let data = instance.zone().data_folder();
    let key = std::fs::read(data.join("prometheus/tls/cmon.key")).unwrap();
    let log = data.join("prometheus/data/wal/00000000");
    assert!(log.is_file(), "{}", log.display());
    (key, log)
}

fn mark(instance: &Instance) -> PathBuf {
    instance.zone().root_folder().join("var/mark")
}

/// Images of both, by alias.
fn images(site: &Site) -> [String; 2] {
    site.datacenter().read(|facts| {
        PAIR.map(|alias| {
            let vm = facts.vms.iter().find(|vm| vm.alias == alias);
            vm.unwrap().image_uuid.clone()
        })
    })
}

/// A newer image than this one is in the datacenter; jobs take their time.
fn newer(site: &Site, image: &str) {
    let mut stock = site.datacenter().stock();
    let mut newer = stock.images[image].clone();
    newer["uuid"] = json!(NEW);
    newer["version"] = json!("main-20300201T030405Z-g1a2b3c4");
    newer["published_at"] = json!("2030-02-01T03:04:05.000Z");
    stock.put_image(newer);
    stock.job_polls = 3;
}

/// Runs it while somebody asks the pair.
async fn run(site: &Site, words: &[&str]) -> (ExecOutput, Asker) {
    let mut asker = Asker::default();
    let ended = tokio::select! {
        ended = site.monadm(words, LIMIT) => ended.unwrap(),
        () = asker.run(site) => unreachable!("it goes on for ever"),
    };
    (ended, asker)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_is_updated_and_whoever_asks_it_notices_nothing() {
    let site = site().await;
    set_up(&site, &["prometheus", "--replicas", "2"]).await;
    both_scrape(&site).await;
    for alias in PAIR {
        soon(alias, async || {
            let zone = site.platform().zone(alias)?;
            let report = text(zone.daemons().status().await)?;
            when(report.healthy, || report.faults.join("; "))
        })
        .await;
    }
    newer(&site, ids::PROMETHEUS_IMAGE);
    let before = PAIR.map(|alias| {
        let zone = site.zone(alias).unwrap();
        std::fs::write(mark(&zone), "old root").unwrap();
        kept(&zone)
    });
    let words = ["update", "prometheus", "--yes", "--image", "current"];
    let words = [&words[..], &["--patience", "120"]].concat();
    let (done, asker) = run(&site, &words).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(asker.silent, [""; 0], "of {} questions", asker.answered);
    assert!(asker.answered > 20, "asked {} times", asker.answered);
    assert_eq!(images(&site), [NEW, NEW]);
    for (alias, before) in PAIR.iter().zip(before) {
        let zone = site.zone(alias).unwrap();
        assert!(!mark(&zone).exists(), "{alias}: the root is the old one");
        assert_eq!(kept(&zone), before);
    }

    // Back; but the server loses the first one's data on the way.
    site.platform().lose_data();
    let words = ["rollback", "prometheus", "--yes", "--json"];
    let words = [&words[..], &["--patience", "60"]].concat();
    let (failed, asker) = run(&site, &words).await;
    let report: Value = serde_json::from_str(&failed.stdout).unwrap();
    assert_eq!(failed.code, Some(1), "{report:#}");
    let error = report["error"].as_str().unwrap();
    let said = "prometheus0: its data is gone: saw data ";
    assert!(error.starts_with(said), "{error}");
    // The other one was let be.
    assert_eq!(images(&site), [ids::PROMETHEUS_IMAGE, NEW]);
    assert_eq!(asker.silent, [""; 0], "of {} questions", asker.answered);
}

/// Who has no partner is down for a moment, and comes back with its users.
#[tokio::test(flavor = "multi_thread")]
async fn what_grafana_knows_outlives_an_update() {
    let site = site().await;
    set_up(&site, &["grafana"]).await;
    let users = |zone: &Instance| {
        zone.zone().data_folder().join("grafana/data/grafana.db")
    };
    {
        let zone = site.zone("grafana0").unwrap();
        std::fs::write(users(&zone), "users").unwrap();
        std::fs::write(mark(&zone), "old root").unwrap();
    }
    newer(&site, ids::GRAFANA_IMAGE);
    let words = ["update", "grafana", "--image", "current"];
    let asked = site.monadm(&words, LIMIT).await.unwrap();
    let said = "1 of 1 zones reprovisioned, one at a time: grafana0";
    assert_eq!(asked.code, Some(1), "{asked:?}");
    assert!(asked.stderr.contains(said), "{asked:?}");
    let words = [&words[..], &["--yes"]].concat();
    let done = site.monadm(&words, LIMIT).await.unwrap();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let zone = site.zone("grafana0").unwrap();
    assert!(!mark(&zone).exists(), "the root is the old one");
    assert_eq!(std::fs::read_to_string(users(&zone)).unwrap(), "users");
    drop(zone);
    let again = site.monadm(&words, LIMIT).await.unwrap();
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert_eq!(again.stderr, "", "nothing is done a second time");

    // A Grafana without its users answers as well as any: its agent knows.
    site.platform().lose_data();
    let words = ["rollback", "grafana", "--yes", "--patience", "60"];
    let failed = site.monadm(&words, LIMIT).await.unwrap();
    assert_eq!(failed.code, Some(1), "{failed:?}");
    let said = "grafana0: its data is gone: saw data ";
    assert!(failed.stderr.contains(said), "{}", failed.stderr);
}
