// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A zone that is lost is made anew as what it was: what somebody wrote into
//! its instance is in the new one too, whatever befalls the run that makes it.

use localdc::http::{Fault, When};
use localdc::sapi::Kind;
use serde_json::{Value, json};

use super::{PAIR, Site};

/// How a zone is lost.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lost {
    /// VMAPI never heard of it.
    Unknown,
    Destroyed,
    /// And somebody says that it is to go.
    Failed,
}

const ALL: [Lost; 3] = [Lost::Unknown, Lost::Destroyed, Lost::Failed];

/// A pair, and of it an instance that somebody has given keys of its own.
async fn site() -> Site {
    let site = Site::new().await;
    site.set_up(PAIR).await;
    let (sapi, uuid) = (&site.triton.sapi.handle, site.uuid());
    let mut instance = sapi.get(Kind::Instance, &uuid).unwrap();
    instance["params"]["cpu_cap"] = json!(200);
    instance.insert(
        "metadata".to_owned(),
        json!({
            "groups": ["edge", "shard-0"], "shard": "0", "replica": "blue",
            "thanos_components": ["receive"], "prometheus_retired": true,
        }),
    );
    sapi.put(Kind::Instance, Value::Object(instance));
    site
}

impl Site {
    /// Of the zone that is lost.
    fn uuid(&self) -> String {
        self.vm("prometheus1").uuid
    }

    /// Loses it; the words that have another made.
    fn lose(&self, lost: Lost) -> Vec<String> {
        let uuid = self.uuid();
        self.triton.datacenter.update(|facts| {
            if lost == Lost::Unknown {
                facts.vms.retain(|vm| vm.uuid != uuid);
            }
            for vm in facts.vms.iter_mut().filter(|vm| vm.uuid == uuid) {
                vm.state = format!("{lost:?}").to_lowercase();
            }
        });
        match lost {
            Lost::Failed => vec!["--replace".to_owned(), uuid],
            _ => Vec::new(),
        }
    }
}

#[tokio::test]
async fn it_keeps_what_its_instance_has_of_its_own() {
    for lost in ALL {
        let site = site().await;
        let wanted = site.everything().await;
        let more = site.lose(lost);
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        site.set_up(&[&["prometheus"], &more[..]].concat()).await;
        assert_eq!(site.everything().await, wanted, "{lost:?}");
        site.is_settled(&["prometheus"]).await;
    }
}

/// SAPI drops the record of a zone that it could not make; and one that is
/// made anew has none between the end of the old one and its own.
#[tokio::test]
async fn a_run_that_fails_meanwhile_loses_nothing() {
    for lost in ALL {
        let site = site().await;
        let wanted = site.everything().await;
        let more = site.lose(lost);
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        site.triton.datacenter.stock().workflow_down = lost == Lost::Unknown;
        if lost != Lost::Unknown {
            // First the old one goes.
            let gate = site.triton.datacenter.gate();
            gate.fail(2, When::Before, Fault::Refusal(409, None));
        }
        let ended = site.yes(&[&["prometheus"], &more[..]].concat()).await;
        assert_eq!(ended.code, Some(1), "{lost:?}: {ended:?}");
        assert_eq!(site.list("instances").await.len(), 3, "{lost:?}");
        site.triton.datacenter.stock().workflow_down = false;
        // It need not be told again that there were two.
        site.set_up(&["prometheus"]).await;
        assert_eq!(site.everything().await, wanted, "{lost:?}");
        site.is_settled(&["prometheus"]).await;
    }
}
