// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

use proptest::prelude::*;

use super::*;

const T: u64 = 1_800_000_000;

fn election(since: u64, listed: u64) -> Election {
    Election { bucket: "b".to_owned(), since, listed }
}

#[test]
fn a_zone_compacts_after_the_hold_off_and_no_second_before() {
    let first = decide(None, "b", Some(T - 5), T);
    assert_eq!(first.election, Some(election(T, T - 5)));
    assert!(!first.compacts);
    // Looked at again when the list would be too old.
    assert_eq!(first.again, Some(Duration::from_secs(STALE - 5 + 1)));
    let at = |now: u64| {
        let before = election(T, now - 400);
        decide(Some(&before), "b", Some(now - 100), now)
    };
    let late = at(T + HOLD_OFF - 1);
    assert!(!late.compacts);
    assert_eq!(late.again, Some(Duration::from_secs(1)));
    let on = at(T + HOLD_OFF);
    assert!(on.compacts);
    assert_eq!(on.election.unwrap().since, T);
}

#[test]
fn who_cannot_see_the_others_stops() {
    let before = election(T - 10 * HOLD_OFF, T);
    let at = |listed, now| decide(Some(&before), "b", listed, now);
    assert!(at(Some(T), T + STALE).compacts);
    assert_eq!(at(Some(T), T + STALE + 1), Decision::default());
    assert_eq!(at(None, T), Decision::default(), "a list is missing");
    // A clock that was set back by an hour: nothing is known.
    assert_eq!(at(Some(T), T - 3_600), Decision::default());
    assert!(at(Some(T), T - SLACK).compacts);
}

#[test]
fn a_break_or_another_bucket_begins_anew() {
    let now = T + 10 * HOLD_OFF;
    let anew = |before: Election, bucket: &str| {
        let decision = decide(Some(&before), bucket, Some(now), now);
        assert!(!decision.compacts, "{before:?}");
        assert_eq!(decision.election.unwrap().since, now);
    };
    anew(election(T, now - STALE - 1), "b");
    anew(election(T, now), "other");
    anew(election(now + 3_600, now), "b");
    // Not after a short break of the agent, though the kept list is newer.
    for listed in [now - STALE, now + 30] {
        let kept = election(T, listed);
        assert!(decide(Some(&kept), "b", Some(now), now).compacts);
    }
}

#[test]
fn the_oldest_list_of_the_region_counts() {
    let region = ["a".to_owned(), "b".to_owned()];
    let mut listed = BTreeMap::from([("a".to_owned(), 7)]);
    assert_eq!(oldest(&region, &listed), None);
    listed.insert("b".to_owned(), 5);
    listed.insert("elsewhere".to_owned(), 1);
    assert_eq!(oldest(&region, &listed), Some(5));
}

#[test]
fn an_election_outlives_a_restart_and_a_damaged_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("compactor.json");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let kept = Some(election(now - HOLD_OFF, now - 60));
    std::fs::write(&path, serde_json::to_vec(&kept).unwrap()).unwrap();
    let mut guard = Guard::load(path.clone());
    assert!(guard.ask("b", Some(now - 30)));
    assert!(Guard::load(path.clone()).ask("b", Some(now - 30)));
    guard.stand_down();
    assert!(!Guard::load(path.clone()).ask("b", Some(now - 30)));
    std::fs::write(&path, "{").unwrap();
    assert!(!Guard::load(path).ask("b", Some(now - 30)));
}

#[test]
fn while_metadata_is_bad_the_last_proof_counts_as_long_as_a_list() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("compactor.json");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let blind = |listed: u64| {
        let kept = Some(election(now - 2 * HOLD_OFF, listed));
        std::fs::write(&path, serde_json::to_vec(&kept).unwrap()).unwrap();
        let mut guard = Guard::load(path.clone());
        [guard.blind(), guard.blind()]
    };
    assert_eq!(blind(now - 60), [false; 2]);
    assert_eq!(blind(now - STALE - 60), [true; 2]);
    // One that has a bucket of its own was never elected.
    let mut own = Guard::load(dir.path().join("none"));
    own.stand_down();
    assert!(!own.blind());
}

/// Two zones, the second listed before the first at some time; each sees
/// SAPI at times of its own, or not for a while, or is restarted, or dead.
/// A compactor that is told to stop has stopped after five minutes.
#[derive(Debug)]
struct Zone {
    election: Option<Election>,
    listed: Option<(u64, bool)>,
    stopped: u64,
    compacts: bool,
}

impl Zone {
    fn step(&mut self, sees: Option<bool>, alive: bool, now: u64) {
        if let (Some(first), true) = (sees, alive) {
            self.listed = Some((now, first));
        }
        if !alive {
            // Its daemon runs on for as long as it is not told.
            return;
        }
        let decision = match self.listed {
            Some((listed, true)) => {
                decide(self.election.as_ref(), "b", Some(listed), now)
            }
            _ => Decision::default(),
        };
        if self.compacts && !decision.compacts {
            self.stopped = now;
        }
        self.compacts = decision.compacts;
        self.election = decision.election;
    }

    fn at_work(&self, now: u64) -> bool {
        self.compacts || now < self.stopped + 300
    }
}

proptest! {
    #[test]
    fn never_two_at_once(
        appears in 3_u64..200,
        looks in prop::collection::vec((any::<bool>(), any::<bool>()), 400),
        // Around the worst moment.
        blind in (0_u64..6, 0_u64..60),
    ) {
        let zone = || Zone {
            election: None, listed: None, stopped: 0, compacts: false,
        };
        let (mut old, mut new) = (zone(), zone());
        let mut worked = false;
        for (step, (one, two)) in looks.into_iter().enumerate() {
            // A step is a minute.
            let step = step as u64;
            let now = T + 60 * step;
            let there = step >= appears;
            let from = appears - 3 + blind.0;
            let sees = !(from..from + blind.1).contains(&step);
            old.step((one && sees).then_some(!there), true, now);
            new.step(two.then_some(there), there, now);
            worked |= old.compacts || new.compacts;
            prop_assert!(
                !(old.at_work(now) && new.at_work(now)),
                "minute {}: {:?} {:?}", step, old, new
            );
        }
        prop_assert!(worked, "nobody ever compacts");
    }
}
