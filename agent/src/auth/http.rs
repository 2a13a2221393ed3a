// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What nginx asks over the Unix socket, and the pages people see. nginx lets
//! nobody else near it, so its word for a client's address is taken.
//!
//! `/auth` answers nginx' subrequests: 200 with the identity, 401, 403 with
//! Retry-After for "too often" and without for "close to a lock", 500 for
//! "nobody can tell". The other paths are
//! answered to people, through locations of their own.
//! Source: contract sheet on nginx, "`auth_request` semantics".

mod parts;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE, HeaderValue,
    RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tracing::warn;

use self::parts::{
    all, changes, field, forgotten, form, header, html, is_browser,
    is_from_here, is_navigation, kept, lead, may_pass, named, origin, seconds,
    set,
};
use super::credentials::{
    Authorization, Credentials, authorization, cookie, local_path,
};
use super::door::{Door, End, Entry, Identity, Origin, SignIn};
use super::header::encoded;
use super::keys::DEVICE_SECONDS;
use super::metrics::Outcome;
use super::page::Page;

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
const NEAR_LOCK: &str = "There are so many wrong passwords on your account's \
                         list that another could lock it everywhere in \
                         Triton, so yours was not tried. Waiting does not \
                         help, as the list does not age. Sign in with the \
                         right password at another service of Triton, such as \
                         AdminUI or CloudAPI, or ask an administrator to clear \
                         the list; then sign in here again.";
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
            door.tell_token(&token, &origin);
            // Exposed to Grafana, which made it.
            let value = HeaderValue::from_str(token.expose());
            match value {
                Ok(value) => ([(named("x-token"), value)], ()).into_response(),
                Err(_) => no(&headers),
            }
        }
        odd @ (Authorization::Token(_) | Authorization::Odd) => {
            door.metrics.outcome(Outcome::Refused);
            let is_token = matches!(odd, Authorization::Token(_));
            door.tell_odd(if is_token { "token" } else { "header" }, &origin);
            no(&headers)
        }
        Authorization::None => by_session(&door, &headers, &origin).await,
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
        // Without a time to wait for: nginx has a text for it.
        SignIn::NearLock => StatusCode::FORBIDDEN.into_response(),
        SignIn::Unavailable => {
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn by_session(
    door: &Arc<Door>,
    headers: &HeaderMap,
    origin: &Origin,
) -> Response {
    let Some(sealed) = cookie(&all(headers, &COOKIE), SESSION) else {
        door.metrics.outcome(Outcome::Nobody);
        return no(headers);
    };
    // A page of somebody else has no business with this session.
    if changes(headers) && !is_from_here(headers, false) {
        door.metrics.outcome(Outcome::Refused);
        door.tell_foreign(origin);
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
    let origin = origin(&head.headers);
    let Some(credentials) = Credentials::new(&login, &password) else {
        door.metrics.outcome(Outcome::Refused);
        door.tell_odd("form", &origin);
        return html(StatusCode::UNAUTHORIZED, page.sign_in());
    };
    let device = cookie(&all(&head.headers, &COOKIE), DEVICE);
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
        SignIn::NearLock => {
            let page = Page { notice: Some(NEAR_LOCK), ..page };
            html(StatusCode::FORBIDDEN, page.sign_in())
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

/// A link to here signs out at once when it is one of ours. A page of others
/// cannot sign anybody out, nor can a picture in a page of ours.
async fn sign_out_page(State(door): Shared, headers: HeaderMap) -> Response {
    let [from, to] =
        ["sec-fetch-site", "sec-fetch-dest"].map(|name| header(&headers, name));
    if matches!(from, "same-origin" | "none") && to == "document" {
        return signed_out(&door, &headers).await;
    }
    let title = &door.config().title;
    html(StatusCode::OK, Page { title, ..Page::default() }.sign_out())
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
