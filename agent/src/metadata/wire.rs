// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Reads settings out of SAPI metadata. Every problem is kept until all are
//! known.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use super::setting::{Default, Setting, Typed};

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
    asked: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    /// Reads from `map`.
    pub fn new(map: &'a Map<String, Value>) -> Self {
        Self { map, problems: Vec::new(), asked: Vec::new() }
    }

    /// The problems found so far.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// The keys asked for so far, in that order.
    pub fn asked(&self) -> &[&'static str] {
        &self.asked
    }

    /// Whether the key was already found wanting.
    pub fn rejected(&self, setting: &dyn Setting) -> bool {
        let key = setting.about().key;
        self.problems.iter().any(|problem| problem.key == key)
    }

    /// A value, unless absent, null or an empty string: operators blank a
    /// key to unset it.
    fn value(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| match value {
            Value::Null => false,
            Value::String(text) => !text.trim().is_empty(),
            _ => true,
        })
    }

    /// Whether the key says anything, good or bad.
    pub fn is_set(&self, setting: &dyn Setting) -> bool {
        self.value(setting.about().key).is_some()
    }

    /// What the key says; `None` when it is not set or will not do.
    pub fn get<S: Typed>(&mut self, setting: &S) -> Option<S::Meaning> {
        let key = setting.about().key;
        self.asked.push(key);
        match setting.accept(self.value(key)?) {
            Ok(meaning) => Some(meaning),
            Err(wanted) => {
                self.reject(setting, wanted);
                None
            }
        }
    }

    /// What the key says, or its default, which must be a value.
    pub fn or_default<S: Typed>(&mut self, setting: &S) -> S::Meaning {
        self.get(setting).unwrap_or_else(|| {
            let Default::Value(text) = setting.about().default else {
                unreachable!("only settings with a default value come here")
            };
            serde_json::from_str(text)
                .ok()
                .and_then(|value| setting.accept(&value).ok())
                .expect("a test has each default accepted")
        })
    }

    /// Notes that the key will not do.
    pub fn reject(&mut self, setting: &dyn Setting, wanted: impl Into<String>) {
        let key = setting.about().key;
        let seen = match self.value(key) {
            None => "nothing".to_owned(),
            Some(_) if is_secret_key(key) => "***".to_owned(),
            // One that went under the wrong key.
            Some(Value::String(text)) if text.contains("PRIVATE KEY") => {
                "***".to_owned()
            }
            Some(value) => {
                let text = without_secrets(value).to_string();
                match text.char_indices().nth(80) {
                    Some((at, _)) => format!("{}...", &text[..at]),
                    None => text,
                }
            }
        };
        let wanted = wanted.into();
        let problem = Problem { key: key.to_owned(), seen, wanted };
        // A key may be read in several places.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// The same with what stands under secret keys struck out, also where the
/// whole is JSON in a string.
fn without_secrets(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| {
                let value = if is_secret_key(key) {
                    Value::String("***".to_owned())
                } else {
                    without_secrets(value)
                };
                (key.clone(), value)
            })
            .collect(),
        Value::Array(items) => items.iter().map(without_secrets).collect(),
        Value::String(text) => match serde_json::from_str(text) {
            Ok(inner @ (Value::Object(_) | Value::Array(_))) => {
                without_secrets(&inner)
            }
            _ => value.clone(),
        },
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::setting::{About, Change, Seconds, Text, Whole};
    use super::*;

    const fn about(key: &'static str) -> About {
        About {
            key,
            text: "",
            default: Default::Value("30"),
            change: Change::Reload,
        }
    }

    const fn seconds(key: &'static str) -> Seconds {
        Seconds { about: about(key), low: 1, high: 600 }
    }

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn numbers_arrive_as_strings_too() {
        let map = map(json!({"a": 10, "b": "10", "c": "2m", "d": 10.0,
                             "e": "", "f": null}));
        let mut reader = Reader::new(&map);
        for (key, want) in
            [("a", 10), ("b", 10), ("c", 120), ("d", 10), ("e", 30), ("f", 30)]
        {
            assert_eq!(reader.or_default(&seconds(key)), want, "{key}");
        }
        assert_eq!(reader.asked(), ["a", "b", "c", "d", "e", "f"]);
        assert!(reader.into_problems().is_empty());
    }

    #[test]
    fn problems_name_key_seen_and_wanted() {
        let map = map(json!({"a": "ten", "b": -1, "c": {"x": 1}, "d": 9999}));
        let mut reader = Reader::new(&map);
        for key in ["a", "b", "c", "d"] {
            assert_eq!(reader.get(&seconds(key)), None);
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
        let map = map(json!({
            "ufds_ldap_root_pw": ["s3cret"],
            "store": {"config": {"secret_key": "s3cret", "bucket": "b"}},
            "text": "{\"password\": \"s3cret\", \"user\": \"u\"}",
        }));
        let mut reader = Reader::new(&map);
        for key in ["ufds_ldap_root_pw", "store", "text"] {
            assert_eq!(reader.get(&seconds(key)), None);
        }
        let problems = reader.into_problems();
        assert_eq!(problems[0].seen, "***");
        for problem in &problems {
            assert!(!problem.seen.contains("s3cret"), "{problem}");
        }
        assert!(problems[1].seen.contains("bucket"), "{}", problems[1]);
        assert!(problems[2].seen.contains("user"), "{}", problems[2]);
    }

    #[test]
    fn multibyte_values_are_cut_between_characters() {
        let map = map(json!({"a": "é".repeat(200)}));
        let mut reader = Reader::new(&map);
        let number = Whole { about: about("a"), low: 0, high: 1, unit: "" };
        assert_eq!(reader.get(&number), None);
        assert!(reader.into_problems()[0].seen.ends_with("..."));
    }

    #[test]
    fn a_text_is_taken_without_its_blanks() {
        let map = map(json!({"a": " x ", "b": 7}));
        let mut reader = Reader::new(&map);
        for (key, want) in [("a", "x"), ("b", "7")] {
            let text = Text {
                about: about(key),
                wanted: "x or 7",
                accept: |text| ["x", "7"].contains(&text),
            };
            assert_eq!(reader.get(&text).as_deref(), Some(want));
        }
    }
}
