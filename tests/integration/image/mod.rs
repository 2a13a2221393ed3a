// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Images, judged by the programs that take them.

/// Pins of what Debian's Go compiles.
macro_rules! pins_with_go {
    ($pins:literal) => {
        concat!(
            r#"
[go]
version = "1.19"
licence = "BSD-3-Clause"
homepage = "https://go.dev/"

[go.any]
kind = "toolchain"
host = "go1.19"
"#,
            $pins
        )
    };
}

mod alertmanager;
mod build;
mod debian;
mod go;
mod kinds;
mod machine;
mod modules;
mod native;
mod publish;
mod refuse;
mod shipped;
mod stream;
mod tar;
mod verify;

use std::path::Path;
use std::process::Command;

/// A program that lies beside zone-image.
fn beside() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_localdc"))
}

/// A program of this machine.
#[expect(clippy::disallowed_methods, reason = "tests may start anything")]
fn command(program: &str) -> Command {
    Command::new(program)
}
