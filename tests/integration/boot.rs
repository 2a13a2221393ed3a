// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What happens inside a zone at boot, by `boot/`, `smf/` and verb setup: LX
//! zones by the real systemd, SmartOS zones by a stand-in for SMF. All of it
//! needs root.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

mod lx;
mod smartos;
mod units;

use localdc::sapi::{Kind, ids};
use localdc::world::{BINDER, Ground};
use localdc::zone::ZoneSpec;
use serde_json::json;

/// Makes a prometheus zone of Triton a grafana zone.
fn of_grafana(spec: &mut ZoneSpec) {
    spec.mdata.insert("sdc:tags.smartdc_role".into(), "grafana".into());
}

/// Makes a prometheus zone of Triton one of Manta, in SAPI too.
fn of_manta(ground: &Ground, spec: &mut ZoneSpec) {
    let instance = json!({
        "uuid": spec.uuid, "service_uuid": ids::MANTA_PROMETHEUS,
        "params": {"alias": spec.name}, "type": "vm",
        "metadata": {
            "DATACENTER": "dc1",
            "SERVICE_NAME": "prometheus.region1.triton.test",
            "SDC_NAMESERVERS": [{"host": BINDER, "port": 2181}],
        },
    });
    ground.services().sapi.put(Kind::Instance, instance);
    let mdata = &mut spec.mdata;
    mdata.remove("sdc:tags.smartdc_role");
    mdata.insert("sdc:tags.manta_role".into(), "prometheus".into());
    let sapi = mdata.remove("sapi-url").unwrap();
    mdata.insert("SAPI_URL".into(), sapi);
}
