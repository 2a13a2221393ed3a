// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Public resolvers that are asked by TLS (RFC 7858): which, under what name
//! their certificate is, and who vouches for it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::BuilderVerifierExt;

use super::line::Secure;
use crate::dns::error::DnsError;

/// One resolver to be asked by TLS wherever it is an upstream, and never
/// otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsUpstream {
    /// Its address, as the routes have it.
    pub address: IpAddr,
    /// Where it speaks TLS; 853 (RFC 7858 §3.1).
    pub port: u16,
    /// The name in its certificate.
    pub name: String,
}

/// All of them, and whom to trust.
#[derive(Clone, Debug, Default)]
pub struct TlsUpstreams {
    /// The resolvers.
    pub servers: Vec<TlsUpstream>,
    /// Certificates of the authorities that vouch for them, PEM; `None`: those
    /// of the system.
    pub authorities: Option<Vec<u8>>,
}

/// The same, ready for use.
#[derive(Clone, Default)]
pub(crate) struct SecureServers(Arc<HashMap<IpAddr, (u16, Secure)>>);

impl SecureServers {
    /// Errors: `Tls`: a name that is none, authorities that are no PEM.
    pub(crate) fn new(upstreams: &TlsUpstreams) -> Result<Self, DnsError> {
        if upstreams.servers.is_empty() {
            return Ok(Self::default());
        }
        let config = Arc::new(client(upstreams.authorities.as_deref())?);
        let mut servers = HashMap::new();
        for server in &upstreams.servers {
            let name = ServerName::try_from(server.name.clone());
            let name = name.map_err(|cause| DnsError::Tls {
                what: format!("the name {:?}", server.name),
                source: cause.into(),
            })?;
            let name = name.to_str().into_owned().into();
            let secure = Secure { config: Arc::clone(&config), name };
            servers.insert(server.address, (server.port, secure));
        }
        Ok(Self(Arc::new(servers)))
    }

    /// Where and how this upstream is asked, if by TLS.
    pub(crate) fn find(
        &self,
        upstream: SocketAddr,
    ) -> Option<(SocketAddr, Secure)> {
        let (port, secure) = self.0.get(&upstream.ip())?;
        Some((SocketAddr::new(upstream.ip(), *port), secure.clone()))
    }
}

/// `None`: the authorities of the system.
fn client(authorities: Option<&[u8]>) -> Result<ClientConfig, DnsError> {
    let what = || "the authorities".to_owned();
    let failed = |cause: rustls::Error| DnsError::Tls {
        what: what(),
        source: cause.into(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let Some(authorities) = authorities else {
        let builder = builder.with_platform_verifier().map_err(failed)?;
        return Ok(builder.with_no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities) {
        let certificate = certificate.map_err(|cause| DnsError::Tls {
            what: what(),
            source: Box::new(cause),
        })?;
        roots.add(certificate).map_err(failed)?;
    }
    if roots.is_empty() {
        // An empty file, or none of certificates: then nobody is trusted, and
        // it is better said now than with every question.
        return Err(DnsError::Tls {
            what: what(),
            source: "the file has no certificate".into(),
        });
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_authorities_is_a_fault_and_not_the_systems() {
        for authorities in ["", "no PEM at all"] {
            let upstreams = TlsUpstreams {
                servers: vec![TlsUpstream {
                    address: "192.0.2.53".parse().unwrap(),
                    port: 853,
                    name: "dns.example.net".to_owned(),
                }],
                authorities: Some(authorities.as_bytes().to_vec()),
            };
            let error = SecureServers::new(&upstreams).err().unwrap();
            assert!(error.chain().contains("no certificate"), "{error:?}");
        }
    }
}
