// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

use proptest::prelude::*;

use super::*;

const THANOS: &str =
    include_str!("../../../../templates/thanos/thanos-flags.json");
const PROMETHEUS: &str =
    include_str!("../../../../templates/prometheus/prometheus-flags.json");

fn query(lines: &str) -> Result<(), String> {
    check(THANOS, Some("query"), lines)
}

#[test]
fn what_the_program_takes_passes() {
    let lines = "--log.level=info\n--grpc-address=0.0.0.0:10901\n\
        --query.replica-label=replica\n--query.replica-label=ruler_replica\n\
        --query.auto-downsampling\n--no-query.partial-response\n\
        --query.timeout=1w2d\n--grpc-grace-period=1m30s\n";
    assert_eq!(query(lines), Ok(()));
    let lines = "--storage.tsdb.retention.size=512MB\n--web.enable-lifecycle\n\
        --query.timeout=2m\n";
    assert_eq!(check(PROMETHEUS, None, lines), Ok(()));
    let lines = "--min-time=-6w\n--max-time=2026-01-02T03:04:05Z\n\
        --chunk-pool-size=2GB\n";
    assert_eq!(check(THANOS, Some("store"), lines), Ok(()));
}

#[test]
fn what_it_refuses_is_named_with_line_value_and_wish() {
    for (lines, why) in [
        ("--log.level=info\n--query.timeuot=2m", "line 2: no flag"),
        ("--wait", "no flag \"--wait\""),
        ("--query.timeout", "--query.timeout: saw no value"),
        ("--query.timeout=", "saw \"\", wanted a duration"),
        ("--query.timeout=2", "saw \"2\""),
        ("--query.timeout=1d1d", "saw \"1d1d\""),
        ("--query.timeout=1m1h", "saw \"1m1h\""),
        ("--grpc-grace-period=1d", "saw \"1d\", wanted a duration of h"),
        ("--log.level=loud", "wanted one of error, warn, info, debug"),
        ("--query.max-concurrent=many", "wanted a whole number"),
        ("--store.limits.request-series=-1", "not negative"),
        ("--query.auto-downsampling=true", "wanted no value"),
        ("--no-query.timeout=2m", "no flag"),
        ("--query.timeout=2m\n--query.timeout=2m", "line 2: --query.timeout"),
        ("--query.partial-response\n--no-query.partial-response", "again"),
        ("--log.level=info\n\n", "line 2: saw \"\""),
        ("# a comment", "wanted a flag"),
        ("query", "wanted a flag"),
        ("--endpoint.sd-config-file=a\u{7}b", "wanted a text"),
        // Deprecated in this version.
        ("--endpoint=dns+a:1", "no flag"),
    ] {
        let reason = query(lines).unwrap_err();
        assert!(reason.contains(why), "{lines:?}: {reason}");
        assert!(reason.ends_with("(versions 0.41.0)"), "{reason}");
    }
    let reason = query("--a\n--b").unwrap_err();
    assert!(reason.contains("--a") && reason.contains("line 2"), "{reason}");
    assert!(check(THANOS, Some("bucket"), "").is_err());
    assert!(check("{}", None, "").is_err());
    let long = format!("--alert.query-url={}", "x".repeat(LINE_LIMIT));
    assert!(query(&long).is_err());
}

#[test]
fn sizes_times_and_addresses_have_their_forms() {
    for good in ["0", "250MB", "64GB", "1TiB"] {
        assert!(is_bytes(good), "{good}");
    }
    for bad in ["", "250", "GB", "1.5GB", "1ZB", "-1GB", "99999999999GB"] {
        assert!(!is_bytes(bad), "{bad}");
    }
    for good in ["a:1", "dns+a.b:1", "dnssrv+_g._tcp.a", "[::1]:9"] {
        assert!(is_address(good), "{good}");
    }
    for bad in ["a", "dns+a", ":1", "a:0", "a:x", "http://a:1", "a b:1"] {
        assert!(!is_address(bad), "{bad}");
    }
    for good in ["0", "1h30m", "300ms", "15s"] {
        assert!(is_go_duration(good), "{good}");
    }
    for bad in ["", "1", "1d", "h", "1h 1m", "9999999h"] {
        assert!(!is_go_duration(bad), "{bad}");
    }
    for good in ["0", "0d", "2m", "1y2w3d4h5m6s7ms", "7ms"] {
        assert!(is_prometheus_duration(good), "{good}");
    }
    for bad in ["", "2", "d", "1.5h", "1ms1s", "1s1m", "291y"] {
        assert!(!is_prometheus_duration(bad), "{bad}");
    }
}

/// A value that a flag takes, for any kind.
fn value(flag: &Flag) -> BoxedStrategy<Option<String>> {
    let text = match flag.kind {
        Kind::Bool => return Just(None).boxed(),
        Kind::Enum => prop::sample::select(flag.choices.clone()).boxed(),
        Kind::String => "[^\\p{Cc}]{1,20}".boxed(),
        Kind::Int => any::<i64>().prop_map(|n| n.to_string()).boxed(),
        Kind::Uint => any::<u64>().prop_map(|n| n.to_string()).boxed(),
        Kind::Float => (0.0..1e6).prop_map(|n: f64| n.to_string()).boxed(),
        Kind::Duration => "[0-9]{1,4}(h|m|s|ms)([0-9]{1,4}ms)?".boxed(),
        Kind::PromDuration => "([0-9]{1,2}y)?[0-9]{1,3}d([0-9]h)?".boxed(),
        Kind::TimeOrDuration => "-?[0-9]{1,3}[wdhm]".boxed(),
        Kind::Bytes => "[0-9]{1,5}(MB|GB|KiB)".boxed(),
        Kind::Address => "(dns\\+)?[a-z]{1,9}:[1-9][0-9]{0,3}".boxed(),
        Kind::Url => "https?://[a-z]{1,9}(:[0-9]{2})?".boxed(),
    };
    text.prop_map(Some).boxed()
}

fn any_flag() -> impl Strategy<Value = (String, Option<String>)> {
    let table: Table = serde_json::from_str(THANOS).unwrap();
    let flags = table.commands.into_iter().flat_map(|(command, flags)| {
        flags.into_iter().map(move |flag| (command.clone(), flag))
    });
    let choices: Vec<_> = flags
        .map(|(command, flag)| {
            let name = flag.name.clone();
            value(&flag)
                .prop_map(move |value| {
                    let line = match value {
                        Some(value) => format!("{name}={value}"),
                        None => name.clone(),
                    };
                    (command.clone(), Some(line))
                })
                .boxed()
        })
        .collect();
    proptest::strategy::Union::new(choices)
}

proptest! {
    /// Every flag of the table is accepted with a value of its type, and
    /// refused under a name that is none.
    #[test]
    fn every_flag_with_its_own_value((command, line) in any_flag()) {
        let line = line.unwrap();
        prop_assert_eq!(check(THANOS, Some(&command), &line), Ok(()));
        let other = line.replacen("--", "--x", 1);
        prop_assert!(check(THANOS, Some(&command), &other).is_err());
    }

    /// Any bytes get an answer.
    #[test]
    fn any_text_gets_an_answer(text in "\\PC{0,80}", line in ".{0,80}") {
        let _ = query(&text);
        let _ = query(&format!("--query.timeout={line}"));
        let _ = is_prometheus_duration(&line);
        let _ = is_go_duration(&line);
        let _ = is_address(&line);
    }
}
