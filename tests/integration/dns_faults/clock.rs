// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A clock that jumps by more than a year, while the agent runs and while it
//! does not.

use std::fs::File;
use std::time::{Duration, SystemTime};

use localdc::agent_bench::Starter;

use super::Rig;

impl Rig {
    /// An agent whose clock the test moves; what measures time goes on.
    fn with_clock(&self) -> Starter {
        let clock = self.bench.path("clock").display().to_string();
        self.starter(&format!(
            "export LD_PRELOAD=\"$(dpkg -L libfaketime | grep MT.so)\"\n\
             export FAKETIME_TIMESTAMP_FILE={clock} FAKETIME_NO_CACHE=1\n\
             export FAKETIME_DONT_FAKE_MONOTONIC=1\n\
             export DONT_FAKE_MONOTONIC=1"
        ))
    }

    fn set_clock(&self, offset: &str) {
        self.bench.write(&self.bench.path("clock"), offset);
    }
}

#[tokio::test]
async fn a_clock_that_jumps_changes_no_answer() {
    let mut rig = Rig::start(0, 33).await;
    rig.set_clock("+0d\n");
    let agent = rig.with_clock().start();
    rig.until_file().await;
    rig.first_serial().await;
    // Each time: what we have is served, and changes are followed.
    for offset in ["+400d\n", "-400d\n"] {
        rig.set_clock(offset);
        let serial = rig.real.change().await;
        rig.until_serial(serial).await;
        rig.until_zone("it is believed", |zone| {
            zone["last_error"].is_null() && zone["expired"] == false
        })
        .await;
    }
    agent.kill().await;
}

/// The zone's file is dated a year back, or a year ahead: what a clock that
/// jumped in between makes of it. With a silent primary age is all there is.
#[tokio::test]
async fn a_clock_that_jumped_while_nobody_ran_changes_no_answer() {
    let mut rig = Rig::start(0, 34).await;
    let mut agent = rig.bench.start();
    rig.until_file().await;
    rig.first_serial().await;
    const YEAR: Duration = Duration::from_secs(366 * 86_400);
    let now = SystemTime::now();
    for (dated, expired) in [(now - YEAR, true), (now + YEAR, false)] {
        agent.kill().await;
        rig.real.freeze(true);
        let file = File::options().write(true).open(rig.file()).unwrap();
        file.set_modified(dated).unwrap();
        agent = rig.bench.start();
        rig.first_serial().await;
        rig.until_zone("its age", |zone| zone["expired"] == expired).await;
        rig.real.freeze(false);
        rig.until_zone("confirmed", |zone| {
            zone["expired"] == false && zone["last_error"].is_null()
        })
        .await;
        let serial = rig.real.change().await;
        rig.until_serial(serial).await;
    }
}
