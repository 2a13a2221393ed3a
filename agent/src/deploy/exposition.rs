// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Prometheus' text format, version 0.0.4, as far as it is needed to read what
//! our own agents and Thanos say of themselves: names, labels, values. Types,
//! help and timestamps are passed over.
//!
//! What is read comes from other machines, and may be anything: a line that is
//! none is an error that says where, never a sample less.

use std::collections::BTreeMap;

/// Samples that are read; a Prometheus has some thousands.
const MOST: usize = 100_000;

/// Why a text is none of samples.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: saw {seen:?}, wanted {wanted}")]
pub struct NotSamples {
    /// Line, from 1.
    pub line: usize,
    /// How it begins.
    pub seen: String,
    /// What should be there.
    pub wanted: &'static str,
}

/// One number.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Labels and their values.
    pub labels: BTreeMap<String, String>,
    /// The number; anything that is one for Prometheus.
    pub value: f64,
}

/// A text, read: samples by metric name, in the order of the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(BTreeMap<String, Vec<Sample>>);

impl Samples {
    /// Reads a text.
    ///
    /// Errors: the first line that is no sample, comment or empty.
    pub fn parse(text: &str) -> Result<Self, NotSamples> {
        let mut all: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
        let mut count = 0;
        for (number, line) in text.split('\n').enumerate() {
            let line = line.strip_suffix('\r').unwrap_or(line);
            let line = line.trim_matches([' ', '\t']);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            count += 1;
            let read = match count {
                0..=MOST => read(line),
                _ => Err("no more samples"),
            };
            let (name, sample) = read.map_err(|wanted| NotSamples {
                line: number + 1,
                seen: line.chars().take(60).collect(),
                wanted,
            })?;
            all.entry(name.to_owned()).or_default().push(sample);
        }
        Ok(Self(all))
    }

    /// All samples of a metric.
    pub fn all(&self, name: &str) -> &[Sample] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The value of a metric that has one sample; of several, the first.
    pub fn one(&self, name: &str) -> Option<f64> {
        self.all(name).first().map(|sample| sample.value)
    }

    /// A metric's samples by the value of one label; those without it are
    /// left out.
    pub fn by<'a>(
        &'a self,
        name: &str,
        label: &'a str,
    ) -> impl Iterator<Item = (&'a str, f64)> {
        self.all(name).iter().filter_map(move |sample| {
            Some((sample.labels.get(label)?.as_str(), sample.value))
        })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One line; or what should have been there.
fn read(line: &str) -> Result<(&str, Sample), &'static str> {
    let (name, rest) = word(line, true).ok_or("a metric's name")?;
    let mut labels = BTreeMap::new();
    let rest = match rest.strip_prefix('{') {
        Some(rest) => read_labels(rest, &mut labels)?,
        None if rest.starts_with([' ', '\t']) => rest,
        None => return Err("a metric's name"),
    };
    let mut words = rest.split([' ', '\t']).filter(|word| !word.is_empty());
    let value = words.next().and_then(number).ok_or("a number")?;
    if words.next().is_some_and(|time| time.parse::<i64>().is_err()) {
        return Err("milliseconds");
    }
    match words.next() {
        None => Ok((name, Sample { labels, value })),
        Some(_) => Err("the end of the line"),
    }
}

/// The labels, from behind the opening brace; answers what follows them.
fn read_labels<'a>(
    mut rest: &'a str,
    labels: &mut BTreeMap<String, String>,
) -> Result<&'a str, &'static str> {
    loop {
        rest = rest.trim_start_matches(' ');
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok(rest);
        }
        let (name, after) = word(rest, false).ok_or("a label's name")?;
        let after = after.trim_start_matches(' ');
        let after = after.strip_prefix('=').ok_or("= and a label's value")?;
        let after = after.trim_start_matches(' ');
        let quoted = after.strip_prefix('"').ok_or("a quoted value")?;
        let (value, after) = unquote(quoted).ok_or("a quoted value")?;
        if labels.insert(name.to_owned(), value).is_some() {
            return Err("each label once");
        }
        let after = after.trim_start_matches(' ');
        rest = match after.strip_prefix(',') {
            Some(more) => more,
            None if after.starts_with('}') => after,
            None => return Err(", or }"),
        };
    }
}

/// A name and what follows it; metrics' names may have colons.
fn word(text: &str, metric: bool) -> Option<(&str, &str)> {
    let fits =
        |c: char| c.is_ascii_alphanumeric() || c == '_' || (metric && c == ':');
    let end = text.find(|c| !fits(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let first = name.chars().next()?;
    (!first.is_ascii_digit()).then_some((name, rest))
}

/// A value up to its closing quote, and what follows that.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => match chars.next()?.1 {
                'n' => value.push('\n'),
                c @ ('"' | '\\') => value.push(c),
                _ => return None,
            },
            (_, c) => value.push(c),
        }
    }
}

/// A number as Go writes it.
fn number(word: &str) -> Option<f64> {
    match word {
        "NaN" => Some(f64::NAN),
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        // Rust reads words that Go does not write.
        _ if word.contains(['n', 'N', 'i', 'I']) => None,
        _ => word.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_daemons_write_is_read() {
        let text = "# HELP m Something.\n# TYPE m gauge\n\
                    m{a=\"x\\\"\\\\\\ny\",b=\"ü, }\"} 3\r\n\
                    m{} -1.5e-3 1700000000000\n\
                    \tn:o_5m  +Inf\n\nlast{z=\"1\",} NaN";
        let samples = Samples::parse(text).unwrap();
        let all = samples.all("m");
        assert_eq!(all[0].labels["a"], "x\"\\\ny");
        assert_eq!(all[0].labels["b"], "ü, }");
        assert_eq!((all[0].value, all[1].value), (3.0, -1.5e-3));
        assert_eq!(samples.one("n:o_5m"), Some(f64::INFINITY));
        assert!(samples.one("last").unwrap().is_nan());
        assert_eq!(samples.by("last", "z").count(), 1);
        assert_eq!(samples.by("m", "a").next(), Some(("x\"\\\ny", 3.0)));
        assert_eq!(samples.one("other"), None);
    }

    #[test]
    fn what_is_no_line_is_said_with_its_place() {
        for (line, wanted) in [
            ("<html>", "a metric's name"),
            ("1m 3", "a metric's name"),
            ("m-x 3", "a metric's name"),
            ("m", "a metric's name"),
            ("m{a=\"1\"}", "a number"),
            ("m three", "a number"),
            ("m infinity", "a number"),
            ("m 1 now", "milliseconds"),
            ("m 1 2 3", "the end of the line"),
            ("m{1=\"\"} 3", "a label's name"),
            ("m{a:b=\"\"} 3", "= and a label's value"),
            ("m{a=x} 3", "a quoted value"),
            ("m{a=\"x} 3", "a quoted value"),
            ("m{a=\"\\x\"} 3", "a quoted value"),
            ("m{a=\"\" b=\"\"} 3", ", or }"),
            ("m{a=\"\",a=\"\"} 3", "each label once"),
        ] {
            let error = Samples::parse(&format!("m 1\n{line}\n")).unwrap_err();
            assert_eq!((error.line, error.wanted), (2, wanted), "{line}");
            assert_eq!(error.seen, line);
        }
        let many = "m 1\n".repeat(MOST + 1);
        assert_eq!(Samples::parse(&many).unwrap_err().line, MOST + 1);
    }

    fn escaped(text: &str) -> String {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        text.replace('\n', "\\n")
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read(
            name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,9}",
            labels in proptest::collection::btree_map(
                "[a-zA-Z_][a-zA-Z0-9_]{0,9}", any::<String>(), 0..4),
            value in any::<f64>().prop_filter("one", |v| v.is_finite()),
        ) {
            let labels_text: Vec<String> = labels
                .iter()
                .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
                .collect();
            let text =
                format!("{name}{{{}}} {value}\n", labels_text.join(","));
            let read = Samples::parse(&text).unwrap();
            prop_assert_eq!(read.all(&name), &[Sample { labels, value }]);
        }

        #[test]
        fn nothing_makes_it_fall_over(text in any::<String>()) {
            let _ = Samples::parse(&text);
            let _ = Samples::parse(&format!("m{{{text}"));
            let _ = Samples::parse(&format!("m{{a=\"{text}"));
        }
    }
}
