// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! CNS' REST side: which zones it serves, and under which names a VM appears.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::json;

use super::{ApiError, Http};

const BODY_LIMIT: usize = 1 << 20;

/// A zone as `GET /zones` lists it; forward and reverse alike.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Zone {
    /// Name, for instance `dc1.cns.example.com`.
    pub name: String,
}

#[derive(Deserialize)]
struct Suffixes {
    suffixes: Vec<String>,
}

/// The zones of the CNS instance at `address`.
pub async fn zones(
    http: &Http,
    address: IpAddr,
) -> Result<Vec<Zone>, ApiError> {
    let url = format!("{}/zones", base(address));
    http.get(&url, &[], BODY_LIMIT).await?.json(&url)
}

/// The suffixes of a VM of `owner` on `network`. Both are needed: CNS falls
/// over when one is missing.
pub async fn suffixes_for_vm(
    http: &Http,
    address: IpAddr,
    owner: &str,
    network: &str,
) -> Result<Vec<String>, ApiError> {
    let url = format!("{}/suffixes-for-vm", base(address));
    let body = json!({"owner_uuid": owner, "networks": [network]});
    let answer = http.post(&url, Some(&body), BODY_LIMIT).await?;
    Ok(answer.json::<Suffixes>(&url)?.suffixes)
}

fn base(address: IpAddr) -> String {
    match address {
        IpAddr::V4(ip) => format!("http://{ip}"),
        IpAddr::V6(ip) => format!("http://[{ip}]"),
    }
}
