// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Questions in, answers out: the sockets, the quick way for the common
//! question and the general way for every other.

pub(crate) mod answer;
pub(crate) mod clients;
mod connection;
mod cut;
pub(crate) mod fast;
mod forwarded;
pub(crate) mod front;
pub(crate) mod general;
pub(crate) mod local;
pub(crate) mod offline;
mod plain;
mod reply;
pub(crate) mod resolve;
pub(crate) mod synthetic;
pub(crate) mod tcp;
pub(crate) mod udp;
