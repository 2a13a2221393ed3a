// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Zones: what they see, how their supervisor behaves, and that nothing of
//! them outlives their owner. All of it needs root.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use localdc::zone::{
    Bind, Exec, ExecOutput, Forward, Network, Reboot, Restart, SizeLimit,
    UnitSpec, User, Zone, ZoneError, ZoneSpec, sweep_stale,
};
use nix::sys::signal::Signal;

const LIMIT: Duration = Duration::from_secs(10);
const UUID: &str = "5f1a0f6e-6a4b-4c0e-9a54-0d8f2b7c0020";
const ZONE_IP: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 20);
const DC_IP: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 2);

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
async fn systemctl_reloads_restarts_and_stops() {
    let network = Network::create("units").unwrap();
    let mut spec = spec();
    let mut idle = shell("idle", "exec sleep 600");
    (idle.enabled, idle.reloads) = (false, false);
    spec.units = vec![shell("counter.service", COUNTER), idle];
    let zone = Zone::boot(program(), &network, spec).await.unwrap();
    logged(&zone, "counter", "up").await;
    let pid = zone.pid_of("counter").await.unwrap().unwrap();

    let active = sh(&zone, "systemctl is-active counter.service").await;
    assert_eq!((active.code, active.stdout.trim()), (Some(0), "active"));
    assert!(sh(&zone, "systemctl reload counter").await.success());
    logged(&zone, "counter", "hup 1").await;
    zone.reload_unit("counter").await.unwrap();
    logged(&zone, "counter", "hup 2").await;
    let show = "systemctl show -p MainPID --value counter.service";
    assert_eq!(sh(&zone, show).await.stdout.trim(), pid.to_string());

    let restarted = sh(&zone, "systemctl restart counter").await;
    assert!(restarted.success(), "{}", restarted.stderr);
    let now = zone.pid_of("counter").await.unwrap();
    assert!(now.is_some() && now != Some(pid), "{now:?} after {pid}");
    assert!(sh(&zone, "systemctl stop counter").await.success());
    let state =
        "systemctl show counter -p MainPID,ActiveState,SubState --value";
    assert_eq!(sh(&zone, state).await.stdout, "inactive\ndead\n0\n");

    let idle = sh(&zone, "systemctl is-active idle").await;
    assert_eq!((idle.code, idle.stdout.trim()), (Some(3), "inactive"));
    assert_eq!(sh(&zone, "systemctl is-enabled idle").await.code, Some(1));
    assert!(sh(&zone, "systemctl enable --now idle").await.success());
    assert_eq!(sh(&zone, "systemctl is-enabled idle").await.code, Some(0));
    assert!(zone.pid_of("idle").await.unwrap().is_some());
    assert_eq!(sh(&zone, "systemctl reload idle").await.code, Some(1));
    let either = sh(&zone, "systemctl reload-or-restart idle").await;
    assert!(either.success(), "{}", either.stderr);
}

#[tokio::test]
async fn systemctl_knows_its_exit_codes() {
    let network = Network::create("codes").unwrap();
    let mut spec = spec();
    let mut missing = UnitSpec::new("missing", ["/opt/no/such/program"]);
    (missing.enabled, missing.restart) = (false, Restart::No);
    spec.units = vec![missing, shell("idle", "exec sleep 600")];
    spec.users = vec![prometheus()];
    let zone = Zone::boot(program(), &network, spec).await.unwrap();
    for (command, code, said) in [
        ("is-active none", 3, "inactive"),
        ("is-failed none", 1, "inactive"),
        ("is-enabled none", 1, ""),
        ("start none", 5, ""),
        ("stop none", 5, ""),
        ("reload none", 5, ""),
        ("enable none", 1, ""),
        ("status none", 4, ""),
        ("show none -p LoadState --value", 0, "not-found"),
        ("start missing", 1, ""),
        ("is-failed missing", 0, "failed"),
        ("show missing -p ExecMainStatus", 0, "ExecMainStatus=203"),
        ("reset-failed missing", 0, ""),
        ("is-active missing", 3, "inactive"),
        ("daemon-reload", 0, ""),
        ("frobnicate idle", 1, ""),
    ] {
        for systemctl in ["systemctl", "/usr/bin/systemctl"] {
            let line = format!("{systemctl} {command}");
            let answer = sh(&zone, &line).await;
            assert_eq!(answer.code, Some(code), "{line}: {answer:?}");
            assert_eq!(answer.stdout.trim(), said, "{line}: {answer:?}");
        }
    }
    let refused = as_prometheus(&zone, "systemctl stop idle").await;
    assert_eq!(refused.code, Some(4), "{refused:?}");
    let asked = as_prometheus(&zone, "systemctl is-active idle").await;
    assert_eq!(asked.stdout, "active\n");
}

#[tokio::test]
async fn crash_restarts_until_it_is_too_often() {
    let network = Network::create("crash").unwrap();
    let mut spec = spec();
    let mut crasher = shell("crasher", "echo run; exit 3");
    crasher.enabled = false;
    crasher.restart_delay = Duration::from_millis(10);
    spec.units = vec![shell("counter", COUNTER), crasher];
    let zone = Zone::boot(program(), &network, spec).await.unwrap();
    logged(&zone, "counter", "up").await;
    let pid = zone.pid_of("counter").await.unwrap();
    zone.kill("counter", Signal::SIGKILL).await.unwrap();
    eventually("another pid", async || {
        let now = zone.pid_of("counter").await.unwrap();
        (now.is_some() && now != pid).then_some(())
    })
    .await;
    assert_eq!(zone.unit("counter").await.unwrap().restarts, 1);

    zone.start_unit("crasher").await.unwrap();
    let view = eventually("failed", async || {
        let view = zone.unit("crasher").await.unwrap();
        (view.active_state == "failed").then_some(view)
    })
    .await;
    assert_eq!(view.result, "start-limit-hit");
    assert_eq!(view.exec_main_status, 3);
    assert_eq!(zone.log_of("crasher").unwrap(), "run\n".repeat(5));
    let refused = sh(&zone, "systemctl start crasher").await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("too often"), "{}", refused.stderr);
    assert!(sh(&zone, "systemctl reset-failed crasher").await.success());
    zone.start_unit("crasher").await.unwrap();
}

#[tokio::test]
async fn stop_ends_what_a_daemon_left_behind() {
    let network = Network::create("group").unwrap();
    let mut spec = spec();
    let mut stubborn = shell("stubborn", "trap '' TERM; echo up; sleep 601");
    stubborn.stop_timeout = Duration::from_millis(100);
    spec.units = vec![stubborn, shell("parent", "sleep 602 & echo up; wait")];
    let zone = Zone::boot(program(), &network, spec).await.unwrap();
    for unit in ["stubborn", "parent"] {
        logged(&zone, unit, "up").await;
        zone.stop_unit(unit).await.unwrap();
    }
    assert_eq!(zone.unit("stubborn").await.unwrap().result, "timeout");
    let left = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 60'";
    let left = eventually("an end of both", async || {
        let left = sh(&zone, left).await.stdout;
        // The asking shell has the words in its own command line.
        (left.trim() == "1").then_some(left)
    })
    .await;
    assert_eq!(left, "1\n");
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
    // A daemon of the image is enabled again, whatever was said before.
    sh(&zone, "systemctl disable --now counter").await;
    zone.reboot(Reboot::Reprovision).await.unwrap();
    assert!(zone.pid_of("counter").await.unwrap().is_some());
}

/// Serves `text` to everyone who connects, until the process ends.
fn greet(listener: TcpListener, text: &'static str) {
    listener.set_nonblocking(false).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let _ = client.and_then(|mut c| c.write_all(text.as_bytes()));
        }
    });
}

#[tokio::test]
async fn networks_side_by_side_do_not_meet() {
    let at = SocketAddr::from((DC_IP, 7000));
    let public = SocketAddr::from(([8, 8, 8, 8], 7000));
    let mut pairs = Vec::new();
    for text in ["first", "second"] {
        let network = Network::create("pair").unwrap();
        network.add_address(DC_IP).unwrap();
        network.add_address([8, 8, 8, 8].into()).unwrap();
        greet(network.dc().bind_tcp(at).unwrap(), text);
        greet(network.dc().bind_tcp(public).unwrap(), text);
        let zone = Zone::boot(program(), &network, spec()).await.unwrap();
        pairs.push((network, zone, text));
    }
    for (_, zone, text) in &pairs {
        for ip in ["10.88.0.2", "8.8.8.8"] {
            let read = format!("cat < /dev/tcp/{ip}/7000");
            let read = zone.exec(["bash", "-c", &read], LIMIT).await.unwrap();
            assert_eq!(read.stdout, *text, "{read:?}");
        }
    }
    let (network, zone, _) = &pairs[0];
    network.remove_address([8, 8, 8, 8].into()).unwrap();
    let gone = "cat < /dev/tcp/8.8.8.8/7000";
    let soon = Duration::from_millis(500);
    let gone = zone.exec(["bash", "-c", gone], soon).await;
    assert!(matches!(gone, Err(ZoneError::TooLate { .. })), "{gone:?}");
    // Here, outside of both, the address is not ours.
    let here = TcpListener::bind((DC_IP, 0));
    assert!(here.is_err(), "the address leaked: {here:?}");
}

#[tokio::test]
async fn runtime_in_the_dc_reaches_zones() {
    let network = Network::create("runtime").unwrap();
    let zone = Zone::boot(program(), &network, spec()).await.unwrap();
    let at = SocketAddr::from((ZONE_IP, 9090));
    greet(zone.namespace().bind_tcp(at).unwrap(), "from the zone");
    let runtime = network.dc().runtime().unwrap();
    let read = runtime.spawn(async move {
        let stream = tokio::net::TcpStream::connect(at).await.unwrap();
        let mut stream = stream.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    assert_eq!(read.await.unwrap(), "from the zone");
    runtime.shutdown_background();
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarder_leads_into_a_zone() {
    let network = Network::create("forward").unwrap();
    let zone = Zone::boot(program(), &network, spec()).await.unwrap();
    let inside = SocketAddr::from(([127, 0, 0, 1], 9191));
    greet(zone.namespace().bind_tcp(inside).unwrap(), "status");
    let outside = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let forward = Forward::start(outside, zone.namespace(), inside).unwrap();
    let at = forward.local_addr();
    let read = move || {
        let mut stream = TcpStream::connect_timeout(&at, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut text = String::new();
        stream.read_to_string(&mut text).map(|_| text)
    };
    for _ in 0..3 {
        let text = tokio::task::spawn_blocking(read).await.unwrap();
        assert_eq!(text.unwrap(), "status");
    }
    drop(forward);
    eventually("a closed port", async || read().err().map(|_| ())).await;
}

#[tokio::test]
async fn boot_that_fails_says_why_and_leaves_nothing() {
    let network = Network::create("fails").unwrap();
    let mut bad = spec();
    bad.binds = vec![Bind::read_only(Path::new("/no/such"), "/opt/x")];
    let failed = Zone::boot(program(), &network, bad).await;
    let Err(ZoneError::Boot { zone, reason }) = failed else {
        panic!("booted: {failed:?}");
    };
    assert_eq!(zone, "prometheus0");
    assert!(reason.contains("/no/such"), "{reason}");
    assert!(reason.contains("No such file"), "{reason}");
    // The name, the address and the folder are free again.
    let zone = Zone::boot(program(), &network, spec()).await.unwrap();
    let again = Zone::boot(program(), &network, spec()).await;
    assert!(again.is_err(), "two zones of one name: {again:?}");
    assert!(sh(&zone, "true").await.success());
}

#[tokio::test]
async fn drop_ends_everything() {
    let network = Network::create("drop").unwrap();
    let mut spec = spec();
    // Out of its group and orphaned, yet of the zone.
    let runaway = "setsid sleep 600 & setsid sleep 600 & echo up; sleep 600";
    spec.units = vec![shell("runaway", runaway)];
    let zone = Zone::boot(program(), &network, spec).await.unwrap();
    logged(&zone, "runaway", "up").await;
    let spaces = namespaces(zone.init_pid().unwrap());
    let folder = zone.root_folder().ancestors().nth(2).unwrap().to_owned();
    assert!(inhabitants(&spaces).len() >= 4, "{:?}", inhabitants(&spaces));
    drop(zone);
    assert_eq!(inhabitants(&spaces), Vec::<PathBuf>::new());
    drop(network);
    assert!(!folder.exists(), "{} is left", folder.display());
}

/// Its pid and network namespaces, as /proc names them.
fn namespaces(pid: i32) -> [PathBuf; 2] {
    ["pid_for_children", "net"]
        .map(|kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap())
}

/// Processes that live in one of the namespaces.
fn inhabitants(spaces: &[PathBuf]) -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lives_in = |path: &PathBuf| {
        ["ns/pid", "ns/net"].iter().any(|kind| {
            let space = fs::read_link(path.join(kind));
            space.is_ok_and(|space| spaces.contains(&space))
        })
    };
    processes.map(|entry| entry.path()).filter(lives_in).collect()
}

/// Ends the process with the test, also after a panic.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "a parent to be killed")]
fn hold(data: &Path) -> Reaped {
    let child = Command::new(program())
        .arg("zone-hold")
        .arg(data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    Reaped(child.unwrap())
}

#[tokio::test]
async fn parent_killed_leaves_nothing_but_a_folder_to_sweep() {
    let data = tempfile::tempdir().unwrap();
    let mut parent = hold(data.path());
    let mut line = String::new();
    let stdout = parent.0.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let (pid, root) = line.trim().split_once(' ').unwrap();
    let spaces = namespaces(pid.parse().unwrap());
    assert!(inhabitants(&spaces).len() >= 2);
    let folder = Path::new(root).ancestors().nth(2).unwrap();
    assert!(folder.exists());

    // Neither a living owner's folder nor anything else is swept.
    let swept = sweep_stale().unwrap();
    assert!(!swept.iter().any(|path| path == folder), "{swept:?}");
    parent.0.kill().unwrap();
    parent.0.wait().unwrap();
    eventually("an empty zone", async || {
        inhabitants(&spaces).is_empty().then_some(())
    })
    .await;
    // Another test's network may sweep it first.
    sweep_stale().unwrap();
    assert!(!folder.exists(), "{} is left", folder.display());
    assert!(data.path().exists(), "the delegate dataset was swept");
}
