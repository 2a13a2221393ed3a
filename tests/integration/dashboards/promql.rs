// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What an expression asks for and which labels its series have in the end.

use std::collections::BTreeSet;
use std::time::Duration;

use promql_parser::label::{METRIC_NAME, Matcher};
use promql_parser::parser::token::{T_BOTTOMK, T_COUNT_VALUES, T_LOR, T_TOPK};
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{
    AggregateExpr, BinaryExpr, Call, Expr, LabelModifier,
    VectorMatchCardinality, VectorSelector, parse,
};

/// Names of labels, without those of the metric itself.
type Names = BTreeSet<String>;

/// The labels a series may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Labels {
    /// Whatever the metric has, but for these.
    AllBut(Names),
    /// At most these.
    Only(Names),
}

impl Labels {
    pub(super) fn has(&self, label: &str) -> bool {
        match self {
            Self::AllBut(gone) => !gone.contains(label),
            Self::Only(left) => left.contains(label),
        }
    }

    fn without(mut self, names: &Names) -> Self {
        match &mut self {
            Self::AllBut(gone) => gone.extend(names.iter().cloned()),
            Self::Only(left) => left.retain(|name| !names.contains(name)),
        }
        self
    }

    fn with(mut self, name: &str) -> Self {
        match &mut self {
            Self::AllBut(gone) => {
                gone.remove(name);
            }
            Self::Only(left) => {
                left.insert(name.to_owned());
            }
        }
        self
    }

    fn only(self, names: &Names) -> Self {
        let has = |name: &&String| self.has(name);
        Self::Only(names.iter().filter(has).cloned().collect())
    }

    /// What both sides of an `or` have.
    fn and(self, other: Self) -> Self {
        match other {
            Self::AllBut(gone) => self.without(&gone),
            Self::Only(left) => self.only(&left),
        }
    }
}

/// One metric in an expression, and what is done to it.
#[derive(Debug)]
pub(super) struct Use {
    pub(super) metric: String,
    /// What it is filtered by.
    pub(super) matchers: Vec<Matcher>,
    /// The function that takes its range, and the range.
    pub(super) ranged: Option<(&'static str, Duration)>,
    /// Whether only its being there is asked, by `count`.
    pub(super) counted: bool,
}

/// An expression as it was parsed.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) labels: Labels,
    pub(super) uses: Vec<Use>,
    /// Labels named in `by`, `on` and their like.
    pub(super) named: Names,
}

pub(super) fn read(expr: &str) -> Result<Query, String> {
    let expr = parse(expr)?;
    let mut query =
        Query { labels: labels(&expr), uses: Vec::new(), named: Names::new() };
    walk(&expr, None, false, &mut query);
    Ok(query)
}

fn names<'a>(names: impl IntoIterator<Item = &'a String>) -> Names {
    names.into_iter().cloned().collect()
}

fn labels(expr: &Expr) -> Labels {
    match expr {
        Expr::VectorSelector(_) | Expr::MatrixSelector(_) => {
            Labels::AllBut(Names::new())
        }
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => {
            Labels::Only(Names::new())
        }
        Expr::Paren(inner) => labels(&inner.expr),
        Expr::Unary(inner) => labels(&inner.expr),
        Expr::Subquery(inner) => labels(&inner.expr),
        Expr::Aggregate(aggregate) => of_aggregate(aggregate),
        Expr::Binary(binary) => of_binary(binary),
        Expr::Call(call) => of_call(call),
        Expr::Extension(_) => unreachable!("the parser makes none"),
    }
}

fn of_aggregate(aggregate: &AggregateExpr) -> Labels {
    let inner = labels(&aggregate.expr);
    // These choose series and leave them as they are.
    if matches!(aggregate.op.id(), T_TOPK | T_BOTTOMK) {
        return inner;
    }
    let left = match &aggregate.modifier {
        None => Labels::Only(Names::new()),
        Some(LabelModifier::Include(by)) => inner.only(&names(&by.labels)),
        Some(LabelModifier::Exclude(gone)) => {
            inner.without(&names(&gone.labels))
        }
    };
    match (aggregate.op.id(), aggregate.param.as_deref()) {
        (T_COUNT_VALUES, Some(Expr::StringLiteral(label))) => {
            left.with(&label.val)
        }
        _ => left,
    }
}

fn of_binary(binary: &BinaryExpr) -> Labels {
    let (left, right) = (labels(&binary.lhs), labels(&binary.rhs));
    if binary.lhs.value_type() == ValueType::Scalar {
        return right;
    }
    if binary.rhs.value_type() == ValueType::Scalar {
        return left;
    }
    if binary.op.is_set_operator() {
        return if binary.op.id() == T_LOR { left.and(right) } else { left };
    }
    let modifier = binary.modifier.as_ref();
    let with = |many: Labels, taken: &[String]| {
        taken.iter().fold(many, |all, name| all.with(name))
    };
    match modifier.map(|modifier| &modifier.card) {
        Some(VectorMatchCardinality::ManyToOne(taken)) => {
            return with(left, &taken.labels);
        }
        Some(VectorMatchCardinality::OneToMany(taken)) => {
            return with(right, &taken.labels);
        }
        _ => {}
    }
    match modifier.and_then(|modifier| modifier.matching.as_ref()) {
        None => left,
        Some(LabelModifier::Include(on)) => left.only(&names(&on.labels)),
        Some(LabelModifier::Exclude(gone)) => {
            left.without(&names(&gone.labels))
        }
    }
}

fn of_call(call: &Call) -> Labels {
    let vector = call.args.args.iter().find(|argument| {
        matches!(argument.value_type(), ValueType::Vector | ValueType::Matrix)
    });
    let inner =
        vector.map_or(Labels::Only(Names::new()), |argument| labels(argument));
    match call.func.name {
        "histogram_quantile" => inner.without(&Names::from(["le".to_owned()])),
        "label_replace" | "label_join" => match call.args.args.get(1) {
            Some(label) => match label.as_ref() {
                Expr::StringLiteral(label) => inner.with(&label.val),
                _ => inner,
            },
            None => inner,
        },
        "scalar" | "absent" | "absent_over_time" => Labels::Only(Names::new()),
        _ => inner,
    }
}

fn walk(
    expr: &Expr,
    function: Option<&'static str>,
    counted: bool,
    query: &mut Query,
) {
    match expr {
        Expr::VectorSelector(selector) => {
            query.uses.push(selected(selector, None, counted));
        }
        Expr::MatrixSelector(matrix) => {
            let ranged = function.map(|name| (name, matrix.range));
            query.uses.push(selected(&matrix.vs, ranged, counted));
        }
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => {}
        Expr::Paren(inner) => walk(&inner.expr, None, counted, query),
        Expr::Unary(inner) => walk(&inner.expr, None, counted, query),
        Expr::Subquery(inner) => walk(&inner.expr, None, counted, query),
        Expr::Aggregate(aggregate) => {
            if let Some(modifier) = &aggregate.modifier {
                query.named.extend(modifier.labels().labels.iter().cloned());
            }
            let counts = aggregate.op.to_string() == "count";
            walk(&aggregate.expr, None, counted || counts, query);
        }
        Expr::Binary(binary) => {
            if let Some(modifier) = &binary.modifier {
                let matching =
                    modifier.matching.iter().map(LabelModifier::labels);
                let labels = matching.chain(modifier.card.labels());
                for labels in labels {
                    query.named.extend(labels.labels.iter().cloned());
                }
            }
            walk(&binary.lhs, None, counted, query);
            walk(&binary.rhs, None, counted, query);
        }
        Expr::Call(call) => {
            for argument in &call.args.args {
                walk(argument, Some(call.func.name), counted, query);
            }
        }
        Expr::Extension(_) => unreachable!("the parser makes none"),
    }
}

fn selected(
    selector: &VectorSelector,
    ranged: Option<(&'static str, Duration)>,
    counted: bool,
) -> Use {
    let matchers = selector.matchers.matchers.clone();
    assert!(selector.matchers.or_matchers.is_empty(), "not PromQL of today");
    let by_name = matchers.iter().any(|matcher| matcher.name == METRIC_NAME);
    assert!(!by_name, "a metric is called by its name");
    let metric = selector.name.clone().expect("a metric has a name");
    Use { metric, matchers, ranged, counted }
}

#[test]
fn labels_that_survive() {
    let has = |expr: &str, label: &str| read(expr).unwrap().labels.has(label);
    assert!(has("m", "a"));
    assert!(has("sum by (a) (rate(m[5m]))", "a"));
    assert!(!has("sum by (a) (rate(m[5m]))", "b"));
    assert!(!has("sum(m)", "a"));
    assert!(!has("sum without (a) (m)", "a"));
    assert!(has("sum without (a) (m)", "b"));
    assert!(!has("max by (a, b) (sum by (a) (m))", "b"));
    assert!(has("topk(3, sum by (a) (m))", "a"));
    assert!(!has("topk(3, sum by (a) (m))", "b"));
    assert!(!has("histogram_quantile(0.9, sum by (a, le) (m))", "le"));
    assert!(has("histogram_quantile(0.9, sum by (a, le) (m))", "a"));
    assert!(has("1 - avg by (a) (m)", "a"));
    assert!(has("time() - max by (a) (m)", "a"));
    assert!(!has("sum by (a) (m) or vector(0)", "a"));
    assert!(has("sum by (a) (m) or 0 * sum by (a) (n)", "a"));
    assert!(has("sum by (a) (m) and on (b) n", "a"));
    assert!(!has("m / on (a) n", "b"));
    assert!(has("m / on (a) group_left (c) n", "b"));
    assert!(has("sum(m) * on (a) group_right () n", "b"));
    assert!(has(r#"count_values("v", m)"#, "v"));
    assert!(has(r#"label_replace(sum(m), "v", "x", "y", ".*")"#, "v"));
    assert!(!has("absent(m)", "a"));
}

#[test]
fn metrics_and_what_is_done_to_them() {
    let query = read(
        r#"sum by (x) (rate(a{f="1"}[5m])) / on (y) group_left (z) count(b)"#,
    )
    .unwrap();
    let uses: Vec<_> = query
        .uses
        .iter()
        .map(|u| (u.metric.as_str(), u.ranged, u.counted))
        .collect();
    let five = Duration::from_secs(300);
    assert_eq!(uses, [("a", Some(("rate", five)), false), ("b", None, true)]);
    assert_eq!(query.uses[0].matchers[0].name, "f");
    assert_eq!(query.named, ["x", "y", "z"].map(str::to_owned).into());
}
