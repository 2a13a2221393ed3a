// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The secondary against real primaries, BIND, Knot and NSD, and against
//! CNS's stand-in with its traps. After each quiet point our zone equals the
//! primary's, record by record.
#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

mod battery;
mod cns;
mod history;
mod line;
mod lossy;
pub(crate) mod ours;
pub(crate) mod real;
