// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A secondary of other servers' zones: asks, transfers, judges what came,
//! puts it in force, and hears NOTIFY.
//!
//! ```text
//! refresh ──▶ transfer ──▶ obtain ──▶ fetch ──▶ wire · incoming
//!    ▲           │
//!  notify      judge · guard ──▶ install ──▶ store
//! ```
//!
//! `incoming` and `wire` are pure: bytes in, a version or a reason out.

pub(crate) mod doorstep;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
pub(crate) mod fake_ixfr;
pub(crate) mod fetch;
pub(crate) mod guard;
pub(crate) mod health;
pub(crate) mod incoming;
pub(crate) mod install;
pub(crate) mod judge;
pub(crate) mod notify;
pub(crate) mod obtain;
pub(crate) mod refresh;
pub(crate) mod replay;
pub(crate) mod saver;
pub(crate) mod transfer;
pub(crate) mod tsig;
pub(crate) mod turns;
pub(crate) mod wire;
