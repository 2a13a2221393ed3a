// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Regions and data sources as operators write them, and the grammar of what
//! ends up in Grafana's own files.

use serde::Deserialize;

use crate::model::dns::ZoneName;

/// One entry of `grafana_regions`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegionWire {
    pub(super) name: String,
    /// Where its Thanos answers, if it has one.
    pub(super) thanos: Option<String>,
    #[serde(default)]
    pub(super) datacenters: Vec<String>,
    pub(super) dns_domain: Option<String>,
    #[serde(default)]
    pub(super) manta: bool,
}

impl RegionWire {
    /// Judges what serde let pass.
    pub(super) fn check(&self) -> Result<(), String> {
        let name = &self.name;
        if !is_source_name(name) {
            return Err(format!("name {name:?} will not do"));
        }
        if let Some(thanos) = &self.thanos
            && SourceUrl::parse(thanos, THANOS_PORT).is_none()
        {
            return Err(format!("thanos of {name} is no host:port or URL"));
        }
        if !self.datacenters.iter().all(|name| is_name(name)) {
            return Err(format!("datacenters of {name} must be DNS labels"));
        }
        if !self.dns_domain.as_deref().is_none_or(is_name) {
            return Err(format!("dns_domain of {name} is no DNS domain"));
        }
        if self.thanos.is_none() && self.datacenters.is_empty() {
            return Err(format!("{name} has neither thanos nor datacenters"));
        }
        if self.thanos.is_none() && self.manta && !is_name(name) {
            return Err(format!("{name} with manta must be a DNS label"));
        }
        Ok(())
    }
}

/// One entry of `grafana_data_sources`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceWire {
    pub(super) name: String,
    pub(super) url: String,
    #[serde(rename = "type", default)]
    pub(super) kind: KindWire,
    pub(super) ca: Option<String>,
    pub(super) server_name: Option<String>,
}

/// What answers there.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum KindWire {
    #[default]
    Prometheus,
    Thanos,
}

impl SourceWire {
    /// Judges what serde let pass.
    pub(super) fn check(&self) -> Result<(), String> {
        let name = &self.name;
        if !is_source_name(name) {
            return Err(format!("name {name:?} will not do"));
        }
        if SourceUrl::parse(&self.url, PROMETHEUS_PORT).is_none() {
            return Err(format!("url of {name} is no host:port or URL"));
        }
        if !self.ca.as_deref().is_none_or(is_certificates) {
            return Err(format!("ca of {name} holds no PEM certificate"));
        }
        if !self.server_name.as_deref().is_none_or(is_name) {
            return Err(format!("server_name of {name} is no DNS name"));
        }
        Ok(())
    }
}

/// Where a Prometheus answers.
pub(super) const PROMETHEUS_PORT: u16 = 9090;

/// Where a Thanos querier answers.
pub(super) const THANOS_PORT: u16 = 10902;

/// A base URL and what it leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SourceUrl {
    /// Without a slash at its end.
    pub(super) url: String,
    /// `host:port`.
    pub(super) reachable: String,
}

impl SourceUrl {
    /// Reads `host`, `host:port` or an http or https URL. No user, no query,
    /// and nothing that Grafana's files would take for more than a URL.
    pub(super) fn parse(text: &str, port: u16) -> Option<Self> {
        let (scheme, rest, port) = match text.split_once("://") {
            Some(("http", rest)) => ("http", rest, 80),
            Some(("https", rest)) => ("https", rest, 443),
            Some(_) => return None,
            None => ("http", text, port),
        };
        let (host, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (host, port) = match host.split_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (host, port),
        };
        let path = path.trim_end_matches('/');
        let plain = path
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"/._~-".contains(&b));
        if !is_name(host) || port == 0 || !plain {
            return None;
        }
        let reachable = format!("{host}:{port}");
        Some(Self { url: format!("{scheme}://{reachable}{path}"), reachable })
    }
}

/// The URL people use; goes into an ini file.
pub(super) fn is_root_url(text: &str) -> bool {
    text.starts_with("https://") && SourceUrl::parse(text, 443).is_some()
}

/// A DNS name or an IPv4 address.
pub(super) fn is_name(text: &str) -> bool {
    text != "." && ZoneName::parse(text).is_ok()
}

/// A name or an address that a certificate may be for.
pub(super) fn is_certified_name(text: &str) -> bool {
    is_name(text) || is_address(text)
}

/// An IP address.
pub(super) fn is_address(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}

/// What people read in a list; `$` would be a variable to Grafana.
pub(super) fn is_source_name(text: &str) -> bool {
    (1..=100).contains(&text.chars().count())
        && text.trim() == text
        && !text.chars().any(|c| c.is_control() || c == '$')
}

/// PEM certificates and nothing else: this is written into a file that
/// others may read.
pub(super) fn is_certificates(text: &str) -> bool {
    text.contains("-----BEGIN CERTIFICATE-----")
        && !text.contains("PRIVATE KEY")
        && text.is_ascii()
        && !text.contains('$')
        && text.len() <= 256 << 10
}

/// A dashboard: the name of a stock one, or a file of the operator.
pub(super) fn is_dashboard(text: &str) -> bool {
    let plain = |text: &str| {
        text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b))
            && !text.contains("..")
    };
    match text.strip_prefix('/') {
        Some(path) => plain(path) && path.ends_with(".json"),
        None => plain(text) && !text.contains('/') && text.len() <= 100,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_whom_they_lead_to() {
        let parse = |text| {
            SourceUrl::parse(text, 9090).map(|url| (url.url, url.reachable))
        };
        let is = |url: &str, reachable: &str| {
            Some((url.to_owned(), reachable.to_owned()))
        };
        assert_eq!(parse("a.b"), is("http://a.b:9090", "a.b:9090"));
        assert_eq!(parse("https://a.b/x/"), is("https://a.b:443/x", "a.b:443"));
        assert_eq!(parse("http://10.0.0.1:1"), {
            is("http://10.0.0.1:1", "10.0.0.1:1")
        });
        for bad in [
            "",
            ":1",
            "a:0",
            "a:x",
            "ftp://a",
            "http://u@a",
            "http://a/?q",
            "http://a/$x",
            "http://a b",
            "http://a/;x",
            "http://a/%41",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn dashboards_cannot_leave_their_folder() {
        assert!(is_dashboard("triton-overview"));
        assert!(is_dashboard("/data/grafana/dashboards/mine.json"));
        for bad in ["../x", "/etc/passwd", "/data/../x.json", "a/b", "a$b"] {
            assert!(!is_dashboard(bad), "{bad}");
        }
    }
}
