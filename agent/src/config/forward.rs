// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Section `forward` of the agent's file: names that others answer. Whom to
//! ask follows from SAPI; here stand the bounds of the cache, resolvers that
//! are asked by TLS, and domains with resolvers of their own.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::dns::{
    CacheLimits, Dnssec, ForwardLimits, TlsUpstream, TlsUpstreams,
};
use crate::model::dns::{ForwardZone, UpstreamKind, ZoneName};

/// The section as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ForwardSection {
    /// Memory of kept answers, for each domain that is forwarded.
    pub cache_bytes: usize,
    /// Bounds of the time an answer is kept, milliseconds.
    pub ttl_min: f64,
    /// See `ttl_min`.
    pub ttl_max: f64,
    /// Milliseconds for which an answer may be given past its time, when
    /// nobody has a new one; 0: never.
    pub stale_max: f64,
    /// Milliseconds an asker waits before he gets such an answer.
    pub stale_after: f64,
    /// Resolvers that are asked by TLS wherever they are an upstream, and
    /// never in clear.
    pub tls: Vec<TlsSection>,
    /// File of the authorities that vouch for them, PEM; the system's when
    /// absent.
    pub tls_authorities: Option<PathBuf>,
    /// Whether signatures are checked of what public resolvers say.
    pub dnssec_validation: bool,
    /// File of DNSKEY records to start from in place of the root's well-known
    /// keys.
    pub trust_anchors: Option<PathBuf>,
    /// Domains besides those that follow from SAPI, or in their place.
    pub zones: Vec<ForwardZoneSection>,
}

/// A resolver that speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsSection {
    /// Address.
    pub address: IpAddr,
    /// The name in its certificate.
    pub name: String,
    /// Port, 853 when absent.
    #[serde(default = "tls_port")]
    pub port: u16,
}

/// A domain, and who answers for it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForwardZoneSection {
    /// Names at and below it.
    pub name: ZoneName,
    /// Whom to ask, any order.
    pub upstreams: Vec<UpstreamSection>,
    /// What they are; `recursive` when absent.
    #[serde(default = "recursive")]
    pub kind: UpstreamKind,
}

/// One upstream.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpstreamSection {
    /// Address.
    pub address: IpAddr,
    /// Port, 53 when absent.
    #[serde(default = "port")]
    pub port: u16,
}

fn port() -> u16 {
    53
}

fn tls_port() -> u16 {
    853
}

fn recursive() -> UpstreamKind {
    UpstreamKind::Recursive
}

impl Default for ForwardSection {
    /// What `ForwardLimits` takes by default.
    fn default() -> Self {
        let limits = ForwardLimits::default();
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        Self {
            cache_bytes: limits.cache.bytes,
            ttl_min: ms(limits.cache.min_ttl),
            ttl_max: ms(limits.cache.max_ttl),
            stale_max: ms(limits.cache.max_stale),
            stale_after: ms(limits.patience),
            tls: Vec::new(),
            tls_authorities: None,
            dnssec_validation: false,
            trust_anchors: None,
            zones: Vec::new(),
        }
    }
}

/// A week: RFC 8767 §4 sees no use in more.
const MAX_MS: f64 = 7.0 * 86_400_000.0;
/// What a zone of a datacenter has to spare.
const MAX_CACHE: usize = 1 << 30;

impl ForwardSection {
    /// Key, value seen and value wanted of the first that makes no sense.
    pub(super) fn check(
        &self,
    ) -> Result<(), (&'static str, String, &'static str)> {
        for (key, ms) in [
            ("forward.ttlMin", self.ttl_min),
            ("forward.ttlMax", self.ttl_max),
            ("forward.staleMax", self.stale_max),
            ("forward.staleAfter", self.stale_after),
        ] {
            if !(0.0..=MAX_MS).contains(&ms) {
                let wanted = "milliseconds, from 0 to a week";
                return Err((key, ms.to_string(), wanted));
            }
        }
        if self.ttl_min > self.ttl_max {
            let wanted = "no more than forward.ttlMax";
            return Err(("forward.ttlMin", self.ttl_min.to_string(), wanted));
        }
        if self.cache_bytes > MAX_CACHE {
            let seen = self.cache_bytes.to_string();
            return Err(("forward.cacheBytes", seen, "bytes, up to 1 GiB"));
        }
        if let Some(path) = &self.trust_anchors
            && !self.dnssec_validation
        {
            let seen = path.display().to_string();
            let wanted = "forward.dnssecValidation with it";
            return Err(("forward.trustAnchors", seen, wanted));
        }
        let empty = self.zones.iter().find(|zone| zone.upstreams.is_empty());
        if let Some(zone) = empty {
            let seen = format!("{} without upstreams", zone.name);
            return Err(("forward.zones", seen, "one upstream at least"));
        }
        Ok(())
    }

    /// The bounds that follow.
    pub fn limits(&self) -> ForwardLimits {
        let time = |ms: f64| Duration::from_secs_f64(ms / 1000.0);
        ForwardLimits {
            patience: time(self.stale_after),
            cache: CacheLimits {
                bytes: self.cache_bytes,
                min_ttl: time(self.ttl_min),
                max_ttl: time(self.ttl_max),
                max_stale: time(self.stale_max),
            },
            ..ForwardLimits::default()
        }
    }

    /// Whom to ask by TLS, with the authorities read.
    ///
    /// Errors: the file could not be read. Then nobody is to be trusted.
    pub fn tls(&self) -> Result<TlsUpstreams, AuthoritiesError> {
        let servers = self.tls.iter().map(|server| TlsUpstream {
            address: server.address,
            port: server.port,
            name: server.name.clone(),
        });
        let authorities = match &self.tls_authorities {
            None => None,
            Some(path) => Some(std::fs::read(path).map_err(|source| {
                AuthoritiesError { path: path.clone(), source }
            })?),
        };
        Ok(TlsUpstreams { servers: servers.collect(), authorities })
    }

    /// Whether to validate, and from where.
    pub fn dnssec(&self) -> Dnssec {
        match (self.dnssec_validation, &self.trust_anchors) {
            (false, _) => Dnssec::Off,
            (true, None) => Dnssec::Root,
            (true, Some(path)) => Dnssec::Anchors(path.clone()),
        }
    }

    /// The domains.
    pub fn zones(&self) -> Vec<ForwardZone> {
        let zone = |zone: &ForwardZoneSection| ForwardZone {
            suffix: zone.name.clone(),
            upstreams: zone
                .upstreams
                .iter()
                .map(|one| SocketAddr::new(one.address, one.port))
                .collect(),
            kind: zone.kind,
            fallback: false,
        };
        self.zones.iter().map(zone).collect()
    }
}

/// The file of authorities cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("forward.tlsAuthorities: could not read {}", path.display())]
pub struct AuthoritiesError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn section(value: serde_json::Value) -> ForwardSection {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn nothing_said_is_the_default() {
        let said = section(json!({}));
        let default = ForwardLimits::default();
        assert_eq!(format!("{:?}", said.limits()), format!("{default:?}"));
        assert_eq!(said.check(), Ok(()));
        assert!(said.zones().is_empty());
        assert!(said.tls().unwrap().servers.is_empty());
    }

    #[test]
    fn what_is_said_arrives() {
        let said = section(json!({
            "cacheBytes": 65_536, "ttlMin": 1000, "ttlMax": 2000,
            "staleMax": 0, "staleAfter": 250,
            "tls": [{"address": "192.0.2.1", "name": "dns.example"}],
            "dnssecValidation": true,
            "zones": [{"name": "corp.example", "upstreams":
                [{"address": "192.0.2.2"}, {"address": "::1", "port": 54}]}],
        }));
        assert_eq!(said.check(), Ok(()));
        let limits = said.limits();
        assert_eq!(limits.cache.bytes, 65_536);
        assert_eq!(limits.cache.min_ttl, Duration::from_secs(1));
        assert_eq!(limits.cache.max_ttl, Duration::from_secs(2));
        assert!(limits.cache.max_stale.is_zero());
        assert_eq!(said.dnssec(), Dnssec::Root);
        assert_eq!(limits.patience, Duration::from_millis(250));
        let server = &said.tls().unwrap().servers[0];
        assert_eq!((server.port, &*server.name), (853, "dns.example"));
        let zone = &said.zones()[0];
        let addrs = zone.upstreams.iter().map(ToString::to_string);
        assert!(addrs.eq(["192.0.2.2:53", "[::1]:54"]));
        assert_eq!(zone.kind, UpstreamKind::Recursive);
    }

    #[test]
    fn values_out_of_bounds_are_told() {
        for (key, value) in [
            ("ttlMin", json!(7_200_000)),
            ("ttlMax", json!(f64::MAX)),
            ("staleAfter", json!(-1)),
            ("cacheBytes", json!(usize::MAX)),
            ("trustAnchors", json!("/etc/root.key")),
            ("zones", json!([{"name": "a.example", "upstreams": []}])),
        ] {
            let (told, ..) =
                section(json!({ key: value })).check().unwrap_err();
            assert_eq!(told, format!("forward.{key}"));
        }
    }

    #[test]
    fn authorities_out_of_reach_trust_nobody() {
        let said = section(json!({"tlsAuthorities": "/nowhere/ca.pem"}));
        let error = said.tls().unwrap_err().to_string();
        assert!(error.contains("/nowhere/ca.pem"), "{error}");
    }
}
