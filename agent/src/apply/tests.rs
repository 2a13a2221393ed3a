// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

mod bench;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use self::bench::Bench;
use super::*;
use crate::host::DaemonState;
use crate::render::Failed;

#[tokio::test]
async fn a_daemon_starts_once_and_is_left_alone_then() {
    let mut bench = Bench::new();
    let output = bench.output(vec![bench.file("a", "1"), bench.file("b", "1")]);
    let report = bench.pass(&output).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(bench.host.asked(), ["enable d"]);
    for _ in 0..2 {
        assert!(!bench.pass(&output).await.changed());
        bench.restart_agent();
    }
    assert_eq!(bench.host.asked(), [""; 0]);
    assert_eq!(bench.posts(), 0);
}

#[tokio::test]
async fn daemons_that_are_left_alone_are_started_by_the_next() {
    let mut bench = Bench::new();
    bench.applier.leave_daemons();
    let output = bench.output(vec![bench.file("a", "1"), bench.file("b", "1")]);
    assert!(bench.pass(&output).await.is_clean());
    assert!(bench.path("a").exists());
    assert_eq!(bench.host.asked(), [""; 0]);
    bench.restart_agent();
    assert!(bench.pass(&output).await.is_clean());
    assert_eq!(bench.host.asked(), ["enable d"]);
}

#[tokio::test]
async fn several_changed_files_are_one_reload() {
    let mut bench = Bench::new();
    bench.host.set_state("d", DaemonState::Online);
    let output = bench.output(vec![bench.file("a", "1"), bench.file("b", "1")]);
    bench.pass(&output).await;
    bench.posts();
    let output = bench.output(vec![bench.file("a", "2"), bench.file("b", "2")]);
    assert!(bench.pass(&output).await.is_clean());
    assert_eq!(bench.posts(), 1);
    // A file that is only read: a renewed certificate.
    fs::write(bench.path("key"), "new").unwrap();
    assert!(bench.pass(&output).await.is_clean());
    assert_eq!(bench.posts(), 1);
    assert!(!bench.pass(&output).await.changed());
}

#[tokio::test]
async fn a_file_read_at_the_start_alone_is_one_restart() {
    let mut bench = Bench::new();
    fs::create_dir_all(bench.path("")).unwrap();
    fs::write(bench.path("ca"), "old").unwrap();
    let output = bench.output(vec![bench.file("a", "1")]);
    bench.pass(&output).await;
    assert_eq!(bench.host.asked(), ["enable d"]);
    bench.posts();
    fs::write(bench.path("ca"), "new").unwrap();
    // Killed before it could say so: the next start does.
    bench.restart_agent();
    assert!(bench.pass(&output).await.is_clean());
    assert_eq!(bench.host.asked(), ["restart d"]);
    assert!(!bench.pass(&output).await.changed());
    let output = bench.output(vec![bench.file("a", "2")]);
    assert!(bench.pass(&output).await.is_clean());
    assert_eq!(bench.host.asked(), [""; 0], "a reload does");
    assert_eq!(bench.posts(), 1);
}

#[tokio::test]
async fn what_nobody_judged_restarts_nothing() {
    let mut bench = Bench::new();
    fs::create_dir_all(bench.path("")).unwrap();
    let ca = bench.path("ca");
    let mut output = bench.output(vec![bench.file("a", "1")]);
    let mut judged = |content: &str| {
        let digest = commit::sha256(content.as_bytes());
        let path = ca.display().to_string();
        output.daemons[0].judged = BTreeMap::from([(path, digest)]);
        output.clone()
    };
    fs::write(&ca, "old").unwrap();
    let old = judged("old");
    bench.pass(&old).await;
    assert_eq!(bench.host.asked(), ["enable d"]);
    // Between the verdict and the pass.
    fs::write(&ca, "damaged").unwrap();
    bench.pass(&old).await;
    assert_eq!(bench.host.asked(), [""; 0]);
    fs::write(&ca, "new").unwrap();
    bench.pass(&judged("new")).await;
    assert_eq!(bench.host.asked(), ["restart d"]);
}

#[tokio::test]
async fn a_flag_file_restarts() {
    let mut bench = Bench::new();
    bench.host.set_state("d", DaemonState::Online);
    let mut flags = bench.file("flags", "--a");
    flags.then = Then::Daemon("d".to_owned(), OnChange::Restart);
    let output = bench.output(vec![bench.file("a", "1"), flags]);
    assert!(bench.pass(&output).await.is_clean());
    assert_eq!(bench.host.asked(), ["restart d"]);
    let output =
        bench.output(vec![bench.file("a", "2"), output.files[1].clone()]);
    bench.pass(&output).await;
    assert_eq!((bench.host.asked().len(), bench.posts()), (0, 1));
}

#[tokio::test]
async fn a_checkers_no_holds_all_files_of_the_daemon() {
    let mut bench = Bench::new();
    let good = bench.output(vec![bench.file("a", "1"), bench.file("b", "1")]);
    bench.pass(&good).await;
    let mut bad = bench.file("b", "bad");
    bad.check = ["sh", "-c", "! grep bad {staged}"].map(str::to_owned).into();
    let output = bench.output(vec![bench.file("a", "2"), bad]);
    let report = bench.pass(&output).await;
    assert!(matches!(report.files[0].outcome, Outcome::Held(_)));
    let reason = report.files[1].outcome.reason().unwrap();
    assert!(reason.contains("its checker refused"), "{reason}");
    assert_eq!((bench.read("a"), bench.read("b")), ("1".into(), "1".into()));
    assert_eq!(bench.posts(), 0);
    // And nothing staged stays behind.
    assert_eq!(fs::read_dir(bench.dir.path().join("etc")).unwrap().count(), 2);
    // Mended, it goes on by itself.
    let output = bench.output(vec![bench.file("a", "2"), bench.file("b", "2")]);
    assert!(bench.pass(&output).await.is_clean());
    assert_eq!(bench.posts(), 1);
}

#[tokio::test]
async fn a_file_that_did_not_render_holds_its_daemon_and_nobody_else() {
    let mut bench = Bench::new();
    let mut other = bench.file("other", "1");
    other.then = Then::Nothing;
    let mut output = bench.output(vec![bench.file("a", "1"), other]);
    output.failed.push(Failed {
        name: "b".to_owned(),
        daemon: Some("d".to_owned()),
        reason: "line 1: no".to_owned(),
    });
    let report = bench.pass(&output).await;
    assert!(!bench.path("a").exists());
    assert_eq!(bench.read("other"), "1");
    assert_eq!(report.faults(), ["b: line 1: no"]);
}

#[tokio::test]
async fn a_daemons_no_brings_the_last_good_files_back() {
    let mut bench = Bench::new();
    let good = bench.output(vec![bench.file("a", "1"), bench.file("b", "1")]);
    bench.pass(&good).await;
    bench.answer(Ok((500, "failed to reload config:\n no such file")));
    let bad = bench.output(vec![bench.file("a", "2"), bench.file("b", "1")]);
    let report = bench.pass(&bad).await;
    assert_eq!(
        report.refused,
        [(
            "daemon:d".to_owned(),
            "500: failed to reload config: no such file".to_owned()
        )]
    );
    assert_eq!(bench.read("a"), "1");
    assert_eq!(bench.posts(), 2, "the new files, then the old ones");
    // The same files are not offered again at once, and the fault stays
    // visible.
    let report = bench.pass(&bad).await;
    assert_eq!(bench.posts(), 1, "the old ones, not taken back so far");
    assert!(report.faults()[0].contains("refused by its daemon"));
    // Other files are.
    bench.answer(Ok((200, "")));
    let mended = bench.output(vec![bench.file("a", "3"), bench.file("b", "1")]);
    assert!(bench.pass(&mended).await.is_clean());
    assert_eq!(bench.read("a"), "3");
}

#[tokio::test(start_paused = true)]
async fn refused_files_are_offered_again_after_a_pause() {
    let mut bench = Bench::new();
    let good = bench.output(vec![bench.file("a", "1")]);
    bench.pass(&good).await;
    let later = bench.output(vec![bench.file("a", "2")]);
    bench.answer(Ok((500, "a rule file is missing")));
    bench.pass(&later).await;
    bench.answer(Ok((200, "")));
    bench.pass(&later).await;
    assert_eq!(bench.read("a"), "1");
    tokio::time::advance(REFUSAL_PAUSE).await;
    assert!(bench.pass(&later).await.is_clean());
    assert_eq!(bench.read("a"), "2");
}

#[tokio::test]
async fn a_daemon_that_cannot_be_asked_is_asked_again_even_after_a_kill() {
    let mut bench = Bench::new();
    bench.host.set_state("d", DaemonState::Online);
    bench.answer(Err("connection refused"));
    let output = bench.output(vec![bench.file("a", "1")]);
    let report = bench.pass(&output).await;
    assert_eq!(report.waiting.len(), 1);
    assert_eq!(bench.read("a"), "1", "it passed its check and stays");
    bench.restart_agent();
    bench.answer(Ok((200, "")));
    bench.posts();
    assert!(bench.pass(&output).await.is_clean());
    assert_eq!(bench.posts(), 1);
}

#[tokio::test]
async fn tampering_is_repaired_and_said_also_while_held() {
    let mut bench = Bench::new();
    let good = bench.output(vec![bench.file("a", "1")]);
    bench.pass(&good).await;
    fs::write(bench.path("a"), "mine").unwrap();
    let report = bench.pass(&good).await;
    assert_eq!(report.files[0].outcome, Outcome::Repaired);
    fs::set_permissions(bench.path("a"), PermissionsExt::from_mode(0o777))
        .unwrap();
    let report = bench.pass(&good).await;
    assert_eq!(report.files[0].outcome, Outcome::Repaired);
    // Nothing renders any more; what is in force is still ours to guard.
    fs::remove_file(bench.path("a")).unwrap();
    let report = bench.pass(&Output::default()).await;
    assert_eq!(report.files[0].outcome, Outcome::Repaired);
    assert_eq!(bench.read("a"), "1");
}

#[tokio::test]
async fn a_failed_post_command_is_not_forgotten() {
    let mut bench = Bench::new();
    let flag = bench.dir.path().join("flag");
    let mut file = bench.file("a", "1");
    file.mode = None;
    file.then = Then::Command(format!("test -e {}", flag.display()));
    let output = bench.output(vec![file]);
    assert_eq!(bench.pass(&output).await.waiting.len(), 1);
    bench.restart_agent();
    assert_eq!(bench.pass(&output).await.waiting.len(), 1);
    fs::write(&flag, "").unwrap();
    // Not at once: each try may have restarted half of what it names.
    assert_eq!(bench.pass(&output).await.waiting.len(), 1);
    bench.applier.forget_pauses();
    let report = bench.pass(&output).await;
    assert!(report.is_clean() && report.changed());
    assert!(!bench.pass(&output).await.changed());
}

#[tokio::test]
async fn a_new_file_with_a_secret_is_not_for_everyone() {
    let mut bench = Bench::new();
    let mut key = bench.file("key.pem", "x");
    key.secret = true;
    let mut plain = bench.file("plain", "x");
    for file in [&mut key, &mut plain] {
        file.mode = None;
        file.then = Then::Nothing;
    }
    let output = bench.output(vec![key, plain]);
    bench.pass(&output).await;
    let mode = |name| {
        fs::metadata(bench.path(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode("key.pem"), mode("plain")), (0o600, 0o644));
}

#[tokio::test]
async fn without_a_record_nothing_is_committed() {
    let mut bench = Bench::new();
    // A file where the record's folder should be.
    fs::write(bench.dir.path().join("state"), "in the way").unwrap();
    bench.restart_agent();
    let output = bench.output(vec![bench.file("a", "1")]);
    let report = bench.pass(&output).await;
    assert!(!bench.path("a").exists());
    assert!(report.faults()[0].contains("could not save the record"));
    fs::remove_file(bench.dir.path().join("state")).unwrap();
    assert!(bench.pass(&output).await.is_clean());
}

#[tokio::test]
async fn a_reprovision_writes_and_starts_again() {
    let mut bench = Bench::new();
    let output = bench.output(vec![bench.file("a", "1")]);
    bench.pass(&output).await;
    bench.host.asked();
    // The root file system is new, the delegate dataset is not.
    fs::remove_dir_all(bench.dir.path().join("etc")).unwrap();
    bench.host.set_state("d", DaemonState::Disabled);
    bench.restart_agent();
    assert!(bench.pass(&output).await.is_clean());
    assert_eq!(bench.host.asked(), ["enable d"]);
}

#[tokio::test(start_paused = true)]
async fn flags_it_does_not_start_with_are_never_offered_again_by_themselves() {
    let mut bench = Bench::new();
    let flags = |bench: &Bench, text: &str| {
        let mut file = bench.file("flags", text);
        file.then = Then::Daemon("d".to_owned(), OnChange::Restart);
        let mut output = bench.output(vec![file]);
        output.daemons[0].ready_url = None;
        output
    };
    let good = flags(&bench, "--good");
    bench.pass(&good).await;
    bench.host.asked();
    // It comes up in maintenance with these, and well with the old ones.
    bench.host.falls_over_next("d");
    let bad = flags(&bench, "--bad");
    let report = bench.pass(&bad).await;
    assert_eq!(report.refused.len(), 1, "{report:?}");
    assert_eq!(bench.read("flags"), "--good");
    assert_eq!(bench.host.state("d").await.unwrap(), DaemonState::Online);
    bench.host.asked();
    for _ in 0..3 {
        tokio::time::advance(REFUSAL_PAUSE_MAX).await;
        bench.restart_agent();
        let report = bench.pass(&bad).await;
        assert!(report.faults()[0].contains("does not start"), "{report:?}");
        assert_eq!(bench.host.asked(), [""; 0], "an outage for nothing");
    }
    let mended = flags(&bench, "--mended");
    assert!(bench.pass(&mended).await.is_clean());
}

#[tokio::test]
async fn a_daemon_an_operator_disabled_stays_so() {
    let mut bench = Bench::new();
    let output = bench.output(vec![bench.file("a", "1")]);
    bench.pass(&output).await;
    bench.host.asked();
    bench.host.set_state("d", DaemonState::Disabled);
    let output = bench.output(vec![bench.file("a", "2")]);
    let report = bench.pass(&output).await;
    assert!(report.waiting[0].1.contains("stopped by an operator"));
    assert_eq!(bench.host.asked(), [""; 0]);
}

#[tokio::test]
async fn flags_put_back_do_not_restart_what_runs_with_them() {
    let mut bench = Bench::new();
    let mut file = bench.file("flags", "--a");
    file.then = Then::Daemon("d".to_owned(), OnChange::Restart);
    let output = bench.output(vec![file]);
    bench.pass(&output).await;
    bench.host.asked();
    fs::write(bench.path("flags"), "--mine").unwrap();
    assert!(bench.pass(&output).await.is_clean());
    fs::set_permissions(bench.path("flags"), PermissionsExt::from_mode(0o600))
        .unwrap();
    assert!(bench.pass(&output).await.is_clean());
    assert_eq!(bench.host.asked(), [""; 0]);
    // Gone with a tmpfs at boot: the service manager has given up meanwhile.
    fs::remove_file(bench.path("flags")).unwrap();
    bench.host.set_state("d", DaemonState::Maintenance);
    assert!(bench.pass(&output).await.is_clean());
    assert_eq!(bench.host.asked()[0], "clear d");
}

#[tokio::test]
async fn of_two_files_with_one_target_the_roles_own_stays() {
    let mut bench = Bench::new();
    let mut foreign = bench.file("a", "foreign");
    foreign.name = "manifest".to_owned();
    foreign.then = Then::Nothing;
    let output = bench.output(vec![foreign, bench.file("a", "ours")]);
    let report = bench.pass(&output).await;
    assert_eq!(report.faults(), ["manifest: its target is also that of a"]);
    assert_eq!(bench.read("a"), "ours");
    assert!(!bench.pass(&output).await.changed());
}

#[tokio::test]
async fn a_daemon_no_longer_wanted_stops_and_takes_its_files_along() {
    let mut bench = Bench::new();
    let file = bench.file("a", "key");
    let output = bench.output(vec![file]);
    // Never started: not ours to stop.
    let mut without = bench.output(Vec::new());
    without.daemons.clear();
    without.unwanted.push("d".to_owned());
    bench.pass(&without).await;
    assert_eq!(bench.host.asked(), [""; 0]);

    bench.pass(&output).await;
    assert!(bench.path("a").exists());
    bench.host.asked();
    bench.pass(&without).await;
    assert_eq!(bench.host.asked(), ["disable d"]);
    assert!(!bench.path("a").exists());
    bench.pass(&without).await;
    assert_eq!(bench.host.asked(), [""; 0]);

    // Wanted again, it is enabled again: no operator disabled it.
    bench.pass(&output).await;
    assert_eq!(bench.host.asked(), ["enable d"]);
}
