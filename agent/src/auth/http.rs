// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What nginx asks over the Unix socket, and the pages people see. nginx lets
//! nobody else near it, so its word for a client's address is taken.
//!
//! `/auth` answers nginx' subrequests: 200 with the identity, 401, 403 with
//! Retry-After for "too often", 500 for "nobody can tell". The other paths are
//! answered to people, through locations of their own.
//! Source: contract sheet on nginx, "`auth_request` semantics".

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, COOKIE, HOST, HeaderName, HeaderValue, LOCATION, ORIGIN,
    RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tracing::warn;

use super::credentials::{
    Authorization, Credentials, authorization, cookie, local_path,
};
use super::door::{Door, End, Entry, Identity, Origin, SignIn};
use super::header::encoded;
use super::keys::DEVICE_SECONDS;
use super::metrics::Outcome;
use super::page::{Page, policy};

/// What a session is kept in. `__Host-`: over TLS alone, by this host alone.
pub(super) const SESSION: &str = "__Host-grafana-session";

/// What a browser is known by.
pub(super) const DEVICE: &str = "__Host-grafana-device";

/// Longest form, bytes.
const FORM_MOST: usize = 8 << 10;

/// Longest values for Grafana, characters.
const VALUE_MOST: usize = 200;

const REALM: &str = "Basic realm=\"Grafana\", charset=\"UTF-8\"";

const WRONG: &str = "Login or password is wrong, or the account may not use \
                     Grafana.";
const LATER: &str = "Too many attempts. Try again later.";
const DOWN: &str = "Nobody can sign in at the moment: the directory of \
                    accounts does not answer. Try again in a while.";

type Shared = State<Arc<Door>>;

/// All that is answered.
pub(super) fn routes(door: Arc<Door>) -> Router {
    Router::new()
        .route("/auth", get(auth))
        .route("/refused", get(refused))
        .route("/sign-in", get(sign_in_page).post(sign_in))
        .route("/logout", get(sign_out_page).post(sign_out))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .with_state(door)
}

/// nginx asks whether a request may pass.
async fn auth(State(door): Shared, headers: HeaderMap) -> Response {
    let origin = origin(&headers);
    match authorization(&all(&headers, &AUTHORIZATION)) {
        Authorization::Basic(credentials) => {
            let device = cookie(&all(&headers, &COOKIE), DEVICE);
            let answer = door.sign_in(&credentials, device, &origin).await;
            basic(&door, &headers, answer)
        }
        Authorization::Token(token) if may_pass(&door, &headers) => {
            door.metrics.outcome(Outcome::Token);
            // Exposed to Grafana, which made it.
            let value = HeaderValue::from_str(token.expose());
            match value {
                Ok(value) => ([(named("x-token"), value)], ()).into_response(),
                Err(_) => no(&headers),
            }
        }
        Authorization::Token(_) | Authorization::Odd => {
            door.metrics.outcome(Outcome::Refused);
            no(&headers)
        }
        Authorization::None => by_session(&door, &headers).await,
    }
}

fn basic(door: &Door, headers: &HeaderMap, answer: SignIn) -> Response {
    match answer {
        SignIn::Right { identity, judged } => {
            // So that the password need not come again.
            let begun = judged.then(|| door.begin(&identity.account).ok());
            yes(&identity, begun.flatten().map(|sealed| kept(&sealed)))
        }
        SignIn::Wrong => no(headers),
        SignIn::Later(wait) => {
            (StatusCode::FORBIDDEN, [(RETRY_AFTER, seconds(wait))])
                .into_response()
        }
        SignIn::Unavailable => {
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn by_session(door: &Arc<Door>, headers: &HeaderMap) -> Response {
    let Some(sealed) = cookie(&all(headers, &COOKIE), SESSION) else {
        door.metrics.outcome(Outcome::Nobody);
        return no(headers);
    };
    // A page of somebody else has no business with this session.
    if changes(headers) && !is_from_here(headers, false) {
        door.metrics.outcome(Outcome::Refused);
        return no(headers);
    }
    match door.enter(sealed).await {
        Entry::Open(identity, renewed) => {
            yes(&identity, renewed.map(|sealed| kept(&sealed)))
        }
        Entry::Over(_) => {
            door.metrics.outcome(Outcome::Refused);
            // Its cookie stays until its owner has been told why.
            no(headers)
        }
        Entry::Unavailable => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The identity, for nginx to pass on.
fn yes(identity: &Identity, cookie: Option<String>) -> Response {
    let account = &identity.account;
    let mut answer = StatusCode::OK.into_response();
    let headers = answer.headers_mut();
    for (name, value) in [
        ("x-grafana-username", account.login.as_str()),
        ("x-grafana-name", account.name.as_deref().unwrap_or_default()),
        ("x-grafana-email", &identity.email),
        ("x-grafana-role", identity.role.as_str()),
    ] {
        let value = HeaderValue::from_str(&encoded(value, VALUE_MOST));
        let value = value.expect("encoded values are printable ASCII");
        headers.insert(named(name), value);
    }
    set(headers, cookie);
    answer
}

/// The one no. A browser gets a page instead of its own box; see `refused`.
fn no(headers: &HeaderMap) -> Response {
    let mut answer = StatusCode::UNAUTHORIZED.into_response();
    if !is_browser(headers) {
        let realm = HeaderValue::from_static(REALM);
        answer.headers_mut().insert(WWW_AUTHENTICATE, realm);
    }
    answer
}

/// What people see instead of a page that they may not: the form, in place.
async fn refused(State(door): Shared, headers: HeaderMap) -> Response {
    let wants_page = header(&headers, "x-original-method") == "GET"
        && is_navigation(&headers);
    if !wants_page {
        let text = "{\"message\":\"Unauthorized\"}\n";
        return (
            StatusCode::UNAUTHORIZED,
            [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")],
            text,
        )
            .into_response();
    }
    let notice = match cookie(&all(&headers, &COOKIE), SESSION) {
        Some(sealed) => match door.enter(sealed).await {
            Entry::Over(Some(end)) => Some(end.notice()),
            _ => None,
        },
        None => None,
    };
    let page = Page {
        title: &door.config().title,
        notice,
        to: local_path(header(&headers, "x-original-uri")),
        ..Page::default()
    };
    let mut answer = html(StatusCode::UNAUTHORIZED, page.sign_in());
    let told = notice.map(|_| forgotten(SESSION));
    set(answer.headers_mut(), told);
    answer
}

async fn sign_in_page(State(door): Shared, request: Request) -> Response {
    let to = field(request.uri().query().unwrap_or_default(), "to");
    let page = Page {
        title: &door.config().title,
        to: local_path(to.as_deref().unwrap_or("/")),
        ..Page::default()
    };
    html(StatusCode::OK, page.sign_in())
}

/// The form that a person filled in.
async fn sign_in(State(door): Shared, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Some(form) = form(&head.headers, body).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let [login, password, to] =
        ["login", "password", "to"].map(|name| field(&form, name));
    let login = login.unwrap_or_default();
    let to = to.unwrap_or_default();
    let page = Page {
        title: &door.config().title,
        to: local_path(&to),
        login: &login,
        notice: Some(WRONG),
    };
    let password = password.unwrap_or_default();
    let Some(credentials) = Credentials::new(&login, &password) else {
        door.metrics.outcome(Outcome::Refused);
        return html(StatusCode::UNAUTHORIZED, page.sign_in());
    };
    let device = cookie(&all(&head.headers, &COOKIE), DEVICE);
    let origin = origin(&head.headers);
    match door.sign_in(&credentials, device, &origin).await {
        SignIn::Right { identity, .. } => begun(&door, &identity, page),
        SignIn::Wrong => html(StatusCode::UNAUTHORIZED, page.sign_in()),
        SignIn::Later(wait) => {
            let page = Page { notice: Some(LATER), ..page };
            let status = StatusCode::TOO_MANY_REQUESTS;
            let mut answer = html(status, page.sign_in());
            answer.headers_mut().insert(RETRY_AFTER, seconds(wait));
            answer
        }
        SignIn::Unavailable => {
            let page = Page { notice: Some(DOWN), ..page };
            html(StatusCode::SERVICE_UNAVAILABLE, page.sign_in())
        }
    }
}

fn begun(door: &Door, identity: &Identity, page: Page<'_>) -> Response {
    let account = &identity.account;
    let cookies = door
        .begin(account)
        .and_then(|session| Ok((session, door.device(account)?)));
    let (session, device) = match cookies {
        Ok(cookies) => cookies,
        Err(error) => {
            warn!(err.message = %error, "no session could be begun");
            let page = Page { notice: Some(DOWN), ..page };
            return html(StatusCode::SERVICE_UNAVAILABLE, page.sign_in());
        }
    };
    let device = format!(
        "{DEVICE}={device}; Path=/; Secure; HttpOnly; SameSite=Strict; \
         Max-Age={DEVICE_SECONDS}"
    );
    lead(page.to, &[kept(&session), device])
}

/// A link to here signs out at once when it is one of ours; a page of others
/// cannot sign anybody out.
async fn sign_out_page(State(door): Shared, headers: HeaderMap) -> Response {
    match header(&headers, "sec-fetch-site") {
        "same-origin" | "none" => signed_out(&door, &headers).await,
        _ => {
            let title = &door.config().title;
            let page = Page { title, ..Page::default() };
            html(StatusCode::OK, page.sign_out())
        }
    }
}

async fn sign_out(State(door): Shared, request: Request) -> Response {
    let (head, body) = request.into_parts();
    match form(&head.headers, body).await {
        Some(_) => signed_out(&door, &head.headers).await,
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}

async fn signed_out(door: &Arc<Door>, headers: &HeaderMap) -> Response {
    if let Some(sealed) = cookie(&all(headers, &COOKIE), SESSION) {
        let (ending, sealed) = (Arc::clone(door), sealed.to_owned());
        let origin = origin(headers);
        // It is written to disk.
        let ended =
            tokio::task::spawn_blocking(move || ending.end(&sealed, &origin));
        let _ = ended.await;
    }
    let page = Page {
        title: &door.config().title,
        notice: Some(End::SignedOut.notice()),
        to: "/",
        ..Page::default()
    };
    let mut answer = html(StatusCode::OK, page.sign_in());
    set(answer.headers_mut(), Some(forgotten(SESSION)));
    answer
}

/// Whether it can do its work: UFDS answered last.
async fn health(State(door): Shared) -> Response {
    match door.ufds.trouble() {
        None => "ok\n".into_response(),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "UFDS does not answer\n")
            .into_response(),
    }
}

async fn metrics(State(door): Shared) -> Response {
    let text = door.metrics.exposition(door.ufds.is_well());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// A form that a page of ours sent; `None` for all else.
async fn form(headers: &HeaderMap, body: Body) -> Option<String> {
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
fn field(form: &str, name: &str) -> Option<String> {
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
fn is_from_here(headers: &HeaderMap, strictly: bool) -> bool {
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
fn changes(headers: &HeaderMap) -> bool {
    let method = header(headers, "x-original-method");
    !matches!(method, "GET" | "HEAD" | "OPTIONS")
        || headers.contains_key("x-original-upgrade")
}

/// Tokens pass to Grafana's API, where metadata says so.
fn may_pass(door: &Door, headers: &HeaderMap) -> bool {
    door.config().tokens
        && header(headers, "x-original-uri").starts_with("/api/")
}

fn is_browser(headers: &HeaderMap) -> bool {
    headers.contains_key("sec-fetch-mode") || is_navigation(headers)
}

fn is_navigation(headers: &HeaderMap) -> bool {
    match header(headers, "sec-fetch-dest") {
        "" => header(headers, ACCEPT.as_str()).contains("text/html"),
        to => to == "document",
    }
}

/// Who asks; nginx says it.
fn origin(headers: &HeaderMap) -> Origin {
    let address = header(headers, "x-real-ip").parse();
    Origin {
        address: address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        req_id: header(headers, "x-request-id").to_owned(),
    }
}

fn all<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a [u8]> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
}

/// A header's text; empty when there is none, or bytes that are no text.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

fn named(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}

fn seconds(wait: Duration) -> HeaderValue {
    HeaderValue::from(wait.as_secs().max(1))
}

/// The cookie of a session; it is gone with the browser.
fn kept(sealed: &str) -> String {
    format!("{SESSION}={sealed}; Path=/; Secure; HttpOnly; SameSite=Lax")
}

fn forgotten(name: &str) -> String {
    format!("{name}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
}

fn set(headers: &mut HeaderMap, cookie: Option<String>) {
    let value = cookie.and_then(|text| HeaderValue::from_str(&text).ok());
    if let Some(value) = value {
        headers.append(SET_COOKIE, value);
    }
}

fn lead(to: &str, cookies: &[String]) -> Response {
    let to = HeaderValue::from_str(to);
    let to = to.unwrap_or_else(|_| HeaderValue::from_static("/"));
    let headers = [(LOCATION, to), (CACHE_CONTROL, no_store())];
    let mut answer = (StatusCode::SEE_OTHER, headers).into_response();
    for cookie in cookies {
        set(answer.headers_mut(), Some(cookie.clone()));
    }
    answer
}

fn html(status: StatusCode, text: String) -> Response {
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
