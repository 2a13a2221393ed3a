// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::host::Finished;
use crate::host::fake::Fake;
use crate::model::{Flavor, Role};
use crate::setup::{Brand, Facts, Zone, look, plan};

const LIMIT: Duration = Duration::from_secs(100);
const UUID: &str = "5f1a0f6e-6a4b-4c0e-9a54-0d8f2b7c0045";
const VALUES: &str = "zfs get -Hpo value mountpoint,mounted";

/// A root as the image leaves it, and a host that only remembers.
struct Bench {
    root: tempfile::TempDir,
    host: Fake,
    zone: Zone,
}

impl Bench {
    fn new(brand: Brand) -> Self {
        let root = tempfile::tempdir().unwrap();
        let text = match brand {
            Brand::JoyentMinimal => {
                "<method_credential user=\"nobody\" group=\"no-such\"/>"
            }
            Brand::Lx => "[Service]\nUser=root\nGroup=no-such\n",
        };
        for (home, service) in
            [("config-agent", "config-agent"), ("prometheus", "prometheus")]
        {
            let smf = root.path().join("opt/triton").join(home).join("smf");
            fs::create_dir_all(&smf).unwrap();
            for suffix in ["xml", "service"] {
                fs::write(smf.join(format!("{service}.{suffix}")), text)
                    .unwrap();
            }
        }
        let host = Fake::default();
        host.script(VALUES, answer("/zones/x/data\nno\n"));
        host.script("zfs get -Hpo value mounted", answer("yes\n"));
        host.script("", answer(""));
        let zone = Zone {
            uuid: UUID.to_owned(),
            brand,
            flavor: Flavor::Triton,
            role: Role::Prometheus,
            datacenter: Some("dc1".to_owned()),
            sapi_url: "http://sapi.dc1.example.test".to_owned(),
        };
        Self { root, host, zone }
    }

    async fn look(&self) -> Result<Facts, SetupError> {
        look(&self.host, self.root.path(), self.zone.clone()).await
    }

    /// Looks, plans, takes the steps until `passes` first passes were had.
    async fn set_up(
        &self,
        pass: Result<(), &str>,
    ) -> (Result<(), SetupError>, Vec<Report>) {
        let steps = plan(&self.look().await.unwrap());
        let mut reports = Vec::new();
        let taken = carry(
            &steps,
            &self.host,
            self.root.path(),
            Instant::now() + LIMIT,
            async |_| pass.map_err(str::to_owned),
            |report| reports.push(report.clone()),
        );
        (taken.await, reports)
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root.path().join(path)).unwrap()
    }
}

fn answer(stdout: &str) -> Finished {
    let stdout = stdout.to_owned();
    Finished { code: Some(0), stdout, ..Finished::default() }
}

fn refusal(stderr: &str) -> Finished {
    let status = "exit status: 1".to_owned();
    let stderr = stderr.to_owned();
    Finished { code: Some(1), status, stderr, ..Finished::default() }
}

#[tokio::test]
async fn a_fresh_root_is_set_up_and_the_next_run_changes_nothing() {
    for brand in [Brand::JoyentMinimal, Brand::Lx] {
        let bench = Bench::new(brand);
        let (taken, reports) = bench.set_up(Ok(())).await;
        taken.unwrap();
        assert!(reports.iter().all(|it| {
            it.outcome == Outcome::Done || it.step.starts_with("take over")
        }));
        let asked = bench.host.asked();
        assert!(asked.contains(&"groupadd no-such".to_owned()), "{asked:?}");
        let state = bench.root.path().join("data/config-agent");
        let mode = fs::metadata(state).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
        let config = bench.text("opt/triton/config-agent/etc/config.json");
        assert!(config.contains("http://sapi.dc1.example.test"), "{config}");
        assert_eq!(
            bench.text("root/.profile"),
            ". /opt/triton/config-agent/etc/profile\n"
        );

        bench.host.script(VALUES, answer("/data\nyes\n"));
        let (taken, reports) = bench.set_up(Ok(())).await;
        taken.unwrap();
        let changed: Vec<_> = reports
            .iter()
            .filter(|it| it.outcome != Outcome::Unchanged)
            .filter(|it| !it.step.contains("no-such"))
            .collect();
        assert!(changed.is_empty(), "{changed:?}");
    }
}

#[tokio::test]
async fn a_first_pass_may_fail_and_the_zone_is_complete_all_the_same() {
    let bench = Bench::new(Brand::Lx);
    let (taken, reports) = bench.set_up(Err("SAPI is away")).await;
    taken.unwrap();
    let failed = Outcome::Failed("SAPI is away".to_owned());
    assert!(reports.iter().any(|report| report.outcome == failed));
    assert!(bench.look().await.unwrap().complete);
}

#[tokio::test]
async fn the_first_failure_ends_it_and_the_mark_is_not_set() {
    let bench = Bench::new(Brand::JoyentMinimal);
    bench.host.script("svccfg import", refusal("repository is busy"));
    let (taken, _) = bench.set_up(Ok(())).await;
    let error = taken.unwrap_err();
    assert!(!error.is_final());
    let said = chain(&error);
    assert_eq!(
        said,
        "could not import service config-agent: svccfg ended with exit \
         status: 1: repository is busy"
    );
    assert!(!bench.look().await.unwrap().complete);
    assert!(!bench.host.asked().iter().any(|it| it.contains("logadm")));
}

#[tokio::test]
async fn a_dataset_that_does_not_mount_is_said_before_data_is_written() {
    let bench = Bench::new(Brand::Lx);
    bench.host.script("zfs get -Hpo value mounted", answer("no\n"));
    let (taken, _) = bench.set_up(Ok(())).await;
    let said = chain(&taken.unwrap_err());
    assert!(said.contains("mounted: zfs get"), "{said}");
    assert!(said.ends_with("says \"no\" rather than \"yes\""), "{said}");
    assert!(!bench.root.path().join("data").exists());
}

#[tokio::test]
async fn zones_that_were_made_wrong_are_told_apart() {
    let bench = Bench::new(Brand::Lx);
    bench.host.script(VALUES, refusal("internal error: out of memory"));
    assert!(!bench.look().await.unwrap_err().is_final());
    bench.host.script(VALUES, refusal("dataset does not exist"));
    let error = bench.look().await.unwrap_err();
    assert!(error.is_final());
    let said = chain(&error);
    assert!(said.contains("delegate_dataset: zfs ended"), "{said}");

    let mut bench = Bench::new(Brand::Lx);
    bench.zone.role = Role::Grafana;
    let error = bench.look().await.unwrap_err();
    assert!(error.is_final());
    let said = error.to_string();
    assert!(said.contains("has no /opt/triton/grafana"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn no_step_begins_when_time_is_over() {
    let bench = Bench::new(Brand::Lx);
    let steps = plan(&bench.look().await.unwrap());
    let taken = carry(
        &steps,
        &bench.host,
        bench.root.path(),
        Instant::now(),
        async |_| panic!("there is no time"),
        |_| (),
    );
    let said = chain(&taken.await.unwrap_err());
    assert!(said.ends_with(": no time is left for it"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_first_pass_leaves_the_last_steps_their_time() {
    let bench = Bench::new(Brand::JoyentMinimal);
    let registrar = "opt/smartdc/registrar/smf/manifests";
    let registrar = bench.root.path().join(registrar);
    fs::create_dir_all(&registrar).unwrap();
    fs::write(registrar.join("registrar.xml"), "").unwrap();
    let steps = plan(&bench.look().await.unwrap());
    let mut had = Duration::ZERO;
    let taken = carry(
        &steps,
        &bench.host,
        bench.root.path(),
        Instant::now() + LIMIT,
        async |limit| {
            had = limit;
            tokio::time::sleep(limit).await;
            Err("out of time".to_owned())
        },
        |_| (),
    );
    taken.await.unwrap();
    // Registrar has 30 s, the mark one.
    assert_eq!(had, Duration::from_secs(69));
    assert!(bench.look().await.unwrap().complete);
}

#[tokio::test]
async fn a_zone_comes_up_without_log_rotation_and_says_so() {
    let bench = Bench::new(Brand::JoyentMinimal);
    for tool in ["logadm", "crontab", "svccfg import /lib/svc"] {
        bench.host.script(tool, refusal("no such file"));
    }
    bench.host.script("zfs mount -a", refusal("cannot mount another"));
    let (taken, reports) = bench.set_up(Ok(())).await;
    taken.unwrap();
    for step in ["import service cron", "rotate the log of prometheus", "mount"]
    {
        let report = reports.iter().find(|it| it.step.starts_with(step));
        let outcome = &report.unwrap().outcome;
        assert!(matches!(outcome, Outcome::Failed(_)), "{step}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_crontab_that_is_there_and_not_read_is_not_taken_for_none() {
    let bench = Bench::new(Brand::JoyentMinimal);
    bench.host.script("crontab", refusal("can't open your crontab file."));
    assert_eq!(bench.look().await.unwrap().crontab, Some(String::new()));
    let folder = bench.root.path().join("var/spool/cron/crontabs");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("root"), "5 * * * * /opt/own\n").unwrap();
    assert_eq!(bench.look().await.unwrap().crontab, None);
}

#[tokio::test]
async fn a_data_folder_of_another_is_roots_again() {
    use std::os::unix::fs::{MetadataExt, chown};
    let bench = Bench::new(Brand::Lx);
    let folder = bench.root.path().join("data/prometheus");
    fs::create_dir_all(folder.join("data")).unwrap();
    fs::write(folder.join("data/lock"), "").unwrap();
    for path in ["", "data", "data/lock"] {
        chown(folder.join(path), Some(904), Some(904)).unwrap();
    }
    bench.set_up(Ok(())).await.0.unwrap();
    let owner = |path: &str| fs::metadata(folder.join(path)).unwrap().uid();
    assert_eq!(owner(""), 0);
    let nobody = crate::apply::commit::owner("nobody").unwrap().0.as_raw();
    assert_eq!((owner("data"), owner("data/lock")), (nobody, nobody));
}
