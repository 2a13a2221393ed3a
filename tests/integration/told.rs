// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Metadata as anyone might write it, for tests that try a thousand of them.

use monitoring_agent::metadata::setting::Setting;
use proptest::prelude::*;
use proptest::strategy::Union;
use serde_json::Value;

/// A key of `settings` with a value: nearly always one out of `pool` that it
/// takes, so that most of what comes out is valid and goes on to be rendered.
pub(crate) fn entry(
    settings: impl Iterator<Item = &'static dyn Setting>,
    pool: &'static [&'static str],
) -> impl Strategy<Value = (&'static str, Value)> {
    let entries: Vec<_> = settings
        .map(|setting| {
            let key = setting.about().key;
            let all = pool.iter().map(|text| Value::from(*text));
            let fit: Vec<_> =
                all.filter(|value| setting.judge(value).is_ok()).collect();
            assert!(!fit.is_empty(), "nothing fits {key}");
            let any = prop_oneof![
                1 => "\\PC{0,20}".prop_map(Value::from),
                1 => (0_u32..200_000).prop_map(Value::from),
                1 => prop::sample::select(pool).prop_map(Value::from),
                150 => prop::sample::select(fit),
            ];
            any.prop_map(move |value| (key, value)).boxed()
        })
        .collect();
    assert!(entries.len() > 30, "{}", entries.len());
    Union::new(entries)
}
