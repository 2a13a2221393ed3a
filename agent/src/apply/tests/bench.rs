// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use crate::apply::{Applier, DaemonHttp, HttpFuture, Report};
use crate::host::fake::Fake;
use crate::render::{DaemonSpec, OnChange, Output, Rendered, Then};

/// A daemon that answers as told and counts.
struct Daemon {
    answer: Mutex<Result<(u16, String), String>>,
    posts: Mutex<usize>,
}

impl DaemonHttp for Daemon {
    fn post<'a>(&'a self, _: &'a str) -> HttpFuture<'a> {
        *self.posts.lock().unwrap() += 1;
        let answer = self.answer.lock().unwrap().clone();
        Box::pin(async { answer })
    }
    fn get<'a>(&'a self, _: &'a str) -> HttpFuture<'a> {
        Box::pin(async { Ok((200, String::new())) })
    }
}

/// A zone whose daemon `d` reads what is put in force.
pub(super) struct Bench {
    pub(super) dir: tempfile::TempDir,
    pub(super) applier: Applier,
    pub(super) host: Fake,
    http: Daemon,
}

impl Bench {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let applier = load(&dir);
        let http = Daemon {
            answer: Mutex::new(Ok((200, String::new()))),
            posts: Mutex::new(0),
        };
        Self { dir, applier, host: Fake::default(), http }
    }

    pub(super) fn answer(&self, answer: Result<(u16, &str), &str>) {
        *self.http.answer.lock().unwrap() =
            answer.map(|(s, t)| (s, t.to_owned())).map_err(str::to_owned);
    }

    pub(super) fn posts(&self) -> usize {
        std::mem::take(&mut self.http.posts.lock().unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("etc").join(name)
    }

    pub(super) fn file(&self, name: &str, bytes: &str) -> Rendered {
        Rendered {
            secret: false,
            name: name.to_owned(),
            target: self.path(name),
            bytes: bytes.as_bytes().to_vec(),
            mode: Some(0o640),
            owner: None,
            check: Vec::new(),
            then: Then::Daemon("d".to_owned(), OnChange::Reload),
        }
    }

    pub(super) fn output(&self, files: Vec<Rendered>) -> Output {
        Output {
            files,
            failed: Vec::new(),
            unwanted: Vec::new(),
            daemons: vec![DaemonSpec {
                when: None,
                name: "d".to_owned(),
                reload_url: Some("http://d/-/reload".to_owned()),
                ready_url: Some("http://d/-/ready".to_owned()),
                reads: vec![self.path("key").display().to_string()],
                starts_with: vec![self.path("ca").display().to_string()],
                judged: BTreeMap::new(),
            }],
            directories: Vec::new(),
        }
    }

    pub(super) async fn pass(&mut self, output: &Output) -> Report {
        self.applier.pass(output, &self.host, &self.http).await
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// As after a kill: memory gone, disk as it was.
    pub(super) fn restart_agent(&mut self) {
        self.applier = load(&self.dir);
    }
}

fn load(dir: &tempfile::TempDir) -> Applier {
    Applier::load(&dir.path().join("state"), Duration::from_secs(10))
}
