// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! From a URL to a connection: names by the embedded name server or by the
//! system's resolver, TCP, and TLS where the URL asks for it.

use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use rustls::ClientConfig;
use tower_service::Service;

use super::{Cause, Lookup, tls};

/// Limit on connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What the client connects through.
pub(super) type Connector = HttpsConnector<HttpConnector<Resolver>>;

/// A connector for `http` URLs. It trusts no authority, so that none need be
/// read, which would cost more than all the rest of a start.
pub(super) fn plain(timeout: Duration, lookup: Option<Lookup>) -> Connector {
    with_tls(tls::trusting_nobody(), timeout, lookup)
}

/// A connector for `https` URLs too.
pub(super) fn with_tls(
    config: ClientConfig,
    timeout: Duration,
    lookup: Option<Lookup>,
) -> Connector {
    let mut tcp = HttpConnector::new_with_resolver(Resolver(lookup));
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT.min(timeout)));
    HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp)
}

/// Looks host names up; without a `Lookup` the system does.
#[derive(Clone)]
pub(super) struct Resolver(Option<Lookup>);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Cause;
    type Future = BoxFuture<'static, Result<Self::Response, Cause>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        // The port is filled in by the connector.
        let lookup = self.0.clone();
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let addresses: Vec<SocketAddr> = match lookup {
                Some(lookup) => {
                    let found = lookup(name).await?;
                    found.into_iter().map(|ip| (ip, 0).into()).collect()
                }
                None => tokio::net::lookup_host((name, 0)).await?.collect(),
            };
            Ok(addresses.into_iter())
        })
    }
}
