// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Puts an image into an IMGAPI: import the manifest, add the file, activate.
//! Each step looks first, so a run that was cut off is taken up where it was,
//! and an image that is there and active is left alone.
//!
//! Source: IMGAPI's AdminImportImage, AddImageFile and ActivateImage.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

use crate::fetch;
use crate::verify::{self, image_file};

/// Tries of a call that a server may be too busy for.
const TRIES: u32 = 4;
/// The pause before the second; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(500);

/// Where to, and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// IMGAPI's base URL.
    pub url: String,
    /// The channel, where the server has channels.
    pub channel: Option<String>,
    /// Look, and change nothing.
    pub dry_run: bool,
    /// Who may sign: a list as ssh-keygen(1) has it.
    pub signers: Option<PathBuf>,
    /// What may go out all the same.
    pub allow: Allow,
    /// How long anything may take.
    pub limits: Limits,
}

/// What is not for everybody, and goes out where the operator says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allow {
    /// Holds what nobody pinned.
    pub unpinned: bool,
    /// Built of files that no commit has.
    pub dirty: bool,
    /// Signed by nobody, or by who knows whom.
    pub unsigned: bool,
}

/// Time limits of requests.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of a call that carries no file.
    pub call: Duration,
    /// Of sending the file, all of it.
    pub upload: Duration,
    /// How long a server may say nothing in a call that carries no file.
    pub silence: Duration,
}

impl Default for Limits {
    /// 20 GiB, the largest file there is, take an hour at 6 MB a second.
    fn default() -> Self {
        Self {
            call: Duration::from_secs(60),
            upload: Duration::from_secs(3600),
            silence: fetch::SILENCE,
        }
    }
}

/// What is done, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The manifest goes to the server.
    Import,
    /// The file follows.
    AddFile,
    /// The image may be used.
    Activate,
}

impl Act {
    /// A word for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::AddFile => "add file",
            Self::Activate => "activate",
        }
    }
}

/// Decides what is missing of an image from what the server says of it; none
/// says that it does not know the image.
///
/// Errors: the server's image is another one, or in a state we do not mend.
pub fn decide(manifest: &Value, there: Option<&Value>) -> Result<Vec<Act>> {
    let Some(there) = there else {
        return Ok(vec![Act::Import, Act::AddFile, Act::Activate]);
    };
    for key in ["name", "version", "type"] {
        if there[key] != manifest[key] {
            bail!(
                "the server has another image of this uuid: {key} {}; \
                 wanted {}",
                there[key],
                manifest[key]
            );
        }
    }
    let file = &there["files"][0];
    let same = file["sha1"] == manifest["files"][0]["sha1"];
    match there["state"].as_str() {
        Some("active") if same => Ok(Vec::new()),
        Some("unactivated") if same => Ok(vec![Act::Activate]),
        // Until it is activated, a file may be sent again.
        Some("unactivated") => Ok(vec![Act::AddFile, Act::Activate]),
        Some("active") => bail!(
            "the server's image is active with sha1 {}; wanted {}",
            file["sha1"],
            manifest["files"][0]["sha1"]
        ),
        state => bail!(
            "the server's image is {state:?}; wanted none, unactivated or \
             active"
        ),
    }
}

/// Judges an image as verb verify does, and by what it is for; returns its
/// manifest.
///
/// Errors: all that stands in the way, each with the flag that lets it by.
async fn judge(path: &Path, target: &Target) -> Result<Value> {
    let allow = target.allow;
    let verdicts = verify::verify(path, target.signers.as_deref()).await?;
    let mut faults: Vec<_> = verdicts
        .into_iter()
        .filter(|verdict| !verdict.ok)
        .filter(|verdict| !(verdict.what == "pins" && allow.unpinned))
        .map(|verdict| match verdict.what {
            "pins" => format!("{}; or --allow-unpinned", verdict.found),
            what => format!("{what}: {}", verdict.found),
        })
        .collect();
    if target.signers.is_none() && !allow.unsigned {
        let how = "signature: wanted --signers FILE, which says who may \
            sign; or --allow-unsigned";
        faults.push(how.into());
    }
    let shown = || format!("could not read {}", path.display());
    let text = std::fs::read_to_string(path).with_context(shown)?;
    let manifest: Value = serde_json::from_str(&text).with_context(shown)?;
    let version = manifest["version"].as_str().unwrap_or_default();
    if version.ends_with("-dirty") && !allow.dirty {
        faults.push(format!(
            "version {version}: built of what no commit has; or --allow-dirty"
        ));
    }
    if faults.is_empty() {
        return Ok(manifest);
    }
    bail!("{} is not fit to go out: {}", path.display(), faults.join("\n"))
}

/// Publishes the image of a manifest; `tell` hears of each act before it is
/// taken. Returns what was done, or would be.
///
/// Errors: what verb verify finds, what the operator did not allow, the
/// server's refusals with its own words.
pub async fn publish(
    path: &Path,
    target: &Target,
    tell: &dyn Fn(Act),
) -> Result<Vec<Act>> {
    let manifest = judge(path, target).await?;
    let file = image_file(&manifest, path)?;
    let server = Server {
        client: fetch::client(target.limits.silence)?,
        uploader: fetch::uploader()?,
        limits: target.limits,
        url: target.url.trim_end_matches('/').to_owned(),
        channel: target.channel.clone(),
    };
    let uuid = manifest["uuid"].as_str().unwrap_or_default();
    let there = server.image(uuid).await?;
    let acts = decide(&manifest, there.as_ref())?;
    if target.dry_run {
        return Ok(acts);
    }
    for act in &acts {
        tell(*act);
        let done = match act {
            Act::Import => server.import(uuid, &manifest).await,
            Act::AddFile => server.add_file(uuid, &manifest, &file).await,
            Act::Activate => server.activate(uuid).await,
        };
        done.with_context(|| format!("could not {} {uuid}", act.as_str()))?;
    }
    Ok(acts)
}

struct Server {
    client: reqwest::Client,
    uploader: reqwest::Client,
    limits: Limits,
    url: String,
    channel: Option<String>,
}

/// An answer that is not the one wanted.
struct Refusal {
    status: StatusCode,
    /// IMGAPI's word for it, of the body.
    code: String,
    words: String,
}

impl Server {
    fn url(&self, path: &str, query: &[(&str, &str)]) -> Result<reqwest::Url> {
        let text = format!("{}/images/{path}", self.url);
        let mut url = reqwest::Url::parse(&text)
            .with_context(|| format!("{text:?}; wanted a URL"))?;
        let channel = self.channel.as_deref().map(|name| ("channel", name));
        let pairs: Vec<_> = query.iter().copied().chain(channel).collect();
        if !pairs.is_empty() {
            url.query_pairs_mut().extend_pairs(pairs);
        }
        Ok(url)
    }

    /// What the server has of an image.
    async fn image(&self, uuid: &str) -> Result<Option<Value>> {
        let url = self.url(uuid, &[])?;
        let ask = || {
            let get = self.client.request(Method::GET, url.clone());
            get.timeout(self.limits.call)
        };
        match self.call(&url, ask).await? {
            Ok(image) => Ok(Some(image)),
            Err(no) if no.status == StatusCode::NOT_FOUND => Ok(None),
            Err(no) => Err(no.into_error(&url)),
        }
    }

    async fn import(&self, uuid: &str, manifest: &Value) -> Result<()> {
        let query = [("action", "import"), ("skip_owner_check", "true")];
        let url = self.url(uuid, &query)?;
        // The server says what it is; a builder's word is not taken.
        let mut manifest = manifest.clone();
        if let Some(fields) = manifest.as_object_mut() {
            fields.shift_remove("state");
            fields.shift_remove("files");
        }
        let body = manifest.to_string();
        let ask = || {
            self.client
                .request(Method::POST, url.clone())
                .header("content-type", "application/json")
                .body(body.clone())
                .timeout(self.limits.call)
        };
        match self.call(&url, ask).await? {
            Ok(_) => Ok(()),
            // An answer that got lost on its way: it is there.
            Err(no) if no.code == "ImageUuidAlreadyExists" => Ok(()),
            Err(no) => Err(no.into_error(&url)),
        }
    }

    async fn add_file(
        &self,
        uuid: &str,
        manifest: &Value,
        file: &Path,
    ) -> Result<()> {
        let entry = &manifest["files"][0];
        let text = |key: &str| entry[key].as_str().unwrap_or_default();
        let mut query =
            vec![("compression", text("compression")), ("sha1", text("sha1"))];
        if let Some(guid) = entry["dataset_guid"].as_str() {
            query.push(("dataset_guid", guid));
        }
        let url = self.url(&format!("{uuid}/file"), &query)?;
        let length = std::fs::metadata(file)?.len();
        let mut pause = PAUSE;
        for nth in 1.. {
            let opened = tokio::fs::File::open(file).await?;
            let ask = || {
                self.uploader
                    .request(Method::PUT, url.clone())
                    .header("content-type", "application/octet-stream")
                    .header("content-length", length)
                    .body(opened)
                    .timeout(self.limits.upload)
            };
            match once(&url, ask).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(no)) if no.again() && nth < TRIES => {}
                Ok(Err(no)) => return Err(no.into_error(&url)),
                // A second hour would end as the first.
                Err(error) if nth >= TRIES || took_too_long(&error) => {
                    return Err(error);
                }
                Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Ok(())
    }

    async fn activate(&self, uuid: &str) -> Result<()> {
        let url = self.url(uuid, &[("action", "activate")])?;
        let ask = || {
            let post = self.client.request(Method::POST, url.clone());
            post.timeout(self.limits.call)
        };
        match self.call(&url, ask).await? {
            Ok(_) => Ok(()),
            Err(no) if no.code == "ImageAlreadyActivated" => Ok(()),
            Err(no) => Err(no.into_error(&url)),
        }
    }

    /// Asks, again where the server is busy or the answer got lost: every
    /// call here may be made twice.
    async fn call(
        &self,
        url: &reqwest::Url,
        ask: impl Fn() -> RequestBuilder,
    ) -> Result<Result<Value, Refusal>> {
        let mut pause = PAUSE;
        let mut nth = 1;
        loop {
            match once(url, &ask).await {
                Ok(Err(no)) if no.again() && nth < TRIES => {}
                Err(_) if nth < TRIES => {}
                other => return other,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
            nth += 1;
        }
    }
}

fn took_too_long(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<reqwest::Error>();
    error.is_some_and(|error| error.is_timeout() && !error.is_connect())
}

async fn once(
    url: &reqwest::Url,
    ask: impl FnOnce() -> RequestBuilder,
) -> Result<Result<Value, Refusal>> {
    let lost = || format!("no answer from {url}");
    let answer = ask().send().await.with_context(lost)?;
    let status = answer.status();
    let body = answer.bytes().await.with_context(lost)?;
    if status.is_success() {
        return Ok(Ok(serde_json::from_slice(&body).unwrap_or(Value::Null)));
    }
    Ok(Err(Refusal::of(status, &body)))
}

impl Refusal {
    /// IMGAPI's body: `{code, message, errors: [{field, code, message}]}`.
    fn of(status: StatusCode, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let text =
            |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut words = vec![text(&body["message"])];
        for error in body["errors"].as_array().into_iter().flatten() {
            let [field, code, message] =
                ["field", "code", "message"].map(|key| text(&error[key]));
            words.push(format!("{field}: {code} {message}").trim().to_owned());
        }
        words.retain(|word| !word.is_empty());
        Self { status, code: text(&body["code"]), words: words.join("; ") }
    }

    /// Whether the same may pass later.
    fn again(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
            || self.status == StatusCode::BAD_GATEWAY
            || self.status == StatusCode::GATEWAY_TIMEOUT
            || self.status == StatusCode::TOO_MANY_REQUESTS
    }

    fn into_error(self, url: &reqwest::Url) -> anyhow::Error {
        let Self { status, code, words } = self;
        anyhow!("{url} answered {status} {code}: {words}")
    }
}
