// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! An API's answer, read whole, and the error it may be. Bodies that say why
//! not are restify's: `{code, message, errors: [{field, code, message}]}`, of
//! which anything may be missing, or all.

use std::time::SystemTime;

use hyper::Response;
use hyper::header::{DATE, ETAG, HeaderName, SERVER};
use serde::Deserialize;
use serde_json::Value;
use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use uuid::Uuid;

/// Header `Date` as RFC 9110 section 5.6.7 has it written.
const DATE_FORMAT: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] \
     [hour]:[minute]:[second] GMT"
);

/// A cause whose type stays inside the room.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why an API did not give what was asked for.
///
/// `request` is ` (request <x-request-id>)`, under which the API logged it; or
/// nothing, where none was sent.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The client could not be made.
    #[error("could not make an HTTP client")]
    Client(#[source] Cause),
    /// No whole answer within the limits. What was to change may have.
    #[error("no answer from {url}{request}")]
    NoAnswer {
        /// What was asked.
        url: String,
        /// Its id.
        request: String,
        /// It was tried again already.
        spent: bool,
        /// The cause.
        #[source]
        source: Cause,
    },
    /// An answer that is not the one wanted.
    #[error("{url} answered {status}{server}: {message}{request}")]
    Status {
        /// What was asked.
        url: String,
        /// HTTP status. A 500 may be for good: SAPI has it for what the
        /// caller did wrong, CNAPI for parameters.
        status: u16,
        /// ` from <Server header>`, which unmasks a foreign web server.
        server: String,
        /// `code` of the body, if there is one: `ResourceNotFound`.
        code: Option<String>,
        /// `code: message` of the body as far as it has them, and what it
        /// says of single fields.
        message: String,
        /// Its id.
        request: String,
        /// It was tried again already.
        spent: bool,
    },
    /// The body is larger than any real one.
    #[error("{url} answered more than {limit} bytes{request}")]
    TooLarge {
        /// What was asked.
        url: String,
        /// The limit, bytes.
        limit: usize,
        /// Its id.
        request: String,
    },
    /// The body is not what the API documents.
    #[error("{url} answered{server} what cannot be read{request}")]
    Body {
        /// What was asked.
        url: String,
        /// ` from <Server header>`.
        server: String,
        /// Its id.
        request: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A list that comes in pages, or a chain, has no end.
    #[error("{url} leads back to what it answered before{request}")]
    Endless {
        /// What was asked.
        url: String,
        /// Its id.
        request: String,
    },
}

impl ApiError {
    pub(super) fn no_answer(url: &str, source: Cause) -> Self {
        let (url, request) = (url.to_owned(), String::new());
        Self::NoAnswer { url, request, spent: false, source }
    }

    pub(super) fn too_large(url: &str, limit: usize) -> Self {
        Self::TooLarge { url: url.to_owned(), limit, request: String::new() }
    }

    pub(super) fn endless(url: &str) -> Self {
        Self::Endless { url: url.to_owned(), request: String::new() }
    }

    /// Names the request.
    pub(super) fn of_request(mut self, id: &Uuid) -> Self {
        match &mut self {
            Self::Client(_) => {}
            Self::NoAnswer { request, .. }
            | Self::Status { request, .. }
            | Self::TooLarge { request, .. }
            | Self::Body { request, .. }
            | Self::Endless { request, .. } => {
                *request = format!(" (request {id})");
            }
        }
        self
    }

    /// It was tried again, and failed again.
    pub(super) fn spent(mut self) -> Self {
        if let Self::NoAnswer { spent, .. } | Self::Status { spent, .. } =
            &mut self
        {
            *spent = true;
        }
        self
    }

    /// Nobody answered, or somebody without time: the same may do a moment
    /// later, and was not tried yet. Not a 500, which SAPI has for good.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::NoAnswer { spent, .. } => !spent,
            Self::Status { status, spent, .. } => !spent && passes(*status),
            _ => false,
        }
    }

    /// The HTTP status that was not wanted.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The API's own word for it: `ValidationFailed`, `InvalidArgument`.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Status { code, .. } => code.as_deref(),
            _ => None,
        }
    }

    /// The API says that there is no such thing. A 404 without the API's word
    /// for it is none: it may be somebody's web server under our name.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404) && self.code() == Some("ResourceNotFound")
    }
}

/// What a call that starts a job answers: VMAPI's and IMGAPI's 202.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Started {
    /// The job, to be waited for; see `vmapi::Vmapi::wait`.
    pub job_uuid: Uuid,
}

/// An answer read whole.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Header `Etag`, verbatim: SAPI's has no quotes.
    pub etag: Option<String>,
    /// ` from <Server header>`, or nothing.
    pub server: String,
    /// Header `Date`: the time there, to a second.
    pub date: Option<SystemTime>,
    /// The body.
    pub body: Vec<u8>,
    /// It is the last of several tries.
    spent: bool,
}

/// Whether a status says that there was no time, or nobody behind.
pub(super) fn passes(status: u16) -> bool {
    matches!(status, 502..=504)
}

impl Answer {
    pub(super) fn head<B>(response: &Response<B>) -> Self {
        let header = |name: HeaderName| {
            let value = response.headers().get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        Self {
            status: response.status().as_u16(),
            etag: header(ETAG),
            server: header(SERVER)
                .map(|name| format!(" from {name}"))
                .unwrap_or_default(),
            date: header(DATE).and_then(|text| {
                let date = PrimitiveDateTime::parse(&text, DATE_FORMAT);
                Some(date.ok()?.assume_utc().into())
            }),
            body: Vec::new(),
            spent: false,
        }
    }

    /// The last of several tries.
    pub(super) fn spent(self) -> Self {
        Self { spent: true, ..self }
    }

    /// The body as JSON if the status is 200, else the API's own error.
    pub fn json<T: for<'de> Deserialize<'de>>(
        &self,
        url: &str,
    ) -> Result<T, ApiError> {
        if self.status != 200 {
            return Err(self.error(url));
        }
        serde_json::from_slice(&self.body)
            .map_err(|source| self.unreadable(url, source))
    }

    /// The body is not what was expected.
    pub(super) fn unreadable(
        &self,
        url: &str,
        source: serde_json::Error,
    ) -> ApiError {
        ApiError::Body {
            url: url.to_owned(),
            server: self.server.clone(),
            request: String::new(),
            source,
        }
    }

    /// The answer as an error.
    pub fn error(&self, url: &str) -> ApiError {
        #[derive(Deserialize)]
        struct Body {
            // Anything: what stands there is shown, never relied upon.
            #[serde(default)]
            code: Value,
            #[serde(default)]
            message: Value,
            #[serde(default)]
            errors: Value,
            /// Prometheus' word for a message.
            #[serde(default)]
            error: Value,
        }
        let text = |value: &Value| match value {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            _ => None,
        };
        let mut code = None;
        let message = match serde_json::from_slice::<Body>(&self.body) {
            Ok(body) => {
                code = text(&body.code);
                let mut parts =
                    vec![code.clone(), text(&body.message), text(&body.error)];
                parts.extend(body.errors.as_array().into_iter().flatten().map(
                    |error| {
                        let of = |key| text(&error[key]);
                        let why = of("message").or(of("code"));
                        let said = [of("field"), why].into_iter().flatten();
                        Some(said.collect::<Vec<_>>().join(" "))
                    },
                ));
                let parts = parts.into_iter().flatten();
                let parts: Vec<_> = parts.filter(|p| !p.is_empty()).collect();
                parts.join(": ")
            }
            Err(_) if self.body.is_empty() => "no body".to_owned(),
            Err(_) => "no API error in the body".to_owned(),
        };
        ApiError::Status {
            url: url.to_owned(),
            status: self.status,
            server: self.server.clone(),
            code,
            message,
            request: String::new(),
            spent: self.spent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, body: &str) -> ApiError {
        let server = " from VMAPI".to_owned();
        let body = body.as_bytes().to_vec();
        let (date, spent) = (None, false);
        Answer { status, etag: None, server, date, body, spent }
            .error("http://x/vms")
    }

    #[test]
    fn an_error_says_what_the_body_says() {
        let id = Uuid::nil();
        let whole = r#"{"code": "ValidationFailed", "message": "Invalid",
            "errors": [{"field": "tags", "code": "Invalid", "message": "no"},
                {"field": "ram", "code": "MissingParameter"}, 7]}"#;
        let refused = error(409, whole).of_request(&id);
        assert_eq!(refused.code(), Some("ValidationFailed"));
        assert_eq!(
            refused.to_string(),
            "http://x/vms answered 409 from VMAPI: ValidationFailed: Invalid: \
             tags no: ram MissingParameter \
             (request 00000000-0000-0000-0000-000000000000)"
        );
        for (body, said) in [
            ("", "no body"),
            ("<html>", "no API error in the body"),
            (r#"{"message": "plain"}"#, "plain"),
            (r#"{"status": "error", "error": "parse error"}"#, "parse error"),
            (r#"{"code": 7, "message": {}, "errors": {}}"#, ""),
        ] {
            let error = error(404, body);
            assert!(error.to_string().ends_with(&format!(": {said}")));
            assert!(!error.is_not_found(), "{body}");
        }
        assert!(error(404, r#"{"code": "ResourceNotFound"}"#).is_not_found());
    }

    #[test]
    fn what_passes_is_tried_again_once() {
        for (status, passes) in
            [(404, false), (500, false), (501, false), (502, true), (503, true)]
        {
            assert_eq!(error(status, "").is_passing(), passes, "{status}");
            assert!(!error(status, "").spent().is_passing(), "{status}");
        }
        let silent = ApiError::no_answer("http://x", "reset".into());
        assert!(silent.is_passing() && !silent.spent().is_passing());
    }
}
