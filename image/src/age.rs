// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Whether a program that cargo built is older than what it was built of.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A source of `program` that changed after it was built. Cargo lists them in
/// a file beside it; without the list, or a source of it, nothing is known.
///
/// Source: the Cargo book, "Build cache", "Dep-info files".
pub fn newer_source(program: &Path) -> Option<PathBuf> {
    let built = changed(program).ok()?;
    let list = fs::read_to_string(program.with_extension("d")).ok()?;
    let (_, sources) = list.split_once(": ")?;
    let sources = words(sources).into_iter().map(PathBuf::from);
    let mut newer =
        sources.filter(|source| changed(source).is_ok_and(|at| at > built));
    newer.next()
}

fn changed(path: &Path) -> io::Result<SystemTime> {
    fs::metadata(path)?.modified()
}

/// Names as make has them: a blank in a name has a backslash before it.
fn words(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut rest = text.trim().chars();
    while let Some(next) = rest.next() {
        let last = all.last_mut().expect("one at least");
        match next {
            '\\' => last.extend(rest.next()),
            ' ' => all.push(String::new()),
            other => last.push(other),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_source_that_changed_after_the_build_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (program, source) = (at("agent"), at("my lib.rs"));
        fs::write(&program, "").unwrap();
        assert_eq!(newer_source(&program), None);
        let escaped = source.to_str().unwrap().replace(' ', "\\ ");
        let list = format!("{}: /none {escaped}\n", program.display());
        fs::write(at("agent.d"), list).unwrap();
        assert_eq!(newer_source(&program), None);
        let file = fs::File::create(&source).unwrap();
        let later = SystemTime::now() + Duration::from_secs(100);
        file.set_modified(later).unwrap();
        assert_eq!(newer_source(&program), Some(source));
    }
}
