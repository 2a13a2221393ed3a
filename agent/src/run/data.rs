// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The id of the zone's data: random, made by the first agent that finds none,
//! and kept with the data. Who puts a zone on another image asks for it before
//! and after: another one says that the delegate dataset came back empty.
//!
//! So a file that makes no sense stays as it is and is told: an id made anew
//! would say that the data is gone.

use std::io::ErrorKind;
use std::path::Path;

use uuid::Uuid;

use crate::apply::commit::write_atomic;

/// In the state folder, which lies on the delegate dataset.
pub(super) const FILE: &str = "data-id";
/// Hex digits.
const DIGITS: usize = 32;

/// Reads the id; makes it where there is none and `ours` says that nobody else
/// writes in `state`.
///
/// Errors: a line for the operator.
pub(super) fn id(state: &Path, ours: bool) -> Result<String, String> {
    let path = state.join(FILE);
    let told = |what: String| format!("data id {}: {what}", path.display());
    match std::fs::read(&path) {
        Ok(bytes) => parse(&bytes).ok_or_else(|| {
            told(format!(
                "saw {} bytes that are none, wanted {DIGITS} hex digits; \
                 remove it, and restart config-agent",
                bytes.len()
            ))
        }),
        Err(error) if error.kind() == ErrorKind::NotFound && ours => {
            let id = Uuid::new_v4().simple().to_string();
            let written =
                write_atomic(&path, format!("{id}\n").as_bytes(), 0o600);
            written.map(|()| id).map_err(|error| told(error.to_string()))
        }
        Err(error) => Err(told(error.to_string())),
    }
}

fn parse(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end();
    let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    let good = text.len() == DIGITS && text.bytes().all(hex);
    good.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_outlives_everybody() {
        let state = tempfile::tempdir().unwrap();
        assert!(id(state.path(), false).is_err());
        let first = id(state.path(), true).unwrap();
        assert_eq!(first.len(), DIGITS);
        for ours in [true, false] {
            assert_eq!(id(state.path(), ours), Ok(first.clone()));
        }
        let other = tempfile::tempdir().unwrap();
        assert_ne!(id(other.path(), true), Ok(first));
    }

    #[test]
    fn what_is_none_is_told_and_stays() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join(FILE);
        for odd in ["", "\n", "abc\n", &"x".repeat(32), &"a".repeat(33)] {
            std::fs::write(&path, odd).unwrap();
            let told = id(state.path(), true).unwrap_err();
            assert!(told.contains("wanted 32 hex digits"), "{told}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), odd);
        }
        let nowhere = state.path().join("file");
        std::fs::write(&nowhere, "").unwrap();
        let told = id(&nowhere, true).unwrap_err();
        assert!(told.contains("Not a directory"), "{told}");
    }
}
