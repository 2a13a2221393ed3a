// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Sessions that somebody ended by signing out. Their cookies would be good
//! for a while yet, so they are remembered for as long, over a restart too.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use super::Write;

/// Most that are remembered; those that end soonest give way.
const ROOM: usize = 10_000;

/// The ends, by session id, each with the second after which it is moot.
#[derive(Debug)]
pub(super) struct Ended {
    path: PathBuf,
    write: Write,
    until: HashMap<String, u64>,
}

impl Ended {
    /// Those of the last run. A file that cannot be read is as good as none:
    /// all that it would do is end what its owners ended anyway.
    pub(super) fn load(path: &Path, write: Write, now: u64) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().take(ROOM).filter_map(|line| {
            let (until, id) = line.split_once(' ')?;
            Some((id.to_owned(), until.parse().ok()?))
        });
        let until = lines.filter(|(_, until)| *until > now).collect();
        Self { path: path.to_owned(), write, until }
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.until.contains_key(id)
    }

    /// Ends a session that would have been good `until` then.
    ///
    /// Errors: it is ended, but a restart may forget that.
    pub(super) fn end(
        &mut self,
        id: &str,
        until: u64,
        now: u64,
    ) -> io::Result<()> {
        self.until.retain(|_, until| *until > now);
        if self.until.len() >= ROOM {
            let soonest = self.until.iter().min_by_key(|(_, until)| **until);
            if let Some(id) = soonest.map(|(id, _)| id.clone()) {
                self.until.remove(&id);
            }
        }
        self.until.insert(id.to_owned(), until);
        let lines = self.until.iter();
        let text: String =
            lines.map(|(id, until)| format!("{until} {id}\n")).collect();
        (self.write)(&self.path, text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_outlives_a_restart_and_not_its_session() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ended");
        let load = |now| Ended::load(&path, |p, b| std::fs::write(p, b), now);
        let mut ended = load(10);
        ended.end("a", 20, 10).unwrap();
        assert!(ended.has("a") && !ended.has("b"));
        assert!(load(19).has("a"));
        assert!(!load(20).has("a"));
        for number in 0..ROOM + 5 {
            // Written once a thousand: it is the room that is looked at.
            ended.until.insert(format!("n{number}"), 30);
        }
        ended.end("z", 40, 10).unwrap();
        assert!(ended.has("z"));
    }
}
