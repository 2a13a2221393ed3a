// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The client certificate for CMON, signed by the key of the account (admin
//! or poseidon) that owns the zones to be watched.
//!
//! CMON has no list of authorities. It takes the login from the subject's CN,
//! the signing key's MD5 fingerprint from the issuer's CN, and looks that key
//! up on the account. So the "issuer" here is a public key, not a CA.
//!
//! `server` is another matter: the certificate of the zone's own web server.
//! So is `region`: those by which Thanos zones of several regions know each
//! other, under an authority of the operator's.
//!
//! `key` reads the account key, `cert` writes and reads certificates (both
//! pure), `ensure` keeps a good pair on disk, `source` knows where SAPI and
//! the image put the account key. Asking CMON whether it agrees, and telling
//! daemons, is left to others.

mod cert;
mod container;
mod der;
mod ensure;
mod fingerprint;
mod key;
mod region;
mod server;
mod source;

use std::error::Error as StdError;
use std::path::PathBuf;

pub use cert::{
    CertInfo, DEFAULT_LIFETIME, Found, Issued, RenewalReason, inspect, issue,
    load, needs_renewal,
};
pub use ensure::{CertPaths, Ensured, ensure};
pub use fingerprint::{BadFingerprint, Fingerprint};
pub use key::{AccountKey, KeyKind};
pub use region::{
    Authority, MadeAuthority, RegionPaths, Zonal, ensure_region, judge_given,
    make_authority,
};
pub use server::{Served, ServerPaths, ends, ensure_server};
pub use source::{
    MANTA_ACCOUNT_KEY_FILE, TRITON_ACCOUNT_KEY_FILE, account_key_file,
    account_key_from_metadata, login_from_metadata,
};

/// What can go wrong in this room. No variant carries key material.
#[derive(Debug, thiserror::Error)]
pub enum CertgenError {
    /// The bytes hold no private key in a container we read.
    #[error(
        "no private key found: saw {seen}; accepted is an unencrypted PEM \
         of PKCS#1, PKCS#8, SEC1 or OpenSSH"
    )]
    NoPrivateKey {
        /// What was there instead.
        seen: String,
    },
    /// The key is behind a passphrase, which nobody is there to type.
    #[error(
        "the private key is encrypted ({seen}); accepted is an unencrypted \
         PEM of PKCS#1, PKCS#8, SEC1 or OpenSSH"
    )]
    Encrypted {
        /// Container, and cipher where it is known.
        seen: String,
    },
    /// A sound container with a key that cannot sign for us.
    #[error(
        "cannot sign with {seen}; accepted are RSA of 2048 to 4096 bits, \
         ECDSA P-256 and P-384, Ed25519"
    )]
    UnsupportedKey {
        /// Type and size of the key.
        seen: String,
    },
    /// The container is damaged or says contradictory things.
    #[error("the {container} private key is damaged: {why}")]
    Damaged {
        /// Container's name.
        container: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The login cannot stand in a certificate's CN.
    #[error(
        "login {login:?} does not fit a certificate: wanted are 1 to 64 \
         printable ASCII characters"
    )]
    Login {
        /// The login, shortened.
        login: String,
    },
    /// The clock is so wrong that a certificate would help nobody.
    #[error("the clock reads {now}: wanted is a time from 2020 to 2049")]
    Clock {
        /// Time as given.
        now: time::OffsetDateTime,
    },
    /// Making or signing the certificate failed.
    #[error("could not sign the client certificate")]
    Sign(#[source] Box<dyn StdError + Send + Sync>),
    /// The bytes are no certificate we can read.
    #[error("unreadable certificate: {why}")]
    Certificate {
        /// What is wrong with it.
        why: String,
    },
    /// The server's key and certificate cannot be used together.
    #[error("{why}; put both in place, or remove both to have them made")]
    Pair {
        /// What is wrong.
        why: String,
    },
    /// The authority cannot sign for zones.
    #[error("the authority {why}")]
    Authority {
        /// What is wrong with it.
        why: String,
    },
    /// A file operation failed.
    #[error("could not {doing} {}", path.display())]
    Io {
        /// The step, as a verb.
        doing: &'static str,
        /// File or folder.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// Another process writes the pair right now; try again later.
    #[error("another process holds {}", lock.display())]
    Busy {
        /// The lock file.
        lock: PathBuf,
    },
}
