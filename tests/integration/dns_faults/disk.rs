// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A data folder without room.

use super::Rig;

#[tokio::test]
async fn on_a_full_disk_the_new_zone_is_served_and_the_old_one_kept() {
    let mut rig = Rig::start(0, 32).await;
    let zones = rig.zones().display().to_string();
    let agent = rig
        .starter(&format!(
            "mkdir -p {zones}\nmount -t tmpfs -o size=64k,mode=700 none {zones}"
        ))
        .start();
    super::eventually("a file", async || {
        agent.sees(&rig.file()).exists().then_some(())
    })
    .await;
    let first = rig.first_serial().await;
    rig.until_zone("all is well", |zone| zone["store_error"].is_null()).await;
    // Not a block is left.
    agent.inside(&format!("cat /dev/zero >{zones}/fill || true")).await;
    let serial = rig.real.change().await;
    assert_ne!(serial, first);
    rig.until_serial(serial).await;
    rig.until_zone("the full disk is told", |zone| {
        let error = zone["store_error"].as_str().unwrap_or_default();
        error.contains("No space left")
    })
    .await;
    rig.assert_readable(&agent);
    // A try that is under way may be seen, but none stays.
    agent
        .inside(&format!(
            "for n in $(seq 500); do test -n \"$(ls {zones} | grep tmp)\" \
             || exit 0; sleep 0.02; done; exit 1"
        ))
        .await;
    // Room again: the next one is written, and nothing is said any more.
    agent.inside(&format!("rm {zones}/fill")).await;
    let serial = rig.real.change().await;
    rig.until_serial(serial).await;
    rig.until_zone("all is well again", |zone| zone["store_error"].is_null())
        .await;
    rig.assert_readable(&agent);
}
