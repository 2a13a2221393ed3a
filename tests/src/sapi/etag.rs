// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The ETag of `GET /configs/:uuid`, blind spots included: order inside
//! arrays, JSON types and the place of a comma leave no trace in it.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde_json::{Number, Value};

/// The bare 40 hex digits SAPI would send for this config.
///
/// One string per leaf: key path and value, joined by commas; array indexes
/// and nulls add nothing. All strings sorted by UTF-16 code unit, written as
/// a JSON array, SHA-1.
pub fn etag(config: &Value) -> String {
    let mut leaves = Vec::new();
    walk(config, &mut Vec::new(), &mut leaves);
    leaves.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
    let text = serde_json::to_string(&leaves).expect("strings are JSON");
    digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn walk<'a>(
    value: &'a Value,
    path: &mut Vec<&'a str>,
    leaves: &mut Vec<String>,
) {
    let text = match value {
        Value::Null => return,
        Value::Array(items) => {
            return items.iter().for_each(|item| walk(item, path, leaves));
        }
        Value::Object(map) => {
            for (key, item) in map {
                path.push(key);
                walk(item, path, leaves);
                path.pop();
            }
            return;
        }
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => js_number(number),
        Value::String(text) => text.clone(),
    };
    let mut parts = path.clone();
    parts.push(&text);
    leaves.push(parts.join(","));
}

/// A number as JavaScript's `String()` writes it (ECMA-262, Number::toString).
pub(crate) fn js_number(number: &Number) -> String {
    let Some(value) = number.as_f64() else { return number.to_string() };
    if value == 0.0 {
        return "0".to_owned();
    }
    // Rust's shortest digits are the same as JavaScript's.
    let text = format!("{:e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = mantissa.replace('.', "");
    let count = digits.len() as i32;
    // The decimal point stands after this many digits.
    let point = exponent.parse::<i32>().unwrap_or(0) + 1;
    let sign = if value < 0.0 { "-" } else { "" };
    let zeros = |n: i32| "0".repeat(n.max(0) as usize);
    let plain = if (count..=21).contains(&point) {
        format!("{digits}{}", zeros(point - count))
    } else if (1..=21).contains(&point) {
        let (whole, rest) = digits.split_at(point as usize);
        format!("{whole}.{rest}")
    } else if (-5..=0).contains(&point) {
        format!("0.{}{digits}", zeros(-point))
    } else {
        let (first, rest) = digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        let plus = if point > 0 { "+" } else { "" };
        format!("{first}{dot}{rest}e{plus}{}", point - 1)
    };
    format!("{sign}{plain}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Body and ETag as seen from the real SAPI (sheet sapi.md 1.5).
    const SEEN: &str = r#"{"manifests":[{"uuid":"d0000000-0000-4000-8000-000000000001","name":"demo","path":"/opt/example/etc/demo.json","template":"{\"dc\":\"{{datacenter_name}}\"}","post_cmd":"/usr/sbin/svcadm restart demo","version":"1.0.0"}],"metadata":{"datacenter_name":"dc1","ZK_SERVERS":[{"host":"192.0.2.5","port":2181,"last":true}],"flag":true,"none":null,"SERVICE_NAME":"demo","SERVER_UUID":"90000000-0000-4000-8000-000000000001","ZONE_UUID":"c0000000-0000-4000-8000-000000000001","INSTANCE_UUID":"c0000000-0000-4000-8000-000000000001"}}"#;

    #[test]
    fn the_real_one_is_met() {
        let config = serde_json::from_str(SEEN).unwrap();
        assert_eq!(etag(&config), "4c15c9117151921cb5739dccc4659fc51bb83006");
    }

    #[test]
    fn blind_spots_are_blind() {
        let same = [
            (json!({"a": 1}), json!({"a": "1"})),
            (json!({"a": true}), json!({"a": "true"})),
            (json!({"a": 1}), json!({"a": 1, "b": null, "c": {}, "d": []})),
            (json!({"a": ["x", "y"]}), json!({"a": ["y", "x"]})),
            (json!({"a": ["x", "y"]}), json!({"a": [["y"], ["x"]]})),
            (
                json!({"z": [{"h": "A", "p": 1}, {"h": "B", "p": 2}]}),
                json!({"z": [{"h": "A", "p": 2}, {"h": "B", "p": 1}]}),
            ),
            (json!({"a": {"b": "c"}}), json!({"a": "b,c"})),
            (json!({"a": {"b": "c"}}), json!({"a,b": "c"})),
        ];
        for (one, other) in same {
            assert_eq!(etag(&one), etag(&other), "{one} and {other}");
        }
        assert_ne!(etag(&json!({"a": 1})), etag(&json!({"a": 2})));
        assert_ne!(etag(&json!({"a": "x"})), etag(&json!({"b": "x"})));
        assert_ne!(etag(&json!({"a": ["x"]})), etag(&json!({"a": ["x", "x"]})));
    }

    #[test]
    fn strings_sort_by_utf16() {
        // U+1F600 begins with a surrogate (D83D), below U+FF5E.
        let leaves = json!({"a": ["\u{ff5e}", "\u{1f600}"]});
        let sorted = "[\"a,\u{1f600}\",\"a,\u{ff5e}\"]";
        let wanted: String =
            digest(&SHA1_FOR_LEGACY_USE_ONLY, sorted.as_bytes())
                .as_ref()
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
        assert_eq!(etag(&leaves), wanted);
    }

    #[test]
    fn numbers_are_written_as_javascript_does() {
        let seen = [
            ("0", "0"),
            ("-0.0", "0"),
            ("15.0", "15"),
            ("-1.5", "-1.5"),
            ("100", "100"),
            ("0.001", "0.001"),
            ("1e-7", "1e-7"),
            ("0.000001", "0.000001"),
            ("1e21", "1e+21"),
            ("1.25e30", "1.25e+30"),
            ("1.25e20", "125000000000000000000"),
            ("9007199254740993", "9007199254740992"),
        ];
        for (json, text) in seen {
            let number: Number = serde_json::from_str(json).unwrap();
            assert_eq!(js_number(&number), text, "{json}");
        }
    }
}
