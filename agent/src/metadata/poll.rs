// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Keeps asking for this instance's configuration and publishes each that
//! differs. The last good one is kept on disk and is what a start begins
//! with, so that a zone comes up while SAPI is away.
//!
//! SAPI's ETag misses real changes, so a 304 is believed for a while only;
//! whether something changed is decided by the bytes. An ETag is remembered
//! only together with a body that parsed.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::config::{Parsed, SapiConfig};

/// Largest configuration taken, bytes.
pub const CONFIG_LIMIT: usize = 64 << 20;

/// First pause after a failed poll.
const FIRST_RETRY: Duration = Duration::from_secs(2);

/// What one request brought.
#[derive(Debug)]
pub enum Polled {
    /// By its ETag nothing changed.
    NotModified,
    /// A body, and the ETag to send next time.
    Body(Vec<u8>, Option<String>),
}

/// The answer of a `Source`; the error is its joined chain.
pub type PollFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Polled, String>> + Send + 'a>>;

/// Whoever knows the configuration: SAPI, through its client.
pub trait Source: Send + Sync {
    /// Asks once; conditionally if an ETag is given. Must end by itself
    /// within a time limit.
    fn poll<'a>(&'a self, etag: Option<&'a str>) -> PollFuture<'a>;
    /// What is asked, for messages.
    fn url(&self) -> &str;
}

/// Where a configuration came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// SAPI, in this run.
    Sapi,
    /// The copy on disk.
    Disk,
}

/// A configuration as published.
#[derive(Debug)]
pub struct Fetched {
    /// What it says.
    pub parsed: Parsed,
    /// SHA-256 of the body, hex: its revision.
    pub revision: String,
    /// The same of what instances of its service have in common.
    pub shared: String,
    /// Where it came from.
    pub origin: Origin,
    /// When it was first seen in this run.
    pub since: SystemTime,
    /// The body as it came, to put the copy on disk back with.
    pub body: Vec<u8>,
}

/// How polling goes.
#[derive(Clone, Debug, Default)]
pub struct PollStatus {
    /// When SAPI last answered well, changed or not.
    pub last_success: Option<SystemTime>,
    /// Why the last poll failed, if it did.
    pub last_error: Option<String>,
    /// Failures since the last success.
    pub failures: u32,
    /// Polls since the start.
    pub polls: u64,
    /// Of these, answered 304.
    pub not_modified: u64,
    /// Changes that a 304 had hidden.
    pub missed_by_etag: u64,
}

/// How often to ask.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Mean pause between polls; also the ceiling of the pause after faults.
    pub interval: Duration,
    /// Longest time without an unconditional request.
    pub full: Duration,
}

/// The loop.
pub struct Poller<S> {
    source: S,
    pace: Pace,
    cache: Cache,
    etag: Option<String>,
    last_full: Option<Instant>,
    saw_304: bool,
    published: watch::Sender<Option<Arc<Fetched>>>,
    status: watch::Sender<PollStatus>,
}

/// The copy on disk: the last body that parsed, 0600.
#[derive(Clone, Debug)]
pub struct Cache {
    path: PathBuf,
    write: fn(&Path, &[u8]) -> std::io::Result<()>,
}

impl Cache {
    /// A copy at `path`, written by `write` (atomically, 0600).
    pub fn new(
        path: PathBuf,
        write: fn(&Path, &[u8]) -> std::io::Result<()>,
    ) -> Self {
        Self { path, write }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the copy on disk that of `fetched` again, if someone changed
    /// it; says whether it had to.
    pub fn repair(&self, fetched: &Fetched) -> std::io::Result<bool> {
        match std::fs::read(&self.path) {
            Ok(body) if body == fetched.body => Ok(false),
            _ => (self.write)(&self.path, &fetched.body).map(|()| true),
        }
    }

    /// Writes the copy, on a thread where a slow disk holds up no query.
    async fn keep(&self, fetched: Arc<Fetched>) {
        let cache = self.clone();
        let written = tokio::task::spawn_blocking(move || {
            (cache.write)(&cache.path, &fetched.body)
        });
        if let Err(error) = written.await.unwrap_or_else(|e| Err(e.into())) {
            warn!(
                path = %self.path.display(),
                err.message = %error,
                "could not keep the configuration"
            );
        }
    }

    /// Reads it. A damaged copy is as good as none.
    pub fn load(&self) -> Option<Fetched> {
        let body = match std::fs::read(&self.path) {
            Ok(body) => body,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                warn!(
                    path = %self.path.display(),
                    err.message = %error,
                    "could not read the kept configuration"
                );
                return None;
            }
        };
        match fetched(body, Origin::Disk) {
            Ok(fetched) => Some(fetched),
            Err(reason) => {
                warn!(
                    path = %self.path.display(),
                    err.message = %reason,
                    "kept configuration is damaged"
                );
                None
            }
        }
    }
}

impl<S: Source> Poller<S> {
    /// A poller over `source`; begins with the copy in `cache`, if any.
    pub fn new(source: S, pace: Pace, cache: Cache) -> Self {
        let first = cache.load().map(Arc::new);
        Self {
            source,
            pace,
            cache,
            etag: None,
            last_full: None,
            saw_304: false,
            published: watch::Sender::new(first),
            status: watch::Sender::new(PollStatus::default()),
        }
    }

    /// Each configuration that differs from the one before.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<Fetched>>> {
        self.published.subscribe()
    }

    /// How polling goes.
    pub fn status(&self) -> watch::Receiver<PollStatus> {
        self.status.subscribe()
    }

    /// Polls until `stop`. A message on `now` asks at once and
    /// unconditionally; several that come during a poll count as one.
    pub async fn run(
        mut self,
        mut now: mpsc::Receiver<()>,
        stop: CancellationToken,
    ) {
        loop {
            let ok = tokio::select! {
                // Cancel-safe: an abandoned request has published nothing.
                () = stop.cancelled() => return,
                ok = self.poll() => ok,
            };
            let pause = self.pause(ok, fastrand::f64());
            tokio::select! {
                () = stop.cancelled() => return,
                // Cancel-safe: recv loses no message.
                asked = now.recv() => {
                    if asked.is_none() {
                        return;
                    }
                    while now.try_recv().is_ok() {}
                    self.etag = None;
                }
                // Cancel-safe: a new pause is drawn each time.
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// The pause before the next poll; `random` is in 0..1. As the Node
    /// agent's: uniform between half and one and a half of the interval.
    /// After a failure it doubles from two seconds up to the interval.
    fn pause(&self, ok: bool, random: f64) -> Duration {
        let mean = if ok {
            self.pace.interval
        } else {
            let failures = self.status.borrow().failures.clamp(1, 16);
            (FIRST_RETRY * 2_u32.pow(failures - 1)).min(self.pace.interval)
        };
        mean.mul_f64(0.5 + random)
    }

    /// Polls once; returns whether SAPI answered well.
    pub async fn poll(&mut self) -> bool {
        let due =
            self.last_full.is_none_or(|at| at.elapsed() >= self.pace.full);
        let etag = if due { None } else { self.etag.clone() };
        let polled = self.source.poll(etag.as_deref()).await;
        let outcome = match polled {
            Ok(polled) => self.take(polled).await.map_err(|reason| {
                format!("answer of {}: {reason}", self.source.url())
            }),
            Err(reason) => Err(reason),
        };
        let url = self.source.url();
        match outcome {
            Ok(not_modified) => {
                self.saw_304 = not_modified;
                let before = self.status.borrow().failures;
                if before > 0 {
                    info!(url, failures = before, "SAPI answers again");
                }
                self.status.send_modify(|status| {
                    status.polls += 1;
                    status.not_modified += u64::from(not_modified);
                    status.last_success = Some(SystemTime::now());
                    status.last_error = None;
                    status.failures = 0;
                });
                true
            }
            Err(reason) => {
                // Whatever was remembered may be what is wrong.
                self.etag = None;
                if self.published.borrow().is_none()
                    && let Some(kept) = self.cache.load()
                {
                    // An operator brought one by hand.
                    self.published.send_replace(Some(Arc::new(kept)));
                }
                let failures = self.status.borrow().failures + 1;
                if failures == 1 {
                    warn!(url, err.message = %reason, "SAPI poll failed");
                } else {
                    debug!(url, err.message = %reason, "SAPI poll failed");
                }
                self.status.send_modify(|status| {
                    status.polls += 1;
                    status.failures = failures;
                    status.last_error = Some(reason);
                });
                false
            }
        }
    }

    /// Publishes what came if it differs; says whether it was a 304.
    async fn take(&mut self, polled: Polled) -> Result<bool, String> {
        let (body, etag) = match polled {
            Polled::NotModified => return Ok(true),
            Polled::Body(body, etag) => (body, etag),
        };
        let fresh = fetched(body, Origin::Sapi)?;
        self.last_full = Some(Instant::now());
        let current = self.published.borrow().clone();
        let same = current
            .as_ref()
            .is_some_and(|current| current.revision == fresh.revision);
        let from_disk =
            current.as_ref().is_some_and(|c| c.origin == Origin::Disk);
        if !same {
            if self.saw_304 && self.etag.is_some() && self.etag == etag {
                self.status.send_modify(|s| s.missed_by_etag += 1);
                info!(revision = %fresh.revision, "change that the ETag hid");
            }
            info!(revision = %fresh.revision, "configuration changed");
        }
        self.etag = etag;
        if !same || from_disk {
            // Kept before it is used: what runs is never newer than what a
            // start would find. A full disk does not stop the use.
            let fresh = Arc::new(fresh);
            self.cache.keep(Arc::clone(&fresh)).await;
            self.published.send_replace(Some(fresh));
        }
        Ok(false)
    }
}

/// Parses a body; the error is joined and holds no content.
fn fetched(body: Vec<u8>, origin: Origin) -> Result<Fetched, String> {
    let parsed = SapiConfig::parse(&body, CONFIG_LIMIT)
        .map_err(|error| crate::log::chain(&error))?;
    let sha256 = |bytes: &[u8]| -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    };
    Ok(Fetched {
        revision: sha256(&body),
        shared: sha256(&parsed.config.shared()),
        parsed,
        origin,
        since: SystemTime::now(),
        body,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Answers from a script and records the ETags it was sent.
    #[derive(Default)]
    struct Script {
        answers: Mutex<Vec<Result<Polled, String>>>,
        asked: Arc<Mutex<Vec<Option<String>>>>,
    }

    impl Source for Script {
        fn poll<'a>(&'a self, etag: Option<&'a str>) -> PollFuture<'a> {
            self.asked.lock().unwrap().push(etag.map(str::to_owned));
            let answer = self.answers.lock().unwrap().remove(0);
            Box::pin(async { answer })
        }
        fn url(&self) -> &str {
            "http://sapi.test"
        }
    }

    fn body(value: u8, etag: &str) -> Result<Polled, String> {
        let body = format!(r#"{{"metadata":{{"k":{value}}}}}"#);
        Ok(Polled::Body(body.into_bytes(), Some(etag.to_owned())))
    }

    fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        std::fs::write(path, bytes)
    }

    type Asked = Arc<Mutex<Vec<Option<String>>>>;

    fn poller(
        dir: &tempfile::TempDir,
        answers: Vec<Result<Polled, String>>,
    ) -> (Poller<Script>, Asked) {
        let script =
            Script { answers: Mutex::new(answers), ..Script::default() };
        let asked = Arc::clone(&script.asked);
        let pace = Pace {
            interval: Duration::from_secs(120),
            full: Duration::from_secs(300),
        };
        let cache = Cache::new(dir.path().join("config.json"), write);
        (Poller::new(script, pace, cache), asked)
    }

    #[tokio::test(start_paused = true)]
    async fn a_304_is_believed_for_a_while_only() {
        let dir = tempfile::tempdir().unwrap();
        let (mut poller, asked) = poller(
            &dir,
            vec![
                body(1, "e"),
                Ok(Polled::NotModified),
                // Same ETag, other content: SAPI's blind spot.
                body(2, "e"),
            ],
        );
        let mut seen = poller.subscribe();
        assert!(poller.poll().await);
        assert!(seen.has_changed().unwrap());
        seen.mark_unchanged();
        assert!(poller.poll().await);
        assert!(!seen.has_changed().unwrap());
        tokio::time::advance(Duration::from_secs(300)).await;
        assert!(poller.poll().await);
        assert!(seen.has_changed().unwrap());
        assert_eq!(poller.status().borrow().missed_by_etag, 1);
        assert_eq!(*asked.lock().unwrap(), [None, Some("e".to_owned()), None]);
    }

    #[tokio::test]
    async fn after_any_failure_the_request_is_unconditional() {
        let dir = tempfile::tempdir().unwrap();
        let (mut poller, asked) = poller(
            &dir,
            vec![
                body(1, "e"),
                Ok(Polled::Body(b"<html>".to_vec(), Some("f".to_owned()))),
                body(1, "e"),
            ],
        );
        assert!(poller.poll().await);
        assert!(!poller.poll().await);
        let error = poller.status().borrow().last_error.clone().unwrap();
        assert!(error.contains("sapi.test: config is not JSON"), "{error}");
        assert!(poller.poll().await);
        assert_eq!(asked.lock().unwrap()[2], None);
    }

    #[tokio::test]
    async fn a_start_without_sapi_begins_with_the_kept_copy() {
        let dir = tempfile::tempdir().unwrap();
        let (mut first, _) = poller(&dir, vec![body(1, "e")]);
        first.poll().await;
        let (mut second, _) = poller(&dir, vec![Err("away".to_owned())]);
        let seen = second.subscribe();
        assert_eq!(seen.borrow().as_ref().unwrap().origin, Origin::Disk);
        assert!(!second.poll().await);
        std::fs::write(dir.path().join("config.json"), "{\"meta").unwrap();
        let (third, _) = poller(&dir, vec![]);
        assert!(third.subscribe().borrow().is_none());
    }

    #[test]
    fn pauses_are_jittered_and_have_a_ceiling() {
        let dir = tempfile::tempdir().unwrap();
        let (poller, _) = poller(&dir, vec![]);
        let seconds = |ok, random| poller.pause(ok, random).as_secs_f64();
        assert_eq!((seconds(true, 0.0), seconds(true, 0.5)), (60.0, 120.0));
        poller.status.send_modify(|s| s.failures = 1);
        assert_eq!(seconds(false, 0.5), 2.0);
        poller.status.send_modify(|s| s.failures = 4);
        assert_eq!(seconds(false, 0.5), 16.0);
        poller.status.send_modify(|s| s.failures = 4_000);
        assert_eq!(seconds(false, 0.5), 120.0);
    }
}
