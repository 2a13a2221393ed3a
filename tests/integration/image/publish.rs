// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Images put into a stand-in IMGAPI: the whole way, from anywhere on it, and
//! through its faults.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::fs;
use std::time::Duration;

use localdc::image::workshop::{Ended, Workshop};
use localdc::imgapi::publish::{Call, Fault, Imgapi};
use serde_json::{Value, json};
use zone_image::publish::{self, Allow, Limits, Target};

use super::beside;

const WHOLE: [Call; 4] =
    [Call::Get, Call::Import, Call::AddFile, Call::Activate];

struct Image {
    shop: Workshop,
    manifest: Value,
    server: Imgapi,
}

impl Image {
    async fn new(brand: &str) -> Self {
        let recipe = "[[any.text]]\npath = \"/etc/motd\"\ntext = \"hi\"\n";
        let shop = Workshop::new(beside(), recipe, "");
        shop.build(brand, &[]).well();
        let text = fs::read_to_string(shop.manifest()).unwrap();
        let manifest = serde_json::from_str(&text).unwrap();
        Self { shop, manifest, server: Imgapi::start().await.unwrap() }
    }

    fn uuid(&self) -> &str {
        self.manifest["uuid"].as_str().unwrap()
    }

    /// Nobody signed these.
    async fn publish(&self, more: &[&str]) -> Ended {
        let more = [&["--allow-unsigned"], more].concat();
        self.publish_as(&more).await
    }

    /// On a thread of its own: the server answers on this one.
    async fn publish_as(&self, more: &[&str]) -> Ended {
        let manifest = self.shop.manifest().display().to_string();
        let url = self.server.url();
        let words = ["publish", &manifest, "--imgapi", &url];
        let mut command = self.shop.command(&[&words[..], more].concat());
        let ended = tokio::task::spawn_blocking(move || command.output());
        ended.await.unwrap().unwrap().into()
    }

    fn there(&self) -> Value {
        self.server.image(self.uuid()).unwrap_or(Value::Null)
    }
}

#[tokio::test]
async fn import_file_activate_and_then_nothing_more() {
    let image = Image::new("joyent-minimal").await;
    let said = image.publish(&["--dry-run"]).await.well().stdout;
    assert_eq!(said, "would import, add file, activate\n");
    assert_eq!(image.server.calls(), [Call::Get]);
    let said = image.publish(&["--channel", "dev"]).await.well().stdout;
    assert_eq!(said, "done: import, add file, activate\n");
    assert_eq!(image.server.calls(), WHOLE);
    let there = image.there();
    assert_eq!(there["state"], "active");
    assert_eq!(there["version"], image.manifest["version"]);
    assert_eq!(there["tags"], image.manifest["tags"]);
    let sent = &image.manifest["files"][0];
    assert_eq!(there["files"][0]["sha1"], sent["sha1"]);
    assert_eq!(there["files"][0]["size"], sent["size"]);
    let queries = image.server.queries();
    let import = &queries[2];
    assert_eq!(import["skip_owner_check"], "true");
    assert_eq!(import["channel"], "dev");
    assert!(!import.contains_key("account"));
    assert_eq!(queries[3]["dataset_guid"], sent["dataset_guid"]);
    let said = image.publish(&[]).await.well().stdout;
    assert_eq!(said, "there already, and active\n");
    assert_eq!(image.server.calls(), [Call::Get]);
}

#[tokio::test]
async fn busy_servers_and_lost_answers_cost_a_repetition() {
    let image = Image::new("lx").await;
    for (call, fault) in [
        (Call::Get, Fault::Busy),
        (Call::Import, Fault::Busy),
        (Call::Import, Fault::Lost),
        (Call::AddFile, Fault::Busy),
        (Call::AddFile, Fault::Lost),
        (Call::Activate, Fault::Lost),
    ] {
        image.server.fault(call, fault);
    }
    image.publish(&[]).await.well();
    assert_eq!(image.there()["state"], "active");
    assert_eq!(image.server.calls().len(), 4 + 6);
}

#[tokio::test]
async fn what_was_begun_is_finished() {
    let image = Image::new("lx").await;
    let mut begun = image.manifest.clone();
    begun["state"] = json!("unactivated");
    begun["files"] = json!([]);
    image.server.put(begun.clone());
    let said = image.publish(&["--json"]).await.well().stdout;
    let acts: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(acts, json!(["add file", "activate"]));
    begun["files"] = image.manifest["files"].clone();
    image.server.put(begun);
    image.server.calls();
    image.publish(&[]).await.well();
    assert_eq!(image.server.calls(), [Call::Get, Call::Activate]);
}

#[tokio::test]
async fn refusals_are_told_in_the_servers_words() {
    let image = Image::new("lx").await;
    let mut other = image.manifest.clone();
    other["version"] = json!("another");
    image.server.put(other);
    let ended = image.publish(&[]).await;
    ended.refused(&["another image of this uuid", "\"another\""]);
    let mut other = image.manifest.clone();
    other["files"][0]["sha1"] = json!("0".repeat(40));
    image.server.put(other);
    image.publish(&[]).await.refused(&["active with sha1"]);
    // An origin that is not there.
    let image = Image::new("lx").await;
    let mut manifest = image.manifest.clone();
    manifest["origin"] = json!("9c0ffee0-1111-4222-8333-444455556666");
    fs::write(image.shop.manifest(), manifest.to_string()).unwrap();
    let ended = image.publish(&[]).await;
    ended.refused(&["could not import", "422", "OriginDoesNotExist"]);
    // A file that is not the manifest's.
    let image = Image::new("lx").await;
    let file = image.shop.manifest().with_extension("tar.gz");
    let mut bytes = fs::read(&file).unwrap();
    bytes[100] ^= 1;
    fs::write(&file, bytes).unwrap();
    let ended = image.publish(&[]).await;
    ended.refused(&["is not fit to go out: file:", "sha1"]);
    assert_eq!(image.server.calls(), []);
    // A server that is not there.
    let image = Image::new("lx").await;
    let manifest = image.shop.manifest().display().to_string();
    let words = ["publish", &manifest, "--imgapi", "http://127.0.0.1:9"];
    let words = [&words[..], &["--allow-unsigned"]].concat();
    image.shop.run(&words).refused(&["no answer from http://127.0.0.1:9/"]);
}

/// What is not for everybody goes out by a flag that says so, and not else.
#[tokio::test]
async fn an_unsigned_a_dirty_and_an_unpinned_image() {
    let image = Image::new("lx").await;
    let ended = image.publish_as(&[]).await;
    ended.refused(&["signature: wanted --signers", "--allow-unsigned"]);
    let mut manifest = image.manifest.clone();
    manifest["version"] = json!("main-20300102T030405Z-g0a1b2c3-dirty");
    manifest["tags"]["triton.unpinned"] = json!("tool");
    fs::write(image.shop.manifest(), manifest.to_string()).unwrap();
    let verified = ["verify", &image.shop.manifest().display().to_string()]
        .map(str::to_owned);
    let verified = verified.each_ref().map(String::as_str);
    assert_eq!(image.shop.run(&verified).code, Some(1));
    let ended = image.publish(&[]).await;
    ended.refused(&["--allow-unpinned", "--allow-dirty"]);
    let ended = image.publish(&["--allow-dirty"]).await;
    ended.refused(&["not pinned, for tests alone: tool"]);
    let ended = image.publish(&["--allow-unpinned"]).await;
    ended.refused(&["built of what no commit has"]);
    assert_eq!(image.server.calls(), []);
    image.publish(&["--allow-unpinned", "--allow-dirty"]).await.well();
    assert_eq!(image.there()["state"], "active");
}

/// A file takes longer than any call may, and is sent once.
#[tokio::test]
async fn a_server_that_takes_a_file_slowly() {
    let image = Image::new("lx").await;
    let call = Duration::from_millis(500);
    let target = |upload| Target {
        url: image.server.url(),
        channel: None,
        dry_run: false,
        signers: None,
        allow: Allow { unsigned: true, ..Allow::default() },
        limits: Limits { call, upload, silence: call },
    };
    let slow = |times| Fault::Slow(call * times);
    let manifest = image.shop.manifest();
    // No answer at all within the upload's own limit: that, and no repetition.
    image.server.fault(Call::AddFile, slow(100));
    let short = target(call * 2);
    let ended = publish::publish(&manifest, &short, &|_| {}).await;
    let said = format!("{:#}", ended.unwrap_err());
    assert!(said.contains("could not add file"), "{said}");
    assert!(said.contains("timed out"), "{said}");
    assert_eq!(once(&image), [Call::Get, Call::Import]);
    let image = Image::new("lx").await;
    image.server.fault(Call::AddFile, slow(3));
    let long = Target { url: image.server.url(), ..target(call * 120) };
    let manifest = image.shop.manifest();
    publish::publish(&manifest, &long, &|_| {}).await.unwrap();
    assert_eq!(once(&image), WHOLE);
}

/// The calls, a file sent once; the others may be repeated, where a machine
/// is so busy that their short limit is over.
fn once(image: &Image) -> Vec<Call> {
    let mut calls = image.server.calls();
    let files = calls.iter().filter(|call| **call == Call::AddFile).count();
    assert!(files <= 1, "{calls:?}");
    calls.dedup();
    calls
}
