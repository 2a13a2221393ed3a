// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The part of the report about certificates: what is left of each one's life.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::walk::{CertStatus, ServedCertificate};

/// The CMON client certificate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CertificatePart {
    /// Account login.
    pub login: String,
    /// MD5 fingerprint of the account key.
    pub fingerprint: String,
    /// Seconds of life left; negative when it is over.
    pub expires_in_seconds: i64,
}

impl CertificatePart {
    pub(super) fn new(certificate: CertStatus, now: SystemTime) -> Self {
        Self {
            login: certificate.login,
            fingerprint: certificate.fingerprint,
            expires_in_seconds: left(now, certificate.not_after),
        }
    }
}

/// A certificate that a daemon of the zone shows to whoever connects.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServedPart {
    /// Its file.
    pub file: String,
    /// Seconds of life left; negative when it is over.
    pub expires_in_seconds: i64,
}

impl ServedPart {
    pub(super) fn new(certificate: ServedCertificate, now: SystemTime) -> Self {
        Self {
            file: certificate.file,
            expires_in_seconds: left(now, certificate.not_after),
        }
    }
}

/// Seconds from `now` to `then`; negative when that is past.
fn left(now: SystemTime, then: SystemTime) -> i64 {
    let seconds = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
    match then.duration_since(now) {
        Ok(left) => seconds(left),
        Err(over) => -seconds(over.duration()),
    }
}
