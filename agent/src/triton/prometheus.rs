// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Prometheus' query API, which Thanos speaks too. What it answers are bytes
//! from outside: read within a limit, taken whole or not at all.
//!
//! Source: Prometheus, "HTTP API", instant queries.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::api::Api;
use super::{ApiError, Http};

/// Longest answer, bytes: a hundred thousand zones with a value each are some
/// 15 MB.
const ANSWER: usize = 32 << 20;

/// One server, at one base URL.
#[derive(Clone, Debug)]
pub struct Prometheus {
    api: Api,
}

/// What an expression has for values now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vector {
    /// Each series with its value.
    pub samples: Vec<Sample>,
    /// What the server has to say about it: of Thanos, which store is
    /// missing.
    pub warnings: Vec<String>,
}

/// A series and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Value; also NaN and infinities.
    pub value: f64,
}

#[derive(Deserialize)]
struct Wire {
    status: Success,
    data: Data,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Success {
    Success,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: Kind,
    result: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Vector,
}

#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    /// Time and value, which is text: JSON has no NaN.
    value: (f64, Number),
}

struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let value = text.parse().map_err(|_| {
            let seen = serde::de::Unexpected::Str(&text);
            serde::de::Error::invalid_value(seen, &"a number")
        })?;
        Ok(Self(value))
    }
}

impl From<Wire> for Vector {
    fn from(wire: Wire) -> Self {
        let Wire { status: Success::Success, data, warnings } = wire;
        let Data { result_type: Kind::Vector, result } = data;
        let sample = |row: Row| {
            let (_, Number(value)) = row.value;
            Sample { labels: row.metric, value }
        };
        Self { samples: result.into_iter().map(sample).collect(), warnings }
    }
}

impl Prometheus {
    /// The server at `url`, for instance `http://10.88.0.40:9090`.
    pub fn new(http: Http, url: &str) -> Self {
        // It has no use for request ids.
        Self { api: Api::new(http, url, None).limited(ANSWER).untraced() }
    }

    /// Its base URL.
    pub fn url(&self) -> &str {
        self.api.url()
    }

    /// The values that an expression, which must be an instant vector, has
    /// now.
    ///
    /// Errors: `Status`, with Prometheus' own words; `Body`, `TooLarge`.
    pub async fn query(&self, expression: &str) -> Result<Vector, ApiError> {
        let query = [("query", expression)];
        let wire: Wire = self.api.get("api/v1/query", &query).await?;
        Ok(wire.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vector, serde_json::Error> {
        serde_json::from_str::<Wire>(text).map(Vector::from)
    }

    fn answer(result: &str) -> String {
        format!(
            r#"{{"status":"success","data":{{"resultType":"vector",
                "result":[{result}]}}}}"#
        )
    }

    #[test]
    fn a_vector_is_read_and_nothing_else() {
        let row = r#"{"metric":{"instance":"a"},"value":[1.5,"2.5e3"]}"#;
        let read_one = read(&answer(row)).unwrap();
        assert_eq!(read_one.samples[0].labels["instance"], "a");
        assert_eq!(read_one.samples[0].value, 2500.0);
        let odd = r#"{"value":[1,"+Inf"]},{"metric":{},"value":[1,"NaN"]}"#;
        let values = read(&answer(odd)).unwrap().samples;
        assert!(values[0].value.is_infinite() && values[1].value.is_nan());
        assert_eq!(read(&answer("")).unwrap(), Vector::default());
        for bad in [
            r#"{"metric":{"instance":7},"value":[1,"1"]}"#,
            r#"{"metric":{},"value":[1,1]}"#,
            r#"{"metric":{},"value":[1,"many"]}"#,
            r#"{"metric":{},"value":["1","1"]}"#,
            r#"{"metric":{},"values":[[1,"1"]]}"#,
        ] {
            assert!(read(&answer(bad)).is_err(), "{bad}");
        }
        for (from, to) in [("vector", "matrix"), ("success", "error")] {
            assert!(read(&answer(row).replace(from, to)).is_err(), "{to}");
        }
        let warned = answer(row).replacen('{', r#"{"warnings":["w"],"#, 1);
        assert_eq!(read(&warned).unwrap().warnings, ["w"]);
    }

    proptest! {
        /// Whatever is cut out of an answer or put into it.
        #[test]
        fn nonsense_is_refused_without_a_panic(
            at in any::<prop::sample::Index>(),
            gone in 0..20_usize,
            put in "[\\x20-\\x7e]{0,8}",
            value in any::<f64>(),
        ) {
            let row = format!(
                r#"{{"metric":{{"instance":"x"}},"value":[1,"{value}"]}}"#
            );
            let whole = answer(&row);
            let read_back = read(&whole).unwrap().samples[0].value;
            prop_assert!(read_back == value || value.is_nan());
            let at = at.index(whole.len());
            let end = whole.len().min(at + gone);
            let spoilt =
                format!("{}{put}{}", &whole[..at], &whole[end..]);
            if let Ok(vector) = read(&spoilt) {
                prop_assert!(vector.samples.len() <= spoilt.len() / 8);
            }
        }
    }
}
