// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The grammars of others that values must obey: CMON's, Prometheus'.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::model::dns::ZoneName;

/// CMON routes by the first label of `Host`, which must be `cmon`.
pub(super) fn is_cmon_domain(text: &str) -> bool {
    text.starts_with("cmon.") && ZoneName::parse(text).is_ok()
}

/// The grammar of `triton.cmon.groups`, which CMON applies to `?groups=` too.
pub(super) fn is_group(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

/// Prometheus' label name grammar; `__` is reserved for it.
pub(super) fn is_label_name(text: &str) -> bool {
    // A key of more than 1,024 bytes would not be YAML any more.
    (1..=200).contains(&text.len())
        && !text.starts_with("__")
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Prometheus' duration grammar: `1y2w3d4h5m6s7ms`, each unit at most once
/// and in this order. At least three of its two-hour blocks, since a slip
/// (`1m` for a month) would delete everything; within what Go can hold, which
/// is 292 years.
pub(super) fn is_duration(text: &str) -> bool {
    duration_seconds(text).is_some_and(|seconds| seconds >= 6 * 3_600)
}

/// Seconds of a Prometheus duration, at most 290 years; what is less than a
/// second is dropped.
pub(super) fn duration_seconds(text: &str) -> Option<u64> {
    const DAY: u64 = 86_400_000;
    const LIMIT: u64 = 290 * 365 * DAY;
    let mut rest = text;
    let mut sum = 0_u64;
    for (unit, milliseconds) in [
        ("y", 365 * DAY),
        ("w", 7 * DAY),
        ("d", DAY),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ] {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let Some(tail) = tail.strip_prefix(unit) else { continue };
        // `ms` begins with `m`.
        if unit == "m" && tail.starts_with('s') {
            continue;
        }
        let number = number.parse::<u32>().ok()?;
        sum =
            sum.saturating_add(u64::from(number).saturating_mul(milliseconds));
        rest = tail;
    }
    (rest.is_empty() && !text.is_empty() && sum <= LIMIT).then_some(sum / 1_000)
}

/// Prometheus' byte sizes for `retention.size`: room for a block at least,
/// and within what it can hold.
pub(super) fn is_size(text: &str) -> bool {
    size_bytes(text).is_some_and(|bytes| (512 << 20..1 << 62).contains(&bytes))
}

/// A host name or address, and a port.
pub(super) fn is_host_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        ZoneName::parse(host).is_ok()
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

/// `host` with `port`, unless it has one.
pub(super) fn with_port(text: &str, port: u16) -> String {
    if text.contains(':') { text.to_owned() } else { format!("{text}:{port}") }
}

/// A job's name: it ends up in a label and in people's queries.
pub(super) fn is_job_name(text: &str) -> bool {
    (1..=200).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// A time as Thanos takes it: RFC 3339, or a duration before now (`-6w`).
pub(super) fn is_time(text: &str) -> bool {
    match text.strip_prefix('-') {
        Some(past) => duration_seconds(past).is_some_and(|s| s > 0),
        None => OffsetDateTime::parse(text, &Rfc3339).is_ok(),
    }
}

/// A text that stays on its line, short enough for a flag.
pub(super) fn is_line(text: &str) -> bool {
    (1..=1_000).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// An absolute path without blanks.
pub(super) fn is_path(text: &str) -> bool {
    is_line(text)
        && text.starts_with('/')
        && !text.chars().any(char::is_whitespace)
}

/// Bytes of a size: a whole number with a unit.
pub(super) fn size_bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let units = ["B", "KB", "MB", "GB", "TB", "PB", "EB"];
    let power = units.iter().position(|known| *known == unit)?;
    let unit = 1_u64.checked_shl(10 * u32::try_from(power).ok()?)?;
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_prometheus_own() {
        for good in ["31d", "1y2w3d4h5m6s7ms", "6h", "5h60m"] {
            assert!(is_duration(good), "{good}");
        }
        for bad in [
            "",
            "31",
            "d",
            "1d1y",
            "1d1d",
            "0d",
            "-1d",
            "1 d",
            "1.5h",
            "4000000000y",
            "291y",
        ] {
            assert!(!is_duration(bad), "{bad}");
        }
        assert!(is_size("25GB") && is_size("3EB"));
        for bad in ["25", "0GB", "GB", "8EB", "25 GB", "99999999999PB", "25B"] {
            assert!(!is_size(bad), "{bad}");
        }
    }

    #[test]
    fn times_are_before_now_or_rfc_3339() {
        for good in ["-6w", "-1s", "2026-01-02T03:04:05Z"] {
            assert!(is_time(good), "{good}");
        }
        for bad in ["", "-", "6w", "-6", "--6w", "-0d", "2026-01-02", "now"] {
            assert!(!is_time(bad), "{bad}");
        }
        assert_eq!(duration_seconds("1h30m500ms"), Some(5_400));
        assert_eq!(duration_seconds("0d"), Some(0));
        assert_eq!(duration_seconds(""), None);
        assert!(is_path("/data/x.crt") && !is_path("data/x") && !is_path(""));
        assert!(!is_path("/data/a b") && !is_line("a\nb"));
    }
}
