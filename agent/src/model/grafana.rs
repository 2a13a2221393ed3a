// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Server, data sources and front of a zone's Grafana.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Serialize;

use super::Secret;
use super::zone::GoLimits;

/// Where Grafana's own metrics are answered: on loopback, and to Prometheus
/// on the admin network.
pub const METRICS_PORT: u16 = 9167;

/// Path of the sign-in proxy's metrics there.
pub const SIGN_IN_METRICS: &str = "/sign-in/metrics";

/// The settings of a zone's Grafana and of nginx before it, checked and
/// complete.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Grafana {
    /// Sockets, pid files and temporary files; on the zone's own file system,
    /// since the platform empties `/var/run` at boot.
    pub run: PathBuf,
    /// Name that links and cookies are for.
    pub domain: String,
    /// URL that people use, with a slash at its end.
    pub root_url: String,
    /// What is asked, the default one first; never two of one name or uid.
    pub data_sources: Vec<DataSource>,
    /// Names of data sources that are deleted first: those of today's images,
    /// which have no uid and would conflict.
    pub replaced: Vec<String>,
    /// `host:port` of every data source; Grafana asks nobody else.
    pub reachable: Vec<String>,
    /// The dashboard people see first, a file.
    pub home_dashboard: PathBuf,
    /// Whether pages hold a WebSocket for what is pushed to them.
    pub live: bool,
    /// Seconds a query may take.
    pub query_timeout_seconds: u32,
    /// `debug`, `info`, `warn` or `error`.
    pub log_level: String,
    /// nginx.
    pub front: Front,
    /// The sign-in proxy; `None` while it cannot be told where UFDS is.
    pub sign_in: Option<SignIn>,
    /// What the names of the headers end with that tell Grafana who somebody
    /// is: a dash and a random text of this zone, or nothing where no secrets
    /// are kept. A process that does not know it cannot claim to be anyone.
    pub identity: String,
    /// Limits of its Go runtime.
    pub limits: GoLimits,
}

/// A Prometheus or a Thanos querier, as Grafana knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DataSource {
    /// What people choose.
    pub name: String,
    /// What links and dashboards hold, 40 characters at most. Follows from
    /// the name alone: Grafana does not start when one changes without the
    /// other.
    pub uid: String,
    /// Base URL, without a slash at its end.
    pub url: String,
    /// What answers there.
    pub kind: SourceKind,
    /// Seconds between two samples; the least step of a graph.
    pub scrape_interval_seconds: u32,
    /// PEM of the authorities its certificate may come from.
    pub ca: Option<String>,
    /// Name its certificate is for, where that is not the URL's.
    pub server_name: Option<String>,
}

/// What answers at a data source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum SourceKind {
    /// One Prometheus.
    Prometheus,
    /// Thanos: many of them as one.
    Thanos,
}

/// The sign-in proxy's own configuration, in the shape of its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignIn {
    /// Unix socket that nginx asks at.
    pub socket: PathBuf,
    /// Its folder on the data folder.
    pub state: PathBuf,
    /// Users who may connect: nginx'.
    pub peers: Vec<String>,
    /// What people see above the form.
    pub title: String,
    /// `debug`, `info`, `warn` or `error`.
    pub log_level: String,
    /// UFDS.
    pub ufds: Ufds,
    /// What UFDS' groups are to Grafana.
    pub roles: Roles,
    /// `ufds` or `synthetic`.
    pub email: String,
    /// Seconds after which an unused session ends.
    pub session_idle_seconds: u32,
    /// Seconds after which any session ends.
    pub session_seconds: u32,
    /// Whether tokens of service accounts pass.
    pub tokens: bool,
}

/// Where UFDS is, and who asks it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ufds {
    /// `host:port` of the master, the best first.
    pub addresses: Vec<String>,
    /// DN of its root.
    pub bind_dn: String,
    /// Its password.
    pub password: Secret<String>,
    /// Whose certificate it may show.
    pub trust: Trust,
}

/// Whose certificate UFDS may show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// The first one that was seen.
    FirstUse,
    /// Those with these SHA-256 digests.
    Pins(Vec<String>),
    /// These, or those that they signed; PEM.
    Certificates(String),
    /// Any.
    Insecure,
}

/// What the members of UFDS' groups are to Grafana, in its words; `None`
/// keeps them out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Roles {
    /// Of `cn=operators`.
    pub operators: Option<String>,
    /// Of `cn=readers`.
    pub readers: Option<String>,
}

/// nginx before Grafana: TLS, and nobody in who did not sign in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Front {
    /// Where it answers by TLS, `address:port` each.
    pub listen: Vec<String>,
    /// Where it sends people to TLS.
    pub redirect_listen: Vec<String>,
    /// The TLS port with a colon before it, unless it is 443.
    pub port_suffix: String,
    /// Where metrics and health are answered to anybody: loopback, and what
    /// an operator adds.
    pub metrics_listen: Vec<String>,
    /// Where metrics are answered to `scrapers` and nobody else: the zone's
    /// admin addresses. Empty while there is no scraper.
    pub scrape_listen: Vec<String>,
    /// Addresses of this datacenter's Prometheus instances.
    pub scrapers: Vec<IpAddr>,
    /// Names and addresses of a certificate that we make.
    pub names: Vec<String>,
    /// Where the sign-in proxy is asked, as nginx spells it; it lies under
    /// `run`.
    pub auth: String,
    /// Largest request, MiB.
    pub body_mib: u64,
    /// Requests a second from one address.
    pub requests_per_second: u64,
    /// Requests at a time from one address.
    pub connections: u64,
}
