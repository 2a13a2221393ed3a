// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A small world that has what one query asks for: three series a metric,
//! one that grows, one that stands at 1, one at 0.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::label::Matcher;
use serde_json::{Value, json};

use super::promql::{Query, Use};

const VALUES: [&str; 3] = ["0+60x30", "1x30", "0x30"];

/// Labels' values to choose from where a query filters by one.
const LIKELY: [&str; 8] =
    ["x", "jobs_x", "503", "storage1", "cmon0", "query", "SERVFAIL", "ixfr"];

/// A test for `promtool test rules`: `expr` gives a series at least.
pub(super) fn test(name: &str, expr: &str, query: &Query) -> Value {
    let series: BTreeSet<_> =
        query.uses.iter().flat_map(|used| series(used, query)).collect();
    let series: Vec<_> = series
        .into_iter()
        .map(|(series, values)| json!({ "series": series, "values": values }))
        .collect();
    json!({
        "name": name,
        "interval": "1m",
        "input_series": series,
        "promql_expr_test": [{
            "expr": format!("clamp(count(({expr})), 1, 1)"),
            "eval_time": "30m",
            "exp_samples": [{ "labels": "{}", "value": 1 }],
        }],
    })
}

fn series(used: &Use, query: &Query) -> Vec<(String, &'static str)> {
    let mut all = Vec::new();
    for (copy, values) in VALUES.into_iter().enumerate() {
        let named = query.named.iter().map(|n| (n.clone(), format!("v{copy}")));
        let mut labels: BTreeMap<_, _> = named.collect();
        labels.insert("copy".to_owned(), copy.to_string());
        for matcher in &used.matchers {
            labels.insert(matcher.name.clone(), value(matcher));
        }
        let buckets = match labels.contains_key("le") {
            true => ["0.1", "1", "+Inf"].as_slice(),
            false => &[""],
        };
        for bucket in buckets {
            if !bucket.is_empty() {
                labels.insert("le".to_owned(), (*bucket).to_owned());
            }
            let labels: Vec<_> = labels
                .iter()
                .map(|(name, value)| format!("{name}={value:?}"))
                .collect();
            let labels = labels.join(",");
            all.push((format!("{}{{{labels}}}", used.metric), values));
        }
    }
    all
}

fn value(matcher: &Matcher) -> String {
    LIKELY
        .into_iter()
        .chain([matcher.value.as_str()])
        .find(|value| matcher.is_match(value))
        .unwrap_or_else(|| panic!("no value for {matcher:?}"))
        .to_owned()
}
