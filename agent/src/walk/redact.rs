// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Keeps secrets out of what is said. Commands and checkers print what they
//! like, also the files they were given; their words reach the log and the
//! status page, and every value that metadata calls secret is struck out.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::WalkStatus;
use crate::metadata::wire::is_secret_key;

/// A shorter value is no secret worth the name, and striking it out would
/// leave holes in innocent words; bytes.
const SHORTEST: usize = 6;

/// What must not be said. No `Debug`.
pub(super) struct Redactor {
    /// Longest first, so that no part of one survives another.
    secrets: Vec<String>,
}

impl Redactor {
    /// The secrets of `metadata`: texts under secret keys, at any depth, and
    /// each line of those of several lines.
    pub(super) fn new(metadata: &Map<String, Value>) -> Self {
        let mut found = BTreeSet::new();
        for (key, value) in metadata {
            gather(value, is_secret_key(key), &mut found);
        }
        let mut secrets: Vec<String> = found.into_iter().collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { secrets }
    }

    /// Strikes secrets out of everything a pass says.
    pub(super) fn redact(&self, status: &mut WalkStatus) {
        let problems = status
            .problems
            .iter_mut()
            .flat_map(|problem| [&mut problem.seen, &mut problem.wanted]);
        problems
            .chain(&mut status.warnings)
            .chain(&mut status.certificate_error)
            .chain(status.report.texts_mut())
            .for_each(|text| self.strike_out(text));
    }

    /// Whether a file's content holds a secret, so that others must not read
    /// it.
    pub(super) fn is_in(&self, bytes: &[u8]) -> bool {
        let text = String::from_utf8_lossy(bytes);
        text.contains("PRIVATE KEY-----")
            || self.secrets.iter().any(|secret| text.contains(secret.as_str()))
    }

    fn strike_out(&self, text: &mut String) {
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                *text = text.replace(secret.as_str(), "***");
            }
        }
    }
}

fn gather(value: &Value, secret: bool, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if secret => {
            for line in text.lines().map(str::trim) {
                let frame = line.starts_with("-----");
                if line.len() >= SHORTEST && !frame {
                    found.insert(line.to_owned());
                }
            }
        }
        Value::Array(items) => {
            items.iter().for_each(|item| gather(item, secret, found));
        }
        Value::Object(map) => {
            for (key, value) in map {
                gather(value, secret || is_secret_key(key), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secret_values_are_struck_out_wherever_they_turn_up() {
        let metadata = json!({
            "ufds_ldap_root_pw": "hunter22",
            "store": {"secret_key": ["s3cr3t-a", "s3cr3t-a-long"]},
            "SDC_PRIVATE_KEY": "-----BEGIN X-----\nMIIEabc=\n-----END X-----",
            "my_token": "yes",
            "datacenter_name": "east-one",
        });
        let redactor = Redactor::new(metadata.as_object().unwrap());
        let mut text = "hunter22 s3cr3t-a-long yes MIIEabc= east-one \
                        -----BEGIN X-----"
            .to_owned();
        redactor.strike_out(&mut text);
        assert_eq!(text, "*** *** yes *** east-one -----BEGIN X-----");
        assert!(redactor.is_in(b"pw = hunter22"));
        assert!(redactor.is_in(b"-----BEGIN RSA PRIVATE KEY-----"));
        assert!(!redactor.is_in(b"in east-one: yes"));
    }
}
