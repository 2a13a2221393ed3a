// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Whose certificate UFDS may show. Its own is self-signed, for `*`, without
//! names, and in older images made anew with each reprovision: so names
//! cannot be checked, and a pin is what there is. The root password of the
//! whole cloud goes over this connection.
//! Source: contract sheet on UFDS, "Server and transport".

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, Error, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use tracing::warn;

use super::Write;
use super::first_use::FirstUse;
use super::keys::hex;
use crate::tls::{self, Shown};

/// Whose certificate is taken.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Trust {
    /// The first one that was seen at each configured address, and no other
    /// there ever after: each UFDS has made its own.
    FirstUse,
    /// Certificates with these SHA-256 digests, 64 hex digits each.
    Pins(Vec<String>),
    /// One of these in PEM, or one that these authorities signed for the
    /// name that was asked.
    Certificates(String),
    /// Any. Whoever stands in between learns every password.
    Insecure,
}

/// Why there is no trust to begin with.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// No certificates, or none that can be an authority's.
    #[error("the certificates that UFDS may show cannot be used: {reason}")]
    Certificates {
        /// What is wrong.
        reason: String,
    },
    /// The file of the first one cannot be read.
    #[error("could not read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// Judges what UFDS shows, and remembers the first.
#[derive(Debug)]
pub(super) struct Judge {
    trust: Trust,
    first: Mutex<FirstUse>,
    exact: Vec<CertificateDer<'static>>,
    chain: Option<Arc<WebPkiServerVerifier>>,
}

/// What is shown at one address, as it is configured.
#[derive(Debug)]
struct At {
    judge: Arc<Judge>,
    address: String,
}

impl Judge {
    /// `path`: where digests of the first ones are kept. `addresses`: as they
    /// are configured.
    pub(super) fn new(
        trust: &Trust,
        path: &Path,
        addresses: &[String],
        write: Write,
    ) -> Result<Arc<Self>, TrustError> {
        let mut first = FirstUse::new(path, addresses, write);
        let (mut exact, mut chain) = (Vec::new(), None);
        match trust {
            Trust::FirstUse => first.load().map_err(|source| {
                TrustError::Read { path: path.to_owned(), source }
            })?,
            Trust::Certificates(pem) => {
                (exact, chain) = certificates(pem, &tls::provider())?;
            }
            Trust::Pins(_) => {}
            Trust::Insecure => warn!(
                "UFDS may show any certificate: whoever stands in between \
                 learns every password"
            ),
        }
        let (trust, first) = (trust.clone(), Mutex::new(first));
        Ok(Arc::new(Self { trust, first, exact, chain }))
    }

    /// TLS with `address`, as this judge wants it.
    pub(super) fn config(self: &Arc<Self>, address: &str) -> Arc<ClientConfig> {
        let at = At { judge: Arc::clone(self), address: address.to_owned() };
        let config = tls::builder()
            .dangerous()
            .with_custom_certificate_verifier(tls::judged_by(Arc::new(at)))
            .with_no_client_auth();
        Arc::new(config)
    }

    /// Whoever was shown there took our password: from now on it is that one.
    pub(super) fn keep_first(&self, address: &str) {
        self.first().keep(address);
    }

    /// Whether any that is shown there now is taken for good.
    pub(super) fn is_open(&self, address: &str) -> bool {
        self.trust == Trust::FirstUse && self.first().is_open(address)
    }

    fn first(&self) -> MutexGuard<'_, FirstUse> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(&self, address: &str, shown: &Shown<'_>) -> Result<(), Error> {
        let digest = digest::digest(&digest::SHA256, shown.certificate);
        let digest = hex(digest.as_ref());
        match &self.trust {
            Trust::Insecure => Ok(()),
            Trust::FirstUse => self.first().judge(address, digest),
            Trust::Pins(pins) => {
                let is = |pin: &String| pin.eq_ignore_ascii_case(&digest);
                match pins.iter().any(is) {
                    true => Ok(()),
                    false => Err(Error::General(format!(
                        "UFDS shows certificate {digest}, which is not pinned"
                    ))),
                }
            }
            Trust::Certificates(_) => {
                let known = |one: &CertificateDer<'_>| one == shown.certificate;
                if self.exact.iter().any(known) {
                    return Ok(());
                }
                let refused = || {
                    Error::General(format!(
                        "UFDS shows certificate {digest}, which is not given"
                    ))
                };
                let chain = self.chain.as_ref().ok_or_else(refused)?;
                let traced = chain.verify_server_cert(
                    shown.certificate,
                    shown.intermediates,
                    shown.name,
                    shown.ocsp,
                    shown.now,
                );
                traced.map(drop)
            }
        }
    }
}

impl tls::Judge for At {
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error> {
        self.judge.judge(&self.address, shown)
    }
}

/// Whether `text` is a digest as a pin has it.
pub fn is_pin(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

type Given = (Vec<CertificateDer<'static>>, Option<Arc<WebPkiServerVerifier>>);

fn certificates(
    pem: &str,
    provider: &Arc<CryptoProvider>,
) -> Result<Given, TrustError> {
    let bad = |reason: String| TrustError::Certificates { reason };
    let exact = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bad(error.to_string()))?;
    if exact.is_empty() {
        return Err(bad("none in PEM".to_owned()));
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(exact.iter().cloned());
    let chain = match added {
        0 => None,
        _ => Some(
            WebPkiServerVerifier::builder_with_provider(
                Arc::new(roots),
                Arc::clone(provider),
            )
            .build()
            .map_err(|error| bad(error.to_string()))?,
        ),
    };
    Ok((exact, chain))
}
