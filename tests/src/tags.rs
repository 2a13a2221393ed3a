// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The rules for tags under `triton.`: VMAPI checks them on every write, CMON
//! checks the group list of a discovery request by the same rule.

use serde_json::{Map, Value};

/// Longest list and longest name of `triton.cmon.groups`.
const GROUPS_LIMIT: usize = 100;

/// Checks a whole tag object; the error names the tag and the fault.
pub fn check_tags(tags: &Map<String, Value>) -> Result<(), String> {
    tags.iter().try_for_each(|(key, value)| check_tag(key, value))
}

fn check_tag(key: &str, value: &Value) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("tag {key:?} must be a {what}"));
    let text = value.as_str();
    match key {
        "triton.cmon.groups" => match text {
            Some(text) => check_groups(text)
                .map(drop)
                .map_err(|why| format!("tag {key:?}: {why}")),
            None => wrong("string"),
        },
        "triton.cns.services" => match text {
            Some(text) => check_services(text)
                .map_err(|why| format!("tag {key:?}: {why}")),
            None => wrong("string"),
        },
        "triton.cns.reverse_ptr" | "triton.network.public" => match text {
            Some(_) => Ok(()),
            None => wrong("string"),
        },
        "triton.cns.disable" | "triton.placement.exclude_virtual_servers" => {
            match value {
                Value::Bool(_) => Ok(()),
                _ => wrong("boolean"),
            }
        }
        _ if key.starts_with("triton.") => {
            Err(format!("unrecognized special triton tag {key:?}"))
        }
        _ => match value {
            Value::String(_) | Value::Number(_) | Value::Bool(_) => Ok(()),
            _ => wrong("string, number or boolean"),
        },
    }
}

/// Splits `triton.cmon.groups` (or `?groups=`): 1 to 100 names of 1 to 100
/// characters out of `A-Z a-z 0-9 _ -`, separated by commas, no blanks, no
/// name twice.
pub fn check_groups(text: &str) -> Result<Vec<&str>, String> {
    let names: Vec<&str> = text.split(',').collect();
    if names.len() > GROUPS_LIMIT {
        return Err(format!("more than {GROUPS_LIMIT} groups"));
    }
    for (index, name) in names.iter().enumerate() {
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if name.is_empty() {
            return Err("empty group name".to_owned());
        }
        if name.len() > GROUPS_LIMIT {
            return Err(format!("group name of {} characters", name.len()));
        }
        if !name.bytes().all(good) {
            return Err(format!("bad character in group name {name:?}"));
        }
        if names[..index].contains(name) {
            return Err(format!("group name {name:?} twice"));
        }
    }
    Ok(names)
}

/// `name[:port][:key=value]...`, comma-separated.
fn check_services(text: &str) -> Result<(), String> {
    let port_ok = |port: &str| {
        port.bytes().all(|b| b.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    for service in text.split(',') {
        let mut parts = service.split(':');
        let name = parts.next().unwrap_or_default();
        let letters =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=63).contains(&name.len())
            || !name.starts_with(|c: char| c.is_ascii_lowercase())
            || !name.bytes().all(letters)
        {
            return Err(format!("bad service name {name:?}"));
        }
        for (index, part) in parts.enumerate() {
            let good = match part.split_once('=') {
                Some(("port", port)) => port_ok(port),
                Some(("priority" | "weight", n)) => n.parse::<u16>().is_ok(),
                Some(_) => false,
                None => index == 0 && port_ok(part),
            };
            if !good {
                return Err(format!("bad service property {part:?}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn groups() {
        let long = "g".repeat(100);
        for good in ["a", "edge,shard_1", "A-b,0", long.as_str()] {
            assert!(check_groups(good).is_ok(), "{good}");
        }
        let too_long = "g".repeat(101);
        let too_many: Vec<String> = (0..101).map(|n| n.to_string()).collect();
        let too_many = too_many.join(",");
        for bad in
            ["", "a,", ",a", "a, b", "a.b", "a,b,a", "é", &too_long, &too_many]
        {
            assert!(check_groups(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn tags() {
        let check = |tags: Value| check_tags(tags.as_object().unwrap());
        for good in [
            json!({"smartdc_role": "cns", "n": 5, "b": false}),
            json!({"triton.cmon.groups": "a,b"}),
            json!({"triton.cns.services": "web:8080,db:port=5432:weight=3"}),
            json!({"triton.cns.disable": true}),
        ] {
            assert_eq!(check(good.clone()), Ok(()), "{good}");
        }
        for bad in [
            json!({"triton.other": "x"}),
            json!({"triton.cmon.groups": 5}),
            json!({"triton.cmon.groups": "a b"}),
            json!({"triton.cns.disable": "true"}),
            json!({"triton.cns.services": "Web"}),
            json!({"triton.cns.services": "web:0"}),
            json!({"triton.cns.services": "web:color=red"}),
            json!({"x": null}),
            json!({"x": {}}),
        ] {
            assert!(check(bad.clone()).is_err(), "{bad}");
        }
    }
}
