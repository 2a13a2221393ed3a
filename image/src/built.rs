// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What is wrong with a program that cargo built in this workspace: it is not
//! of these sources, or another builder's would be other bytes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What a build reads beside sources: cargo does not list them with those. A
/// change there need not make another program, so `make programs` touches it.
const BESIDE: [&str; 3] = ["Cargo.lock", "Cargo.toml", "rust-toolchain.toml"];

/// Where cargo keeps the sources of crates, below the builder's home; a panic
/// names its place in them, unless the compiler was told another name.
const REGISTRY: &[u8] = b"/registry/src/";

/// What is wrong with `program`, as the end of a sentence that it begins.
pub fn fault(program: &Path, workspace: &Path) -> Option<String> {
    let beside = BESIDE.map(|name| workspace.join(name));
    if let Some(source) = newer_source(program, &beside) {
        return Some(format!("is older than {}", source.display()));
    }
    let bytes = fs::read(program).ok()?;
    let path = builders_path(&bytes)?;
    Some(format!("names its builder's folders, as {path}"))
}

/// A source of `program`, or a file of `beside`, that changed after it was
/// built. Cargo lists sources in a file beside it; without the list, or a file
/// of it, nothing is known.
///
/// Source: the Cargo book, "Build cache", "Dep-info files".
pub fn newer_source(program: &Path, beside: &[PathBuf]) -> Option<PathBuf> {
    let built = changed(program).ok()?;
    let list = fs::read_to_string(program.with_extension("d")).ok()?;
    let (_, sources) = list.split_once(": ")?;
    let sources = words(sources).into_iter().map(PathBuf::from);
    let mut newer = sources
        .chain(beside.iter().cloned())
        .filter(|source| changed(source).is_ok_and(|at| at > built));
    newer.next()
}

fn changed(path: &Path) -> io::Result<SystemTime> {
    fs::metadata(path)?.modified()
}

/// The first path into somebody's registry, up to that.
fn builders_path(bytes: &[u8]) -> Option<String> {
    let at = bytes.windows(REGISTRY.len()).position(|it| it == REGISTRY)?;
    let of_path = |it: &u8| it.is_ascii_graphic();
    let start = bytes[..at].iter().rposition(|it| !of_path(it));
    let path = &bytes[start.map_or(0, |it| it + 1)..at + REGISTRY.len()];
    // Strings of a program stand side by side, without an end.
    let path = &path[path.len().saturating_sub(80)..];
    Some(String::from_utf8_lossy(path).into_owned())
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
        let beside = [at("Cargo.lock")];
        let newer = || newer_source(&program, &beside);
        assert_eq!(newer(), None);
        let escaped = source.to_str().unwrap().replace(' ', "\\ ");
        let list = format!("{}: /none {escaped}\n", program.display());
        fs::write(at("agent.d"), list).unwrap();
        assert_eq!(newer(), None);
        let file = fs::File::create(&source).unwrap();
        let later = SystemTime::now() + Duration::from_secs(100);
        file.set_modified(later).unwrap();
        assert_eq!(newer(), Some(source.clone()));
        // Another version of a crate, and no source of ours.
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(newer(), None);
        let lock = fs::File::create(&beside[0]).unwrap();
        lock.set_modified(later).unwrap();
        assert_eq!(newer(), Some(beside[0].clone()));
    }

    #[test]
    fn a_path_of_the_builder_is_found_among_the_bytes() {
        let found = |bytes: &[u8]| builders_path(bytes);
        let path = "/home/me/.cargo/registry/src/";
        let text = format!("\0\x01{path}index/tokio-1/src/a.rs\0");
        assert_eq!(found(text.as_bytes()).as_deref(), Some(path));
        assert_eq!(found(path.as_bytes()).as_deref(), Some(path));
        assert_eq!(found(b"/registry/tokio-1/src/a.rs"), None);
        assert_eq!(found(b""), None);
        let long = [b"x".repeat(1000), path.into()].concat();
        assert_eq!(found(&long).unwrap().len(), 80);
    }
}
