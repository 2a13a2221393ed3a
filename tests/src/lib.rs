// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! localdc: a small Triton datacenter on one machine. Stand-ins that speak
//! the real protocols, faults included; the tests and `make demo` share them.

pub mod agent_bench;
pub mod binder;
pub mod cmon;
pub mod cmon_judge;
pub mod cnapi;
pub mod cns;
pub mod datacenter;
pub mod demo;
mod dns_server;
#[cfg(test)]
mod dns_test_client;
pub mod fwapi;
pub mod grafana;
pub mod http;
pub mod image;
pub mod imgapi;
pub mod loopback;
pub mod lx;
pub mod measure;
pub mod metric_names;
pub mod name_server;
pub mod napi;
pub mod papi;
pub mod public_resolver;
pub mod sapi;
pub mod sites;
pub mod smf;
pub mod tags;
#[cfg(test)]
mod testing;
pub(crate) mod thanos;
pub mod triton;
pub mod ufds;
pub mod vmapi;
pub mod webhook;
pub mod world;
pub mod zone;

pub use dns_server::bind_both;
