// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The certificates of gRPC between regions: files of the operator, or those
//! that the agent makes under an authority.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::super::super::wire::Reader;
use super::super::About;
use super::keys::*;
use super::region::Region;
use crate::model::Secret;
use crate::model::dns::ZoneName;
use crate::model::thanos::{IssuedTls, Tls};

/// `regional`: queriers of other regions are asked.
pub(super) fn tls(
    reader: &mut Reader<'_>,
    about: &About<'_>,
    region: &Region<'_>,
    regional: bool,
) -> Option<Tls> {
    let given = reader.get(&TLS).map(|tls| Tls {
        cert: tls.cert,
        key: tls.key,
        ca: tls.ca,
        server_name: tls.server_name,
        issued: None,
    });
    let issued = issued(reader, about, region);
    if given.is_some() && issued.is_some() {
        reader.reject(
            &TLS,
            "nothing while thanos_ca_certificate is set: whose certificates \
             are shown must be clear",
        );
    }
    let tls = given.or(issued);
    let refused = [
        &TLS as _,
        &CA_CERTIFICATE as _,
        &CA_PRIVATE_KEY as _,
        &TLS_NAMES as _,
    ]
    .into_iter()
    .any(|key| reader.rejected(key));
    if regional && tls.is_none() && !refused {
        reader.reject(
            &REGIONAL_QUERIES,
            "none while neither thanos_ca_certificate nor thanos_tls is set: \
             what crosses regions is encrypted, and both sides are known",
        );
    }
    tls
}

fn issued(
    reader: &mut Reader<'_>,
    about: &About<'_>,
    region: &Region<'_>,
) -> Option<Tls> {
    let authority = reader.get(&CA_CERTIFICATE);
    let private_key = reader.get(&CA_PRIVATE_KEY);
    let further = reader.or_default(&TLS_NAMES);
    for (one, other, key, name) in [
        (
            authority.is_some(),
            reader.is_set(&CA_PRIVATE_KEY),
            &CA_PRIVATE_KEY,
            "thanos_ca_certificate",
        ),
        (
            private_key.is_some(),
            reader.is_set(&CA_CERTIFICATE),
            &CA_CERTIFICATE,
            "thanos_ca_private_key",
        ),
    ] {
        if one && !other {
            reader.reject(key, format!("{}, with {name}", key.wanted));
        }
    }
    let file = |name| {
        let path = about.paths.tls.join(name);
        path.to_string_lossy().into_owned()
    };
    Some(Tls {
        cert: file("grpc.crt"),
        key: file("grpc.key"),
        ca: file("ca.crt"),
        server_name: None,
        issued: Some(IssuedTls {
            authority: authority?,
            private_key: Secret::new(private_key?),
            names: names(about, region, further),
        }),
    })
}

/// What this zone is reached by: its admin address, or loopback while that is
/// not known; binder's names, and its alias there; `further` ones. In an
/// order that stays, each once.
fn names(
    about: &About<'_>,
    region: &Region<'_>,
    further: Vec<String>,
) -> Vec<String> {
    let mut names = vec![region.local_host().to_string()];
    if let Some(own) = about.site.peers.own() {
        names.push(own.name.clone());
        if let Some((_, service)) = own.name.split_once('.') {
            names.push(format!("{}.{service}", own.alias));
            names.push(service.to_owned());
        }
    }
    // An alias may be no name.
    names.retain(|name| {
        name.parse::<IpAddr>().is_ok() || ZoneName::parse(name).is_ok()
    });
    names.extend(further);
    let mut seen = BTreeSet::new();
    let names = names.iter().map(|name| name.trim_end_matches('.'));
    let names = names.map(str::to_ascii_lowercase);
    names.filter(|name| seen.insert(name.clone())).collect()
}
