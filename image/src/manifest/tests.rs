// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Whatever JSON calls itself a manifest is judged, and nothing panics.

use proptest::prelude::*;

use super::*;

/// Any JSON, with keys that rules look at among others.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        any::<String>().prop_map(Value::from),
        Just(Value::from("docker")),
    ];
    let key = prop_oneof![
        prop::sample::select(
            &[
                "v",
                "uuid",
                "name",
                "version",
                "type",
                "files",
                "sha1",
                "size",
                "requirements",
                "min_ram",
                "max_ram",
                "min_platform",
                "networks",
                "tags",
                "users",
                "traits",
                "acl",
                "published_at",
                "image_size",
            ][..]
        )
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    leaf.prop_recursive(4, 48, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_judged(value in any_json()) {
        // None of these has all that a manifest must have.
        prop_assert!(check(&value, Path::new("x.imgmanifest")).is_err());
    }
}
