// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Zone versions on the data folder: one file a zone, written beside and
//! renamed, so that a kill at any point leaves the old file or the new one.
//!
//! Format, all numbers big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `cazone`, 0, format version 3 |
//! | 2 + n | zone name, text |
//! | 2 + n | primary the version came from, text `address:port` |
//! | 8 | when the content was taken in, Unix seconds |
//! | ... | the zone as it lies in memory, see `table.rs` |
//! | 32 | SHA-256 of everything before |
//!
//! So a start reads the file and adds it up; nothing is parsed.
//!
//! The time of the last confirmed refresh is the file's modification time:
//! it moves every half minute, the content seldom does.
//!
//! Everything here blocks; callers use a blocking thread.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use ring::digest;
use tracing::warn;

use super::table::Table;
use super::{Provenance, ZoneLimits, ZoneVersion};
use crate::dns::error::DnsError;
use crate::dns::names::WireName;
use crate::dns::pace::Pace;
use crate::model::dns::ZoneName;

const MAGIC: &[u8; 8] = b"cazone\0\x03";
const DIGEST_LEN: usize = 32;
/// Adding it up takes some 100 µs.
const WRITTEN_AT_ONCE: usize = 1 << 16;
/// Header and checksum on top of the zone's own limit.
const FILE_SLACK: usize = 4096;

/// What a zone file held.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) version: ZoneVersion,
    /// When a primary last confirmed it.
    pub(crate) confirmed: SystemTime,
}

/// The file of a zone. Names too long for a file name become their digest.
pub(crate) fn path_of(dir: &Path, zone: &ZoneName) -> PathBuf {
    let name = zone.as_str();
    match name {
        "." => dir.join("@root.zone"),
        _ if name.len() > 200 => {
            let sum = digest::digest(&digest::SHA256, name.as_bytes());
            let hex: String =
                sum.as_ref().iter().map(|b| format!("{b:02x}")).collect();
            dir.join(format!("@{hex}.zone"))
        }
        _ => dir.join(format!("{name}.zone")),
    }
}

/// Makes the folder and removes what an interrupted write left in it.
pub(crate) fn prepare(dir: &Path) -> Result<(), DnsError> {
    let at =
        |path: &Path, source| DnsError::Store { path: path.to_owned(), source };
    fs::create_dir_all(dir).map_err(|e| at(dir, e))?;
    for entry in fs::read_dir(dir).map_err(|e| at(dir, e))? {
        let path = entry.map_err(|e| at(dir, e))?.path();
        if path.extension().is_some_and(|ext| ext == "zone-tmp") {
            // On a full ZFS even this can fail; it does no harm there.
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}

/// Writes a version, replacing the zone's file whole (mode 0600). One that is
/// not in one table yet is put into one first.
pub(crate) fn save(
    dir: &Path,
    zone: &ZoneName,
    version: &ZoneVersion,
) -> Result<(), DnsError> {
    // Two writers of one zone (removed and added again) must not share it.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let path = path_of(dir, zone);
    let temp = path.with_extension(format!(
        "{}.zone-tmp",
        NEXT.fetch_add(1, Ordering::Relaxed)
    ));
    let written = write_file(&temp, zone, version)
        .and_then(|()| fs::rename(&temp, &path))
        .and_then(|()| File::open(dir)?.sync_all());
    written.map_err(|source| {
        // Best effort: the next start removes it as well.
        let _ = fs::remove_file(&temp);
        DnsError::Store { path, source }
    })
}

fn write_file(
    temp: &Path,
    zone: &ZoneName,
    version: &ZoneVersion,
) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(temp)?;
    let mut out = Summing {
        inner: BufWriter::new(file),
        sum: digest::Context::new(&digest::SHA256),
    };
    encode(&mut out, zone, version)?;
    let Summing { mut inner, sum } = out;
    inner.write_all(sum.finish().as_ref())?;
    inner.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

struct Summing<W> {
    inner: W,
    sum: digest::Context,
}

impl<W: Write> Write for Summing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.sum.update(&bytes[..n]);
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

pub(super) fn encode(
    out: &mut impl Write,
    zone: &ZoneName,
    version: &ZoneVersion,
) -> io::Result<()> {
    let text = |out: &mut dyn Write, text: &str| {
        let len = u16::try_from(text.len()).map_err(io::Error::other)?;
        out.write_all(&len.to_be_bytes())?;
        out.write_all(text.as_bytes())
    };
    out.write_all(MAGIC)?;
    text(out, zone.as_str())?;
    text(out, &version.provenance.primary.to_string())?;
    let changed = version
        .provenance
        .changed
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    out.write_all(&changed.as_secs().to_be_bytes())?;
    if let Some(table) = version.table() {
        return write_gently(out, table.bytes());
    }
    let compacted =
        version.compacted().transpose().map_err(io::Error::other)?;
    let table = compacted.as_ref().and_then(ZoneVersion::table);
    write_gently(out, table.map_or(&[], Table::bytes))
}

/// In small pieces, and lets others have the core after each.
fn write_gently(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let mut pace = Pace::default();
    for piece in bytes.chunks(WRITTEN_AT_ONCE) {
        out.write_all(piece)?;
        pace.offer();
    }
    Ok(())
}

/// Notes on the file that its version was just confirmed by a primary.
pub(crate) fn touch(dir: &Path, zone: &ZoneName) -> io::Result<()> {
    File::options()
        .write(true)
        .open(path_of(dir, zone))?
        .set_modified(SystemTime::now())
}

/// Reads a zone's file. `None` when there is none, or when it was damaged:
/// then it is set aside as `*.damaged` and said in the log.
///
/// Errors: the file is there but cannot be read.
pub(crate) fn load(
    dir: &Path,
    zone: &ZoneName,
    limits: ZoneLimits,
) -> Result<Option<Loaded>, DnsError> {
    let path = path_of(dir, zone);
    let failed = |source| DnsError::Store { path: path.clone(), source };
    let mut file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        opened => opened.map_err(failed)?,
    };
    let about = file.metadata().map_err(failed)?;
    let max = limits.max_bytes.saturating_add(FILE_SLACK) as u64;
    let decoded = if about.len() > max {
        Err(DnsError::Damaged { reason: "too large" })
    } else {
        let len = usize::try_from(about.len()).unwrap_or_default();
        let mut bytes = Vec::with_capacity(len + 1);
        (&mut file).take(max).read_to_end(&mut bytes).map_err(failed)?;
        decode(bytes, zone, limits)
    };
    match decoded {
        Ok(version) => {
            let now = SystemTime::now();
            let confirmed = about.modified().unwrap_or(now).min(now);
            Ok(Some(Loaded { version, confirmed }))
        }
        Err(error) => {
            let aside = path.with_extension("zone.damaged");
            warn!(
                %zone,
                path = %path.display(),
                aside = %aside.display(),
                err.message = error.chain(),
                "zone file set aside"
            );
            fs::rename(&path, &aside).map_err(failed)?;
            Ok(None)
        }
    }
}

pub(super) fn decode(
    mut bytes: Vec<u8>,
    zone: &ZoneName,
    limits: ZoneLimits,
) -> Result<ZoneVersion, DnsError> {
    let bad = |reason| DnsError::Damaged { reason };
    let (body, sum) = bytes
        .len()
        .checked_sub(DIGEST_LEN)
        .and_then(|at| bytes.split_at_checked(at))
        .ok_or(bad("too short"))?;
    if !body.starts_with(MAGIC) {
        return Err(bad("not a zone file of this format version"));
    }
    if digest::digest(&digest::SHA256, body).as_ref() != sum {
        return Err(bad("checksum differs"));
    }
    bytes.truncate(body.len());
    decode_body(bytes, zone, limits)
}

/// All but the checksum. Trusts nothing all the same.
pub(super) fn decode_body(
    mut bytes: Vec<u8>,
    zone: &ZoneName,
    limits: ZoneLimits,
) -> Result<ZoneVersion, DnsError> {
    let bad = |reason| DnsError::Damaged { reason };
    let short = || bad("ends early");
    let mut rest = Reader(bytes.get(MAGIC.len()..).ok_or_else(short)?);
    if rest.text().ok_or_else(short)? != zone.as_str() {
        return Err(bad("holds another zone"));
    }
    let primary = rest
        .text()
        .ok_or_else(short)?
        .parse()
        .map_err(|_| bad("bad primary address"))?;
    let changed = rest.u64().ok_or_else(short)?;
    let changed = SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(changed))
        .ok_or(bad("bad time"))?;
    let head = bytes.len() - rest.0.len();
    bytes.drain(..head);
    let table = Table::new(bytes).ok_or(bad("no table of names"))?;
    if table.records() > limits.max_records {
        return Err(bad("above the limits"));
    }
    let apex = WireName::from_zone(zone);
    ZoneVersion::new(apex, table, Provenance { primary, changed })
        .map_err(|_| bad("no single SOA"))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
    fn text(&mut self) -> Option<&'a str> {
        let len = self.u16()?;
        std::str::from_utf8(self.take(usize::from(len))?).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;
    use crate::dns::secondary::fake::{self, record, version, zone_name};

    fn sample() -> ZoneVersion {
        version(
            404_974_080,
            &[
                record("cmon", 30, "A 10.0.0.9"),
                record("v1.cmon", 30, "CNAME cmon"),
                record("a.svc.o", 30, "SRV 0 10 9163 cmon"),
                record("a.svc.o", 30, "TXT hello"),
                record("a.svc.o", 30, "AAAA fd00::1"),
            ],
        )
    }

    fn sample_bytes() -> Vec<u8> {
        // Written once: a disk may take long.
        static BYTES: std::sync::LazyLock<Vec<u8>> =
            std::sync::LazyLock::new(|| {
                let dir = tempfile::tempdir().unwrap();
                save(dir.path(), &zone_name(), &sample()).unwrap();
                fs::read(path_of(dir.path(), &zone_name())).unwrap()
            });
        BYTES.clone()
    }

    #[test]
    fn a_version_survives_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let zone = zone_name();
        let before = sample();
        save(dir.path(), &zone, &before).unwrap();
        save(dir.path(), &zone, &before).unwrap();
        let loaded =
            load(dir.path(), &zone, ZoneLimits::default()).unwrap().unwrap();
        assert!(before.same_content(&loaded.version));
        assert_eq!(loaded.version.serial, before.serial);
        assert_eq!(
            loaded.version.provenance.primary,
            before.provenance.primary
        );
        let path = path_of(dir.path(), &zone);
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn no_file_is_no_version() {
        let dir = tempfile::tempdir().unwrap();
        let none = load(dir.path(), &zone_name(), ZoneLimits::default());
        assert!(none.unwrap().is_none());
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = path_of(dir.path(), &zone_name());
        let mut bytes = sample_bytes();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        let none = load(dir.path(), &zone_name(), ZoneLimits::default());
        assert!(none.unwrap().is_none());
        assert!(!path.exists());
        assert!(path.with_extension("zone.damaged").exists());
    }

    #[test]
    fn a_file_of_another_zone_is_damaged() {
        let other = ZoneName::parse("other.example").unwrap();
        let error = decode(sample_bytes(), &other, ZoneLimits::default());
        assert!(matches!(error, Err(DnsError::Damaged { .. })));
    }

    #[test]
    fn leftovers_of_a_killed_write_go_away() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.0.zone-tmp"), b"half").unwrap();
        fs::write(dir.path().join("x.zone"), b"whole").unwrap();
        prepare(dir.path()).unwrap();
        assert!(!dir.path().join("x.0.zone-tmp").exists());
        assert!(dir.path().join("x.zone").exists());
    }

    #[test]
    fn long_names_fit_into_a_file_name() {
        let label = "a".repeat(60);
        let zone = ZoneName::parse(&[label.as_str(); 4].join(".")).unwrap();
        let path = path_of(Path::new("/x"), &zone);
        assert!(path.file_name().unwrap().len() < 255);
    }

    proptest! {
        #[test]
        fn any_zone_survives_the_disk(records in fake::any_records()) {
            let (zone, before) = (zone_name(), version(9, &records));
            let mut bytes = Vec::new();
            encode(&mut bytes, &zone, &before).unwrap();
            let after =
                decode_body(bytes, &zone, ZoneLimits::default()).unwrap();
            prop_assert!(before.same_content(&after));
            prop_assert_eq!(before.records, after.records);
        }

        #[test]
        fn mutated_files_are_errors(
            at in any::<prop::sample::Index>(),
            bit in 0_u8..8,
            cut in any::<Option<prop::sample::Index>>(),
        ) {
            let mut bytes = sample_bytes();
            match cut {
                Some(cut) => bytes.truncate(cut.index(bytes.len())),
                None => {
                    let at = at.index(bytes.len());
                    bytes[at] ^= 1 << bit;
                }
            }
            prop_assert!(
                decode(bytes, &zone_name(), ZoneLimits::default()).is_err()
            );
        }

        /// As if the checksum had been right: whatever comes, no panic, and
        /// what is accepted can be read out again.
        #[test]
        fn mutated_bodies_never_panic(
            edits in prop::collection::vec(
                (any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let mut bytes = sample_bytes();
            bytes.truncate(bytes.len() - DIGEST_LEN);
            for (at, value) in edits {
                let at = MAGIC.len() + at.index(bytes.len() - MAGIC.len());
                bytes[at] = value;
            }
            let zone = zone_name();
            if let Ok(version) =
                decode_body(bytes, &zone, ZoneLimits::default())
            {
                for (owner, node) in version.iter() {
                    let _ = version.node(owner.as_bytes());
                    for set in node.iter() {
                        let _ = set.records(&owner.to_name());
                    }
                }
                let _ = version.compacted();
            }
        }
    }
}
