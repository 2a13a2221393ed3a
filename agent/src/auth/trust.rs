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
use tracing::{info, warn};

use super::Write;
use super::keys::hex;
use crate::tls::{self, Shown};

/// Whose certificate is taken.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Trust {
    /// The first one that was seen, and no other ever after.
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
    /// Where the first one's digest is kept.
    path: PathBuf,
    write: Write,
    first: Mutex<First>,
    exact: Vec<CertificateDer<'static>>,
    chain: Option<Arc<WebPkiServerVerifier>>,
}

#[derive(Debug, Default)]
struct First {
    /// In force.
    kept: Option<String>,
    /// Whether it lies on disk: one that could not be written there is not one
    /// that an operator removed.
    on_disk: bool,
    /// Shown, and not kept before UFDS took our password as its own.
    shown: Option<String>,
}

impl Judge {
    pub(super) fn new(
        trust: &Trust,
        path: &Path,
        write: Write,
    ) -> Result<Arc<Self>, TrustError> {
        let mut first = First::default();
        let (mut exact, mut chain) = (Vec::new(), None);
        match trust {
            Trust::FirstUse => {
                first.kept = kept(path)?;
                first.on_disk = first.kept.is_some();
            }
            Trust::Certificates(pem) => {
                (exact, chain) = certificates(pem, &tls::provider())?;
            }
            Trust::Pins(_) => {}
            Trust::Insecure => warn!(
                "UFDS may show any certificate: whoever stands in between \
                 learns every password"
            ),
        }
        Ok(Arc::new(Self {
            trust: trust.clone(),
            path: path.to_owned(),
            write,
            first: Mutex::new(first),
            exact,
            chain,
        }))
    }

    /// TLS as this judge wants it.
    pub(super) fn config(self: &Arc<Self>) -> Arc<ClientConfig> {
        let judge = Arc::clone(self) as Arc<dyn tls::Judge>;
        let config = tls::builder()
            .dangerous()
            .with_custom_certificate_verifier(tls::judged_by(judge))
            .with_no_client_auth();
        Arc::new(config)
    }

    /// Whoever was shown took our password: from now on it is that one.
    pub(super) fn keep_first(&self) {
        let mut first =
            self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(shown) = first.shown.take() else { return };
        if first.kept.is_some() {
            return;
        }
        let path = self.path.display();
        match (self.write)(&self.path, format!("{shown}\n").as_bytes()) {
            Ok(()) => {
                first.on_disk = true;
                info!(
                    certificate = %shown, %path,
                    "the certificate of UFDS is pinned"
                );
            }
            Err(error) => warn!(
                err.message = %error, %path,
                "could not keep the certificate of UFDS"
            ),
        }
        first.kept = Some(shown);
    }

    /// Whether any that is shown now is taken for good.
    pub(super) fn is_open(&self) -> bool {
        self.trust == Trust::FirstUse && self.first().kept.is_none()
    }

    fn first(&self) -> MutexGuard<'_, First> {
        let mut first =
            self.first.lock().unwrap_or_else(PoisonError::into_inner);
        // An operator removed the file to have another one taken. One that
        // cannot be looked at was not removed.
        if first.on_disk && matches!(self.path.try_exists(), Ok(false)) {
            *first = First::default();
        }
        first
    }

    fn first_use(&self, digest: String) -> Result<(), Error> {
        let mut first = self.first();
        match &first.kept {
            Some(kept) if *kept == digest => Ok(()),
            Some(kept) => Err(Error::General(format!(
                "UFDS shows certificate {digest}, and {kept} is the one it \
                 showed first; if UFDS was made anew, remove {}",
                self.path.display()
            ))),
            None => {
                first.shown = Some(digest);
                Ok(())
            }
        }
    }
}

impl tls::Judge for Judge {
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error> {
        let digest = digest::digest(&digest::SHA256, shown.certificate);
        let digest = hex(digest.as_ref());
        match &self.trust {
            Trust::Insecure => Ok(()),
            Trust::FirstUse => self.first_use(digest),
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

/// Whether `text` is a digest as a pin has it.
pub fn is_pin(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn kept(path: &Path) -> Result<Option<String>, TrustError> {
    match std::fs::read_to_string(path) {
        // A file that holds no digest matches no certificate.
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TrustError::Read { path: path.to_owned(), source }),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Only a file that is certainly gone opens the door to another.
    #[test]
    fn a_pin_that_cannot_be_looked_at_stands() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("state");
        std::fs::create_dir(&inside).unwrap();
        let path = inside.join("ufds.sha256");
        let write: Write = |path, bytes| std::fs::write(path, bytes);
        let judge = Judge::new(&Trust::FirstUse, &path, write).unwrap();
        assert!(judge.is_open());
        judge.first_use("aa".to_owned()).unwrap();
        judge.keep_first();
        assert!(!judge.is_open());
        // Whoever looks fails, and not for want of the file.
        std::fs::rename(&inside, folder.path().join("moved")).unwrap();
        std::fs::write(&inside, "").unwrap();
        assert!(judge.first_use("bb".to_owned()).is_err());
        assert!(judge.first_use("aa".to_owned()).is_ok());
        std::fs::remove_file(&inside).unwrap();
        assert!(judge.is_open(), "an operator removed it");
        assert!(judge.first_use("bb".to_owned()).is_ok());
    }
}
