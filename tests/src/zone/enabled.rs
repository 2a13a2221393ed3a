// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What `systemctl enable` and `disable` said, kept in the zone's root: it
//! holds over a reboot and is forgotten by a reprovision, as with systemd.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// In the zone.
const FOLDER: &str = "/var/db/units";

/// Keeps whether a boot starts the unit.
pub(crate) fn note(unit: &str, enabled: bool) -> io::Result<()> {
    fs::create_dir_all(FOLDER)?;
    fs::write(path(unit), if enabled { "enabled" } else { "disabled" })
}

/// What was said last; none: nothing yet.
pub(crate) fn read(unit: &str) -> Option<bool> {
    let text = fs::read_to_string(path(unit)).ok()?;
    Some(text == "enabled")
}

fn path(unit: &str) -> PathBuf {
    Path::new(FOLDER).join(unit)
}
