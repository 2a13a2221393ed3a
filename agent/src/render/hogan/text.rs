// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Values as JavaScript prints them: `String(x)`, `array.join()`,
//! `JSON.stringify(x)`, and the five characters that are escaped.

use serde_json::{Map, Number, Value};

use super::render::array_index;
use super::{HoganError, MAX_DEPTH, MAX_OUTPUT_BYTES};

/// Adds text to an output, escaped or not, within [`MAX_OUTPUT_BYTES`].
pub(super) struct Printer<'o> {
    pub(super) out: &'o mut String,
    pub(super) escaped: bool,
}

impl<'o> Printer<'o> {
    pub(super) fn raw(out: &'o mut String) -> Self {
        Self { out, escaped: false }
    }

    /// Prints a variable's value; `name` is for errors only.
    pub(super) fn value(
        &mut self,
        name: &str,
        value: &Value,
    ) -> Result<(), HoganError> {
        let printed = match value {
            Value::Null => {
                let name = name.to_owned();
                return Err(HoganError::NullValue { name });
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                self.scalar(value)
            }
            Value::Array(elements) => self.join(elements, 0),
            Value::Object(_) => self.json(value, 0),
        };
        printed.map_err(|stop| match stop {
            Stop::TooLarge => HoganError::OutputTooLarge,
            Stop::TooDeep => HoganError::ValueTooDeep { name: name.to_owned() },
        })
    }

    pub(super) fn push(&mut self, text: &str) -> Result<(), HoganError> {
        self.add(text).map_err(|_| HoganError::OutputTooLarge)
    }

    /// Elements joined by commas: nulls as nothing, inner arrays joined
    /// likewise, objects as JavaScript names them.
    fn join(&mut self, elements: &[Value], depth: usize) -> Result<(), Stop> {
        if depth == MAX_DEPTH {
            return Err(Stop::TooDeep);
        }
        for (index, element) in elements.iter().enumerate() {
            if index > 0 {
                self.add(",")?;
            }
            match element {
                Value::Null => {}
                Value::Array(inner) => self.join(inner, depth + 1)?,
                Value::Object(_) => self.add("[object Object]")?,
                scalar => self.scalar(scalar)?,
            }
        }
        Ok(())
    }

    fn json(&mut self, value: &Value, depth: usize) -> Result<(), Stop> {
        if depth == MAX_DEPTH {
            return Err(Stop::TooDeep);
        }
        match value {
            Value::Null => self.add("null"),
            Value::String(text) => self.json_string(text),
            Value::Array(elements) => {
                self.add("[")?;
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        self.add(",")?;
                    }
                    self.json(element, depth + 1)?;
                }
                self.add("]")
            }
            Value::Object(map) => {
                self.add("{")?;
                for (index, (key, member)) in in_js_order(map).enumerate() {
                    if index > 0 {
                        self.add(",")?;
                    }
                    self.json_string(key)?;
                    self.add(":")?;
                    self.json(member, depth + 1)?;
                }
                self.add("}")
            }
            scalar => self.scalar(scalar),
        }
    }

    fn json_string(&mut self, text: &str) -> Result<(), Stop> {
        self.add("\"")?;
        let mut done = 0;
        for (at, byte) in text.bytes().enumerate() {
            let control;
            let replacement = match byte {
                b'"' => "\\\"",
                b'\\' => "\\\\",
                b'\n' => "\\n",
                b'\r' => "\\r",
                b'\t' => "\\t",
                0x08 => "\\b",
                0x0c => "\\f",
                0..0x20 => {
                    control = format!("\\u{byte:04x}");
                    &control
                }
                _ => continue,
            };
            self.add(&text[done..at])?;
            self.add(replacement)?;
            done = at + 1;
        }
        self.add(&text[done..])?;
        self.add("\"")
    }

    fn scalar(&mut self, value: &Value) -> Result<(), Stop> {
        match value {
            Value::Bool(true) => self.add("true"),
            Value::Bool(false) => self.add("false"),
            Value::Number(number) => self.add(&js_number(number)),
            Value::String(text) => self.add(text),
            Value::Null | Value::Array(_) | Value::Object(_) => Ok(()),
        }
    }

    /// Escapes `& < > " '` and no more: `/`, `=` and backtick occur in keys.
    fn add(&mut self, text: &str) -> Result<(), Stop> {
        if !self.escaped {
            return self.write(text);
        }
        let mut done = 0;
        for (at, byte) in text.bytes().enumerate() {
            let entity = match byte {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                b'\'' => "&#39;",
                _ => continue,
            };
            self.write(&text[done..at])?;
            self.write(entity)?;
            done = at + 1;
        }
        self.write(&text[done..])
    }

    fn write(&mut self, text: &str) -> Result<(), Stop> {
        if text.len() > MAX_OUTPUT_BYTES - self.out.len() {
            return Err(Stop::TooLarge);
        }
        self.out.push_str(text);
        Ok(())
    }
}

enum Stop {
    TooLarge,
    TooDeep,
}

/// Members as JavaScript lists them: keys that read as array indexes first,
/// ascending, then the others as inserted.
fn in_js_order(map: &Map<String, Value>) -> impl Iterator<Item = Member<'_>> {
    let mut indexed: Vec<(usize, Member<'_>)> = map
        .iter()
        .filter_map(|member| Some((array_index(member.0)?, member)))
        .collect();
    indexed.sort_unstable_by_key(|(index, _)| *index);
    let others = map.iter().filter(|member| array_index(member.0).is_none());
    indexed.into_iter().map(|(_, member)| member).chain(others)
}

type Member<'m> = (&'m String, &'m Value);

/// Prints a number as JavaScript's `String` does. Every number there is a
/// double, so long integers lose digits.
fn js_number(number: &Number) -> String {
    const EXACT: u64 = 1 << 53;
    match number.as_i64() {
        Some(integer) if integer.unsigned_abs() <= EXACT => integer.to_string(),
        _ => js_double(number.as_f64().unwrap_or(f64::NAN)),
    }
}

/// ECMA-262 "Number::toString": the shortest digits that read back as the
/// same double, with an exponent from 1e21 on and below 1e-6.
fn js_double(double: f64) -> String {
    if !double.is_finite() {
        // JSON has no such number; serde_json refuses to hold one.
        return double.to_string();
    }
    if double == 0.0 {
        return "0".to_owned();
    }
    let scientific = shortest(double.abs());
    let (mantissa, exponent) =
        scientific.split_once('e').expect("LowerExp prints an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    let digits = mantissa.replace('.', "");
    let count = i32::try_from(digits.len()).expect("at most 17 digits");
    // The decimal point stands after this many digits.
    let point = exponent + 1;
    let sign = if double < 0.0 { "-" } else { "" };
    let zeros = |count: i32| "0".repeat(count.unsigned_abs() as usize);
    if count <= point && point <= 21 {
        format!("{sign}{digits}{}", zeros(point - count))
    } else if 0 < point && point <= 21 {
        let (whole, fraction) = digits.split_at(point.unsigned_abs() as usize);
        format!("{sign}{whole}.{fraction}")
    } else if -6 < point && point <= 0 {
        format!("{sign}0.{}{digits}", zeros(point))
    } else {
        format!("{sign}{mantissa}e{exponent:+}")
    }
}

/// The fewest digits that read back as `double`, as `d.ddde±x`. Of two such
/// the nearer counts, and JavaScript takes the even one when both are as
/// near; Rust's shortest form takes the other then, its rounded form does not.
fn shortest(double: f64) -> String {
    let short = format!("{double:e}");
    let digits = short.bytes().take_while(|b| *b != b'e');
    let fraction = digits.filter(u8::is_ascii_digit).count() - 1;
    let rounded = format!("{double:.fraction$e}");
    if rounded.parse() == Ok(double) { rounded } else { short }
}
