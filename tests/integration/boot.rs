// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What happens inside a zone at boot, by `boot/`, `smf/` and verb setup: LX
//! zones by the real systemd. All of it needs root.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

mod lx;
