// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What live Prometheus servers say: what each zone costs them, and how the
//! pairs bear what they have.
//!
//! Every question is one about all instances at once, and each server, or a
//! Thanos querier, may know of any: of what several say the most is taken. A
//! zone that has just moved is known where it was.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use uuid::Uuid;

use super::super::roster::{Member, Roster};
use crate::log::chain;
use crate::triton::Http;
use crate::triton::prometheus::{Prometheus, Sample};

/// Where a Prometheus of ours answers, on its admin address.
const PORT: u16 = 9090;

/// What the jobs count that scrape zones: their label `instance` is a uuid.
/// Those that scrape daemons have it too, but no tag decides who runs them.
macro_rules! of_zones {
    ($function:literal, $metric:literal, $range:literal) => {
        concat!(
            "max by (instance) (",
            $function,
            "(",
            $metric,
            "{instance=~\"[0-9a-f-]{36}\", job!~",
            "\"(prometheus|thanos|config_agent|alertmanager|grafana|sign_in)_.+\"}[",
            $range,
            "]))"
        )
    };
}

/// Series of a zone: those that a scrape brings, or those that came new in the
/// two hours that a head block has, whichever are more. Scrapes count both
/// themselves, so nothing needs to be counted here.
const SERIES: [&str; 2] = [
    of_zones!("max_over_time", "scrape_samples_post_metric_relabeling", "2h"),
    of_zones!("sum_over_time", "scrape_series_added", "2h"),
];

/// Samples of a zone in an hour.
const SAMPLES: &str =
    of_zones!("sum_over_time", "scrape_samples_post_metric_relabeling", "1h");

/// Series in the head.
const HEAD_SERIES: &str = "max by (instance) \
     (prometheus_tsdb_head_series{job=~\"prometheus_.+\"})";

/// Memory as the rules of capacity have it: illumos tells of no process how
/// much is resident, and mapped blocks, which are in that, are no need.
const MEMORY: &str = "max by (instance) (\
     go_memstats_sys_bytes{job=~\"prometheus_.+\"} \
     - go_memstats_heap_released_bytes{job=~\"prometheus_.+\"}) \
     or max by (instance) \
     (process_resident_memory_bytes{job=~\"prometheus_.+\"})";

/// Scrapes that were begun, and the seconds between them.
const BEGUN: &str = "sum by (instance, interval) (increase(\
     prometheus_target_interval_length_seconds_count\
     {job=~\"prometheus_.+\"}[15m]))";
const BETWEEN: &str = "sum by (instance, interval) (increase(\
     prometheus_target_interval_length_seconds_sum\
     {job=~\"prometheus_.+\"}[15m]))";

/// Scrapes that were read and thrown away for their size.
const REFUSED: &str = "sum by (instance) (\
     increase(prometheus_target_scrapes_exceeded_sample_limit_total\
     {job=~\"prometheus_.+\"}[15m]) \
     + increase(prometheus_target_scrapes_exceeded_body_size_limit_total\
     {job=~\"prometheus_.+\"}[15m]))";

/// What a zone is weighed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Series in the head of its Prometheus.
    Series,
    /// Samples that are stored in an hour.
    Samples,
}

#[derive(Clone, Debug)]
struct Source {
    /// What people call it.
    name: String,
    /// The instance; `None` of one given by its URL.
    uuid: Option<Uuid>,
    server: Prometheus,
}

/// Whom to ask.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    all: Vec<Source>,
    /// What an operator should know: who has not answered, and why.
    pub notes: Vec<String>,
}

impl Sources {
    /// The servers at these URLs.
    pub fn at(http: &Http, urls: &[String]) -> Self {
        let source = |url: &String| Source {
            name: url.clone(),
            uuid: None,
            server: Prometheus::new(http.clone(), url),
        };
        Self { all: urls.iter().map(source).collect(), notes: Vec::new() }
    }

    /// Every member of a service, on the admin network.
    pub fn of(http: &Http, rosters: &[Roster]) -> Self {
        let mut sources = Self::default();
        for member in rosters.iter().flat_map(|roster| &roster.members) {
            let name = member.alias();
            match member.admin_ip() {
                Some(ip) => {
                    let at = std::net::SocketAddr::new(ip, PORT);
                    let url = format!("http://{at}");
                    let server = Prometheus::new(http.clone(), &url);
                    let uuid = Some(member.instance.uuid);
                    sources.all.push(Source { name, uuid, server });
                }
                None => sources.notes.push(format!(
                    "{name} was not asked: saw no address on the admin \
                     network"
                )),
            }
        }
        sources
    }

    /// How many there are that have answered so far.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Whether one of these instances has answered so far.
    pub fn hear(&self, members: &BTreeSet<Uuid>) -> bool {
        let mut all = self.all.iter().filter_map(|one| one.uuid);
        all.any(|uuid| members.contains(&uuid))
    }

    /// The answers of all to one question. Who does not answer is noted, and
    /// asked no more.
    async fn ask(&mut self, question: &str) -> Vec<Sample> {
        let asked = self.all.iter().map(|one| one.server.query(question));
        let answers = join_all(asked).await;
        let mut samples = Vec::new();
        let mut silent = BTreeSet::new();
        for (n, answer) in answers.into_iter().enumerate() {
            let name = &self.all[n].name;
            match answer {
                Ok(vector) => {
                    samples.extend(vector.samples);
                    self.notes.extend(vector.warnings.iter().map(|warning| {
                        format!("{name} knows but a part: {warning}")
                    }));
                }
                Err(error) => {
                    let why = chain(&error);
                    self.notes.push(format!("{name} did not answer: {why}"));
                    silent.insert(n);
                }
            }
        }
        let mut n = 0;
        self.all.retain(|_| {
            n += 1;
            !silent.contains(&(n - 1))
        });
        samples
    }
}

/// What each zone weighs. Empty where nobody knows.
pub async fn weights(sources: &mut Sources, unit: Unit) -> BTreeMap<Uuid, u64> {
    let questions: &[&str] = match unit {
        Unit::Series => &SERIES,
        Unit::Samples => &[SAMPLES],
    };
    let mut weights = BTreeMap::new();
    for question in questions {
        let samples = sources.ask(question).await;
        heaviest(&mut weights, samples.iter());
    }
    weights
}

/// Takes the greater of two weights of a zone; not what is no zone's, nor what
/// is no number above 0: a zone that was down for as long weighs what others
/// do.
fn heaviest<'a>(
    weights: &mut BTreeMap<Uuid, u64>,
    samples: impl Iterator<Item = &'a Sample>,
) {
    for Sample { labels, value } in samples {
        let uuid = labels.get("instance").and_then(|text| text.parse().ok());
        let (Some(uuid), true) = (uuid, *value > 0.0) else { continue };
        let weight = weights.entry(uuid).or_default();
        // As far as it goes; infinity is as heavy as can be.
        *weight = (*weight).max((value.round() as u64).max(1));
    }
}

/// How a pair bears what it has: the worse of its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// Series in the head.
    pub series: u64,
    /// Memory in use, bytes.
    pub memory_used_bytes: u64,
    /// What a member's zone may use, bytes.
    pub memory_limit_bytes: Option<u64>,
    /// Scrapes that were due in a quarter of an hour.
    pub scrapes: u64,
    /// Those of them that were begun late enough to be left out, or thrown
    /// away for their size.
    pub dropped_scrapes: u64,
}

/// What was measured of members of pairs.
#[derive(Debug, Default)]
pub struct Measured {
    series: BTreeMap<Uuid, f64>,
    memory_bytes: BTreeMap<Uuid, f64>,
    due: BTreeMap<Uuid, f64>,
    begun: BTreeMap<Uuid, f64>,
    refused: BTreeMap<Uuid, f64>,
}

impl Measured {
    /// Asks.
    pub async fn gather(sources: &mut Sources) -> Self {
        let mut measured = Self::default();
        let by_instance = |samples: Vec<Sample>| {
            let mut all = BTreeMap::new();
            for (uuid, value) in samples.iter().filter_map(of_member) {
                let most: &mut f64 = all.entry(uuid).or_default();
                *most = most.max(value);
            }
            all
        };
        measured.series = by_instance(sources.ask(HEAD_SERIES).await);
        measured.memory_bytes = by_instance(sources.ask(MEMORY).await);
        measured.refused = by_instance(sources.ask(REFUSED).await);
        let begun = by_interval(&sources.ask(BEGUN).await);
        let between = by_interval(&sources.ask(BETWEEN).await);
        for ((uuid, interval_ms), seconds) in between {
            let begun = begun.get(&(uuid, interval_ms)).copied();
            let due = seconds * 1000.0 / interval_ms as f64;
            *measured.due.entry(uuid).or_default() += due;
            *measured.begun.entry(uuid).or_default() += begun.unwrap_or(due);
        }
        measured
    }

    /// A pair's load. `None`, where nothing is known of any member.
    pub fn load(
        &self,
        members: &BTreeSet<Uuid>,
        limits: &BTreeMap<Uuid, u64>,
    ) -> Option<Load> {
        let of = |all: &BTreeMap<Uuid, f64>| {
            let known = members.iter().filter_map(|uuid| all.get(uuid));
            known.copied().reduce(f64::max)
        };
        let late = |uuid: &Uuid| {
            let get = |all: &BTreeMap<Uuid, f64>| all.get(uuid).copied();
            let due = get(&self.due)?;
            let begun = get(&self.begun).unwrap_or(due);
            let refused = get(&self.refused).unwrap_or(0.0);
            Some((due, (due - begun).max(0.0) + refused))
        };
        let rate = |&(due, dropped): &(f64, f64)| dropped / due.max(1.0);
        let worst = members.iter().filter_map(late);
        let (due, dropped) = worst
            .max_by(|a, b| rate(a).total_cmp(&rate(b)))
            .unwrap_or((0.0, 0.0));
        Some(Load {
            series: of(&self.series)? as u64,
            memory_used_bytes: of(&self.memory_bytes).unwrap_or(0.0) as u64,
            // A pair is of one size; the smaller counts where it is not.
            memory_limit_bytes: members
                .iter()
                .filter_map(|uuid| limits.get(uuid).copied())
                .min(),
            scrapes: due.round() as u64,
            dropped_scrapes: dropped.round() as u64,
        })
    }
}

/// What members' zones may use, bytes.
pub fn memory_limits<'a>(
    members: impl Iterator<Item = &'a Member>,
) -> BTreeMap<Uuid, u64> {
    let limit = |member: &Member| {
        let mib = member.vm.as_ref()?.max_physical_memory;
        (mib > 0).then_some((member.instance.uuid, mib.saturating_mul(1 << 20)))
    };
    members.filter_map(limit).collect()
}

fn of_member(sample: &Sample) -> Option<(Uuid, f64)> {
    let uuid = sample.labels.get("instance")?.parse().ok()?;
    (sample.value.is_finite() && sample.value >= 0.0)
        .then_some((uuid, sample.value))
}

/// The most that anybody says of an instance and an interval, in
/// milliseconds.
fn by_interval(samples: &[Sample]) -> BTreeMap<(Uuid, u64), f64> {
    let mut all = BTreeMap::new();
    for sample in samples {
        let interval = sample.labels.get("interval");
        let interval = interval.and_then(|text| interval_ms(text));
        let known = of_member(sample).zip(interval.filter(|&ms| ms > 0));
        let Some(((uuid, value), interval)) = known else { continue };
        let most: &mut f64 = all.entry((uuid, interval)).or_default();
        *most = most.max(value);
    }
    all
}

/// An interval as Go writes it, `1m30s` or `500ms`.
fn interval_ms(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = rest.split_at(digits);
        let wide = unit.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = unit.split_at(wide);
        let factor = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        let number: u64 = number.parse().ok()?;
        total = total.checked_add(number.checked_mul(factor)?)?;
        rest = after;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(labels: &[(&str, &str)], value: f64) -> Sample {
        let label = |&(name, value): &(&str, &str)| (name.into(), value.into());
        Sample { labels: labels.iter().map(label).collect(), value }
    }

    #[test]
    fn intervals_of_go() {
        for (text, wanted) in [
            ("10s", Some(10_000)),
            ("1m0s", Some(60_000)),
            ("1h0m5s", Some(3_605_000)),
            ("500ms", Some(500)),
            ("", Some(0)),
            ("s", None),
            ("10", None),
            ("1.5s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
        ] {
            assert_eq!(interval_ms(text), wanted, "{text}");
        }
    }

    #[test]
    fn of_a_pair_the_worse_counts_and_late_scrapes_are_dropped_ones() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let measured = Measured {
            series: [(a, 100.0), (b, 120.0)].into(),
            memory_bytes: [(a, 7.0)].into(),
            due: [(a, 1000.0), (b, 1000.0)].into(),
            begun: [(a, 1001.0), (b, 900.0)].into(),
            refused: [(b, 5.0)].into(),
        };
        let limits = [(a, 20), (b, 10)].into();
        let load = measured.load(&[a, b].into(), &limits).unwrap();
        assert_eq!((load.series, load.memory_used_bytes), (120, 7));
        assert_eq!(load.memory_limit_bytes, Some(10));
        assert_eq!((load.scrapes, load.dropped_scrapes), (1000, 105));
        let alone = measured.load(&[a].into(), &limits).unwrap();
        assert_eq!(alone.dropped_scrapes, 0);
        let nobody = Uuid::from_u128(3);
        assert!(measured.load(&[nobody].into(), &limits).is_none());
    }

    proptest! {
        /// Whatever a server says.
        #[test]
        fn weights_are_of_zones_and_above_nothing(
            values in prop::collection::vec(
                (any::<u8>(), any::<f64>(), any::<bool>()), 0..20),
        ) {
            let samples: Vec<Sample> = values
                .iter()
                .map(|&(n, value, named)| {
                    let uuid = Uuid::from_u128(n.into()).to_string();
                    let name = if named { uuid } else { format!("{n}:9090") };
                    sample(&[("instance", &name)], value)
                })
                .collect();
            let mut weights = BTreeMap::new();
            heaviest(&mut weights, samples.iter());
            for (uuid, weight) in weights {
                prop_assert!(weight > 0);
                let n = uuid.as_u128() as u8;
                let said = values.iter().filter(|one| one.0 == n && one.2);
                prop_assert!(said.clone().any(|one| one.1 > 0.0));
                let most = said.map(|one| one.1).fold(0.0, f64::max);
                prop_assert_eq!(weight, (most.round() as u64).max(1));
            }
        }
    }
}
