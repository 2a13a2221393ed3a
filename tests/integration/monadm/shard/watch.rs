// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb watch, as SMF runs it: zones come and go, APIs too, and it is killed.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::fs::File;
use std::time::Duration;

use localdc::datacenter::Fate;
use localdc::http::Fault;
use localdc::world::eventually;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use super::super::command;
use super::site::{Site, loads, uuid};

/// As long as a new zone may wait: a minute, and as much for the machine.
const PATIENCE: Duration = Duration::from_secs(120);

struct Watch {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    said: Vec<Value>,
}

impl Watch {
    fn start(site: &Site, more: &[&str]) -> Self {
        let lock = site.lock();
        let words = ["shard", "watch", "--every", "1", "--lock", &lock];
        let words = [&words, more].concat();
        let mut child =
            command(&site.triton.sapi.url(), &words).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, said: Vec::new() }
    }

    /// Reads until it says `msg`; every line is JSON.
    async fn until(&mut self, msg: &str) -> Value {
        let read = async {
            loop {
                let line = self.lines.next_line().await.unwrap();
                let line = line.unwrap_or_else(|| panic!("no {msg:?}"));
                let line: Value = serde_json::from_str(&line).unwrap();
                self.said.push(line.clone());
                if text(&line).starts_with(msg) {
                    return line;
                }
            }
        };
        let read = tokio::time::timeout(PATIENCE, read).await;
        read.unwrap_or_else(|_| panic!("in vain: {msg:?} in {:#?}", self.said))
    }

    fn count(&self, msg: &str) -> usize {
        self.said.iter().filter(|line| text(line).starts_with(msg)).count()
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().unwrap().cast_signed();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// Reads the rest; the exit code. It has said nothing elsewhere.
    async fn end(&mut self) -> Option<i32> {
        self.until("ended").await;
        let mut stderr = String::new();
        let mut pipe = self.child.stderr.take().unwrap();
        pipe.read_to_string(&mut stderr).await.unwrap();
        assert_eq!(stderr, "");
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.unwrap().unwrap().code()
    }
}

fn text(line: &Value) -> &str {
    text_of(line, "msg")
}

fn text_of<'a>(line: &'a Value, key: &str) -> &'a str {
    line[key].as_str().unwrap()
}

async fn tagged(site: &Site, uuids: &[String]) {
    let look = async || {
        let tags = site.tags();
        match uuids.iter().find(|uuid| !tags.contains_key(*uuid)) {
            None => Ok(()),
            Some(uuid) => Err(format!("{uuid} has no tag")),
        }
    };
    eventually("a zone has its tag", PATIENCE, look).await.unwrap();
}

#[tokio::test]
async fn zones_come_and_go_and_so_do_apis() {
    let site = Site::new().await;
    let mut watch = Watch::start(&site, &[]);
    watch.until("watching").await;
    let first: Vec<String> = (0..40).map(|n| uuid(0xb0, n)).collect();
    tagged(&site, &first).await;
    let new = site.make(100);
    tagged(&site, std::slice::from_ref(&new)).await;
    watch.until("zone placed").await;
    // One that goes is nobody's loss.
    site.change(&new, |vm| vm.state = "destroyed".to_owned());

    // VMAPI refuses, dies, talks nonsense: said once.
    let front = site.triton.vmapi.handle.front();
    for fault in [Fault::Status(503), Fault::Close, Fault::Garbage] {
        front.set_fault(fault);
    }
    let late = site.make(101);
    watch.until("no look at the datacenter").await;
    let seen = front.total();
    let look = async || match front.total() {
        total if total > seen + 2 => Ok(()),
        total => Err(format!("{total} requests after {seen}")),
    };
    eventually("it tries again", PATIENCE, look).await.unwrap();
    assert_eq!(site.tag(&late), None);
    front.clear_faults();
    tagged(&site, std::slice::from_ref(&late)).await;
    watch.until("the datacenter answers again").await;
    assert_eq!(watch.count("no look"), 1, "{:#?}", watch.said);

    // A job that fails twice is told once, and tried again.
    for _ in 0..2 {
        let fate = Fate::Fails("disk full".into());
        site.triton.datacenter.stock().next_job("update", fate);
    }
    let unlucky = site.make(102);
    let said = watch.until("zone not placed").await;
    assert_eq!(said["zone"], unlucky.as_str());
    let why = said["err"]["message"].as_str().unwrap();
    assert!(why.contains("disk full"), "{said}");
    tagged(&site, std::slice::from_ref(&unlucky)).await;
    watch.signal(Signal::SIGTERM);
    assert_eq!(watch.end().await, Some(0));
    assert_eq!(watch.count("zone not placed"), 1, "{:#?}", watch.said);
    // All that it wrote was wanted: nothing moved.
    let plan = site.plan(&["--extent", "assign"]).await;
    assert_eq!(plan["writes"], 0, "{plan}");
}

#[tokio::test]
async fn killed_at_any_moment_and_started_again_it_goes_on() {
    let site = Site::new().await;
    // Each job takes three looks, hence seconds.
    site.triton.datacenter.stock().job_polls = 3;
    for at in [1, 9, 23] {
        let mut watch = Watch::start(&site, &["--at-once", "4"]);
        let look = async || match site.writes() {
            writes if writes >= at => Ok(()),
            writes => Err(format!("{writes} tags were to be written")),
        };
        eventually("it writes", PATIENCE, look).await.unwrap();
        watch.child.kill().await.unwrap();
    }
    site.triton.datacenter.stock().job_polls = 0;
    let mut watch = Watch::start(&site, &[]);
    let all: Vec<String> = (0..40).map(|n| uuid(0xb0, n)).collect();
    tagged(&site, &all).await;
    tagged(&site, &[uuid(0xd0, 0), uuid(0xd0, 3)]).await;
    watch.signal(Signal::SIGTERM);
    assert_eq!(watch.end().await, Some(0));
    let plan = site.plan(&["--extent", "assign"]).await;
    assert_eq!(plan["writes"], 0, "{plan}");
    assert_eq!(site.loads(), loads(&[23, 23]));
}

#[tokio::test]
async fn told_to_end_it_begins_nothing_and_sees_to_what_it_has_begun() {
    let site = Site::new().await;
    site.triton.datacenter.stock().job_polls = 2;
    let mut watch = Watch::start(&site, &["--at-once", "1"]);
    let look = async || match site.writes() {
        0 => Err("nothing is written".to_owned()),
        _ => Ok(()),
    };
    eventually("it writes", PATIENCE, look).await.unwrap();
    watch.signal(Signal::SIGTERM);
    assert_eq!(watch.end().await, Some(0));
    let writes = site.writes();
    assert!(writes < 46, "it went on: {writes}");
    assert_eq!(site.tags().len(), writes, "a job was left alone");
    assert_eq!(watch.count("zone placed"), writes);
}

#[tokio::test]
async fn two_of_them_write_each_tag_once() {
    let site = Site::new().await;
    let lock = File::create(site.lock()).unwrap();
    lock.lock().unwrap();
    let mut both = [Watch::start(&site, &[]), Watch::start(&site, &[])];
    for watch in &mut both {
        watch.until("another monadm writes tags").await;
    }
    assert_eq!(site.writes(), 0);
    drop(lock);
    let all: Vec<String> = (0..40).map(|n| uuid(0xb0, n)).collect();
    tagged(&site, &all).await;
    for watch in &mut both {
        watch.signal(Signal::SIGTERM);
        assert_eq!(watch.end().await, Some(0));
    }
    let ended = site.apply(&["--extent", "assign"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(site.writes(), 46, "a tag was written twice");
    let placed = both.iter().map(|watch| watch.count("zone placed"));
    assert!(placed.sum::<usize>() >= 40);
}

/// It starts before there is anything, and says what it lacks, once.
#[tokio::test]
async fn it_waits_for_a_shard_to_be_there() {
    let site = Site::new().await;
    let mut watch = Watch::start(&site, &["--prefix", "part-"]);
    let said = watch.until("no look at the datacenter").await;
    let why = said["err"]["message"].as_str().unwrap();
    assert!(why.contains("none with a group that begins"), "{said}");
    site.metadata(0, "groups", "part-0".into());
    tagged(&site, &[uuid(0xb0, 0)]).await;
    watch.signal(Signal::SIGTERM);
    assert_eq!(watch.end().await, Some(0));
    assert_eq!(watch.count("no look"), 1, "{:#?}", watch.said);
    // The other three instances are a fault, each told once.
    assert_eq!(watch.count("fault"), 3, "{:#?}", watch.said);
}

/// A pair may be missing from one answer, so nothing is moved for that; but
/// somebody must know.
#[tokio::test]
async fn a_shard_that_is_no_more_is_told_and_left_to_apply() {
    let site = Site::new().await;
    let astray = uuid(0xb0, 7);
    site.set_tag(&astray, "blue,shard-9");
    let mut watch = Watch::start(&site, &[]);
    let said = watch.until("fault").await;
    let problem = text_of(&said, "problem");
    assert!(problem.starts_with("shard-9: saw 1 zone that"), "{said}");
    assert!(problem.contains("monadm shard apply"), "{said}");
    let others: Vec<String> = (0..40).map(|n| uuid(0xb0, n)).collect();
    tagged(&site, &others).await;
    tagged(&site, &[uuid(0xd0, 0), uuid(0xd0, 3)]).await;
    // From now on there is nothing to write: it needs no right to.
    let lock = File::create(site.lock()).unwrap();
    lock.lock().unwrap();
    let front = site.triton.vmapi.handle.front();
    let seen = front.requests_of("GET", "/vms").len();
    let look = async || match front.requests_of("GET", "/vms").len() {
        now if now > seen + 3 => Ok(()),
        now => Err(format!("{now} looks after {seen}")),
    };
    eventually("it looks again", PATIENCE, look).await.unwrap();
    watch.signal(Signal::SIGTERM);
    assert_eq!(watch.end().await, Some(0));
    assert_eq!(watch.count("another monadm"), 0, "{:#?}", watch.said);
    assert_eq!(watch.count("fault"), 1, "{:#?}", watch.said);
    assert_eq!(site.tag(&astray).as_deref(), Some("blue,shard-9"));
    drop(lock);
    let ended = site.apply(&["--extent", "assign"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let tag = site.tag(&astray).unwrap();
    assert!(["blue,shard-0", "blue,shard-1"].contains(&&*tag), "{tag}");
}
