// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the typed clients share: a base URL, JSON both ways, a request id for
//! every call, and the two kinds of "not there".

use std::fmt::Write as _;
use std::time::Duration;

use hyper::Method;
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Answer, ApiError, Http};

/// A list or an object larger than this is none, bytes: a thousand VMs with
/// all their fields are some 10 MB.
const BODY_LIMIT: usize = 64 << 20;

/// One API at one base URL.
#[derive(Clone, Debug)]
pub(super) struct Api {
    http: Http,
    url: String,
    version: Option<&'static str>,
    limit: usize,
    traced: bool,
}

/// A query: names and values, not yet escaped.
pub(super) type Query<'a> = [(&'a str, &'a str)];

/// One call.
struct Call<'a> {
    method: Method,
    path: &'a str,
    query: &'a Query<'a>,
    body: Option<&'a Value>,
    /// It may be made twice.
    again: bool,
}

impl<'a> Call<'a> {
    fn get(path: &'a str, query: &'a Query<'a>) -> Self {
        Self { method: Method::GET, path, query, body: None, again: true }
    }
}

impl Api {
    /// `version` is what `Accept-Version` asks for.
    pub(super) fn new(
        http: Http,
        url: &str,
        version: Option<&'static str>,
    ) -> Self {
        let url = url.trim_end_matches('/').to_owned();
        Self { http, url, version, limit: BODY_LIMIT, traced: true }
    }

    /// With another limit on bodies, bytes.
    pub(super) fn limited(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Sends no request ids, whose errors then read the same each time.
    pub(super) fn untraced(mut self) -> Self {
        self.traced = false;
        self
    }

    pub(super) fn traced(mut self) -> Self {
        self.traced = true;
        self
    }

    /// With another limit on whole exchanges.
    pub(super) fn lasting(&self, limit: Duration) -> Self {
        Self { http: self.http.lasting(limit), ..self.clone() }
    }

    pub(super) fn http(&self) -> &Http {
        &self.http
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// What `path` and `query` lead to.
    pub(super) fn at(&self, path: &str, query: &Query<'_>) -> String {
        let mut url = format!("{}/{path}", self.url);
        for (index, (name, value)) in query.iter().enumerate() {
            url.push(if index == 0 { '?' } else { '&' });
            escape(&mut url, name);
            url.push('=');
            escape(&mut url, value);
        }
        url
    }

    /// Asks, and hands back whatever the status is.
    async fn exchange(
        &self,
        call: Call<'_>,
        url: &str,
        id: Option<&Uuid>,
    ) -> Result<Answer, ApiError> {
        let id = id.map(Uuid::to_string);
        let mut headers = vec![("accept", "application/json")];
        headers.extend(self.version.map(|v| ("accept-version", v)));
        headers.extend(id.as_deref().map(|id| ("x-request-id", id)));
        let Call { method, body, again, .. } = call;
        self.http.send(method, url, &headers, body, self.limit, again).await
    }

    /// Asks, reads the answer, and names the request where that failed.
    async fn ask<T>(
        &self,
        call: Call<'_>,
        read: impl FnOnce(&Answer, &str) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let id = self.traced.then(Uuid::new_v4);
        let url = self.at(call.path, call.query);
        let answer = self.exchange(call, &url, id.as_ref()).await;
        let done = answer.and_then(|answer| read(&answer, &url));
        done.map_err(|error| match &id {
            Some(id) => error.of_request(id),
            None => error,
        })
    }

    /// `GET` of what says more than its status, or otherwise.
    pub(super) async fn look<T>(
        &self,
        path: &str,
        read: impl FnOnce(&Answer, &str) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        self.ask(Call::get(path, &[]), read).await
    }

    /// `GET`: the body of a 2xx.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &Query<'_>,
    ) -> Result<T, ApiError> {
        self.ask(Call::get(path, query), object_of).await
    }

    /// `GET` of a single thing; `None` when the API says that there is none.
    pub(super) async fn find<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &Query<'_>,
    ) -> Result<Option<T>, ApiError> {
        match self.get(path, query).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `POST`, `PUT` or a `DELETE` that starts a job: the body of a 2xx. Made
    /// once: an answer that is lost leaves its maker to look.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &Query<'_>,
        body: Option<&Value>,
    ) -> Result<T, ApiError> {
        let call = Call { method, path, query, body, again: false };
        self.ask(call, object_of).await
    }

    /// The same of what may be made again without harm, because it sets what
    /// it is given.
    pub(super) async fn set<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &Query<'_>,
        body: Option<&Value>,
    ) -> Result<T, ApiError> {
        let call = Call { method, path, query, body, again: true };
        self.ask(call, object_of).await
    }

    /// `DELETE`: false when it was not there, which SAPI says with an empty
    /// 404 for some kinds. An empty one from elsewhere names its server.
    pub(super) async fn delete(
        &self,
        path: &str,
        query: &Query<'_>,
    ) -> Result<bool, ApiError> {
        let read = |answer: &Answer, url: &str| match answer.status {
            200..=299 => Ok(true),
            404 if answer.body.is_empty() => Ok(false),
            _ => match answer.error(url) {
                error if error.is_not_found() => Ok(false),
                error => Err(error),
            },
        };
        let (method, body) = (Method::DELETE, None);
        self.ask(Call { method, path, query, body, again: true }, read).await
    }

    /// `GET /ping`: whatever JSON it says, also beside a 500 or a 503.
    pub(super) async fn ping(&self) -> Result<(u16, Value), ApiError> {
        let read = |answer: &Answer, url: &str| match serde_json::from_slice(
            &answer.body,
        ) {
            Ok(said @ Value::Object(_)) => Ok((answer.status, said)),
            _ if answer.status == 200 => {
                answer.json::<Map<String, Value>>(url)?;
                Err(answer.error(url))
            }
            _ => Err(answer.error(url)),
        };
        self.look("ping", read).await
    }

    /// `GET /ping` of an API that says its health by the status alone.
    pub(super) async fn is_well(&self) -> Result<(), ApiError> {
        let read = |answer: &Answer, url: &str| match answer.status {
            200..=299 => Ok(()),
            _ => Err(answer.error(url)),
        };
        self.look("ping", read).await
    }
}

/// The body of a 2xx. Creates answer 200, 201 or 202, by API.
fn object_of<T: DeserializeOwned>(
    answer: &Answer,
    url: &str,
) -> Result<T, ApiError> {
    match answer.status {
        200..=299 => serde_json::from_slice(&answer.body)
            .map_err(|source| answer.unreadable(url, source)),
        _ => Err(answer.error(url)),
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn escape(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => out.push(byte.into()),
            b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => write!(out, "%{byte:02X}").expect("strings take everything"),
        }
    }
}

/// An object, which may also be absent, null or mangled.
pub(super) fn object<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Map<String, Value>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Object(map) => map,
        _ => Map::new(),
    })
}

/// A value, or its type's default where it is null or of another type: what
/// we show or compare, but could do without.
pub(super) fn lenient<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: DeserializeOwned + Default,
    D: Deserializer<'de>,
{
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_escaped() {
        let http = Http::new(Duration::from_secs(1), None);
        let api = Api::new(http, "http://x/", None);
        assert_eq!(api.at("vms", &[]), "http://x/vms");
        assert_eq!(
            api.at("vms", &[("marker", "{\"a\"}"), ("tag.a b", "é&=+~")]),
            "http://x/vms?marker=%7B%22a%22%7D&tag.a%20b=%C3%A9%26%3D%2B~"
        );
    }
}
