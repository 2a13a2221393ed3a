// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A person with a browser: Debian's Chromium, headless, driven over
//! WebDriver. What it shows is kept in `screenshots/sign-in/` of the target
//! folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use localdc::agent_bench::Bench;
use localdc::loopback::own_port;
use serde_json::{Value, json};

use super::{BOSS, House, NAME, PASSWORD, eventually};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// WebDriver's name for a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

struct Browser {
    client: reqwest::Client,
    session: String,
    folder: PathBuf,
}

impl Browser {
    /// A browser for which the zone's name is the bench's address. `size` is
    /// that of its window.
    async fn open(bench: &Bench, size: (u32, u32)) -> Self {
        let at = own_port().unwrap();
        let start = format!("chromedriver --port={}", at.port());
        bench.unit("chromedriver", &start);
        bench.shell("systemctl enable chromedriver").await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let rule = format!("MAP {NAME} {}", bench.address);
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "acceptInsecureCerts": true,
            "goog:chromeOptions": {"args": [
                "--headless=new", "--no-sandbox", "--disable-gpu",
                "--disable-dev-shm-usage", "--no-first-run",
                format!("--host-resolver-rules={rule}"),
                format!("--window-size={},{}", size.0, size.1),
            ]},
        }}});
        let base = format!("http://{at}/session");
        let session = eventually("a browser", async || {
            let sent = client.post(&base).json(&wanted).send().await.ok()?;
            let answer: Value = sent.json().await.ok()?;
            Some(answer["value"]["sessionId"].as_str()?.to_owned())
        })
        .await;
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
            PathBuf::from,
        );
        let folder = target.join("screenshots/sign-in");
        std::fs::create_dir_all(&folder).unwrap();
        Self { client, session: format!("{base}/{session}"), folder }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let url = format!("{}{path}", self.session);
        let sent = self.client.post(url).json(&body).send().await.unwrap();
        let answer: Value = sent.json().await.unwrap();
        assert!(answer["value"]["error"].is_null(), "{path}: {answer}");
        answer["value"].clone()
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.session);
        let sent = self.client.get(url).send().await.unwrap();
        let answer: Value = sent.json().await.unwrap();
        answer["value"].clone()
    }

    async fn go(&self, path: &str) {
        self.post("/url", json!({"url": format!("https://{NAME}{path}")}))
            .await;
    }

    async fn find(&self, css: &str) -> String {
        let by = json!({"using": "css selector", "value": css});
        let found = self.post("/element", by).await;
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    async fn write(&self, css: &str, text: &str) {
        let element = self.find(css).await;
        let path = format!("/element/{element}/value");
        self.post(&path, json!({"text": text})).await;
    }

    async fn click(&self, css: &str) {
        let element = self.find(css).await;
        self.post(&format!("/element/{element}/click"), json!({})).await;
    }

    /// Waits for a page that says so, and keeps a picture of it.
    async fn sees(&self, text: &str, picture: &str) {
        eventually(&format!("the page says {text:?}"), async || {
            let source = self.get("/source").await;
            source.as_str()?.contains(text).then_some(())
        })
        .await;
        let shot = self.get("/screenshot").await;
        let bytes = STANDARD.decode(shot.as_str().unwrap()).unwrap();
        let path = self.folder.join(format!("{picture}.png"));
        std::fs::write(path, bytes).unwrap();
    }

    async fn sign_in(&self, login: &str, password: &str) {
        self.write("#login", login).await;
        self.write("#password", password).await;
        self.click("button").await;
    }

    async fn close(self) {
        let _ = self.client.delete(&self.session).send().await;
    }
}

#[tokio::test]
async fn a_person_signs_in_and_out_with_a_browser() {
    let house = House::open().await;
    let browser = Browser::open(&house.zone.bench, (1_000, 700)).await;
    browser.go("/d/x?y=1").await;
    browser.sees("<form", "1-sign-in").await;
    browser.sign_in("boss", "wrong").await;
    browser.sees("Login or password is wrong", "2-wrong-password").await;
    // The login stands there still.
    browser.write("#password", PASSWORD).await;
    browser.click("button").await;
    browser.sees("grafana", "3-signed-in").await;
    let url = browser.get("/url").await;
    assert_eq!(url, format!("https://{NAME}/d/x?y=1"));
    let cookies = browser.get("/cookie").await;
    for cookie in cookies.as_array().unwrap() {
        assert_eq!(cookie["httpOnly"], true, "{cookie}");
        assert_eq!(cookie["secure"], true, "{cookie}");
    }
    browser.go("/logout").await;
    browser.sees("You have signed out", "4-signed-out").await;
    browser.go("/").await;
    browser.sees("<form", "5-out").await;
    browser.sign_in("customer", PASSWORD).await;
    browser.sees("Login or password is wrong", "6-not-an-operator").await;
    browser.close().await;
}

/// A phone; and who is locked while he is in is told so.
#[tokio::test]
async fn a_person_is_told_why_a_session_ended() {
    let house = House::open().await;
    let browser = Browser::open(&house.zone.bench, (390, 800)).await;
    browser.go("/").await;
    browser.sees("<form", "7-phone").await;
    browser.sign_in("boss", PASSWORD).await;
    browser.sees("grafana", "8-phone-signed-in").await;
    let far = (house.ufds.now_ms() + 3_600_000).to_string();
    house.ufds.set_of(BOSS, "pwdaccountlockedtime", &[&far]);
    eventually("the lock is known", async || {
        browser.go("/").await;
        let source = browser.get("/source").await;
        source.as_str()?.contains("is locked").then_some(())
    })
    .await;
    browser.sees("Your account is locked", "9-locked").await;
    browser.close().await;
}

/// A page that stood open for too long.
#[tokio::test]
async fn a_person_is_told_that_a_session_ended() {
    let short = json!({"grafana_session_idle": 120,
        "grafana_session_length": 120});
    let house = House::open_with(short).await;
    // The file says less than metadata may; the agent would put it back.
    house.zone.agent.signal(nix::sys::signal::Signal::SIGSTOP);
    let path = "opt/triton/grafana/etc/auth.json";
    let text = house.zone.bench.text(path).unwrap();
    let long = "\"session_seconds\":120";
    assert_eq!(text.matches(long).count(), 1, "{text}");
    let file = house.zone.bench.path("short.json");
    let text = text.replace(long, "\"session_seconds\":8");
    house.zone.bench.write(&file, text);
    let there = house.zone.bench.file(path);
    let shorter = format!("cat {} > {}", file.display(), there.display());
    let shortened = house.zone.bench.shell(&shorter).await;
    assert_eq!(shortened.code, Some(0), "{shortened:?}");
    house.restart().await;
    let browser = Browser::open(&house.zone.bench, (1_000, 700)).await;
    browser.go("/").await;
    browser.sign_in("boss", PASSWORD).await;
    browser.sees("grafana", "10-before-the-end").await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    browser.go("/").await;
    browser.sees("Your session has ended.", "11-session-ended").await;
    // It is said once, and the form is there.
    browser.sign_in("boss", PASSWORD).await;
    browser.sees("grafana", "12-in-again").await;
    browser.close().await;
    house.zone.agent.signal(nix::sys::signal::Signal::SIGCONT);
}
