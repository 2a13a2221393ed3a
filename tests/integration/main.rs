// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Whole programs against the stand-ins, on addresses of their own.

mod agent_dns;
mod agent_files;
mod agent_kill;
mod agent_prometheus;
mod agent_run;
mod agent_sapi;
mod agent_secrets;
mod agent_status;
mod auth;
mod boot;
mod dashboards;
mod dns_answers;
mod dns_dnssec;
mod dns_faults;
mod dns_resolvers;
mod dns_secondary;
mod dns_tls;
mod e2e;
mod grafana;
mod image;
mod metadata;
mod monadm;
mod peers;
mod prometheus_zone;
mod rules;
mod thanos;
mod told;
mod units;
mod zone;
