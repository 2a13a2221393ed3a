// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a request says of itself, and what answers are put together from.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST,
    HeaderName, HeaderValue, LOCATION, ORIGIN, SET_COOKIE,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::{FORM_MOST, SESSION};
use crate::auth::door::{Door, Origin};
use crate::auth::page::policy;

/// A form that a page of ours sent; `None` for all else.
pub(super) async fn form(headers: &HeaderMap, body: Body) -> Option<String> {
    let is_form = header(headers, CONTENT_TYPE.as_str())
        .starts_with("application/x-www-form-urlencoded");
    if !is_form || !is_from_here(headers, true) {
        return None;
    }
    let read = to_bytes(body, FORM_MOST);
    let read = tokio::time::timeout(Duration::from_secs(10), read).await;
    let bytes: Bytes = read.ok()?.ok()?;
    String::from_utf8(bytes.to_vec()).ok()
}

/// A field of a form or query; `None` also when it comes twice.
pub(super) fn field(form: &str, name: &str) -> Option<String> {
    let mut found = None;
    for (key, value) in form_urlencoded::parse(form.as_bytes()) {
        if key == name && found.replace(value.into_owned()).is_some() {
            return None;
        }
    }
    found
}

/// Whether a page of this very host sent it. `strictly`: a request that does
/// not say where it comes from does not count.
pub(super) fn is_from_here(headers: &HeaderMap, strictly: bool) -> bool {
    let site = header(headers, "sec-fetch-site");
    if !matches!(site, "" | "same-origin" | "none") {
        return false;
    }
    let host = header(headers, HOST.as_str());
    match headers.get(ORIGIN) {
        None => !strictly,
        Some(value) => value
            .to_str()
            .ok()
            .and_then(|origin| origin.strip_prefix("https://"))
            .is_some_and(|from| {
                !host.is_empty() && from.eq_ignore_ascii_case(host)
            }),
    }
}

/// Whether the request that nginx asks about could change something.
pub(super) fn changes(headers: &HeaderMap) -> bool {
    let method = header(headers, "x-original-method");
    !matches!(method, "GET" | "HEAD" | "OPTIONS")
        || headers.contains_key("x-original-upgrade")
}

/// Tokens pass to Grafana's API, where metadata says so.
pub(super) fn may_pass(door: &Door, headers: &HeaderMap) -> bool {
    door.config().tokens
        && header(headers, "x-original-uri").starts_with("/api/")
}

pub(super) fn is_browser(headers: &HeaderMap) -> bool {
    headers.contains_key("sec-fetch-mode") || is_navigation(headers)
}

pub(super) fn is_navigation(headers: &HeaderMap) -> bool {
    match header(headers, "sec-fetch-dest") {
        "" => header(headers, ACCEPT.as_str()).contains("text/html"),
        to => to == "document",
    }
}

/// Who asks; nginx says it.
pub(super) fn origin(headers: &HeaderMap) -> Origin {
    let address = header(headers, "x-real-ip").parse();
    Origin {
        address: address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        req_id: header(headers, "x-request-id").to_owned(),
    }
}

pub(super) fn all<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Vec<&'a [u8]> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
}

/// A header's text; empty when there is none, or bytes that are no text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

pub(super) fn named(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}

pub(super) fn seconds(wait: Duration) -> HeaderValue {
    HeaderValue::from(wait.as_secs().max(1))
}

/// The cookie of a session; it is gone with the browser.
pub(super) fn kept(sealed: &str) -> String {
    format!("{SESSION}={sealed}; Path=/; Secure; HttpOnly; SameSite=Lax")
}

pub(super) fn forgotten(name: &str) -> String {
    format!("{name}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
}

pub(super) fn set(headers: &mut HeaderMap, cookie: Option<String>) {
    let value = cookie.and_then(|text| HeaderValue::from_str(&text).ok());
    if let Some(value) = value {
        headers.append(SET_COOKIE, value);
    }
}

pub(super) fn lead(to: &str, cookies: &[String]) -> Response {
    let to = HeaderValue::from_str(to);
    let to = to.unwrap_or_else(|_| HeaderValue::from_static("/"));
    let headers = [(LOCATION, to), (CACHE_CONTROL, no_store())];
    let mut answer = (StatusCode::SEE_OTHER, headers).into_response();
    for cookie in cookies {
        set(answer.headers_mut(), Some(cookie.clone()));
    }
    answer
}

pub(super) fn html(status: StatusCode, text: String) -> Response {
    let policy = HeaderValue::from_str(&policy());
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CACHE_CONTROL, no_store()),
        (CONTENT_SECURITY_POLICY, policy.expect("printable ASCII")),
    ];
    (status, headers, text).into_response()
}

fn no_store() -> HeaderValue {
    HeaderValue::from_static("no-store")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let list = list.iter();
        list.map(|(name, value)| (named(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn only_pages_of_this_host_are_from_here() {
        let with = |origin, site, strictly| {
            let mut all = headers(&[("host", "g.test:8443")]);
            if !str::is_empty(origin) {
                all.insert(ORIGIN, HeaderValue::from_static(origin));
            }
            if !str::is_empty(site) {
                let value = HeaderValue::from_static(site);
                all.insert("sec-fetch-site", value);
            }
            is_from_here(&all, strictly)
        };
        assert!(with("https://g.test:8443", "same-origin", true));
        assert!(with("https://G.test:8443", "", true));
        assert!(with("", "", false));
        assert!(!with("", "", true));
        for origin in [
            "null",
            "https://g.test",
            "http://g.test:8443",
            "https://g.test:8443.evil.test",
            "https://evil.test",
            "https://",
        ] {
            assert!(!with(origin, "", true), "{origin}");
            assert!(!with(origin, "", false), "{origin}");
        }
        assert!(!with("https://g.test:8443", "cross-site", true));
        assert!(!with("", "same-site", false));
    }

    #[test]
    fn a_field_that_comes_twice_is_none() {
        assert_eq!(field("a=1&b=x+y%21", "b").as_deref(), Some("x y!"));
        assert_eq!(field("a=1&a=2", "a"), None);
        assert_eq!(field("", "a"), None);
    }
}
