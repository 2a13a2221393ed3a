// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Inputs by their content: `CACHE/sha256/<digest>`. What lies there was
//! checked when it came; a build takes copies, each checked as it is copied, so
//! that it needs no network and the bytes it uses are those that were checked,
//! whatever happens to the cache. `CACHE/last/` remembers which digest an
//! unpinned source had, for tests, and where the modules of a Go program are.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;

use crate::artifacts::Sha256;
use crate::digest;
use crate::scratch::Scratch;

/// The folder.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
    work: Arc<OnceLock<Scratch>>,
}

/// Something in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    /// The file.
    pub path: PathBuf,
    /// Its digest.
    pub sha256: Sha256,
}

impl Cache {
    /// Takes `root`, making it if absent.
    pub fn open(root: &Path) -> Result<Self> {
        for below in ["sha256", "last"] {
            let folder = root.join(below);
            std::fs::create_dir_all(&folder).with_context(|| {
                format!("could not make {}", folder.display())
            })?;
        }
        let root = root.canonicalize()?;
        Ok(Self { root, work: Arc::default() })
    }

    /// The folder, for folders to work in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where content of this digest lies, or would.
    fn place(&self, sha256: &Sha256) -> PathBuf {
        self.root.join("sha256").join(sha256.as_str())
    }

    /// The content of a digest, if it is here.
    ///
    /// Errors: it is here and no longer what it was; it is gone afterwards.
    pub fn get(&self, sha256: &Sha256) -> Result<Option<Cached>> {
        let path = self.place(sha256);
        if !path.exists() {
            return Ok(None);
        }
        let unreadable = || format!("could not read {}", path.display());
        let seen = digest::sha256_of_file(&path).with_context(unreadable)?;
        self.sound(sha256, &seen)?;
        Ok(Some(Cached { path, sha256: sha256.clone() }))
    }

    /// The same as a copy in `folder`, which nobody else writes in: what is
    /// read of it later is what was checked here.
    pub fn take(
        &self,
        sha256: &Sha256,
        folder: &Path,
    ) -> Result<Option<Cached>> {
        let from = self.place(sha256);
        if !from.exists() {
            return Ok(None);
        }
        let (path, digests) = digest::copy(&from, folder)
            .with_context(|| format!("could not copy {}", from.display()))?;
        self.sound(sha256, &digests.sha256)?;
        Ok(Some(Cached { path, sha256: sha256.clone() }))
    }

    fn sound(&self, wanted: &Sha256, seen: &Sha256) -> Result<()> {
        if seen == wanted {
            return Ok(());
        }
        let path = self.place(wanted);
        let shown = path.display();
        std::fs::remove_file(&path)
            .with_context(|| format!("could not remove {shown}"))?;
        bail!(
            "{shown}: sha256 {seen}; wanted {wanted}: damaged, and removed; \
             fetch it again"
        )
    }

    /// A folder beside what is kept, gone with the cache however that ends:
    /// for whatever is on its way, and for what tools lay aside.
    pub fn work(&self) -> Result<&Path> {
        if self.work.get().is_none() {
            // Another one that was made at the same time goes at once.
            let _ = self.work.set(Scratch::new(&self.root, "fetch-")?);
        }
        Ok(self.work.get().expect("it was set above").path())
    }

    /// A file to fill, on the disk of the cache, gone unless `put`.
    pub fn temporary(&self) -> Result<NamedTempFile> {
        let work = self.work()?;
        NamedTempFile::new_in(work)
            .with_context(|| format!("could not write in {}", work.display()))
    }

    /// Keeps a filled file under its digest.
    ///
    /// Errors: `wanted` is another one, and nothing is kept; `what` names it.
    pub fn put(
        &self,
        mut file: NamedTempFile,
        wanted: Option<&Sha256>,
        what: &dyn std::fmt::Display,
    ) -> Result<Cached> {
        file.flush()?;
        let sha256 = digest::sha256_of_file(file.path())?;
        if let Some(wanted) = wanted
            && *wanted != sha256
        {
            bail!("{what}: sha256 {sha256}; wanted {wanted}");
        }
        file.as_file().sync_all()?;
        let path = self.place(&sha256);
        file.persist(&path)
            .with_context(|| format!("could not keep {}", path.display()))?;
        Ok(Cached { path, sha256 })
    }

    /// What an unpinned source was when it was last fetched; `key` is all
    /// that identifies it.
    pub fn last(&self, key: &str) -> Result<Option<Cached>> {
        match self.last_digest(key) {
            Some(sha256) => self.get(&sha256),
            None => Ok(None),
        }
    }

    /// Its digest alone.
    pub fn last_digest(&self, key: &str) -> Option<Sha256> {
        let text = std::fs::read_to_string(self.last_place(key)).ok()?;
        Sha256::parse(text.trim())
    }

    /// Remembers it.
    pub fn remember(&self, key: &str, sha256: &Sha256) -> Result<()> {
        let path = self.last_place(key);
        std::fs::write(&path, format!("{sha256}\n"))
            .with_context(|| format!("could not write {}", path.display()))
    }

    fn last_place(&self, key: &str) -> PathBuf {
        let name = digest::sha256(key.as_bytes());
        self.root.join("last").join(name.as_str())
    }
}
