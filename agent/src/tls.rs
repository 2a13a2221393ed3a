// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What all our TLS clients begin with, and the servers that show certificates
//! of their own making: what is shown may be judged otherwise than by names and
//! authorities, but who holds its key is proven in every case.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use rustls::crypto::CryptoProvider;
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, SignatureScheme,
    WantsVerifier,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Whose cryptography is used.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A client, whose servers are yet to be judged somehow.
pub(crate) fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring knows the suites of every version")
}

/// What a server shows.
pub(crate) struct Shown<'a> {
    /// Its own certificate.
    pub(crate) certificate: &'a CertificateDer<'a>,
    /// Those it is to be traced back by.
    pub(crate) intermediates: &'a [CertificateDer<'a>],
    /// How it was called.
    pub(crate) name: &'a ServerName<'a>,
    /// What it says of its revocation.
    pub(crate) ocsp: &'a [u8],
    /// When.
    pub(crate) now: UnixTime,
}

/// Decides whether what a server shows will do.
pub(crate) trait Judge: fmt::Debug + Send + Sync {
    /// Errors: it will not, and why.
    fn judge(&self, shown: &Shown<'_>) -> Result<(), Error>;
}

/// A verifier that has a judge for certificates.
pub(crate) fn judged_by(judge: Arc<dyn Judge>) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Judged { judge, provider: provider() })
}

#[derive(Debug)]
struct Judged {
    judge: Arc<dyn Judge>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Judged {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = Shown { certificate, intermediates, name, ocsp, now };
        self.judge.judge(&shown)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
