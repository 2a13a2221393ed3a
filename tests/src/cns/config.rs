// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! How a CNS is set up, what can be made wrong with it, and what it counts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use super::zone::Naming;
use crate::datacenter::Facts;
use crate::dns_server::TCP_IDLE;

/// Where time comes from, so that a test can set serials.
pub type Clock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// An address or a network in `allow_transfer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// Network address.
    pub address: IpAddr,
    /// Length of the prefix in bits.
    pub mask: u8,
}

impl Cidr {
    /// Whether the network holds `ip`.
    pub fn holds(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let host_bits = 32 - u32::from(self.mask.min(32));
                let shift = |ip: Ipv4Addr| u32::from(ip).checked_shr(host_bits);
                shift(net) == shift(ip)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let host_bits = 128 - u32::from(self.mask.min(128));
                let shift =
                    |ip: Ipv6Addr| u128::from(ip).checked_shr(host_bits);
                shift(net) == shift(ip)
            }
            _ => false,
        }
    }
}

/// The text is neither an address nor `address/bits`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address or a network: {0}")]
pub struct CidrError(String);

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || CidrError(text.to_owned());
        let (address, mask) = match text.split_once('/') {
            Some((address, mask)) => (address, Some(mask)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let mask = match mask {
            Some(mask) => mask.parse().map_err(|_| error())?,
            None => longest,
        };
        if mask > longest {
            return Err(error());
        }
        Ok(Self { address, mask })
    }
}

/// The peer check and NOTIFY. Ports and times are settable for tests only.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// UDP port of every peer; 53.
    pub port: u16,
    /// From a transfer to the SOA query, and between two of them; 2 s.
    pub delay: Duration,
    /// How long a peer may take to answer a query; 2 s.
    pub timeout: Duration,
    /// `min_notify_interval`: NOTIFY and history clean-up; 5 s.
    pub notify_interval: Duration,
    /// How long a peer may take to answer a NOTIFY; 5 s.
    pub notify_timeout: Duration,
    /// How old a confirmed transfer must be until a peer that failed five
    /// times is notified again; 5 min.
    pub forgive_after: Duration,
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self {
            port: 53,
            delay: Duration::from_secs(2),
            timeout: Duration::from_secs(2),
            notify_interval: Duration::from_secs(5),
            notify_timeout: Duration::from_secs(5),
            forgive_after: Duration::from_secs(300),
        }
    }
}

/// The metadata of the `cns` SAPI service, and what is fixed in the code.
#[derive(Clone)]
pub struct CnsConfig {
    /// SOA mname and NS.
    pub my_name: String,
    /// SOA rname, written with an at sign.
    pub hostmaster: String,
    /// Who may transfer beside 127.0.0.1 and ::1.
    pub allow_transfer: Vec<Cidr>,
    /// How long a batch of changes stays open; 10 s.
    pub batch: Duration,
    /// TTL of all records but NS, in seconds.
    pub ttl: u32,
    /// SOA refresh in seconds.
    pub refresh: i32,
    /// SOA retry in seconds; larger than refresh in the real one.
    pub retry: i32,
    /// Which names there are.
    pub naming: Naming,
    /// Peer check and NOTIFY.
    pub peers: PeerConfig,
    /// Idle time of a TCP connection; 5 s.
    pub tcp_idle: Duration,
    /// Time for the serials.
    pub clock: Clock,
}

impl CnsConfig {
    /// What `sdcadm post-setup cns` leaves.
    pub fn new(facts: &Facts) -> Self {
        let (dc, domain) = (&facts.datacenter_name, &facts.dns_domain);
        Self {
            my_name: format!("cns.{dc}.{domain}"),
            hostmaster: format!("hostmaster@{domain}"),
            allow_transfer: Vec::new(),
            batch: Duration::from_secs(10),
            ttl: 30,
            refresh: 30,
            retry: 60,
            naming: Naming::new(facts),
            peers: PeerConfig::default(),
            tcp_idle: TCP_IDLE,
            clock: Arc::new(OffsetDateTime::now_utc),
        }
    }
}

/// What is wrong with this CNS just now; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Redis is empty: apex-only zones whose serial moves with the clock.
    /// When it ends, the first poll commits with the serial of the moment it
    /// began, so that the serial goes back; the history is gone.
    pub wiped: bool,
    /// Redis is down: no reply to any query.
    pub silent: bool,
    /// TCP transfers are cut after so many messages.
    pub cut_transfer_after: Option<usize>,
    /// Some records come twice in a full transfer.
    pub duplicate_records: bool,
    /// Transfers are REFUSED to everyone.
    pub refuse_transfer: bool,
    /// Incremental transfers have the right serials and no records.
    pub empty_diff: bool,
    /// The chain of an incremental transfer goes past its first SOA.
    pub late_commit: bool,
    /// New content comes under the old serial.
    pub same_serial: bool,
    /// SERVFAIL to every query.
    pub servfail_all: bool,
}

/// What was asked and done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// All queries that could be read, transfers included.
    pub queries: u64,
    /// SOA queries.
    pub soa: u64,
    /// Full transfers asked for.
    pub axfr: u64,
    /// Incremental transfers asked for.
    pub ixfr: u64,
    /// Those of them answered with differences.
    pub ixfr_differences: u64,
    /// Transfers refused.
    pub refused: u64,
    /// Queries left without a reply.
    pub dropped: u64,
    /// SOA queries sent to secondaries after a transfer.
    pub peer_checks: u64,
    /// NOTIFY messages sent.
    pub notify_sent: u64,
    /// Good responses to them.
    pub notify_answered: u64,
}
