// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Arithmetic of CNS' `allow_transfer`: addresses and networks, as texts. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use crate::deploy::DeployError;
use crate::triton::sapi::Service;

/// Metadata `allow_transfer` of a service `cns`.
///
/// Errors: it is no list of texts.
pub(in crate::deploy) fn allowed(
    cns: &Service,
) -> Result<Vec<String>, DeployError> {
    let odd = |seen: &Value| DeployError::Odd {
        what: "service cns, metadata allow_transfer".into(),
        seen: seen.to_string(),
        wanted: "a list of addresses",
    };
    match cns.metadata.get("allow_transfer") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(all @ Value::Array(list)) => {
            let text = |one: &Value| one.as_str().map(str::to_owned);
            let texts: Option<Vec<String>> = list.iter().map(text).collect();
            texts.ok_or_else(|| odd(all))
        }
        Some(other) => Err(odd(other)),
    }
}

/// Whether an address is in the list, by itself or in a network.
pub(in crate::deploy) fn holds(allowed: &[String], address: IpAddr) -> bool {
    allowed.iter().any(|entry| covers(entry, address) == Some(true))
}

/// `None` for what is neither address nor network.
fn covers(entry: &str, address: IpAddr) -> Option<bool> {
    let Some((network, length)) = entry.split_once('/') else {
        return Some(entry.parse::<IpAddr>().ok()? == address);
    };
    let length: u32 = length.parse().ok()?;
    let (network, address, width) = match (network.parse().ok()?, address) {
        (IpAddr::V4(n), IpAddr::V4(a)) => {
            (n.to_bits().into(), a.to_bits().into(), 32)
        }
        (IpAddr::V6(n), IpAddr::V6(a)) => (n.to_bits(), a.to_bits(), 128),
        _ => return Some(false),
    };
    let rest: u32 = width - length.min(width);
    let top = |bits: u128| bits.checked_shr(rest);
    Some(top(network) == top(address))
}

/// The list with new addresses at its end, and without those that are gone.
pub(super) fn merged(
    allowed: &[String],
    add: &[IpAddr],
    gone: &BTreeSet<IpAddr>,
) -> Vec<String> {
    let mut all = allowed.to_vec();
    all.retain(|entry| {
        let address = entry.parse::<IpAddr>();
        !address.is_ok_and(|ip| gone.contains(&ip) && !add.contains(&ip))
    });
    for address in add {
        if !holds(&all, *address) {
            all.push(address.to_string());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_others_stays() {
        let allowed = ["192.0.2.1", "198.51.100.0/24", "odd", "10.0.0.9"];
        let allowed = allowed.map(str::to_owned);
        assert!(holds(&allowed, ip("198.51.100.200")));
        assert!(!holds(&allowed, ip("198.51.101.1")));
        assert!(holds(&["::/0".to_owned()], ip("2001:db8::1")));
        assert!(!holds(&["::/0".to_owned()], ip("192.0.2.1")));
        assert!(holds(&["0.0.0.0/0".to_owned()], ip("192.0.2.1")));
        let gone = [ip("10.0.0.9"), ip("192.0.2.1")].into_iter().collect();
        let add = [ip("198.51.100.7"), ip("10.0.0.10"), ip("192.0.2.1")];
        assert_eq!(
            merged(&allowed, &add, &gone),
            ["192.0.2.1", "198.51.100.0/24", "odd", "10.0.0.10"]
        );
    }
}
