// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What an instance shows of itself: since when its daemon runs, how far back
//! its data goes, how many targets it scrapes, and by its agent which data it
//! has. Looked at before a zone is taken down and compared after.
//!
//! Source: Prometheus' HTTP API, `status/runtimeinfo` and `query`, and its own
//! metrics. `process_start_time_seconds` would do for the first of them, but
//! there is none on illumos.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::deploy::exposition::Samples;
use crate::deploy::health::{AGENT_PORT, Check};
use crate::log::chain;
use crate::triton::Http;

/// Prometheus' own metrics are some 200 kB.
const ANSWER: usize = 8 << 20;
/// Where Prometheus answers.
const PROMETHEUS: u16 = 9090;
/// Since when there are samples; far in the future while there are none.
const LOWEST: &str = "prometheus_tsdb_lowest_timestamp_seconds";
/// Which data the agent finds.
const DATA: &str = "config_agent_data_info";
/// How many bytes are left for it.
const AVAILABLE: &str = "config_agent_data_available_bytes";
/// Of ten targets that were up, so many must be up again: targets come and go.
const TENTHS: u64 = 9;

/// What is seen of a Prometheus. Times by its own clock, seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sight {
    /// When it started.
    pub(super) started: f64,
    /// Its oldest sample.
    pub(super) oldest: f64,
    /// Targets that are up, scraped since it started.
    pub(super) up: u64,
}

impl Sight {
    /// Looks; an error is text to wait with.
    async fn look(http: &Http, address: IpAddr) -> Result<Self, String> {
        let base = SocketAddr::new(address, PROMETHEUS);
        let api = format!("http://{base}/api/v1");
        let info = get(http, &format!("{api}/status/runtimeinfo")).await?;
        let started = info["startTime"].as_str().unwrap_or_default();
        let started = OffsetDateTime::parse(started, &Rfc3339);
        let started = started
            .map_err(|error| format!("its start time: {error}"))?
            .unix_timestamp_nanos() as f64
            / 1e9;
        let url = format!("http://{base}/metrics");
        let metrics = text(http, &url).await?;
        let oldest = sample(&metrics, LOWEST)
            .ok_or_else(|| format!("{url} has no {LOWEST}"))?;
        // count(up == 1 and timestamp(up) > started): for five minutes a
        // query sees samples of before the restart too.
        let question = format!(
            "{api}/query?query=count%28up%20%3D%3D%201%20and%20\
             timestamp%28up%29%20%3E%20{started:.3}%29"
        );
        let found = get(http, &question).await?;
        let value = found["result"][0]["value"][1].as_str();
        let up = value.and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(Self { started, oldest, up })
    }

    /// Whether it had any data when it was looked at.
    fn had_data(&self) -> bool {
        // Without samples it is the end of time.
        self.oldest > 0.0 && self.oldest < self.started + 1e9
    }

    /// What this lacks, compared with what was seen `before` the zone was
    /// taken down; nothing is known of one that was not well.
    fn lacks(&self, before: Option<&Self>) -> Option<String> {
        if let Some(before) = before {
            if self.started <= before.started {
                return Some("the daemon of before still answers".to_owned());
            }
            if before.had_data() && self.oldest >= self.started {
                return Some(format!(
                    "its data is gone: saw nothing older than its start, \
                     wanted samples from {:.0} s before",
                    self.started - before.oldest
                ));
            }
        }
        let wanted = match before {
            Some(before) => (before.up * TENTHS).div_ceil(10).max(1),
            None => 1,
        };
        (self.up < wanted)
            .then(|| format!("saw {} targets up, wanted {wanted}", self.up))
    }
}

/// What an instance showed before it was taken down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Before {
    /// `None` of a service whose daemon shows nothing of the kind.
    sight: Option<Sight>,
    /// Its agent said that something is at fault.
    faulty: bool,
}

/// Whether an instance has nothing from before its daemon started; `None`,
/// where that is not to be seen.
pub(super) async fn fresh(
    http: &Http,
    service: &str,
    address: IpAddr,
) -> Option<bool> {
    let sight = match service {
        "prometheus" => Sight::look(http, address).await.ok()?,
        _ => return None,
    };
    Some(sight.oldest >= sight.started)
}

/// What there is to be seen of an instance that serves; `None` of one that
/// does not.
pub(super) async fn before(
    http: &Http,
    service: &str,
    address: IpAddr,
) -> Option<Before> {
    if let Some(check) = Check::of(service) {
        check.ask(http, address).await.ok()?;
    }
    let sight = match service {
        "prometheus" => Sight::look(http, address).await.ok(),
        _ => None,
    };
    let faulty = agent(&http.once(), address).await.is_err();
    Some(Before { sight, faulty })
}

/// What keeps an instance from serving, as one that stands in for another
/// must; an error is text to wait with. `before`: and as it did then.
pub(super) async fn serves(
    http: &Http,
    service: &str,
    address: IpAddr,
    before: Option<&Before>,
) -> Result<(), String> {
    if let Some(check) = Check::of(service) {
        let asked = check.ready().ask(http, address).await;
        asked.map_err(|error| chain(&error))?;
    }
    match service {
        // It is healthy, and answers no query, while it reads its log.
        "prometheus" => {
            let now = Sight::look(http, address).await?;
            let before = before.and_then(|before| before.sight.as_ref());
            now.lacks(before).map_or(Ok(()), Err)
        }
        _ => Ok(()),
    }
}

/// What keeps an instance from being as well as before; an error is text to
/// wait with.
pub(super) async fn well(
    http: &Http,
    service: &str,
    address: IpAddr,
    before: Option<&Before>,
) -> Result<(), String> {
    serves(http, service, address, before).await?;
    match before {
        // It may be at fault for what is none of ours.
        Some(before) if before.faulty => Ok(()),
        _ => agent(http, address).await,
    }
}

/// Whether the agent in a zone says that something is at fault: files not in
/// force, certificate. Images that are not ours have no agent that answers.
async fn agent(http: &Http, address: IpAddr) -> Result<(), String> {
    let agent = SocketAddr::new(address, AGENT_PORT);
    let url = format!("http://{agent}/healthz");
    match http.get(&url, &[], ANSWER).await {
        Ok(answer) if answer.status == 503 => {
            let said = String::from_utf8_lossy(&answer.body);
            Err(format!("its agent says: {}", said.trim()))
        }
        _ => Ok(()),
    }
}

/// What says that a zone has other data than `wanted`; `None` where it has
/// that, and of an older agent, which knows no ids.
///
/// Errors: text to wait with.
pub(super) async fn lost(
    http: &Http,
    address: IpAddr,
    wanted: &str,
) -> Result<Option<String>, String> {
    let seen = data_id(&told(http, address).await?)?;
    let other = seen.filter(|seen| seen != wanted);
    Ok(other.map(|seen| {
        format!("its data is gone: saw data {seen}, wanted {wanted}")
    }))
}

/// What a zone's agent says of itself.
///
/// Errors: text to wait with.
pub(super) async fn told(
    http: &Http,
    address: IpAddr,
) -> Result<Samples, String> {
    let agent = SocketAddr::new(address, AGENT_PORT);
    let metrics = text(http, &format!("http://{agent}/metrics")).await?;
    let samples = Samples::parse(&metrics).map_err(|e| e.to_string())?;
    match samples.one("config_agent_healthy") {
        Some(_) => Ok(samples),
        None => Err(format!("{agent} has no config-agent's metrics")),
    }
}

/// Bytes left for a zone's data; `None` where its agent does not say.
pub(super) fn available(samples: &Samples) -> Option<u64> {
    // `as` takes the nearest, and 0 for what is no number.
    samples.one(AVAILABLE).map(|bytes| bytes as u64)
}

/// The id of a zone's data; `None` where an older agent says none.
///
/// Errors: text to wait with.
pub(super) fn data_id(samples: &Samples) -> Result<Option<String>, String> {
    let Some(info) = samples.all(DATA).first() else { return Ok(None) };
    let id = info.labels.get("id").filter(|id| !id.is_empty());
    match id {
        Some(id) => Ok(Some(id.clone())),
        None => Err("its agent cannot read the id of its data".to_owned()),
    }
}

async fn text(http: &Http, url: &str) -> Result<String, String> {
    let answer = http.get(url, &[], ANSWER).await;
    let answer = answer.map_err(|error| chain(&error))?;
    match answer.status {
        200 => Ok(String::from_utf8_lossy(&answer.body).into_owned()),
        _ => Err(chain(&answer.error(url))),
    }
}

/// `data` of an answer of Prometheus' API.
async fn get(http: &Http, url: &str) -> Result<Value, String> {
    let said = text(http, url).await?;
    let mut said: Value = serde_json::from_str(&said)
        .map_err(|error| format!("{url}: {error}"))?;
    Ok(said["data"].take())
}

/// The value of a metric without labels.
fn sample(metrics: &str, name: &str) -> Option<f64> {
    let mut lines = metrics.lines();
    lines.find_map(|line| {
        let value = line.strip_prefix(name)?.strip_prefix(' ')?;
        value.trim().parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: Sight = Sight { started: 1000.0, oldest: 10.0, up: 10 };

    #[test]
    fn it_is_as_before_with_its_data_and_nearly_all_targets() {
        let good = Sight { started: 2000.0, oldest: 10.0, up: 9 };
        assert_eq!(good.lacks(Some(&BEFORE)), None);
        // Retention goes on meanwhile.
        let younger = Sight { oldest: 500.0, ..good };
        assert_eq!(younger.lacks(Some(&BEFORE)), None);
        for (bad, said) in [
            (Sight { up: 8, ..good }, "saw 8 targets up, wanted 9"),
            (Sight { started: 1000.0, ..good }, "of before still answers"),
            (Sight { oldest: 2001.0, ..good }, "1990 s before"),
            (Sight { oldest: 9.2e15, ..good }, "data is gone"),
        ] {
            let lack = bad.lacks(Some(&BEFORE)).unwrap();
            assert!(lack.contains(said), "{lack}");
        }
    }

    #[test]
    fn of_one_that_was_not_well_or_empty_little_is_asked() {
        let fresh = Sight { started: 2000.0, oldest: 2001.0, up: 1 };
        assert_eq!(fresh.lacks(None), None);
        let empty = Sight { oldest: 9.2e15, up: 0, ..BEFORE };
        assert_eq!(fresh.lacks(Some(&empty)), None);
        assert!(Sight { up: 0, ..fresh }.lacks(None).is_some());
    }

    #[test]
    fn an_agent_says_how_much_room_is_left() {
        let of = |text: &str| available(&Samples::parse(text).unwrap());
        assert_eq!(of(&format!("{AVAILABLE} 1.048576e+07\n")), Some(10 << 20));
        assert_eq!(of("config_agent_healthy 1\n"), None);
    }

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let metrics =
            format!("# HELP {LOWEST} x\n{LOWEST}_x 1\n{LOWEST} 2.5e3\n");
        assert_eq!(sample(&metrics, LOWEST), Some(2500.0));
        assert_eq!(sample(&metrics, "prometheus"), None);
    }
}
