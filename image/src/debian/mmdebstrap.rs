// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! mmdebstrap, told all that would make a root differ from machine to machine.

use std::path::Path;

use anyhow::{Context, Result};

use crate::artifacts::DebianRoot;
use crate::fetch::run;

/// What mmdebstrap writes that tells how a root was made, not what it is.
const TIDY: &str = "--customize-hook=rm -f \
    \"$1/etc/apt/apt.conf.d/99mmdebstrap\" \
    \"$1/etc/apt/sources.list.d/\"* \"$1/var/lib/apt/extended_states\"";

/// One run of it.
pub(super) struct Mmdebstrap<'a> {
    pub(super) root: &'a DebianRoot,
    /// Packages, comma between.
    pub(super) include: String,
    /// What sources.list(5) is.
    pub(super) sources: String,
    pub(super) target: String,
    /// Ours to write in, gone afterwards.
    pub(super) folder: &'a Path,
}

impl Mmdebstrap<'_> {
    /// Makes the root; `hooks` are options of its own that come before.
    ///
    /// Errors: mmdebstrap's own.
    pub(super) async fn run(&self, hooks: &[&str]) -> Result<()> {
        let sources = self.folder.join("sources.list");
        std::fs::write(&sources, &self.sources)?;
        let list = sources.to_string_lossy();
        let temporary = format!("TMPDIR={}", self.folder.display());
        let uris = self.folder.join("uris");
        let uris = format!("ZONE_IMAGE_URIS={}", uris.display());
        let epoch = format!("SOURCE_DATE_EPOCH={}", self.root.epoch);
        let include = format!("--include={}", self.include);
        let before = [
            // Its own time, whoever asks: the same modes in every file it
            // makes.
            "/bin/sh",
            "-c",
            "umask 022; exec \"$@\"",
            "sh",
            // The clock, and a locale that sorts as everybody's does.
            "env",
            &epoch,
            &temporary,
            &uris,
            "LC_ALL=C.UTF-8",
            "TZ=UTC",
            "mmdebstrap",
            "--quiet",
            "--mode=root",
            "--variant=minbase",
            &include,
            // Documentation and translations that nobody reads in a zone.
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-include=/usr/share/doc/*/copyright",
            // Never as apt's own user: whether that one may enter the folder
            // this is made in would be seen in the tar. Not an option of the
            // zone's.
            "--aptopt=APT::Sandbox::User \"root\"",
        ];
        let after = [TIDY, &self.root.suite, &self.target, &*list];
        run(&[&before[..], hooks, &after].concat())
            .await
            .context("could not make a Debian")?;
        Ok(())
    }
}
