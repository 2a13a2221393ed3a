// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What is wrong with something that was given: all of it at once, each with
//! file, key, what stands there and what would be accepted.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub file: PathBuf,
    /// The key, dotted, or the place in the file.
    pub key: String,
    /// What stands there.
    pub seen: String,
    /// What would be accepted, and how to get there.
    pub wanted: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, key, seen, wanted } = self;
        write!(f, "{}: {key}: {seen}; wanted {wanted}", file.display())
    }
}

/// All that is wrong, one a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// One more.
    pub fn add(
        &mut self,
        file: &Path,
        key: impl fmt::Display,
        seen: impl fmt::Display,
        wanted: impl fmt::Display,
    ) {
        self.0.push(Problem {
            file: file.to_owned(),
            key: key.to_string(),
            seen: seen.to_string(),
            wanted: wanted.to_string(),
        });
    }

    /// `value`, if nothing is wrong.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, problem) in self.0.iter().enumerate() {
            let gap = if nth == 0 { "" } else { "\n" };
            write!(f, "{gap}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
