// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What every program of ours begins with: its command line, and the scripts
//! by which a shell completes it. zone-image uses it, too.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use clap_complete::Shell;

/// Exit code: the command line makes no sense (sysexits EX_USAGE).
pub const USAGE: u8 = 64;

/// The command line, understood.
///
/// Errors: the exit code, with help, version or what is wrong printed.
pub fn parse<C: Parser>(
    args: impl IntoIterator<Item = OsString>,
) -> Result<C, ExitCode> {
    C::try_parse_from(args).map_err(|error| {
        // Nobody reads it: nothing to be done.
        let _ = error.print();
        match error.use_stderr() {
            true => ExitCode::from(USAGE),
            false => ExitCode::SUCCESS,
        }
    })
}

/// Prints the completion script of program `name` for a shell.
pub fn complete<C: CommandFactory>(shell: Shell, name: &str) {
    let mut out = std::io::stdout();
    clap_complete::generate(shell, &mut C::command(), name, &mut out);
}
