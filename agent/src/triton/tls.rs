// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! TLS towards those that speak it: CMON, which knows its clients by their
//! certificate and whose own may be self-signed, and the updates server.

use std::sync::Arc;

use rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use rustls::crypto::CryptoProvider;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls_platform_verifier::BuilderVerifierExt;

use super::Cause;

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
        .with_custom_certificate_verifier(Arc::new(Anyone(provider())))
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
            .with_custom_certificate_verifier(Arc::new(Anyone(provider()))),
    };
    Ok(builder.with_client_auth_cert(chain, key)?)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring knows the suites of every version")
}

/// Takes any certificate, but not any signature: who holds the key of what
/// was shown is still proven.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
