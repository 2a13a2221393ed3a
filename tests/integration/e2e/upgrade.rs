// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A pair of real Prometheus zones goes to another image by `monadm update`,
//! and whoever asks the pair has an answer all the while. Reprovisions are
//! VMAPI's jobs; a platform below it takes each zone down, gives it a new root
//! and boots it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use localdc::datacenter;
use localdc::imgapi::Imgapi;
use localdc::sapi::{Kind, ids};
use localdc::world::{Daemons, SAPI, VMAPI, World, prometheus_uuid};
use localdc::zone::Reboot;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::{LONG, soon, when, world_with};

/// Where the datacenter's IMGAPI listens.
const IMGAPI: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 21);
const NEW: &str = "f0000000-0000-4000-8000-0000000000aa";
/// Far longer than both zones take.
const LIMIT: Duration = Duration::from_secs(400);
/// Between two questions to the pair.
const PAUSE: Duration = Duration::from_millis(100);

/// What VMAPI's jobs do to real zones.
struct Platform {
    roots: BTreeMap<usize, Uuid>,
    /// Delegate datasets do not come back.
    loses_data: bool,
}

impl Platform {
    fn over(world: &World) -> Self {
        let root = |number: usize| (number, root(world, number));
        Self { roots: (0..2).map(root).collect(), loses_data: false }
    }

    /// Follows the datacenter for ever.
    async fn run(&mut self, world: &mut World) {
        let mut changed = world.datacenter().subscribe();
        loop {
            for number in 0..2 {
                self.follow(world, number).await;
            }
            let next = changed.changed();
            let _ = tokio::time::timeout(PAUSE, next).await;
        }
    }

    async fn follow(&mut self, world: &mut World, number: usize) {
        let uuid = prometheus_uuid(number);
        let state =
            world.datacenter().read(|all| all.vm(&uuid).unwrap().state.clone());
        let root = root(world, number);
        let zone = world.instance_mut(number).zone_mut();
        if state == "stopped" && zone.init_pid().is_some() {
            zone.shut_down().await;
        }
        if state == "running" && self.roots[&number] != root {
            zone.shut_down().await;
            if self.loses_data {
                let data = zone.data_folder().join("prometheus/data");
                std::fs::remove_dir_all(data).unwrap();
            }
            zone.reboot(Reboot::Reprovision).await.unwrap();
            self.roots.insert(number, root);
        }
    }
}

fn root(world: &World, number: usize) -> Uuid {
    world.datacenter().stock().zone(&prometheus_uuid(number)).root
}

/// Asks both of a pair, again and again: how often either knew, and when
/// neither did.
struct Asker {
    daemons: Vec<Daemons>,
    answered: usize,
    silent: Vec<String>,
}

impl Asker {
    async fn run(&mut self) {
        loop {
            let [a, b] = &self.daemons[..] else { panic!("a pair") };
            let question = "count(up == 1)";
            let both = tokio::join!(a.value(question), b.value(question));
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
fn kept(world: &World, number: usize) -> (Vec<u8>, PathBuf) {
    let data = world.instances()[number].zone().data_folder();
    let key = std::fs::read(data.join("prometheus/tls/cmon.key")).unwrap();
    let log = data.join("prometheus/data/wal/00000000");
    assert!(log.is_file(), "{}", log.display());
    (key, log)
}

/// Images, IMGAPI, delegate datasets, and application `sdc` that says where
/// everybody is: what operators' tools need beyond what zones do.
async fn equip(world: &World) -> DropGuard {
    let image = |uuid: &str, day: u8| {
        json!({"uuid": uuid, "name": "mantav2-prometheus", "state": "active",
            "version": format!("main-2030010{day}"), "type": "docker",
            "published_at": format!("2030-01-0{day}T00:00:00Z")})
    };
    let datacenter = world.datacenter();
    {
        let mut stock = datacenter.stock();
        stock.put_image(image(ids::IMAGE, 1));
        stock.put_image(image(NEW, 2));
        stock.job_polls = 3;
        for number in 0..2 {
            let data = Some(Uuid::new_v4());
            let zone = datacenter::Zone { data, ..Default::default() };
            stock.zones.insert(prometheus_uuid(number), zone);
        }
    }
    let sapi = &world.services().sapi;
    sapi.edit_metadata(Kind::Application, ids::SDC, |all| {
        for (api, ip) in [("vmapi", VMAPI), ("imgapi", IMGAPI)] {
            all.insert(format!("{api}_domain"), json!(ip));
        }
        // Not asked by an update.
        for api in ["napi", "papi", "cnapi", "fwapi"] {
            all.insert(format!("{api}_domain"), json!(SAPI));
        }
    });
    world.network().add_address(IMGAPI).unwrap();
    let at = SocketAddr::from((IMGAPI, 80));
    let listener = world.network().dc().bind_tcp(at).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let stop = CancellationToken::new();
    let imgapi = Imgapi::new(std::sync::Arc::clone(datacenter));
    tokio::spawn(imgapi.serve(listener, stop.clone()));
    stop.drop_guard()
}

/// The program, on the datacenter's network.
#[expect(clippy::disallowed_methods, reason = "the program under test")]
fn monadm(world: &World, words: &[&str]) -> Command {
    let localdc = Path::new(env!("CARGO_BIN_EXE_localdc"));
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net={}", world.network().dc().path().display()))
        .arg(localdc.with_file_name("monadm"))
        .args(words)
        .env("SAPI_URL", format!("http://{SAPI}"))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs it while the platform does as VMAPI says and somebody asks the pair.
async fn run(
    world: &mut World,
    platform: &mut Platform,
    words: &[&str],
) -> (Output, Asker) {
    let daemons = world.instances().iter().map(|i| i.daemons().clone());
    let daemons = daemons.collect();
    let mut asker = Asker { daemons, answered: 0, silent: Vec::new() };
    let output = monadm(world, words).output();
    let output = tokio::select! {
        output = output => output.unwrap(),
        () = platform.run(world) => unreachable!("it goes on for ever"),
        () = asker.run() => unreachable!("it goes on for ever"),
        () = tokio::time::sleep(LIMIT) => panic!("{words:?} takes too long"),
    };
    (output, asker)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_is_updated_and_whoever_asks_it_notices_nothing() {
    let mut world = world_with(|spec| {
        spec.instances = ["a", "b"]
            .map(|replica| {
                let metadata = json!({"replica": replica, "shard": "0"});
                metadata.as_object().unwrap().clone()
            })
            .into();
    })
    .await;
    for instance in world.instances() {
        let up = localdc::world::eventually("targets", LONG, async || {
            let up = instance.daemons().value("count(up == 1)").await;
            let up = super::text(up)?.and_then(|n| n.parse::<u32>().ok());
            when(up >= Some(9), || format!("{up:?} up"))
        });
        up.await.unwrap();
    }
    soon("healthy", async || {
        let report = super::status(&world).await?;
        when(report.healthy, || report.faults.join("; "))
    })
    .await;
    let _imgapi = equip(&world).await;
    let before = [kept(&world, 0), kept(&world, 1)];
    let mark = |world: &World, number: usize| {
        world.instances()[number].zone().root_folder().join("var/mark")
    };
    for number in 0..2 {
        std::fs::write(mark(&world, number), "old root").unwrap();
    }
    let mut platform = Platform::over(&world);
    let words = ["update", "prometheus", "--yes", "--image", "current"];
    let words = [&words[..], &["--patience", "120"]].concat();
    let (done, asker) = run(&mut world, &mut platform, &words).await;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert_eq!(asker.silent, [""; 0], "of {} questions", asker.answered);
    assert!(asker.answered > 20, "asked {} times", asker.answered);
    for (number, before) in before.iter().enumerate() {
        let uuid = prometheus_uuid(number);
        let image = world
            .datacenter()
            .read(|all| all.vm(&uuid).unwrap().image_uuid.clone());
        assert_eq!(image, NEW);
        assert!(!mark(&world, number).exists(), "the root is the old one");
        assert_eq!(&kept(&world, number), before);
    }

    // Back; but the platform loses the first one's data on the way.
    platform.loses_data = true;
    let words = ["rollback", "prometheus", "--yes", "--json"];
    let words = [&words[..], &["--patience", "40"]].concat();
    let (failed, asker) = run(&mut world, &mut platform, &words).await;
    let report: Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert_eq!(failed.status.code(), Some(1), "{report:#}");
    let error = report["error"].as_str().unwrap();
    assert!(error.contains("prometheus0 is not well"), "{error}");
    assert!(error.contains("its data is gone"), "{error}");
    let images: Vec<&Value> = report["instances"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["image"])
        .collect();
    assert_eq!(images, [ids::IMAGE, NEW], "the other one was let be");
    assert_eq!(asker.silent, [""; 0], "of {} questions", asker.answered);
}
