// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! CMON's discovery, asked the way Prometheus asks it. Prometheus ignores
//! the HTTP status and takes a refusal for "no targets", so we look for it.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ApiError, Http, Lookup, connect, tls};

const BODY_LIMIT: usize = 64 << 20;
const TIMEOUT: Duration = Duration::from_secs(20);

/// How to reach CMON.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint<'a> {
    /// Host name, first label `cmon`.
    pub host: &'a str,
    /// TCP port.
    pub port: u16,
    /// Whether CMON's certificate must verify.
    pub verify: bool,
    /// Group filter.
    pub groups: &'a [String],
}

#[derive(Deserialize)]
struct Discovery<'a> {
    #[serde(borrow)]
    containers: Vec<&'a RawValue>,
}

/// Asks for the list of zones; returns how many there are.
pub async fn discover(
    endpoint: Endpoint<'_>,
    key: &Path,
    certificate: &Path,
    lookup: Option<Lookup>,
) -> Result<usize, ApiError> {
    let read = |path| std::fs::read(path).unwrap_or_default();
    let config =
        tls::identified(&read(key), &read(certificate), endpoint.verify)
            .map_err(ApiError::Client)?;
    let http = Http::over(connect::with_tls(config, TIMEOUT, lookup), TIMEOUT);
    let mut url =
        format!("https://{}:{}/v1/discover", endpoint.host, endpoint.port);
    if !endpoint.groups.is_empty() {
        url.push_str("?groups=");
        url.push_str(&endpoint.groups.join(","));
    }
    let answer = http.get(&url, &[], BODY_LIMIT).await?;
    if answer.status != 200 {
        return Err(answer.error(&url));
    }
    let discovery: Discovery<'_> = serde_json::from_slice(&answer.body)
        .map_err(|source| answer.unreadable(&url, source))?;
    Ok(discovery.containers.len())
}
