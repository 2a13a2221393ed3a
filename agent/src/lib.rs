// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! config-agent and monadm: Prometheus, Thanos and Grafana as core services
//! of Triton and Manta.
//!
//! The rooms in reading order: `metadata` (what SAPI tells us), `model` (what
//! we mean), `render` (files in memory), `apply` (files in force), `walk`
//! (these four as one pass), `dns` (the embedded name server), `certgen` (the
//! CMON client certificate), `triton` (one client per API), `host` (the
//! operating system around us), `lint` (files whose daemon cannot judge them),
//! `setup` (a fresh root becomes a zone in which all this can run), `shard`
//! (which Prometheus pair scrapes which instance), `deploy` (an operator's tool
//! and the APIs of a datacenter).
//!
//! A daemon of its own: `auth` (who may see Grafana).
//!
//! Loops beside the walk: `discovery` (who knows names, who else monitors),
//! `probe` (CMON asked as Prometheus asks it), `daemons` (do they run),
//! `status` (what all of it looks like). `run` starts them, `cli` is the way
//! in, `config` the agent's own file, `log` bunyan lines.

pub mod apply;
pub mod auth;
pub mod certgen;
pub mod cli;
pub mod config;
pub mod daemons;
pub mod deploy;
pub mod discovery;
pub mod dns;
pub mod host;
pub mod lint;
pub mod log;
pub mod metadata;
pub mod model;
pub mod probe;
pub mod render;
pub mod run;
pub mod setup;
pub mod shard;
pub mod status;
mod tls;
pub mod triton;
pub mod walk;
