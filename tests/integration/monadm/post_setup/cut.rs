// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Killed at each write, before it is done and after.

use localdc::http::When;

use super::{LIMIT, PAIR, Site};

/// Killed at the write, with all that is under way; the next run ends where an
/// undisturbed one ends.
async fn killed_anywhere(words: &[&str], before: &[&[&str]]) {
    let whens = [When::Before, When::After];
    let make = async || {
        let site = Site::new().await;
        for first in before {
            site.set_up(first).await;
        }
        site
    };
    killed_at(words, make, &whens, 0, usize::MAX).await;
}

/// `polls` is how often each job must be asked for until it is over; `most`
/// the last write at which it is killed.
pub(super) async fn killed_at(
    words: &[&str],
    make: impl AsyncFn() -> Site,
    whens: &[When],
    polls: u32,
    most: usize,
) {
    let whole = make().await;
    let ready = whole.writes();
    whole.set_up(words).await;
    let writes = whole.writes() - ready;
    let wanted = whole.everything().await;
    assert!(writes > 0);
    for at in 1..=writes.min(most) {
        for when in whens.iter().copied() {
            let site = make().await;
            let gate = site.triton.datacenter.gate();
            let ready = gate.count();
            site.triton.datacenter.stock().job_polls = polls;
            gate.cut_at(at, when);
            let mut child = site.start(words);
            let until = async {
                while gate.count() < ready + at {
                    let ended = child.try_wait().unwrap();
                    assert!(ended.is_none(), "{at} {when:?}: {ended:?}");
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(LIMIT, until).await.unwrap();
            child.kill().await.unwrap();
            gate.mend();
            site.set_up(words).await;
            let ended = site.everything().await;
            assert_eq!(ended, wanted, "{words:?} {at} {when:?}");
            site.is_settled(words).await;
        }
    }
}

#[tokio::test]
async fn a_pair_of_prometheus() {
    killed_anywhere(PAIR, &[]).await;
}

#[tokio::test]
async fn a_pair_whose_jobs_go_on_meanwhile() {
    let whens = [When::After];
    killed_at(PAIR, Site::new, &whens, 2, usize::MAX).await;
}

#[tokio::test]
async fn thanos() {
    killed_anywhere(&["thanos"], &[&["prometheus"]]).await;
}

#[tokio::test]
async fn grafana() {
    killed_anywhere(&["grafana"], &[]).await;
}

#[tokio::test]
async fn shards_and_alertmanager() {
    let first: &[&[&str]] = &[&["prometheus"]];
    killed_anywhere(&["prometheus", "--shards", "1"], first).await;
    killed_anywhere(&["alertmanager"], first).await;
}

#[tokio::test]
async fn without_the_journal_too() {
    let whole = Site::new().await;
    whole.set_up(PAIR).await;
    let (writes, wanted) = (whole.writes(), whole.everything().await);
    for at in 1..=writes {
        let site = Site::new().await;
        let gate = site.triton.datacenter.gate();
        gate.cut_at(at, When::After);
        let mut child = site.start(PAIR);
        let until = async {
            while gate.count() < at {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, until).await.unwrap();
        child.kill().await.unwrap();
        gate.mend();
        for file in std::fs::read_dir(site.state.path()).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
        site.set_up(PAIR).await;
        assert_eq!(site.everything().await, wanted, "{at}");
    }
}
