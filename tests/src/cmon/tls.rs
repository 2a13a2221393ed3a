// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! TLS as CMON's Node 6 offers it: TLS 1.2 at most, a self-signed `*.triton`
//! without SAN, a client certificate asked for but neither required nor
//! judged (that is the application's affair). Only the handshake signature is
//! checked: the client must hold the key of what it presents.

use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
};
use time::{Duration, OffsetDateTime};
use tokio_rustls::TlsAcceptor;

/// Why a listener's TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate could not be made.
    #[error("could not make the server certificate")]
    Certificate(#[from] rcgen::Error),
    /// rustls does not take the key or certificate.
    #[error("could not set up TLS")]
    Setup(#[from] rustls::Error),
}

/// A server certificate with its key.
#[derive(Debug)]
pub struct ServerIdentity {
    certificate: CertificateDer<'static>,
    /// rustls and rcgen hide keys in their own `Debug`.
    key: PrivateKeyDer<'static>,
}

impl ServerIdentity {
    /// As CMON makes it at first setup: `CN=*.triton`, EC P-256, 365 days,
    /// no SAN.
    pub fn default_of_cmon() -> Result<Self, TlsError> {
        Self::self_signed("*.triton", &[])
    }

    /// As an operator installs it: with these SANs, for instance
    /// `cmon.dc1.cns.triton.test` and `*.cmon.dc1.cns.triton.test`.
    pub fn with_names(names: &[String]) -> Result<Self, TlsError> {
        let common_name = names.first().map_or("*.triton", String::as_str);
        Self::self_signed(common_name, names)
    }

    /// The certificate in DER, for a client that is to trust it.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate
    }

    fn self_signed(cn: &str, names: &[String]) -> Result<Self, TlsError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, cn);
        let now = OffsetDateTime::now_utc();
        params.not_before = now - Duration::minutes(1);
        params.not_after = now + Duration::days(365);
        let certificate = params.self_signed(&key)?;
        let key = PrivateKeyDer::try_from(key.serialize_der())
            .map_err(|why| rustls::Error::General(why.to_owned()))?;
        Ok(Self { certificate: certificate.der().clone(), key })
    }

    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let verifier = AnyCertificate { provider: provider.clone() };
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_single_cert(
                vec![self.certificate.clone()],
                self.key.clone_key(),
            )?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Lets every certificate through to the application.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error>
    {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, leaf, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error>
    {
        Err(rustls::Error::General("TLS 1.2 only".to_owned()))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
