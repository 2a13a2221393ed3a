// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Everything that can go wrong in this room, by step.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::tally::Outcome;

/// A cause whose type stays inside the room.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why the name server, a transfer or a lookup failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DnsError {
    /// A listener could not be bound.
    #[error("could not listen on {addr}")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The folder of zone files, or a file in it, could not be used.
    #[error("could not use {}", path.display())]
    Store {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A zone file is not what we wrote.
    #[error("zone file is damaged: {reason}")]
    Damaged {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A listener stopped by itself.
    #[error("the server stopped answering")]
    Server {
        /// What it said.
        #[source]
        source: Cause,
    },
    /// The keys that DNSSEC starts from cannot be used.
    #[error("could not use the trust anchors in {}", path.display())]
    Anchors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Cause,
    },
    /// A socket towards a server failed.
    #[error("could not talk to {server}")]
    Network {
        /// The server.
        server: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A server kept silent.
    #[error("{server} did not answer within {limit:?}")]
    Silent {
        /// The server.
        server: SocketAddr,
        /// How long we waited.
        limit: Duration,
    },
    /// TLS towards public resolvers cannot be set up.
    #[error("TLS to upstreams: could not use {what}")]
    Tls {
        /// Which part of the settings.
        what: String,
        /// What is wrong with it.
        #[source]
        source: Cause,
    },
    /// A server sent bytes that are no DNS message, or our query was none.
    #[error("bad message ({server})")]
    Message {
        /// The server.
        server: SocketAddr,
        /// What the decoder said.
        #[source]
        source: Cause,
    },
    /// A server answered, but not with what was asked.
    #[error("{server} answered {rcode}")]
    Rcode {
        /// The server.
        server: SocketAddr,
        /// Its response code, in words.
        rcode: String,
    },
    /// The primary lets somebody else transfer, not us.
    #[error(
        "{server} refuses the transfer (REFUSED): allow_transfer of the cns \
         service must hold this zone's address"
    )]
    NotAllowed {
        /// The primary.
        server: SocketAddr,
    },
    /// A transfer broke the rules of RFC 5936, or our limits.
    #[error("transfer from {server} refused: {reason}")]
    Transfer {
        /// The primary.
        server: SocketAddr,
        /// Which rule.
        reason: String,
    },
    /// An incremental transfer that must not be used, though a full one may.
    #[error("differences from {server} not used: {reason}")]
    Differences {
        /// The primary.
        server: SocketAddr,
        /// What is odd about them.
        reason: String,
    },
    /// An answer of a primary is not signed as agreed.
    #[error("signature (TSIG) with {server}")]
    Signature {
        /// The primary.
        server: SocketAddr,
        /// What is wrong with it.
        #[source]
        source: Cause,
    },
    /// A zone is not replaced by an empty or much smaller one at once.
    #[error(
        "zone from {server} held back: {records} records in place of {held}"
    )]
    HeldBack {
        /// The primary with the smaller zone.
        server: SocketAddr,
        /// Its records.
        records: usize,
        /// Those of the version in force.
        held: usize,
    },
    /// No primary of the zone could be used.
    #[error("no primary could be used")]
    NoPrimary,
    /// The text is no domain name.
    #[error("{name:?} is not a domain name")]
    BadName {
        /// The text.
        name: String,
    },
    /// The text is no type of records.
    #[error("{text:?} is not a type of records")]
    BadType {
        /// The text.
        text: String,
    },
    /// Nothing came of a refresh that an operator asked for.
    #[error("no outcome within {limit:?}; it goes on")]
    NotRefreshed {
        /// How long we waited.
        limit: Duration,
    },
    /// The name exists, but not with an address; or does not exist.
    #[error("{name} has no address ({rcode})")]
    NoAddress {
        /// The name.
        name: String,
        /// The response code, in words.
        rcode: String,
    },
}

impl DnsError {
    /// What asking a primary came to.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::NotAllowed { .. } => Outcome::Refused,
            Self::Silent { .. } => Outcome::Silent,
            Self::Network { .. } => Outcome::Network,
            Self::Rcode { .. } | Self::Message { .. } => Outcome::Answer,
            Self::Signature { .. } => Outcome::Signature,
            Self::HeldBack { .. } => Outcome::HeldBack,
            _ => Outcome::Invalid,
        }
    }

    /// The message with all causes, for logs and status.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }
}
