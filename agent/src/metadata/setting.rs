// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What one SAPI key may hold: its type, bounds and default, what it changes
//! and what a change costs. A key is read through its setting and in no other
//! way, so the table of keys and the JSON Schema made from settings are
//! always those of the program.
//!
//! Lenient towards what others write: numbers and booleans arrive as
//! strings, a list as one string with commas.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What people are told about a key.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// SAPI key.
    pub key: &'static str,
    /// What it changes: a sentence or two.
    pub text: &'static str,
    /// What counts when it is absent, null or empty.
    pub default: Default,
    /// What a change of it costs.
    pub change: Change,
}

impl About {
    /// A key with a default value, JSON.
    pub const fn value(
        key: &'static str,
        text: &'static str,
        default: &'static str,
        change: Change,
    ) -> Self {
        Self { key, text, default: Default::Value(default), change }
    }

    /// A key whose default depends on something else, in words.
    pub const fn derived(
        key: &'static str,
        text: &'static str,
        default: &'static str,
        change: Change,
    ) -> Self {
        Self { key, text, default: Default::Derived(default), change }
    }
}

/// What counts while a key is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// This value, as JSON.
    Value(&'static str),
    /// What the words say: it depends on something else.
    Derived(&'static str),
    /// Nothing does; the key must be set.
    Required,
}

/// What a change of a key costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The daemons do not notice.
    Nothing,
    /// A daemon reads its files again.
    Reload,
    /// A daemon is restarted.
    Restart,
}

impl Change {
    /// One word for tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Reload => "reload",
            Self::Restart => "restart",
        }
    }
}

/// A key with its type, as the table and the schema see it.
pub trait Setting: Sync {
    /// What people are told.
    fn about(&self) -> &About;
    /// What is accepted, in words that follow "wanted".
    fn wanted(&self) -> String;
    /// JSON Schema of what is accepted, spellings in strings included.
    fn schema(&self) -> Value;
    /// Whether `value` is accepted; the error is what is wanted.
    fn judge(&self, value: &Value) -> Result<(), String>;
}

/// A key whose values become a `T`.
pub trait Typed: Setting {
    /// What a value means.
    type Meaning;
    /// Reads a value that is neither null nor empty.
    ///
    /// Errors: what is wanted instead.
    fn accept(&self, value: &Value) -> Result<Self::Meaning, String>;
}

/// The half of `Setting` that is the same for every type.
macro_rules! setting {
    ($type:ident $(<$generic:ident: $bound:path>)?) => {
        impl$(<$generic: $bound>)? Setting for $type$(<$generic>)? {
            fn about(&self) -> &About {
                &self.about
            }
            fn wanted(&self) -> String {
                self.words()
            }
            fn schema(&self) -> Value {
                self.json_schema()
            }
            fn judge(&self, value: &Value) -> Result<(), String> {
                self.accept(value).map(drop)
            }
        }
    };
}

/// A time in whole seconds, or with one unit (`90s`, `2m`, `1h`, `7d`).
#[derive(Debug)]
pub struct Seconds {
    /// What people are told.
    pub about: About,
    /// Least, seconds.
    pub low: u32,
    /// Most, seconds.
    pub high: u32,
}

setting!(Seconds);

impl Seconds {
    fn words(&self) -> String {
        format!("a whole number of seconds from {} to {}", self.low, self.high)
    }

    fn json_schema(&self) -> Value {
        json!({"anyOf": [
            {"type": "integer", "minimum": self.low, "maximum": self.high},
            {"type": "string", "pattern": "^\\s*[0-9]+[smhd]?\\s*$"},
        ]})
    }
}

impl Typed for Seconds {
    type Meaning = u32;

    fn accept(&self, value: &Value) -> Result<u32, String> {
        let number = match value {
            Value::String(text) => parse_seconds(text.trim()),
            _ => None,
        };
        let number = number.or_else(|| whole(value));
        number
            .filter(|n| (self.low.into()..=self.high.into()).contains(n))
            .and_then(|n| u32::try_from(n).ok())
            .ok_or_else(|| self.words())
    }
}

/// A whole number.
#[derive(Debug)]
pub struct Whole {
    /// What people are told.
    pub about: About,
    /// Least.
    pub low: u64,
    /// Most.
    pub high: u64,
    /// What is counted; may be empty.
    pub unit: &'static str,
}

setting!(Whole);

impl Whole {
    fn words(&self) -> String {
        let of = if self.unit.is_empty() { "" } else { " of " };
        format!(
            "a whole number{of}{} from {} to {}",
            self.unit, self.low, self.high
        )
    }

    fn json_schema(&self) -> Value {
        json!({"anyOf": [
            {"type": "integer", "minimum": self.low, "maximum": self.high},
            {"type": "string", "pattern": "^\\s*[0-9]+\\s*$"},
        ]})
    }
}

impl Typed for Whole {
    type Meaning = u64;

    fn accept(&self, value: &Value) -> Result<u64, String> {
        whole(value)
            .filter(|n| (self.low..=self.high).contains(n))
            .ok_or_else(|| self.words())
    }
}

/// Yes or no; `"true"` and `"false"` count, for the headnode's own metadata
/// are strings throughout.
#[derive(Debug)]
pub struct Switch {
    /// What people are told.
    pub about: About,
}

setting!(Switch);

impl Switch {
    fn words(&self) -> String {
        "true or false".to_owned()
    }

    fn json_schema(&self) -> Value {
        json!({"enum": [true, false, "true", "false"]})
    }
}

impl Typed for Switch {
    type Meaning = bool;

    fn accept(&self, value: &Value) -> Result<bool, String> {
        match value {
            Value::Bool(value) => Ok(*value),
            Value::String(text) if text.trim() == "true" => Ok(true),
            Value::String(text) if text.trim() == "false" => Ok(false),
            _ => Err(self.words()),
        }
    }
}

/// A text; a number is taken as written.
#[derive(Debug)]
pub struct Text {
    /// What people are told.
    pub about: About,
    /// What is accepted, in words that follow "wanted".
    pub wanted: &'static str,
    /// Judges the text without surrounding blanks.
    pub accept: fn(&str) -> bool,
}

setting!(Text);

impl Text {
    fn words(&self) -> String {
        self.wanted.to_owned()
    }

    fn json_schema(&self) -> Value {
        json!({"type": ["string", "number"]})
    }
}

impl Typed for Text {
    type Meaning = String;

    fn accept(&self, value: &Value) -> Result<String, String> {
        let text = match value {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => return Err(self.words()),
        };
        if (self.accept)(&text) { Ok(text) } else { Err(self.words()) }
    }
}

/// One of a few words.
#[derive(Debug)]
pub struct Choice {
    /// What people are told.
    pub about: About,
    /// The words.
    pub words: &'static [&'static str],
}

setting!(Choice);

impl Choice {
    fn words(&self) -> String {
        format!("one of {}", self.words.join(", "))
    }

    fn json_schema(&self) -> Value {
        json!({"enum": self.words})
    }
}

impl Typed for Choice {
    type Meaning = &'static str;

    fn accept(&self, value: &Value) -> Result<&'static str, String> {
        let text = value.as_str().map(str::trim);
        self.words
            .iter()
            .find(|word| Some(**word) == text)
            .copied()
            .ok_or_else(|| self.words())
    }
}

/// A list of texts: an array, or one string with commas.
#[derive(Debug)]
pub struct Texts {
    /// What people are told.
    pub about: About,
    /// What is accepted, in words that follow "wanted".
    pub wanted: &'static str,
    /// Judges each text without surrounding blanks.
    pub accept: fn(&str) -> bool,
    /// Longest list.
    pub most: usize,
}

setting!(Texts);

impl Texts {
    fn words(&self) -> String {
        format!(
            "a list of at most {}, or one string with commas: {}",
            self.most, self.wanted
        )
    }

    fn json_schema(&self) -> Value {
        json!({"anyOf": [
            {"type": "array", "items": {"type": "string"},
             "maxItems": self.most},
            {"type": "string"},
        ]})
    }
}

impl Typed for Texts {
    type Meaning = Vec<String>;

    fn accept(&self, value: &Value) -> Result<Vec<String>, String> {
        let list = match value {
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
        list.filter(|list| {
            list.len() <= self.most
                && list.iter().all(|text| (self.accept)(text))
        })
        .ok_or_else(|| self.words())
    }
}

/// A value of several parts: an object or a list, or a string that holds its
/// JSON, as tools that write only strings leave it.
pub struct Tree<T> {
    /// What people are told.
    pub about: About,
    /// What is accepted, in words that follow "wanted".
    pub wanted: &'static str,
    /// JSON Schema of the value.
    pub schema: fn() -> Value,
    /// Judges what serde let pass; the error says what is wrong.
    pub check: fn(&T) -> Result<(), String>,
    /// What it becomes.
    pub of: PhantomData<fn() -> T>,
}

setting!(Tree<T: DeserializeOwned>);

impl<T> Tree<T> {
    fn words(&self) -> String {
        self.wanted.to_owned()
    }

    fn json_schema(&self) -> Value {
        json!({"anyOf": [(self.schema)(), {"type": "string"}]})
    }
}

impl<T: DeserializeOwned> Typed for Tree<T> {
    type Meaning = T;

    fn accept(&self, value: &Value) -> Result<T, String> {
        let parsed = match value {
            Value::String(text) => serde_json::from_str(text),
            other => T::deserialize(other),
        };
        let meaning = parsed.map_err(|e| format!("{}: {e}", self.wanted))?;
        match (self.check)(&meaning) {
            Ok(()) => Ok(meaning),
            Err(reason) => Err(format!("{}: {reason}", self.wanted)),
        }
    }
}

/// A whole number, written as a number or as a string of one.
fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| {
            number
                .as_f64()
                .filter(|f| f.fract() == 0.0 && (0.0..1e15).contains(f))
                .map(|f| f as u64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
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
