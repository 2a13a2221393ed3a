// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Questions in, answers out: the sockets, the quick way for the common
//! question and the general way for every other.

pub(crate) mod answer;
pub(crate) mod fast;
pub(crate) mod front;
pub(crate) mod local;
pub(crate) mod offline;
pub(crate) mod resolve;
pub(crate) mod udp;
