// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

use std::cell::Cell;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::*;
use crate::host::fake::Fake;
use crate::run::{GRACE, run};

fn start(host: Fake, state: &Path) -> Start {
    let config = ConfigFile {
        state_dir: state.to_owned(),
        dns_listen: Vec::new(),
        ..ConfigFile::default()
    };
    let sapi_url = Some("http://sapi.dc1.example.test".to_owned());
    Start { config, config_path: None, sapi_url, host: Arc::new(host) }
}

#[tokio::test(start_paused = true)]
async fn what_passes_by_itself_is_waited_for() {
    let state = tempfile::tempdir().unwrap();
    let host = Fake::default();
    host.set_mdata("sdc:uuid", "c0000000-0000-4000-8000-000000000001");
    // The fake's zonename is this key, too; both are slow at first.
    host.zonename_fails(2);
    host.mdata_fails(30);
    let start = start(host, state.path());
    let stop = CancellationToken::new();
    let begin = Instant::now();
    let prepared =
        persevere(&stop, async || prepare(start.clone(), GRACE).await).await;
    assert!(prepared.unwrap().lock.is_some());
    assert!(begin.elapsed() < PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_pass_ends_the_start_after_a_while_or_at_once() {
    let stop = CancellationToken::new();
    let begin = Instant::now();
    let tried = Cell::new(0);
    let failed: Result<(), RunError> = persevere(&stop, async || {
        tried.set(tried.get() + 1);
        Err(RunError::NoInstance)
    })
    .await;
    assert!(matches!(failed, Err(RunError::NoInstance)));
    // Five such ends in a row are further apart than SMF's limit.
    assert!(begin.elapsed() > PATIENCE / 2, "{:?}", begin.elapsed());
    assert!((5..20).contains(&tried.get()), "{}", tried.get());
    let begin = Instant::now();
    let failed: Result<(), RunError> =
        persevere(&stop, async || Err(RunError::Ended("walk"))).await;
    assert!(matches!(failed, Err(RunError::Ended("walk"))));
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_waits_ends_when_told_to() {
    let state = tempfile::tempdir().unwrap();
    let held = lock(state.path(), Duration::ZERO).await.unwrap();
    let host = Fake::default();
    host.set_mdata("sdc:uuid", "c0000000-0000-4000-8000-000000000001");
    let start = start(host, state.path());
    let stop = CancellationToken::new();
    let (_ask, asked) = mpsc::channel(1);
    let running = run(start, asked, stop.clone());
    let end = async {
        tokio::time::sleep(Duration::from_secs(15)).await;
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(running, end);
    ended.unwrap();
    drop(held);
}
