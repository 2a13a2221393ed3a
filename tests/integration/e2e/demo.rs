// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The demo as a person meets it: its own words are pasted and must work.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use localdc::world::eventually;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::{LONG, SOON, when};

/// How long it may take to come up, or to end.
const WHOLE: Duration = Duration::from_secs(150);

/// A demo under way.
struct Shown {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    said: Vec<String>,
}

#[expect(clippy::disallowed_methods, reason = "the demo is a program")]
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

fn start(options: &[&str]) -> Shown {
    let mut command = command(env!("CARGO_BIN_EXE_localdc"));
    let mut child = command.arg("demo").args(options).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    Shown { child, lines, said: Vec::new() }
}

impl Shown {
    /// Reads until a line begins with `mark`.
    async fn until(&mut self, mark: &str) {
        let read = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                self.said.push(line);
                if self.last().starts_with(mark) {
                    return;
                }
            }
            panic!("ended without {mark:?}");
        };
        let read = tokio::time::timeout(WHOLE, read).await;
        assert!(read.is_ok(), "in vain: {mark:?} in {:#?}", self.said);
    }

    fn last(&self) -> &str {
        self.said.last().map_or("", String::as_str)
    }

    /// The command that follows the comment.
    fn offered(&self, comment: &str) -> &str {
        let at = self.said.iter().position(|line| line.contains(comment));
        &self.said[at.unwrap() + 1]
    }

    /// Reads the rest; the exit code.
    async fn end(&mut self) -> Option<i32> {
        let end = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                self.said.push(line);
            }
            let mut stderr = String::new();
            let mut pipe = self.child.stderr.take().unwrap();
            pipe.read_to_string(&mut stderr).await.unwrap();
            assert_eq!(stderr, "", "the demo has something to complain of");
            self.child.wait().await.unwrap().code()
        };
        tokio::time::timeout(WHOLE, end).await.unwrap()
    }

    fn log_folder(&self) -> PathBuf {
        let line = self.said.iter().find(|l| l.starts_with("log files"));
        line.unwrap().split_whitespace().nth(2).unwrap().into()
    }
}

/// As typed into a shell.
async fn pasted(line: &str) -> (Option<i32>, String) {
    let output = command("sh").arg("-c").arg(line).output();
    let output = tokio::time::timeout(SOON, output).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn demo_offers_what_works_and_leaves_nothing() {
    let mut demo = start(&[]);
    demo.until("Ctrl-C ends it").await;
    let escapes = demo.said.iter().any(|line| line.contains('\x1b'));
    assert!(!escapes, "colours without a terminal");
    let (code, _) = pasted(demo.offered("change the scrape interval")).await;
    assert_eq!(code, Some(0));
    let (code, made) = pasted(demo.offered("create a VM")).await;
    assert!(code == Some(0) && made.contains("job_uuid"), "{made}");
    let look = async |what: &str, wanted: &str| {
        let line = demo.offered(what);
        let looked = eventually(what, LONG, async || {
            let (_, text) = pasted(line).await;
            when(text.contains(wanted), || text)
        });
        looked.await.unwrap_or_else(|error| panic!("{error}"));
    };
    look("see it", "scrape_interval: 2s").await;
    look("ask the zone's DNS", "CNAME").await;
    look("sign in to Grafana", "\"login\":\"admin\"").await;
    look("how the agent fares", "healthy").await;
    look("how the datacenter fares", "prometheus1").await;
    let folder = demo.log_folder();
    assert!(folder.exists());
    // Beside the first one; too short to come up.
    let mut second = start(&["--seconds", "1"]);
    assert_eq!(second.end().await, Some(1), "{:#?}", second.said);
    assert!(second.last().contains("not done within"), "{:?}", second.said);
    assert!(folder.exists(), "the second demo took the first one down");

    let pid = Pid::from_raw(demo.child.id().unwrap().cast_signed());
    kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(demo.end().await, Some(0));
    assert!(demo.last().starts_with("all gone"), "{:#?}", demo.said);
    let network = folder.parent().and_then(|zone| zone.parent()).unwrap();
    assert!(!network.exists(), "{} is left", network.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn demo_with_a_time_limit_judges_the_targets() {
    let mut demo = start(&["--seconds", "75"]);
    let code = demo.end().await;
    // The account's zones, the compute nodes, agents, the pair; the other
    // zones' agents are known a little later.
    let sum = demo.said.iter().find_map(|line| {
        let (up, all) = line.strip_suffix(" targets up")?.split_once(" of ")?;
        Some((up.parse::<u32>().ok()?, all.parse::<u32>().ok()?))
    });
    let good = sum.is_some_and(|(up, all)| up == all && all >= 17);
    assert!(good, "{:#?}", demo.said);
    assert_eq!(code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn demo_interrupted_on_its_way_up_leaves_nothing() {
    let mut demo = start(&[]);
    demo.until("  done").await;
    let pid = demo.child.id().unwrap();
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(demo.end().await, Some(1));
    let mark = format!("tm-{pid}-");
    let gone = eventually("no folder", SOON, async || {
        let left = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
        let names = left.map(|entry| entry.file_name());
        let mine = names
            .filter_map(|name| name.into_string().ok())
            .find(|name| name.starts_with(&mark));
        mine.map_or(Ok(()), Err)
    });
    gone.await.unwrap();
}
