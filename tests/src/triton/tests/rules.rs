// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Firewall rules, from their creation to their end.

use monitoring_agent::triton::fwapi::NewRule;

use super::*;

#[tokio::test]
async fn a_rule_is_made_changed_put_out_of_force_and_deleted() {
    let rig = Rig::start().await;
    let owner_uuid = uuid(ids::POSEIDON);
    let new = NewRule {
        owner_uuid,
        rule: "from subnet 10.88.0.0/24 to tag manta_role = prometheus allow \
               tcp port 9090",
        description: "Thanos asks Prometheus",
    };
    let made = rig.fwapi.create(&new).await.unwrap();
    assert_eq!(
        made.rule,
        "FROM subnet 10.88.0.0/24 TO tag \"manta_role\" = \"prometheus\" \
         ALLOW tcp PORT 9090"
    );
    assert!(made.enabled);
    assert_eq!(rig.fwapi.rule(made.uuid).await.unwrap(), Some(made.clone()));
    let rules = |tag| rig.fwapi.rules(owner_uuid, tag);
    let tagged = rules(Some("manta_role")).await.unwrap();
    assert_eq!((tagged.len(), &tagged[0]), (1, &made));
    assert!(rules(Some("smartdc_role")).await.unwrap().is_empty());
    let of_admin = rig.fwapi.rules(admin(), Some("smartdc_role")).await;
    assert_eq!(of_admin.unwrap().len(), 2);

    let text = new.rule.replace("9090", "10901");
    let changed = rig.fwapi.update(made.uuid, &text).await.unwrap();
    assert!(changed.rule.ends_with("PORT 10901") && changed.enabled);
    assert_eq!(changed.description, new.description);
    let off = rig.fwapi.enable(made.uuid, false).await.unwrap();
    assert_eq!((off.enabled, &off.rule), (false, &changed.rule));
    assert!(rig.fwapi.delete(made.uuid).await.unwrap());
    assert!(!rig.fwapi.delete(made.uuid).await.unwrap());
    assert!(rig.fwapi.rule(made.uuid).await.unwrap().is_none());
    let gone = rig.fwapi.enable(made.uuid, true).await.unwrap_err();
    assert!(gone.is_not_found());
}

#[tokio::test]
async fn what_is_no_rule_is_refused() {
    let rig = Rig::start().await;
    let new = NewRule {
        owner_uuid: admin(),
        rule: "FROM any TO any ALLOW gre PORT 1",
        description: "",
    };
    let before = rig.fwapi.rules(admin(), None).await.unwrap();
    let refused = rig.fwapi.create(&new).await.unwrap_err();
    assert_eq!(refused.status(), Some(422));
    assert_eq!(refused.code(), Some("InvalidParameters"));
    assert!(said(&refused).contains("rule Error: expected a protocol"));
    assert_eq!(rig.fwapi.rules(admin(), None).await.unwrap(), before);
}
