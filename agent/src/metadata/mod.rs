// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What SAPI tells us: wire forms in, a `Model` out.

pub mod auto;
pub mod config;
mod grammar;
pub mod local;
pub mod meaning;
pub mod names;
pub mod peers;
pub mod poll;
pub mod resolve;
pub mod setting;
pub mod table;
pub mod watch;
pub mod wire;
