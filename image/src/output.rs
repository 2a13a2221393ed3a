// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The file that a build leaves: whole or not there, and described.
//!
//! It is written beside its place, and takes the place once all of it is on
//! the disk. What an image manifest says about it (digests, size) is counted
//! on the way, so that it is never read again.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

/// Bytes that go to the file at once.
const BUFFER: usize = 1 << 18;

/// Why a file did not come to be.
#[derive(Debug, thiserror::Error)]
#[error("could not {step} {path}")]
pub struct OutputError {
    /// What was tried.
    step: &'static str,
    /// The file.
    path: PathBuf,
    /// Why.
    source: io::Error,
}

/// What an image manifest says about its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// 40 hexadecimal digits: `files[0].sha1`.
    pub sha1: String,
    /// 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes: `files[0].size`.
    pub size: u64,
}

/// A sink that counts and digests what passes.
pub struct Digested<W> {
    sink: W,
    sha1: Context,
    sha256: Context,
    size: u64,
}

impl<W: Write> Digested<W> {
    /// In front of `sink`.
    pub fn new(sink: W) -> Self {
        let sha1 = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        let sha256 = Context::new(&SHA256);
        Self { sink, sha1, sha256, size: 0 }
    }

    /// The sink, and what passed.
    pub fn finish(self) -> (W, Facts) {
        let hex = |context: Context| {
            let digest = context.finish();
            digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let (sha1, sha256) = (hex(self.sha1), hex(self.sha256));
        (self.sink, Facts { sha1, sha256, size: self.size })
    }
}

impl<W: Write> Write for Digested<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.sink.write(bytes)?;
        self.sha1.update(&bytes[..count]);
        self.sha256.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// A file in the making. Unless committed it is removed when dropped; what
/// was at its place before stays until then.
pub struct Output {
    path: PathBuf,
    staged: PathBuf,
    sink: Option<Digested<BufWriter<File>>>,
}

impl Output {
    /// Opens a file beside `path`.
    ///
    /// Errors: `OutputError`.
    pub fn create(path: &Path) -> Result<Self, OutputError> {
        let mut staged = path.as_os_str().to_owned();
        staged.push(format!(".{}.staged", std::process::id()));
        let staged = PathBuf::from(staged);
        let file = File::create(&staged)
            .map_err(|source| failed("create", &staged, source))?;
        let sink = BufWriter::with_capacity(BUFFER, file);
        let sink = Some(Digested::new(sink));
        Ok(Self { path: path.to_owned(), staged, sink })
    }

    /// Puts the file in its place, once it is on the disk.
    ///
    /// Errors: `OutputError`; then there is no file, or the old one.
    pub fn commit(mut self) -> Result<Facts, OutputError> {
        let sink = self.sink.take().expect("only here it is taken");
        let (buffer, facts) = sink.finish();
        let failed = |step| {
            let path = self.path.clone();
            move |source| OutputError { step, path, source }
        };
        let file = buffer
            .into_inner()
            .map_err(|error| failed("write")(error.into_error()))?;
        file.sync_all().map_err(failed("write"))?;
        fs::rename(&self.staged, &self.path).map_err(failed("rename"))?;
        let folder = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed("keep"))?;
        Ok(facts)
    }

    fn sink(&mut self) -> &mut Digested<BufWriter<File>> {
        self.sink.as_mut().expect("commit, which takes it, ends us")
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink().flush()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // After a commit it is no longer there; else the error that brought
        // us here is the one to tell.
        let _ = fs::remove_file(&self.staged);
    }
}

fn failed(step: &'static str, path: &Path, source: io::Error) -> OutputError {
    OutputError { step, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_committed_file_is_whole_and_described() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("image");
        let mut output = Output::create(&path).unwrap();
        output.write_all(b"abc").unwrap();
        assert!(!path.exists());
        let facts = output.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abc");
        assert_eq!(facts.size, 3);
        // The example of FIPS 180.
        assert_eq!(facts.sha1, "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert!(facts.sha256.starts_with("ba7816bf8f01cfea414140de5dae2223"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_given_up_leaves_the_old_one_alone() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("image");
        fs::write(&path, "old").unwrap();
        let mut output = Output::create(&path).unwrap();
        output.write_all(&vec![1; 1 << 20]).unwrap();
        drop(output);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_error_names_the_file() {
        let error = Output::create(Path::new("/nowhere/image")).err().unwrap();
        assert!(error.to_string().contains("/nowhere/image"), "{error}");

        let dir = TempDir::new().unwrap();
        let path = dir.path().join("taken");
        let output = Output::create(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let error = output.commit().unwrap_err();
        assert!(error.to_string().starts_with("could not rename"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
