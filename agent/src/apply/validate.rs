// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Each daemon's own checker over the staged file.

use std::path::Path;
use std::time::Duration;

use crate::host::{Exec, Host, HostError};

/// How long a checker may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs `check` with `{staged}` replaced by `staged`; an empty one approves.
///
/// Errors: what the checker said.
pub(super) async fn validate(
    host: &dyn Host,
    check: &[String],
    staged: &Path,
) -> Result<(), HostError> {
    if check.is_empty() {
        return Ok(());
    }
    let staged = staged.to_string_lossy();
    let argv: Vec<String> =
        check.iter().map(|word| word.replace("{staged}", &staged)).collect();
    let exec = Exec::new(&argv, CHECK_TIMEOUT);
    let finished = host.run(&exec).await?;
    if finished.success() {
        return Ok(());
    }
    Err(finished.into_error(&exec))
}
