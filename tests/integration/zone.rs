// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Zones: what they see, how their supervisor behaves, and that nothing of
//! them outlives their owner. All of it needs root.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

mod ends;
mod net;
mod units;

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use localdc::zone::{
    Bind, Exec, ExecOutput, Network, Reboot, SizeLimit, UnitSpec, User, Zone,
    ZoneError, ZoneSpec,
};

const LIMIT: Duration = Duration::from_secs(30);
const UUID: &str = "5f1a0f6e-6a4b-4c0e-9a54-0d8f2b7c0020";
const ZONE_IP: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 20);

/// Counts its SIGHUPs in its log; says when it can take them.
const COUNTER: &str = "trap 'n=$((n+1)); echo hup $n' HUP; n=0; echo up; \
    while :; do sleep 600 & wait $!; done";

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_localdc"))
}

fn spec() -> ZoneSpec {
    let mut spec = ZoneSpec::new("prometheus0", UUID, ZONE_IP);
    spec.resolvers = vec![[10, 88, 0, 11].into(), [8, 8, 8, 8].into()];
    spec
}

fn shell(name: &str, script: &str) -> UnitSpec {
    UnitSpec::new(name, ["sh", "-c", script])
}

async fn sh(zone: &Zone, script: &str) -> ExecOutput {
    zone.exec(["sh", "-c", script], LIMIT).await.unwrap()
}

/// Asks again until `look` finds something, within the limit.
async fn eventually<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn logged(zone: &Zone, unit: &str, text: &str) {
    eventually(text, async || {
        zone.log_of(unit).unwrap().contains(text).then_some(())
    })
    .await;
}

#[tokio::test]
async fn zone_sees_its_own_world_only() {
    let host = tempfile::tempdir().unwrap();
    let network = Network::create("world").unwrap();
    let mut spec = spec();
    spec.data = Some(host.path().to_owned());
    spec.mdata.insert("sapi-url".into(), "http://10.88.0.32".into());
    spec.files.insert("/opt/triton/x/etc/a.conf".into(), "a = 1\n".into());
    let zone = Zone::boot(program(), &network, spec).await.unwrap();

    let resolv = sh(&zone, "cat /etc/resolv.conf").await.stdout;
    assert_eq!(
        resolv,
        "search triton.test\nnameserver 10.88.0.11\nnameserver 8.8.8.8\n"
    );
    let names = sh(&zone, "hostname; zonename; id -un; pwd").await;
    assert_eq!(names.stdout, format!("{UUID}\n{UUID}\nroot\n/\n"));
    let devices = sh(&zone, "tail -n +3 /proc/net/dev | cut -d: -f1").await;
    let mut devices: Vec<_> = devices.stdout.split_whitespace().collect();
    devices.sort_unstable();
    assert_eq!(devices, ["eth0", "lo"]);
    let seen = sh(&zone, "grep -c zone-init /proc/1/cmdline").await;
    assert!(seen.success(), "process 1 is another: {seen:?}");
    let hidden = format!("ls -a /; ls {}", host.path().display());
    let hidden = sh(&zone, &hidden).await;
    assert!(!hidden.success(), "the host shows: {}", hidden.stdout);
    assert!(!hidden.stdout.contains(".host"), "{}", hidden.stdout);
    let denied = sh(&zone, "touch /usr/x").await;
    assert!(denied.stderr.contains("Read-only"), "{}", denied.stderr);
    assert_eq!(
        sh(&zone, "cat /opt/triton/x/etc/a.conf").await.stdout,
        "a = 1\n"
    );

    assert!(sh(&zone, "echo kept > /data/mark").await.success());
    let kept = fs::read_to_string(host.path().join("mark")).unwrap();
    assert_eq!(kept, "kept\n");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let ours = host.path().to_str().unwrap();
    assert!(!mounts.contains(ours), "mounts on the host:\n{mounts}");
    let root = zone.root_folder().to_str().unwrap();
    assert!(!mounts.contains(root), "mounts on the host:\n{mounts}");
}

#[tokio::test]
async fn metadata_is_answered_as_by_the_platform() {
    let network = Network::create("mdata").unwrap();
    let mut spec = spec();
    spec.mdata.insert("sapi-url".into(), "http://10.88.0.32".into());
    spec.users = vec![prometheus()];
    let zone = Zone::boot(program(), &network, spec).await.unwrap();
    for (key, value) in [
        ("sapi-url", "http://10.88.0.32"),
        ("sdc:uuid", UUID),
        ("sdc:resolvers", r#"["10.88.0.11","8.8.8.8"]"#),
    ] {
        let argv = ["/native/usr/sbin/mdata-get", key];
        let answer = zone.exec(argv, LIMIT).await.unwrap();
        assert!(answer.success(), "{key}: {}", answer.stderr);
        assert_eq!(answer.stdout.trim_end(), value, "{key}");
    }
    let missing = sh(&zone, "mdata-get nothing").await;
    assert_eq!(missing.code, Some(1));
    assert!(missing.stdout.is_empty());
    assert!(missing.stderr.contains("nothing"), "{}", missing.stderr);

    zone.set_metadata("nothing", Some("something")).await.unwrap();
    assert_eq!(sh(&zone, "mdata-get nothing").await.stdout, "something\n");
    let other = as_prometheus(&zone, "mdata-get sdc:uuid").await;
    assert_eq!(other.code, Some(2), "metadata is for root: {other:?}");
}

fn prometheus() -> User {
    let name = "prometheus".into();
    User { name, uid: 9090, home: "/data/prometheus".into() }
}

async fn as_prometheus(zone: &Zone, script: &str) -> ExecOutput {
    let exec = Exec {
        argv: ["sh", "-c", script].map(String::from).into(),
        user: Some("prometheus".into()),
        env: [("MARK".to_owned(), "here".to_owned())].into(),
        stdin: b"from outside".to_vec(),
        limit: LIMIT,
    };
    zone.exec_with(exec).await.unwrap()
}

#[tokio::test]
async fn platform_rewrites_resolv_conf_at_run_time_and_boot() {
    let network = Network::create("resolv").unwrap();
    let mut zone = Zone::boot(program(), &network, spec()).await.unwrap();
    let own = "echo 'nameserver 127.0.0.1' > /etc/resolv.conf";
    let read = "cat /etc/resolv.conf";
    let platform = zone.spec().resolv_conf();
    sh(&zone, own).await;
    assert_ne!(sh(&zone, read).await.stdout, platform);
    zone.platform_rewrites_resolv_conf().await.unwrap();
    assert_eq!(sh(&zone, read).await.stdout, platform);
    sh(&zone, own).await;
    zone.reboot(Reboot::Keep).await.unwrap();
    assert_eq!(sh(&zone, read).await.stdout, platform);
}

#[tokio::test]
async fn exec_has_limits_stdin_and_accounts() {
    let network = Network::create("exec").unwrap();
    let mut spec = spec();
    spec.users = vec![prometheus()];
    let zone = Zone::boot(program(), &network, spec).await.unwrap();
    let told = as_prometheus(&zone, "id -un; echo $MARK $HOME; cat").await;
    let wanted = "prometheus\nhere /data/prometheus\nfrom outside";
    assert_eq!(told.stdout, wanted, "{told:?}");
    let failed = sh(&zone, "echo why >&2; exit 7").await;
    assert_eq!((failed.code, failed.stderr.as_str()), (Some(7), "why\n"));
    let killed = sh(&zone, "kill -9 $$").await;
    assert_eq!((killed.code, killed.signal), (None, Some(9)));

    let start = Instant::now();
    let late = Duration::from_millis(200);
    let hung = zone.exec(["sh", "-c", "sleep 600 & sleep 600"], late).await;
    assert!(matches!(hung, Err(ZoneError::TooLate { .. })), "{hung:?}");
    assert!(start.elapsed() < LIMIT);
    let absent = zone.exec(["/no/such"], LIMIT).await;
    assert!(matches!(absent, Err(ZoneError::Refused { .. })), "{absent:?}");
}

#[tokio::test]
async fn small_file_system_fills_up() {
    let network = Network::create("full").unwrap();
    let mut spec = spec();
    spec.users = vec![prometheus()];
    let path = PathBuf::from("/opt/triton/prometheus/etc");
    let user = Some("prometheus".to_owned());
    spec.limits = vec![SizeLimit { path, size_bytes: 64 << 10, user }];
    let zone = Zone::boot(program(), &network, spec).await.unwrap();
    let fill = "head -c 100000 /dev/zero > /opt/triton/prometheus/etc/x";
    let full = as_prometheus(&zone, fill).await;
    assert!(full.stderr.contains("No space left"), "{full:?}");
    let smaller = "head -c 1000 /dev/zero > /opt/triton/prometheus/etc/x";
    let fits = as_prometheus(&zone, smaller).await;
    assert!(fits.success(), "{fits:?}");
}

#[tokio::test]
async fn binds_are_read_only_unless_said() {
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("config-agent"), "agent").unwrap();
    let agent = host.path().join("config-agent");
    let network = Network::create("binds").unwrap();
    let mut spec = spec();
    let target = "/opt/triton/config-agent/bin/config-agent";
    spec.binds = vec![
        Bind::read_only(&agent, target),
        Bind::writable(host.path(), "/opt/triton/config-agent"),
    ];
    let zone = Zone::boot(program(), &network, spec).await.unwrap();
    let read = sh(&zone, &format!("cat {target}; echo x > {target}")).await;
    assert_eq!(read.stdout, "agent");
    assert!(read.stderr.contains("Read-only"), "{}", read.stderr);
    let write = "echo x > /opt/triton/config-agent/new";
    assert!(sh(&zone, write).await.success());
    assert!(host.path().join("new").exists());
}

#[tokio::test]
async fn reboot_keeps_the_root_and_reprovision_only_data() {
    let network = Network::create("reboot").unwrap();
    let mut spec = spec();
    spec.units = vec![shell("counter", COUNTER)];
    let mut zone = Zone::boot(program(), &network, spec).await.unwrap();
    let write = "echo a > /var/a; echo a > /data/a; echo a > /tmp/a";
    assert!(sh(&zone, write).await.success());
    let read = "cd /; ls var/a data/a tmp/a 2>/dev/null";
    let first = zone.init_pid();
    zone.reboot(Reboot::Keep).await.unwrap();
    assert_ne!(zone.init_pid(), first);
    assert_eq!(sh(&zone, read).await.stdout, "data/a\nvar/a\n");
    assert!(zone.pid_of("counter").await.unwrap().is_some());
    zone.reboot(Reboot::Reprovision).await.unwrap();
    assert_eq!(sh(&zone, read).await.stdout, "data/a\n");
    // What was said holds over a reboot; a reprovision forgets it.
    sh(&zone, "systemctl disable --now counter").await;
    zone.reboot(Reboot::Keep).await.unwrap();
    assert_eq!(zone.pid_of("counter").await.unwrap(), None);
    zone.reboot(Reboot::Reprovision).await.unwrap();
    assert!(zone.pid_of("counter").await.unwrap().is_some());
}
