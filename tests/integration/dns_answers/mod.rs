// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The same ten thousand questions to ours, BIND, Knot and NSD, all serving
//! the same zone. Every difference must be of a class that the table in
//! `classes.rs` explains, and every class must occur; `differences.md` is that
//! table for people.
#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

mod classes;
mod exchange;
mod questions;
mod seen;
pub(crate) mod zone;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use localdc::name_server::{Daemon, From, Kind, Setup, own_place};
use monitoring_agent::model::primary::Primary;

use self::classes::{CLASSES, Compared};
use self::questions::Question;
use self::seen::{Aspect, Seen, differing};
use crate::dns_secondary::ours::{Ours, policy};

const LIMIT: Duration = Duration::from_secs(30);

/// One of the three, serving the zone.
struct Peer {
    kind: Kind,
    at: SocketAddr,
    daemon: Daemon,
    _dir: tempfile::TempDir,
}

impl Peer {
    async fn start(kind: Kind) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("zone");
        std::fs::write(&file, zone::zone_file()).unwrap();
        let at = own_place(kind).unwrap();
        let setup = Setup {
            dir: dir.path(),
            at,
            zone: zone::ZONE,
            from: From::File(&file),
            changing: None,
        };
        let config = setup.config(kind);
        std::fs::write(dir.path().join("server.conf"), config).unwrap();
        let daemon = Daemon::start(kind, dir.path()).unwrap();
        Self { kind, at, daemon, _dir: dir }
    }

    async fn ask(&mut self, all: &[Question]) -> Vec<Option<Vec<u8>>> {
        // Until it has read its zone.
        let begin = Instant::now();
        let first = [questions::soa()];
        loop {
            let answer = exchange::ask_once(self.at, &first[0]).await;
            if answer.is_some_and(|answer| answer[3] & 15 == 0) {
                break;
            }
            let ended = self.daemon.ended();
            if ended.is_some() || begin.elapsed() > LIMIT {
                panic!("{:?}: {ended:?}\n{}", self.kind, self.daemon.log());
            }
        }
        exchange::ask(self.at, all).await
    }
}

/// What was not explained: an example each and how many there are.
type Unexplained = BTreeMap<String, (usize, String)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn we_answer_as_others_do_or_say_why_not() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(1);
    let all = questions::questions(seed, 10_000);
    let mut peers = Vec::new();
    for kind in Kind::ALL {
        peers.push(Peer::start(kind).await);
    }
    let ours = Ours::start(zone::ZONE, policy()).await;
    let knot = peers.iter().find(|peer| peer.kind == Kind::Knot).unwrap();
    ours.follow(vec![Primary::from(knot.at)]);
    ours.until_serial(7).await;
    let asking = peers.iter_mut().map(|peer| peer.ask(&all));
    let (ours, theirs) =
        join(exchange::ask(ours.at, &all), join_all(asking)).await;
    let mut counts: BTreeMap<(&str, String), usize> = BTreeMap::new();
    let mut unexplained = Unexplained::new();
    for (kind, theirs) in Kind::ALL.into_iter().zip(&theirs) {
        for ((asked, ours), theirs) in all.iter().zip(&ours).zip(theirs) {
            let seen = |bytes: &Option<Vec<u8>>| {
                bytes.as_ref().map(|bytes| Seen::new(asked, bytes))
            };
            let (ours, theirs) = (seen(ours), seen(theirs));
            let compared = Compared {
                asked,
                ours: ours.as_ref(),
                theirs: theirs.as_ref(),
            };
            let mut open = differing(compared.ours, compared.theirs);
            for class in CLASSES {
                let explains = |aspect: &Aspect| class.aspects.contains(aspect);
                if class.who.contains(&kind)
                    && open.iter().any(explains)
                    && (class.applies)(&compared)
                {
                    open.retain(|aspect| !explains(aspect));
                    *counts
                        .entry((class.name, format!("{kind:?}")))
                        .or_default() += 1;
                }
            }
            if !open.is_empty() {
                note(&mut unexplained, kind, &compared, &open);
            }
        }
    }
    for ((class, kind), count) in &counts {
        println!("{count:5} {kind} {class}");
    }
    let total: usize = unexplained.values().map(|(count, _)| count).sum();
    for (what, (count, example)) in &unexplained {
        println!("{count} x {what}\n{example}");
    }
    assert_eq!(total, 0, "unexplained, of SEED={seed}");
    let never: Vec<&str> = CLASSES
        .iter()
        .map(|class| class.name)
        .filter(|name| !counts.keys().any(|(class, _)| class == name))
        .collect();
    assert_eq!(never, [] as [&str; 0], "explained but never seen");
}

fn note(
    unexplained: &mut Unexplained,
    kind: Kind,
    compared: &Compared<'_>,
    open: &BTreeSet<Aspect>,
) {
    let asked = compared.asked;
    let what = format!("{kind:?} {:?} {open:?}", asked.shape);
    let (count, example) = unexplained.entry(what).or_default();
    *count += 1;
    if *count <= 3 {
        example.push_str(&format!(
            "  {} {} class {} flags {:04x} edns {:?} tcp {}\n    {:02x?}\n    \
             ours {:?}\n    theirs {:?}\n",
            asked.name,
            asked.rtype,
            asked.class,
            asked.flags,
            asked.edns,
            asked.stream,
            asked.bytes,
            compared.ours,
            compared.theirs
        ));
    }
}
