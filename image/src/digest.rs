// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Digests of files and bytes. SHA-1 is what image manifests ask for; all
//! that we decide by is SHA-256.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ring::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use crate::artifacts::Sha256;
use crate::output::{Digested, Facts};

/// Length and digests of a run of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    /// Bytes.
    pub len: u64,
    /// SHA-1, 40 hex digits.
    pub sha1: String,
    /// SHA-256.
    pub sha256: Sha256,
}

impl From<Facts> for Digests {
    fn from(facts: Facts) -> Self {
        let sha256 = Sha256::parse(&facts.sha256).expect("64 digits");
        Self { len: facts.size, sha1: facts.sha1, sha256 }
    }
}

/// Both digests of all that `reader` gives.
pub fn of(mut reader: impl Read) -> io::Result<Digests> {
    let mut meter = Digested::new(io::sink());
    let mut buffer = vec![0; 1 << 18];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(meter.finish().1.into()),
            n => meter.write_all(&buffer[..n])?,
        }
    }
}

/// Copies a file into `folder`, under a name of its own, and digests it on the
/// way: the digests are those of the copy, whatever becomes of the file.
pub fn copy(from: &Path, folder: &Path) -> io::Result<(PathBuf, Digests)> {
    let mut file = File::open(from)?;
    let copy = tempfile::Builder::new().prefix("copy-").tempfile_in(folder)?;
    let mut meter = Digested::new(copy);
    io::copy(&mut file, &mut meter)?;
    let (copy, facts) = meter.finish();
    // Goes with the folder.
    let (_, path) = copy.keep().map_err(|kept| kept.error)?;
    Ok((path, facts.into()))
}

/// The SHA-256 of a file.
pub fn sha256_of_file(path: &Path) -> io::Result<Sha256> {
    let mut file = File::open(path)?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(sha(context)),
            n => context.update(&buffer[..n]),
        }
    }
}

/// The SHA-256 of bytes.
pub fn sha256(bytes: &[u8]) -> Sha256 {
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    sha(context)
}

/// The SHA-1 of bytes, 20 of them.
pub fn sha1(bytes: &[u8]) -> [u8; 20] {
    let algorithm: &Algorithm = &SHA1_FOR_LEGACY_USE_ONLY;
    let digest = ring::digest::digest(algorithm, bytes);
    digest.as_ref().try_into().expect("SHA-1 is 20 bytes")
}

fn sha(context: Context) -> Sha256 {
    let text = hex(context.finish().as_ref());
    Sha256::parse(&text).expect("32 bytes are 64 digits")
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
