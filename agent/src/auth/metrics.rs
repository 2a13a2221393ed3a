// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the sign-in proxy counts, in Prometheus' text form.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Let in by a session.
    Session,
    /// Let in by a password that was right a moment ago.
    Cached,
    /// Let in by a password that UFDS judged.
    Password,
    /// A service account's token, passed on.
    Token,
    /// Brought nothing.
    Nobody,
    /// Brought what does not let in.
    Refused,
    /// Tried too often.
    Limited,
    /// Nobody could tell.
    Unavailable,
}

const OUTCOMES: [(Outcome, &str); 8] = [
    (Outcome::Session, "session"),
    (Outcome::Cached, "cached"),
    (Outcome::Password, "password"),
    (Outcome::Token, "token"),
    (Outcome::Nobody, "nobody"),
    (Outcome::Refused, "refused"),
    (Outcome::Limited, "limited"),
    (Outcome::Unavailable, "unavailable"),
];

/// Why a sign-in was refused; for the log and for metrics, never told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    UnknownLogin,
    NoRole,
    WrongPassword,
    WrongAgain,
    Disabled,
    Locked,
    Expired,
    NearLock,
    Misnamed,
}

const REASONS: [(Reason, &str); 9] = [
    (Reason::UnknownLogin, "unknown_login"),
    (Reason::NoRole, "no_role"),
    (Reason::WrongPassword, "wrong_password"),
    (Reason::WrongAgain, "wrong_again"),
    (Reason::Disabled, "disabled"),
    (Reason::Locked, "locked"),
    (Reason::Expired, "expired"),
    (Reason::NearLock, "near_lock"),
    (Reason::Misnamed, "misnamed"),
];

impl Reason {
    pub(super) fn as_str(self) -> &'static str {
        REASONS
            .iter()
            .find(|(reason, _)| *reason == self)
            .map_or("unknown", |(_, name)| name)
    }
}

/// Upper bounds of the histogram, milliseconds.
const BOUNDS_MS: [u64; 7] = [5, 20, 100, 500, 1_000, 2_000, 4_000];

/// The counts of one run.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    outcomes: [AtomicU64; OUTCOMES.len()],
    reasons: [AtomicU64; REASONS.len()],
    sessions_begun: AtomicU64,
    sessions_ended: AtomicU64,
    compares: AtomicU64,
    searches: AtomicU64,
    failures: AtomicU64,
    buckets: [AtomicU64; BOUNDS_MS.len() + 1],
    took_ms: AtomicU64,
}

impl Metrics {
    pub(super) fn outcome(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn reason(&self, reason: Reason) {
        self.reasons[reason as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn session_began(&self) {
        self.sessions_begun.fetch_add(1, Relaxed);
    }

    pub(super) fn session_ended(&self) {
        self.sessions_ended.fetch_add(1, Relaxed);
    }

    pub(super) fn ufds_took(&self, what: &str, took: Duration) {
        let questions = match what {
            "compare" => &self.compares,
            _ => &self.searches,
        };
        questions.fetch_add(1, Relaxed);
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MS.iter().position(|bound| ms <= *bound);
        self.buckets[bucket.unwrap_or(BOUNDS_MS.len())].fetch_add(1, Relaxed);
        self.took_ms.fetch_add(ms, Relaxed);
    }

    pub(super) fn ufds_failed(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    /// All of it. `well`: whether UFDS answered last.
    pub(super) fn exposition(&self, well: bool) -> String {
        let family = |name: &str, kind: &str, help: &str| {
            let name = format!("grafana_sign_in_{name}");
            format!("# HELP {name} {help}\n# TYPE {name} {kind}\n")
        };
        let mut text = String::new();
        text +=
            &family("requests_total", "counter", "Requests by how they ended.");
        for ((_, name), count) in OUTCOMES.iter().zip(&self.outcomes) {
            let count = count.load(Relaxed);
            let _ = writeln!(
                text,
                "grafana_sign_in_requests_total{{outcome=\"{name}\"}} {count}"
            );
        }
        text += &family(
            "refusals_total",
            "counter",
            "Passwords that let nobody in, by why.",
        );
        for ((_, name), count) in REASONS.iter().zip(&self.reasons) {
            let count = count.load(Relaxed);
            let _ = writeln!(
                text,
                "grafana_sign_in_refusals_total{{reason=\"{name}\"}} {count}"
            );
        }
        let plain = [
            ("sessions_begun_total", &self.sessions_begun, "Sessions begun."),
            ("sessions_ended_total", &self.sessions_ended, "Sessions ended."),
            ("ufds_failures_total", &self.failures, "Questions that failed."),
        ];
        for (name, count, help) in plain {
            text += &family(name, "counter", help);
            let count = count.load(Relaxed);
            let _ = writeln!(text, "grafana_sign_in_{name} {count}");
        }
        text +=
            &family("ufds_questions_total", "counter", "Questions to UFDS.");
        for (kind, count) in
            [("compare", &self.compares), ("search", &self.searches)]
        {
            let count = count.load(Relaxed);
            let _ = writeln!(
                text,
                "grafana_sign_in_ufds_questions_total{{kind=\"{kind}\"}} {count}"
            );
        }
        text += &family("ufds_up", "gauge", "Whether UFDS answered last.");
        let _ = writeln!(text, "grafana_sign_in_ufds_up {}", u8::from(well));
        text += &family("ufds_seconds", "histogram", "Time UFDS took.");
        let mut sum = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            sum += count.load(Relaxed);
            let bound = BOUNDS_MS.get(at).map_or_else(
                || "+Inf".to_owned(),
                |ms| format!("{}.{:03}", ms / 1_000, ms % 1_000),
            );
            let _ = writeln!(
                text,
                "grafana_sign_in_ufds_seconds_bucket{{le=\"{bound}\"}} {sum}"
            );
        }
        let ms = self.took_ms.load(Relaxed);
        let _ = writeln!(
            text,
            "grafana_sign_in_ufds_seconds_sum {}.{:03}\n\
             grafana_sign_in_ufds_seconds_count {sum}",
            ms / 1_000,
            ms % 1_000
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_counted_at_its_own_place() {
        for (at, (outcome, _)) in OUTCOMES.iter().enumerate() {
            assert_eq!(*outcome as usize, at);
        }
        for (at, (reason, _)) in REASONS.iter().enumerate() {
            assert_eq!(*reason as usize, at);
        }
        let metrics = Metrics::default();
        metrics.outcome(Outcome::Limited);
        metrics.reason(Reason::NearLock);
        metrics.ufds_took("compare", Duration::from_millis(30));
        metrics.ufds_took("search", Duration::from_secs(9));
        let text = metrics.exposition(true);
        for line in [
            "grafana_sign_in_requests_total{outcome=\"limited\"} 1",
            "grafana_sign_in_refusals_total{reason=\"near_lock\"} 1",
            "grafana_sign_in_ufds_seconds_bucket{le=\"0.020\"} 0",
            "grafana_sign_in_ufds_seconds_bucket{le=\"0.100\"} 1",
            "grafana_sign_in_ufds_seconds_bucket{le=\"+Inf\"} 2",
            "grafana_sign_in_ufds_seconds_sum 9.030",
            "grafana_sign_in_ufds_up 1",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}:\n{text}");
        }
    }
}
