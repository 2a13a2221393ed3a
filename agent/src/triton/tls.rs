// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! TLS towards those that speak it: CMON, which knows its clients by their
//! certificate and whose own may be self-signed, and the updates server.

use std::sync::Arc;

use rustls::{ClientConfig, Error, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use rustls_platform_verifier::BuilderVerifierExt;

use super::Cause;
use crate::tls::{Judge, Shown, builder, judged_by};

/// For clients that meet no TLS.
pub(super) fn trusting_nobody() -> ClientConfig {
    builder()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

/// A client that shows no certificate, to servers that the system trusts.
///
/// Errors: the system's authorities cannot be read.
pub(super) fn trusting_system() -> Result<ClientConfig, Cause> {
    Ok(builder().with_platform_verifier()?.with_no_client_auth())
}

/// A client that shows no certificate and takes whatever it is shown.
pub(super) fn trusting_anyone() -> ClientConfig {
    builder()
        .dangerous()
        .with_custom_certificate_verifier(judged_by(Arc::new(Anyone)))
        .with_no_client_auth()
}

/// A client that shows the certificate in `certificate`, PEM with its chain,
/// and signs with the key in `key`, PEM. Without `verify` whatever the server
/// shows is taken.
///
/// Errors: not PEM, no key, no certificate, or the two do not match.
pub(super) fn identified(
    key: &[u8],
    certificate: &[u8],
    verify: bool,
) -> Result<ClientConfig, Cause> {
    let key = PrivateKeyDer::from_pem_slice(key)?;
    let chain = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<Vec<_>, _>>()?;
    let builder = match verify {
        true => builder().with_platform_verifier()?,
        false => builder()
            .dangerous()
            .with_custom_certificate_verifier(judged_by(Arc::new(Anyone))),
    };
    Ok(builder.with_client_auth_cert(chain, key)?)
}

/// Takes any certificate.
#[derive(Debug)]
struct Anyone;

impl Judge for Anyone {
    fn judge(&self, _: &Shown<'_>) -> Result<(), Error> {
        Ok(())
    }
}
