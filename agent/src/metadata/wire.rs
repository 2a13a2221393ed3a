// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Reads single keys out of SAPI metadata: lenient towards what others write
//! (numbers and booleans arrive as strings), strict about meaning, and every
//! problem is kept until all are known.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

/// One fault of the metadata, in the words an operator can act on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// SAPI key.
    pub key: String,
    /// Value seen, cut short; `***` for keys that may hold secrets.
    pub seen: String,
    /// What would be accepted.
    pub wanted: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: saw {}, wanted {}", self.key, self.seen, self.wanted)
    }
}

/// Whether a key's value must never be shown.
pub fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.ends_with("_pw")
        || ["password", "secret", "private", "token", "shadow", "credential"]
            .iter()
            .any(|word| key.contains(word))
}

/// A view on metadata that collects problems.
pub struct Reader<'a> {
    map: &'a Map<String, Value>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// Reads from `map`.
    pub fn new(map: &'a Map<String, Value>) -> Self {
        Self { map, problems: Vec::new() }
    }

    /// The problems found so far.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Whether `key` was already found wanting.
    pub fn rejected(&self, key: &str) -> bool {
        self.problems.iter().any(|problem| problem.key == key)
    }

    /// A value, unless absent, null or an empty string: operators blank a
    /// key to unset it.
    pub fn value(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| match value {
            Value::Null => false,
            Value::String(text) => !text.trim().is_empty(),
            _ => true,
        })
    }

    /// Notes that `key` will not do.
    pub fn reject(&mut self, key: &str, wanted: impl Into<String>) {
        let seen = match self.value(key) {
            None => "nothing".to_owned(),
            Some(_) if is_secret_key(key) => "***".to_owned(),
            Some(value) => {
                let text = value.to_string();
                match text.char_indices().nth(80) {
                    Some((at, _)) => format!("{}...", &text[..at]),
                    None => text,
                }
            }
        };
        self.problems.push(Problem {
            key: key.to_owned(),
            seen,
            wanted: wanted.into(),
        });
    }

    /// A text; numbers are taken as written.
    pub fn text(&mut self, key: &str) -> Option<String> {
        match self.value(key)? {
            Value::String(text) => Some(text.trim().to_owned()),
            Value::Number(number) => Some(number.to_string()),
            _ => {
                self.reject(key, "a string");
                None
            }
        }
    }

    /// A text that `accept` judges; `wanted` says what it accepts.
    pub fn text_that(
        &mut self,
        key: &str,
        wanted: &str,
        accept: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let text = self.text(key)?;
        if accept(&text) {
            return Some(text);
        }
        self.reject(key, wanted);
        None
    }

    /// A whole number in `low..=high`, as a number or a string of one.
    pub fn whole(
        &mut self,
        key: &str,
        low: u64,
        high: u64,
        unit: &str,
    ) -> Option<u64> {
        let value = self.value(key)?;
        let number = match value {
            Value::Number(number) => number.as_u64().or_else(|| {
                number
                    .as_f64()
                    .filter(|f| f.fract() == 0.0 && (0.0..1e15).contains(f))
                    .map(|f| f as u64)
            }),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if (low..=high).contains(&number) => Some(number),
            _ => {
                let unit = if unit.is_empty() {
                    String::new()
                } else {
                    format!(" of {unit}")
                };
                self.reject(
                    key,
                    format!("a whole number{unit} from {low} to {high}"),
                );
                None
            }
        }
    }

    /// Seconds as `whole`, or a duration with one unit (`90s`, `2m`, `1h`).
    pub fn seconds(&mut self, key: &str, low: u32, high: u32) -> Option<u32> {
        if let Some(Value::String(text)) = self.value(key)
            && let Some(seconds) = parse_seconds(text.trim())
        {
            if (u64::from(low)..=u64::from(high)).contains(&seconds) {
                return u32::try_from(seconds).ok();
            }
            self.reject(key, format!("{low} to {high} seconds"));
            return None;
        }
        self.whole(key, low.into(), high.into(), "seconds")
            .and_then(|n| u32::try_from(n).ok())
    }

    /// A boolean; `"true"` and `"false"` count, for the headnode's own
    /// metadata are strings throughout.
    pub fn boolean(&mut self, key: &str) -> Option<bool> {
        match self.value(key)? {
            Value::Bool(value) => Some(*value),
            Value::String(text) if text.trim() == "true" => Some(true),
            Value::String(text) if text.trim() == "false" => Some(false),
            _ => {
                self.reject(key, "true or false");
                None
            }
        }
    }

    /// A list of texts: an array, or one string with commas.
    pub fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let list = match self.value(key)? {
            Value::Array(items) => items
                .iter()
                .map(|item| item.as_str().map(|s| s.trim().to_owned()))
                .collect::<Option<Vec<_>>>(),
            Value::String(text) => Some(
                text.split(',')
                    .map(|s| s.trim().to_owned())
                    .filter(|s| !s.is_empty())
                    .collect(),
            ),
            _ => None,
        };
        if list.is_none() {
            self.reject(key, "a list of strings, or one with commas");
        }
        list
    }
}

/// Seconds of `<number><s|m|h|d>`; anything else is `None`.
fn parse_seconds(text: &str) -> Option<u64> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    text[..text.len() - 1].parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn numbers_arrive_as_strings_too() {
        let map = map(json!({"a": 10, "b": "10", "c": "2m", "d": 10.0}));
        let mut reader = Reader::new(&map);
        for (key, want) in [("a", 10), ("b", 10), ("c", 120), ("d", 10)] {
            assert_eq!(reader.seconds(key, 1, 600), Some(want), "{key}");
        }
        assert!(reader.into_problems().is_empty());
    }

    #[test]
    fn problems_name_key_seen_and_wanted() {
        let map = map(json!({"a": "ten", "b": -1, "c": {"x": 1}, "d": 9999}));
        let mut reader = Reader::new(&map);
        for key in ["a", "b", "c", "d"] {
            assert_eq!(reader.seconds(key, 1, 600), None);
        }
        let texts: Vec<_> =
            reader.into_problems().iter().map(Problem::to_string).collect();
        assert_eq!(
            texts[0],
            "a: saw \"ten\", wanted a whole number of seconds from 1 to 600"
        );
        assert_eq!(texts.len(), 4);
    }

    #[test]
    fn secrets_are_not_shown() {
        let map = map(json!({"ufds_ldap_root_pw": ["s3cret"]}));
        let mut reader = Reader::new(&map);
        assert_eq!(reader.text("ufds_ldap_root_pw"), None);
        assert_eq!(reader.into_problems()[0].seen, "***");
    }

    #[test]
    fn multibyte_values_are_cut_between_characters() {
        let map = map(json!({"a": "é".repeat(200)}));
        let mut reader = Reader::new(&map);
        assert_eq!(reader.whole("a", 0, 1, ""), None);
        assert!(reader.into_problems()[0].seen.ends_with("..."));
    }
}
