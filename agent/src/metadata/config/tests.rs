// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What SAPI sends, and what is none of it.

use std::error::Error as _;

use super::*;

fn parse(body: &Value) -> Parsed {
    SapiConfig::parse(body.to_string().as_bytes(), 1 << 20).unwrap()
}

#[test]
fn a_pair_has_all_but_uuids_in_common() {
    let manifest = |name: &str, template: &str| json!({"name": name, "path": "/etc/x", "template": template});
    let (a, b) = (manifest("a", "1"), manifest("b", "2"));
    let first = json!({"manifests": [a, b], "metadata": {"x": 1, "y": [2],
        "SERVER_UUID": "s0", "ZONE_UUID": "z0", "INSTANCE_UUID": "z0"}});
    let shared = |body: &Value| parse(body).config.shared();
    // Another instance, in whatever order SAPI has things.
    let second = json!({"metadata": {"INSTANCE_UUID": "z1", "y": [2],
        "ZONE_UUID": "z1", "x": 1, "SERVER_UUID": "s1"},
        "manifests": [b, a]});
    assert_eq!(shared(&second), shared(&first));
    let mut own = second.clone();
    own["metadata"]["x"] = json!(2);
    assert_ne!(shared(&own), shared(&first));
    let mut own = second;
    own["manifests"][1] = manifest("a", "3");
    assert_ne!(shared(&own), shared(&first));
}

/// The body of the contract sheet, as a real SAPI sent it.
#[test]
fn reads_what_sapi_sends() {
    let body = br#"{"manifests":[{"uuid":"d0000000-0000-4000-8000-000000000001","name":"demo","path":"/opt/example/etc/demo.json","template":"{\"dc\":\"{{datacenter_name}}\"}","post_cmd":"/usr/sbin/svcadm restart demo","version":"1.0.0"}],"metadata":{"datacenter_name":"dc1","ZK_SERVERS":[{"host":"192.0.2.5","port":2181,"last":true}],"flag":true,"none":null,"SERVICE_NAME":"demo","SERVER_UUID":"90000000-0000-4000-8000-000000000001","ZONE_UUID":"c0000000-0000-4000-8000-000000000001","INSTANCE_UUID":"c0000000-0000-4000-8000-000000000001"}}"#;
    let parsed = SapiConfig::parse(body, body.len()).unwrap();
    assert_eq!(parsed.problems, []);
    let config = parsed.config;
    assert_eq!(config.metadata["ZK_SERVERS"][0]["port"], 2181);
    assert_eq!(config.metadata["none"], Value::Null);
    let [manifest] = &config.manifests[..] else { panic!("one manifest") };
    assert_eq!(manifest.path, Path::new("/opt/example/etc/demo.json"));
    assert_eq!(manifest.template, "{\"dc\":\"{{datacenter_name}}\"}");
    assert_eq!(
        manifest.post_cmd.as_deref(),
        Some("/usr/sbin/svcadm restart demo")
    );
    assert_eq!(manifest.post_cmd_linux, None);
    assert_eq!(manifest.version.as_deref(), Some("1.0.0"));
    assert!(!manifest.master);
}

/// In the Node agent one manifest whose template is an object kills the
/// process (W7); here it costs only itself.
#[test]
fn one_bad_manifest_leaves_the_others() {
    let good = json!({"name": "good", "path": "/a", "template": "x"});
    let with = |key: &str, value: Value| {
        let mut manifest = good.clone();
        manifest["name"] = json!("bad");
        manifest[key] = value;
        manifest
    };
    for (entry, which, reason) in [
        (
            with("template", json!({"dc": "secret"})),
            "bad",
            "template is an object, wanted a string",
        ),
        (json!({"name": "bad", "path": "/a"}), "bad", "template is missing"),
        (
            json!({"uuid": "d0", "path": "/a", "template": ""}),
            "d0",
            "name is missing",
        ),
        (with("name", json!("")), "manifest 2", "name is empty"),
        // Found by fuzzing sapi_config.
        (
            json!({"uuid": "", "path": "/a", "template": ""}),
            "manifest 2",
            "name is missing",
        ),
        (
            with("name", json!(7)),
            "manifest 2",
            "name is a number, wanted a string",
        ),
        (with("path", json!("etc/x")), "bad", "path \"etc/x\" is not absolute"),
        (with("path", json!("")), "bad", "path \"\" is not absolute"),
        (with("path", json!("/a/../b")), "bad", "path \"/a/../b\" contains .."),
        (with("path", json!("/a\0b")), "bad", "path \"/a\\0b\" contains a NUL"),
        (with("path", json!("/a/")), "bad", "path \"/a/\" names a directory"),
        (with("path", json!("/")), "bad", "path \"/\" names a directory"),
        (
            with("path", Value::Null),
            "bad",
            "path is null or absent, wanted a string",
        ),
        (
            with("post_cmd", json!(["x"])),
            "bad",
            "post_cmd is an array, wanted a string",
        ),
        (json!("demo"), "manifest 2", "is a string, wanted an object"),
        (Value::Null, "manifest 2", "is null or absent, wanted an object"),
    ] {
        let second = with("name", json!("second"));
        let parsed =
            parse(&json!({"manifests": [good, entry, second], "metadata": {}}));
        let names: Vec<_> =
            parsed.config.manifests.iter().map(|m| &m.name).collect();
        assert_eq!(names, ["good", "second"], "{reason}");
        let (which, reason) = (which.to_owned(), reason.to_owned());
        assert_eq!(parsed.problems, [ManifestProblem { which, reason }]);
    }
}

#[test]
fn unknown_fields_and_odd_types_pass() {
    let parsed = parse(&json!({
        "manifests": [{
            "name": "n", "path": "/opt/..x/a b", "template": "",
            "master": "yes", "version": 2, "uuid": null, "mode": "0600",
            "post_cmd": "", "post_cmd_linux": null,
        }],
        "metadata": {"a": 1}, "extra": [],
    }));
    assert_eq!(parsed.problems, []);
    let manifest = &parsed.config.manifests[0];
    assert_eq!(manifest.version, None);
    assert_eq!(manifest.post_cmd, None);
    assert!(!manifest.master);
    let none = parse(&json!({"metadata": {}}));
    assert_eq!(none.config.manifests, []);
}

#[test]
fn a_body_that_is_no_config_is_an_error() {
    for (body, expected) in [
        ("[]", "config's body is an array, wanted an object"),
        ("\"secret\"", "config's body is a string, wanted an object"),
        ("{}", "config's metadata is null or absent, wanted an object"),
        (
            r#"{"code":"ServiceUnavailable","message":"x"}"#,
            "config's metadata is null or absent, wanted an object",
        ),
        (
            r#"{"metadata":["secret"]}"#,
            "config's metadata is an array, wanted an object",
        ),
        (
            r#"{"metadata":{},"manifests":{"demo":"d0"}}"#,
            "config's manifests is an object, wanted an array",
        ),
        ("", "config is not JSON"),
        (r#"{"metadata":{"k":"secret"#, "config is not JSON"),
        ("{\"metadata\":{\"k\":\"\u{1}secret\"}}", "config is not JSON"),
    ] {
        let error = SapiConfig::parse(body.as_bytes(), 100).unwrap_err();
        assert_eq!(error.to_string(), expected, "{body}");
        let cause = error.source().map(ToString::to_string);
        assert!(!cause.unwrap_or_default().contains("secret"), "{body}");
    }
    let deep = "[".repeat(100_000);
    assert!(SapiConfig::parse(deep.as_bytes(), 1 << 20).is_err());
    let error = SapiConfig::parse(b"{\"metadata\":{}}", 14).unwrap_err();
    assert_eq!(error.to_string(), "config of 15 bytes, at most 14 accepted");
}

/// The Node agent logs metadata and templates whole.
#[test]
fn debug_prints_no_secret() {
    let parsed = parse(&json!({
        "manifests": [{
            "name": "key", "path": "/k", "template": "hush",
            "post_cmd": "hush",
        }],
        "metadata": {"ufds_ldap_root_pw": "hush"},
    }));
    let shown = format!("{parsed:?}");
    assert!(shown.contains("\"/k\"") && !shown.contains("hush"), "{shown}");
}
