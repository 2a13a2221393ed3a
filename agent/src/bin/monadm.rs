// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! monadm: the operator's tool, on the headnode.

use std::process::ExitCode;

fn main() -> ExitCode {
    monitoring_agent::cli::monadm(std::env::args_os())
}
