// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The metrics that exist: what rules and dashboards may ask for.
//!
//! `fixtures/metrics/*.txt` hold a name a line. A comment says where the names
//! below it come from; a blank line ends its say. Names that recording rules
//! make are not here: they stand in the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A metric's file, without `.txt`, and the comment above it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// For instance `cmon` or `prometheus-3`.
    pub file: String,
    /// Where the name comes from.
    pub text: String,
}

/// Every metric name.
///
/// Panics where a list breaks its own form: the lists are part of the tests.
pub fn known() -> BTreeSet<String> {
    sources().into_keys().collect()
}

/// Every metric name with its sources: some are exported by two programs.
///
/// Panics where a list breaks its own form: the lists are part of the tests.
pub fn sources() -> BTreeMap<String, Vec<Source>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/metrics");
    let mut found = BTreeMap::<String, Vec<Source>>::new();
    let entries = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("the folder can be listed").path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let file = path
            .file_stem()
            .expect("a file has a name")
            .to_string_lossy()
            .into_owned();
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for (name, text) in parse(&file, &text) {
            let source = Source { file: file.clone(), text };
            found.entry(name).or_default().push(source);
        }
    }
    found
}

/// Names with the comment above them.
fn parse(file: &str, text: &str) -> Vec<(String, String)> {
    let mut source = String::new();
    let mut found = Vec::new();
    let mut heading = false;
    for (at, line) in text.lines().enumerate() {
        if let Some(comment) = line.strip_prefix('#') {
            if !heading {
                source.clear();
            } else {
                source.push(' ');
            }
            heading = true;
            source.push_str(comment.trim());
            continue;
        }
        heading = false;
        if line.is_empty() {
            source.clear();
            continue;
        }
        let at = at + 1;
        assert!(is_name(line), "{file}.txt:{at}: {line:?} is not a name");
        assert!(!source.is_empty(), "{file}.txt:{at}: {line} has no source");
        found.push((line.to_owned(), source.clone()));
    }
    found
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_with_their_sources() {
        let sources = sources();
        assert!(known().len() > 900, "{}", known().len());
        let one = |name: &str| sources[name][0].clone();
        assert_eq!(one("mem_agg_usage").file, "cmon");
        assert!(one("mem_agg_usage").text.contains("4.3"));
        assert_eq!(one("up").file, "prometheus");
        assert_eq!(one("thanos_compact_halted").file, "thanos");
        // Services of Node's and Thanos both have it.
        assert_eq!(sources["http_request_duration_seconds_bucket"].len(), 2);
    }

    #[test]
    fn comments_hold_for_the_names_below_them() {
        let text = "# one\n# two\na\nb\n\n# three\nc\n";
        let pairs = parse("t", text);
        let pairs: Vec<_> =
            pairs.iter().map(|(n, s)| (n.as_str(), s.as_str())).collect();
        let wanted = [("a", "one two"), ("b", "one two"), ("c", "three")];
        assert_eq!(pairs, wanted);
    }

    #[test]
    #[should_panic(expected = "t.txt:3: b has no source")]
    fn a_name_without_a_source_is_refused() {
        parse("t", "# one\n\nb\n");
    }

    #[test]
    #[should_panic(expected = "is not a name")]
    fn a_line_that_is_no_name_is_refused() {
        parse("t", "# one\nup{job=\"x\"}\n");
    }
}
