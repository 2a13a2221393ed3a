// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! CMON's discovery, asked the way Prometheus asks it. Prometheus ignores
//! the HTTP status and takes a refusal for "no targets", so we look for it.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use uuid::Uuid;

use super::{Answer, ApiError, Http, Lookup, connect, tls};

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
struct Discovery<T> {
    containers: Vec<T>,
}

/// A zone as discovery lists it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Container {
    /// Its uuid.
    #[serde(rename = "vm_uuid")]
    pub uuid: Uuid,
    /// The groups of its tag.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// Asks for the list of zones; returns how many there are.
pub async fn discover(
    endpoint: Endpoint<'_>,
    key: &Path,
    certificate: &Path,
    lookup: Option<Lookup>,
) -> Result<usize, ApiError> {
    let http = client(&endpoint, key, certificate, lookup)?;
    let (url, answer) = ask(endpoint, &http).await?;
    // Nothing of them is wanted but their number.
    let found: Discovery<IgnoredAny> = answer.json(&url)?;
    Ok(found.containers.len())
}

/// Asks for the list of zones, and again where that failed in passing.
pub async fn containers(
    endpoint: Endpoint<'_>,
    key: &Path,
    certificate: &Path,
    lookup: Option<Lookup>,
) -> Result<Vec<Container>, ApiError> {
    let http = client(&endpoint, key, certificate, lookup)?.retrying();
    let (url, answer) = ask(endpoint, &http).await?;
    let found: Discovery<Container> = answer.json(&url)?;
    Ok(found.containers)
}

fn client(
    endpoint: &Endpoint<'_>,
    key: &Path,
    certificate: &Path,
    lookup: Option<Lookup>,
) -> Result<Http, ApiError> {
    let pem = |path| std::fs::read(path).unwrap_or_default();
    let config = tls::identified(&pem(key), &pem(certificate), endpoint.verify)
        .map_err(ApiError::Client)?;
    Ok(Http::over(connect::with_tls(config, TIMEOUT, lookup), TIMEOUT))
}

async fn ask(
    endpoint: Endpoint<'_>,
    http: &Http,
) -> Result<(String, Answer), ApiError> {
    let mut url =
        format!("https://{}:{}/v1/discover", endpoint.host, endpoint.port);
    if !endpoint.groups.is_empty() {
        url.push_str("?groups=");
        url.push_str(&endpoint.groups.join(","));
    }
    let answer = http.get(&url, &[], BODY_LIMIT).await?;
    Ok((url, answer))
}
