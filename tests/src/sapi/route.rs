// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! From method, path and `Accept-Version` to what is to be done: the part of
//! an answer that restify decides before SAPI's own code runs.

use axum::http::Method;

/// The four sorts of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `sdc`, `manta`.
    Application,
    /// `prometheus`, `cns`.
    Service,
    /// One zone (or agent) of a service.
    Instance,
    /// A config manifest.
    Manifest,
}

impl Kind {
    /// The word used in messages.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Service => "service",
            Self::Instance => "instance",
            Self::Manifest => "manifest",
        }
    }

    fn of_path(segment: &str) -> Option<Self> {
        Some(match segment {
            "applications" => Self::Application,
            "services" => Self::Service,
            "instances" => Self::Instance,
            "manifests" => Self::Manifest,
            _ => return None,
        })
    }
}

/// One endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Ping,
    GetMode,
    SetMode,
    SyncCache,
    GetLogLevel,
    SetLogLevel,
    Create(Kind),
    List(Kind),
    Get(Kind),
    Update(Kind),
    Delete(Kind),
    Payload,
    Upgrade,
    Config,
}

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    To(Action),
    /// No such path: 404.
    NoPath,
    /// The path takes only these methods: 405.
    WrongMethod(String),
}

/// Finds the endpoint. A trailing slash is another path, hence unknown.
pub(super) fn route(method: &Method, segments: &[String]) -> Route {
    let endpoints = endpoints(segments);
    if endpoints.is_empty() {
        return Route::NoPath;
    }
    match endpoints.iter().find(|(m, _)| m == method) {
        Some((_, action)) => Route::To(*action),
        None => Route::WrongMethod(
            endpoints
                .iter()
                .map(|(m, _)| m.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        ),
    }
}

fn endpoints(segments: &[String]) -> Vec<(Method, Action)> {
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (get, put, post) = (Method::GET, Method::PUT, Method::POST);
    match segments[..] {
        [.., ""] => vec![],
        ["ping"] => vec![(get, Action::Ping)],
        ["mode"] => vec![(get, Action::GetMode), (post, Action::SetMode)],
        ["cache"] => vec![(post, Action::SyncCache)],
        ["loglevel"] => {
            vec![(get, Action::GetLogLevel), (post, Action::SetLogLevel)]
        }
        ["configs", _] => vec![(get, Action::Config)],
        ["instances", _, "payload"] => vec![(get, Action::Payload)],
        ["instances", _, "upgrade"] => vec![(put, Action::Upgrade)],
        [kind] => Kind::of_path(kind).map_or_else(Vec::new, |kind| {
            vec![(post, Action::Create(kind)), (get, Action::List(kind))]
        }),
        [kind, _] => Kind::of_path(kind).map_or_else(Vec::new, |kind| {
            let mut all = vec![
                (get, Action::Get(kind)),
                (put, Action::Update(kind)),
                (Method::DELETE, Action::Delete(kind)),
            ];
            // There is no update of a manifest.
            all.retain(|(_, a)| *a != Action::Update(Kind::Manifest));
            all
        }),
        _ => vec![],
    }
}

/// API version of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// 1.0.0: no `type`, vm objects only.
    V1,
    /// 2.0.0.
    V2,
}

/// Picks the highest version a semver range admits; `None` is a 400. A
/// missing header means `~1`.
///
/// Ranges: alternatives by `||`, comparators by blanks, each `*`, `x`, or a
/// (partial) version after `~ ^ = >= > <= <`. Anything else matches nothing,
/// as with node's semver.
pub(super) fn version(accept_version: Option<&str>) -> Option<Version> {
    let range = accept_version.unwrap_or("~1");
    [(Version::V2, [2, 0, 0]), (Version::V1, [1, 0, 0])]
        .into_iter()
        .find(|(_, number)| {
            range.split("||").any(|alternative| {
                alternative.split_whitespace().all(|c| admits(c, *number))
            })
        })
        .map(|(version, _)| version)
}

fn admits(comparator: &str, version: [u32; 3]) -> bool {
    let number_at = comparator
        .find(|c: char| !"~^=<>".contains(c))
        .unwrap_or(comparator.len());
    let (operator, text) = comparator.split_at(number_at);
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut given = Vec::new();
    for part in text.split('.') {
        match part.parse::<u32>() {
            Ok(number) => given.push(number),
            Err(_) if ["*", "x", "X", ""].contains(&part) => break,
            Err(_) => return false,
        }
    }
    let prefix = |n: usize| {
        let n = n.min(given.len());
        version[..n] == given[..n]
    };
    let mut low = [0; 3];
    for (slot, number) in low.iter_mut().zip(&given) {
        *slot = *number;
    }
    match operator {
        "" | "=" => prefix(3),
        "~" | "~>" => prefix(2) && version >= low,
        "^" => prefix(1) && version >= low,
        ">=" => version >= low,
        "<" => version < low,
        "<=" => version <= low || prefix(3),
        ">" => version > low && !prefix(3),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route_of(method: Method, path: &str) -> Route {
        let segments: Vec<String> =
            path[1..].split('/').map(str::to_owned).collect();
        route(&method, &segments)
    }

    #[test]
    fn paths_and_methods() {
        let to = |action| Route::To(action);
        assert_eq!(route_of(Method::GET, "/configs/x"), to(Action::Config));
        assert_eq!(route_of(Method::GET, "/configs/x/"), Route::NoPath);
        assert_eq!(route_of(Method::GET, "/configs/"), Route::NoPath);
        assert_eq!(route_of(Method::GET, "/history"), Route::NoPath);
        assert_eq!(route_of(Method::GET, "/"), Route::NoPath);
        assert_eq!(
            route_of(Method::PUT, "/instances/x/upgrade"),
            to(Action::Upgrade)
        );
        assert_eq!(
            route_of(Method::HEAD, "/configs/x"),
            Route::WrongMethod("GET".to_owned())
        );
        assert_eq!(
            route_of(Method::PUT, "/manifests/x"),
            Route::WrongMethod("GET, DELETE".to_owned())
        );
    }

    #[test]
    fn version_ranges() {
        use Version::{V1, V2};
        let seen = [
            (None, Some(V1)),
            (Some("~1"), Some(V1)),
            (Some("~2"), Some(V2)),
            (Some("*"), Some(V2)),
            (Some("1.0.0"), Some(V1)),
            (Some("2"), Some(V2)),
            (Some("^1.0"), Some(V1)),
            (Some(">=1"), Some(V2)),
            (Some(">=1 <2"), Some(V1)),
            (Some("~3 || ~1"), Some(V1)),
            (Some("~3"), None),
            (Some("~2.1"), None),
            (Some("two"), None),
        ];
        for (range, wanted) in seen {
            assert_eq!(version(range), wanted, "{range:?}");
        }
    }
}
