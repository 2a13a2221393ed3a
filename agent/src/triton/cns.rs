// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! CNS' REST side: which zones it serves, and under which names a VM appears.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::api::lenient;
use super::{ApiError, Http};

const BODY_LIMIT: usize = 1 << 20;

/// A zone as `GET /zones` lists it; forward and reverse alike.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Zone {
    /// Name, for instance `dc1.cns.example.com`.
    pub name: String,
    /// Serial; nothing where CNS has yet to fill the zone.
    #[serde(default, deserialize_with = "lenient")]
    pub serial: Option<u32>,
}

/// Whom CNS lets transfer its zones: a network, or one address of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AllowedPeer {
    /// Address.
    pub address: IpAddr,
    /// Length of its prefix; a whole address without one.
    #[serde(default, deserialize_with = "lenient")]
    pub mask: Option<u8>,
}

impl AllowedPeer {
    /// Whether it lets this address transfer.
    pub fn holds(&self, peer: IpAddr) -> bool {
        let bits = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => (u128::from(u32::from(ip)) << 96, 32),
            IpAddr::V6(ip) => (u128::from(ip), 128),
        };
        let ((own, length), (peer, other)) = (bits(self.address), bits(peer));
        let mask = self.mask.map_or(length, u32::from).min(length);
        // A shift by all 128 bits is none: then everything fits.
        let beyond = 128 - mask;
        length == other && (own ^ peer).checked_shr(beyond).unwrap_or(0) == 0
    }
}

#[derive(Deserialize)]
struct Named {
    #[serde(default, deserialize_with = "lenient")]
    names: Vec<String>,
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

/// Whom the CNS instance at `address` lets transfer, beside itself.
pub async fn allowed_peers(
    http: &Http,
    address: IpAddr,
) -> Result<Vec<AllowedPeer>, ApiError> {
    let url = format!("{}/allowed-peers", base(address));
    http.get(&url, &[], BODY_LIMIT).await?.json(&url)
}

/// The names that the CNS instance at `address` has for a VM; none, when it
/// does not know it.
pub async fn names_of(
    http: &Http,
    address: IpAddr,
    vm: Uuid,
) -> Result<Vec<String>, ApiError> {
    let url = format!("{}/vm/{vm}", base(address));
    let answer = http.get(&url, &[], BODY_LIMIT).await?;
    match answer.status {
        404 => Ok(Vec::new()),
        _ => Ok(answer.json::<Named>(&url)?.names),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_alone() {
        for (address, mask, peer, holds) in [
            ("10.9.0.0", Some(24), "10.9.0.255", true),
            ("10.9.0.0", Some(24), "10.9.1.0", false),
            ("10.9.0.7", Some(32), "10.9.0.7", true),
            ("10.9.0.7", None, "10.9.0.6", false),
            ("10.9.0.7", Some(200), "10.9.0.6", false),
            ("0.0.0.0", Some(0), "192.0.2.1", true),
            ("0.0.0.0", Some(0), "2001:db8::1", false),
            ("2001:db8::", Some(32), "2001:db8:1::1", true),
            ("2001:db8::", Some(48), "2001:db8:1::1", false),
        ] {
            let address = address.parse().unwrap();
            let allowed = AllowedPeer { address, mask };
            let said = allowed.holds(peer.parse().unwrap());
            assert_eq!(said, holds, "{allowed:?} {peer}");
        }
    }
}
