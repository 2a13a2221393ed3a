// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Zip archives, such as Python's wheels, become tars: what is in them is then
//! judged as anything else. Where both may say a thing in several ways, the tar
//! says what the zip's central directory does.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use ::tar::{Builder, EntryType, Header};
use ::zip::ZipArchive;
use ::zip::read::ZipFile;
use anyhow::{Context, Result, bail};
use time::PrimitiveDateTime;

use super::{AHEAD_MAX, NAMES_MAX, UNPACKED_MAX};

/// The members as a tar in `work`.
///
/// Errors: damage, an encrypted member, more than `UNPACKED_MAX`, names that
/// no tar takes.
/// Source: APPNOTE.TXT of PKWARE, sections 4.3 and 4.4.
pub(super) fn to_tar(archive: &Path, work: &Path) -> Result<PathBuf> {
    let damaged = || format!("could not unpack {}", archive.display());
    let file = File::open(archive).with_context(damaged)?;
    let mut zip =
        ZipArchive::new(BufReader::new(file)).with_context(damaged)?;
    let out = tempfile::Builder::new()
        .suffix(".tar")
        .tempfile_in(work)
        .with_context(|| format!("could not write in {}", work.display()))?;
    if zip.len() > NAMES_MAX {
        bail!("{}: more than {NAMES_MAX} names", archive.display());
    }
    let mut tar = Builder::new(BufWriter::new(out));
    let mut left = UNPACKED_MAX;
    for nth in 0..zip.len() {
        let mut member = zip.by_index(nth).with_context(damaged)?;
        let name = String::from_utf8_lossy(member.name_raw()).into_owned();
        let inside = || format!("{}: {name}", archive.display());
        let size = member.size();
        left = left
            .checked_sub(size)
            .with_context(|| format!("more than {UNPACKED_MAX} bytes"))
            .with_context(inside)?;
        add(&mut tar, &mut member, &name).with_context(inside)?;
    }
    let out = tar.into_inner().with_context(damaged)?;
    let out = out.into_inner().context("could not write the tar")?;
    // Goes with the work folder.
    let (_, path) = out.keep().with_context(damaged)?;
    Ok(path)
}

fn add<R: Read>(
    tar: &mut Builder<impl Write>,
    member: &mut ZipFile<'_, R>,
    name: &str,
) -> Result<()> {
    let size = member.size();
    let mut header = Header::new_gnu();
    header.set_mode(member.unix_mode().unwrap_or(0o644) & 0o777);
    header.set_mtime(changed(member));
    if member.is_symlink() {
        if size > AHEAD_MAX {
            bail!("a link of {size} bytes; wanted {AHEAD_MAX} at most");
        }
        let mut target = String::new();
        member.read_to_string(&mut target)?;
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, name, target)?;
        return Ok(());
    }
    let kind = match member.is_dir() {
        true => EntryType::Directory,
        false => EntryType::Regular,
    };
    header.set_entry_type(kind);
    header.set_size(size);
    // Its end is where the checksum is compared; one byte more shows one.
    let mut content = member.take(size.saturating_add(1));
    tar.append_data(&mut header, name, &mut content)?;
    if content.limit() != 1 {
        bail!("not the {size} bytes that its directory says");
    }
    Ok(())
}

/// Seconds since 1970. A zip tells local time of nowhere: taken for UTC, and
/// one without for the first second.
fn changed<R: Read>(member: &ZipFile<'_, R>) -> u64 {
    let told = member.last_modified();
    let told = told.and_then(|at| PrimitiveDateTime::try_from(at).ok());
    let at = told.map_or(0, |at| at.assume_utc().unix_timestamp());
    u64::try_from(at).unwrap_or(0)
}
