// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb run: one pass and its exit code, signals, and post commands.

use std::time::{Duration, Instant};

use localdc::agent_bench::{Bench, Manifest, eventually};
use localdc::http::Fault;
use nix::sys::signal::Signal;
use serde_json::json;

/// Appends a word to `log` and fails when another copy runs at the time.
fn alone(bench: &Bench, word: &str, seconds: &str) -> String {
    let lock = bench.path("lock");
    let log = bench.path("log");
    format!(
        "mkdir {lock} || {{ echo OVERLAP >>{log}; exit 1; }}; \
         echo {word} >>{log}; sleep {seconds}; rmdir {lock}",
        lock = lock.display(),
        log = log.display()
    )
}

fn log(bench: &Bench) -> Vec<String> {
    let text = std::fs::read_to_string(bench.path("log"));
    text.unwrap_or_default().lines().map(str::to_owned).collect()
}

fn commanded<'a>(
    name: &'a str,
    path: &'a str,
    command: &'a str,
) -> Manifest<'a> {
    Manifest { name, path, template: "{{v}}\n", post_cmd: Some(command) }
}

#[tokio::test]
async fn one_pass_says_by_its_exit_code_whether_all_is_in_force() {
    let mut bench = Bench::new().await;
    let file = bench.config_path().display().to_string();
    let once = ["run", "-s", "-f", file.as_str()];
    bench.plain("a", "etc/a.conf", "v={{v}}\n");
    bench.metadata(json!({"v": 1}));
    let ended = bench.verb(&once).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(bench.text("etc/a.conf").as_deref(), Some("v=1\n"));

    // A post command that fails: Node's agent says 0.
    bench.manifest(commanded("b", "etc/b.conf", "exit 3"));
    let ended = bench.verb(&once).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("exit status: 3"), "{ended:?}");
    bench.manifest(commanded("b", "etc/b.conf", "true"));
    assert_eq!(bench.verb(&once).await.code, Some(0));

    // SAPI refuses: files stay, the exit code tells.
    bench.sapi.front().set_fault(Fault::Status(500));
    let ended = bench.verb(&once).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("answered 500"), "{ended:?}");
    bench.sapi.front().clear_faults();

    // -u wins over the file, which names nobody.
    bench.configure(json!({"sapi": {"url": "http://127.0.0.1:9"}}));
    assert_eq!(bench.verb(&once).await.code, Some(1));
    let url = format!("http://{}", bench.sapi_address);
    let asked = bench.sapi.front().total();
    let ended = bench
        .verb(&["run", "-s", "-t", "10", "-u", &url, "--file", &file])
        .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(bench.sapi.front().total(), asked + 1);
    // So does the zone's metadata over the file.
    bench.mdata("sapi-url", &url);
    assert_eq!(bench.verb(&once).await.code, Some(0));
}

#[tokio::test]
async fn of_two_agents_one_writes() {
    let bench = Bench::new().await;
    bench.plain("a", "etc/a.conf", "v={{v}}\n");
    bench.metadata(json!({"v": 1}));
    let agent = bench.start();
    bench.holds("etc/a.conf", "v=1\n").await;
    let file = bench.config_path().display().to_string();
    let ended = bench.verb(&["run", "-s", "-f", &file]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for word in ["another config-agent", "state/lock", "HUP"] {
        assert!(ended.stderr.contains(word), "{ended:?}");
    }
    // One that comes while the first is on its way out waits for it.
    let next = bench.start();
    assert_eq!(agent.stop().await, Some(0));
    bench.metadata(json!({"v": 2}));
    bench.holds("etc/a.conf", "v=2\n").await;
    assert_eq!(next.stop().await, Some(0));
}

#[tokio::test]
async fn one_pass_ends_in_time_and_names_what_must_be_mended() {
    let bench = Bench::new().await;
    let file = bench.config_path().display().to_string();
    bench.sapi.front().set_fault(Fault::Hang);
    let begin = Instant::now();
    let ended = bench.verb(&["run", "-s", "-t", "1", "-f", &file]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    // Without -t it would be half a minute.
    assert!(begin.elapsed() < Duration::from_secs(20), "{ended:?}");
    assert!(ended.stdout.contains("out of time"), "{ended:?}");

    let ended = bench.verb(&["run", "-t", "1", "-f", &file]).await;
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert_eq!(bench.verb(&["rune"]).await.code, Some(64));
    for (text, why) in [("{", "EOF"), (r#"{"pollInterval":0}"#, "pollInterval")]
    {
        bench.write(&bench.config_path(), text);
        let ended = bench.verb(&["run", "-s", "-f", &file]).await;
        assert_eq!(ended.code, Some(96), "{ended:?}");
        assert!(ended.stderr.contains(why), "{ended:?}");
        assert!(ended.stderr.contains("config.json"), "{ended:?}");
    }
    let ended = bench.verb(&["run", "-f", "/nowhere/config.json"]).await;
    assert_eq!(ended.code, Some(96), "{ended:?}");
}

#[tokio::test]
async fn sighup_asks_at_once_early_too_and_never_overlaps_a_pass() {
    let mut bench = Bench::new().await;
    bench.configure(json!({"pollInterval": 3_600_000}));
    let command = alone(&bench, "ran", "0.4");
    bench.manifest(commanded("a", "etc/a.conf", &command));
    bench.metadata(json!({"v": 0}));
    // The platform's tools are slow, so that the signal comes before the
    // loops run.
    let tool = bench.path("bin/zonename");
    let text = std::fs::read_to_string(&tool).unwrap();
    let mark = bench.path("started");
    bench.write(
        &tool,
        text.replacen(
            '\n',
            &format!("\ntouch {}; sleep 0.5\n", mark.display()),
            1,
        ),
    );
    let agent = bench.start();
    eventually("the agent starts", async || mark.exists().then_some(())).await;
    agent.signal(Signal::SIGHUP);
    bench.holds("etc/a.conf", "0\n").await;
    // Now during the pass: its command still sleeps.
    for v in 1..=3 {
        bench.metadata(json!({"v": v}));
        agent.signal(Signal::SIGHUP);
        agent.signal(Signal::SIGHUP);
        bench.holds("etc/a.conf", &format!("{v}\n")).await;
    }
    eventually("the last command ends", async || {
        (log(&bench).len() >= 4 && !bench.path("lock").exists()).then_some(())
    })
    .await;
    let ran = log(&bench);
    assert!(ran.iter().all(|line| line == "ran"), "{ran:?}");
    assert_eq!(agent.stop().await, Some(0));
}

#[tokio::test]
async fn post_commands_run_one_by_one_after_every_file_is_written() {
    let bench = Bench::new().await;
    let list = |word: &str| {
        format!(
            "{}; cat {}/?.conf | tr -d '\\n' >>{}; echo >>{2}",
            alone(&bench, word, "0.1"),
            bench.file("etc").display(),
            bench.path("log").display()
        )
    };
    let (one, two) = (list("one"), list("two"));
    bench.metadata(json!({"v": "x"}));
    for (name, command) in [("a", &one), ("b", &two), ("c", &one), ("d", &one)]
    {
        let path = format!("etc/{name}.conf");
        bench.manifest(commanded(name, &path, command));
    }
    let agent = bench.start();
    bench.settle(&agent).await;
    // Equal commands stand for one; each saw all four files.
    assert_eq!(log(&bench), ["one", "xxxx", "two", "xxxx"]);
    bench.metadata(json!({"v": "y"}));
    bench.holds("etc/d.conf", "y\n").await;
    bench.settle(&agent).await;
    assert_eq!(log(&bench)[4..], ["one", "yyyy", "two", "yyyy"]);
    assert_eq!(agent.stop().await, Some(0));
}

#[tokio::test]
async fn a_failed_post_command_is_shown_and_tried_until_it_works() {
    let bench = Bench::new().await;
    let (log_file, good) = (bench.path("log"), bench.path("good"));
    let command = format!(
        "echo try >>{}; test -e {} || {{ echo no luck >&2; exit 7; }}",
        log_file.display(),
        good.display()
    );
    bench.manifest(commanded("a", "etc/a.conf", &command));
    bench.plain("b", "etc/b.conf", "fine\n");
    bench.metadata(json!({"v": 1}));
    let agent = bench.start();
    let line = bench.said("faults", &["etc/a.conf", "no luck"]).await;
    assert!(line.contains("exit status: 7"), "{line}");
    assert_eq!(bench.page("/healthz").await.unwrap().0, 503);
    assert_eq!(bench.text("etc/b.conf").as_deref(), Some("fine\n"));
    eventually("a second try", async || (log(&bench).len() >= 2).then_some(()))
        .await;
    // A restart forgets nothing.
    agent.kill().await;
    bench.is_left_alone().await;
    bench.write(&good, "");
    let tries = log(&bench).len();
    let agent = bench.start();
    eventually("healthy", async || {
        (bench.page("/healthz").await?.0 == 200).then_some(())
    })
    .await;
    assert_eq!(log(&bench).len(), tries + 1);
    // And what worked is not done again.
    bench.settle(&agent).await;
    assert_eq!(log(&bench).len(), tries + 1);
}

#[tokio::test]
async fn a_hanging_post_command_is_ended_with_its_children() {
    let mut bench = Bench::new().await;
    bench.configure(json!({"postCmdTimeout": 3000}));
    let pid = bench.path("pid");
    let command = format!("sleep 600 & echo $! >{}; wait", pid.display());
    bench.manifest(commanded("a", "etc/a.conf", &command));
    bench.plain("b", "etc/b.conf", "{{v}}\n");
    bench.metadata(json!({"v": 1}));
    let agent = bench.start();
    bench.said("faults", &["etc/a.conf", "killed after"]).await;
    let child = eventually("its child's number", async || {
        let text = std::fs::read_to_string(&pid).ok();
        text.filter(|text| text.ends_with('\n'))
    })
    .await;
    eventually("its child is gone", async || {
        let stat = format!("/proc/{}/stat", child.trim());
        match std::fs::read_to_string(stat) {
            Ok(stat) if !stat.contains(") Z") => None,
            _ => Some(()),
        }
    })
    .await;
    bench.metadata(json!({"v": 2}));
    bench.holds("etc/b.conf", "2\n").await;
    // Killed in the middle of a try, it could not end the command.
    assert_eq!(agent.stop().await, Some(0));
}

#[tokio::test]
async fn much_output_neither_stops_a_post_command_nor_fills_the_log() {
    let bench = Bench::new().await;
    let command = format!(
        "yes nonsense | head -c 3000000; yes error | head -c 3000000 >&2; \
         echo done >>{}",
        bench.path("log").display()
    );
    bench.manifest(commanded("a", "etc/a.conf", &command));
    bench.metadata(json!({"v": 1}));
    let agent = bench.start();
    eventually("the command ends", async || {
        (log(&bench) == ["done"]).then_some(())
    })
    .await;
    bench.settle(&agent).await;
    assert_eq!(log(&bench), ["done"]);
    assert!(agent.log().len() < 100_000);
    let report = bench.report().await.unwrap();
    assert_eq!(report["faults"], json!([]));
}

/// A command that changes the file it follows, and one that fails after it
/// touched its file: neither makes the agent spin.
#[tokio::test]
async fn a_command_that_touches_its_own_file_is_not_run_in_a_rush() {
    for end in ["echo more >>", "chmod 0600 "] {
        let bench = Bench::new().await;
        let command = format!(
            "echo run >>{}; {end}{}; exit {}",
            bench.path("log").display(),
            bench.file("etc/a.conf").display(),
            u8::from(end.starts_with("chmod"))
        );
        bench.manifest(commanded("a", "etc/a.conf", &command));
        bench.metadata(json!({"v": 1}));
        let agent = bench.start();
        // The second pass knows the file already, and hears of it.
        bench.settle(&agent).await;
        let (begin, before) = (Instant::now(), log(&bench).len());
        eventually("it runs again, and three seconds pass", async || {
            let again = log(&bench).len() > before;
            let long = begin.elapsed() >= Duration::from_secs(3);
            (again && long).then_some(())
        })
        .await;
        let runs = log(&bench).len() - before;
        let took = begin.elapsed();
        let most = 2 + 2 * took.as_secs();
        assert!(runs as u64 <= most, "{runs} runs in {took:?}: {command}");
    }
}
