// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

use unicode_width::UnicodeWidthStr;

use super::*;
use crate::deploy::status::example::{image, picture, uuid};
use crate::deploy::status::judge::judge;
use crate::deploy::status::{Missed, Shard};

fn shown(picture: &Picture) -> String {
    let (verdict, found) = judge(picture);
    let text = screen(picture, verdict, &found, Paint(false));
    for line in text.lines().filter(|line| !line.starts_with("    # ")) {
        assert!(line.width() <= WIDE, "{line}");
    }
    text
}

#[test]
fn a_datacenter_that_is_well() {
    insta::assert_snapshot!(shown(&picture()));
}

/// Names of Manta's length and of any script, and much that is wrong.
#[test]
fn a_datacenter_that_is_not() {
    let mut picture = picture();
    picture.datacenter = "süd-1.überwachung.test".to_owned();
    let mut manta = picture.instances[0].clone();
    manta.application = "manta".to_owned();
    manta.alias = "prometheus.us-east.example.com-1a2b3c4d".to_owned();
    manta.uuid = uuid(30);
    manta.groups = vec!["shard-1".to_owned()];
    manta.running_zone().hostname = "ラック３の計算機".to_owned();
    manta.running_zone().image = Look::Seen(image("mantav2-prometheus", 4));
    manta.agent_mut().revision_age_seconds = Some(600);
    picture.instances.push(manta);
    let one = &mut picture.instances[0];
    one.agent_mut().files_not_in_force =
        vec!["prometheus.yml".into(), "rules/agent.yml".into()];
    one.agent_mut().daemons.insert("thanos-sidecar".into(), false);
    one.agent_mut().certificates.insert("cmon.crt".into(), -86_400);
    let why = "no answer from http://10.88.0.51:9165/metrics: client error \
               (Connect): tcp connect error: Connection refused (os error 146)";
    picture.instances[1].agent = Look::Failed(why.to_owned());
    picture.instances[1].health = Look::Failed(why.to_owned());
    picture.instances[2].running_zone().state = "provisioning".to_owned();
    picture.instances[3].zone = Look::Seen(None);
    let members = [uuid(30)].into_iter().collect();
    if let Look::Seen(shards) = &mut picture.shards {
        let shard = Shard { members, zones: 40 };
        shards.shards.insert("shard-1".to_owned(), shard);
        (shards.scraped_by_nobody, shards.imbalance) = (7, 1.5);
    }
    insta::assert_snapshot!(shown(&picture));
}

/// VMAPI and IMGAPI hang: all else is there.
#[test]
fn a_datacenter_that_is_seen_in_part() {
    let mut picture = picture();
    let hangs = || {
        "no answer from http://vmapi.dc1.triton.test/vms: timed out \
                    after 10s"
            .to_owned()
    };
    for one in &mut picture.instances {
        one.zone = Look::Failed(hangs());
        one.wanted_image = Look::Failed(hangs());
    }
    picture.shards = Look::Failed(hangs());
    let what = "servers (CNAPI)".to_owned();
    picture.missed.push(Missed { what, why: hangs() });
    insta::assert_snapshot!(shown(&picture));
}

#[test]
fn colours_change_nothing_else() {
    let mut picture = picture();
    picture.instances[0].health = Look::Failed("x".to_owned());
    let (verdict, found) = judge(&picture);
    let plain = screen(&picture, verdict, &found, Paint(false));
    let painted = screen(&picture, verdict, &found, Paint(true));
    assert!(painted.contains("\x1b[31;1m"), "{painted}");
    let mut bare = painted;
    for code in ["31;1", "33", "32", "0"] {
        bare = bare.replace(&format!("\x1b[{code}m"), "");
    }
    assert_eq!(bare, plain);
}

/// Hundreds of instances and findings are still a list one can read.
#[test]
fn much_that_is_wrong_is_counted() {
    let mut picture = picture();
    let one = picture.instances[0].clone();
    for number in 0..40 {
        let mut one = one.clone();
        one.alias = format!("prometheus{number}");
        one.health = Look::Failed("x".to_owned());
        picture.instances.push(one);
    }
    let text = shown(&picture);
    assert!(text.contains("and 32 more; --json has all"), "{text}");
}
