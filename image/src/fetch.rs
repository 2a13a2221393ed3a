// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Brings sources into the cache: over HTTP, by pip, by apt, from the
//! workspace. The one part of a build that uses a network; each try has time
//! limits, each body a limit of size, and what does not have the wanted digest
//! is gone again.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures_util::StreamExt;
use monitoring_agent::host::{self, Exec};
use reqwest::StatusCode;
use tempfile::NamedTempFile;

use crate::artifacts::{Origin, Sha256, Source};
use crate::cache::{Cache, Cached};

/// Tries before a download is given up.
const TRIES: u32 = 4;
/// The pause before the second try; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(500);
/// How long connecting may take, and how long a server may be silent.
pub const SILENCE: Duration = Duration::from_secs(30);
/// How long one try may take as a whole.
const WHOLE: Duration = Duration::from_secs(1800);
/// Largest body, bytes: a Go tool chain has 70 MiB, Grafana 200.
const SIZE_MAX: u64 = 2 << 30;

/// Told how far a download is: bytes so far, and of how many.
pub type Progress<'a> = &'a dyn Fn(u64, Option<u64>);

/// Brings what it is asked for.
pub struct Fetcher<'a> {
    /// Where it goes.
    pub cache: &'a Cache,
    /// The root of the workspace, for sources there.
    pub workspace: &'a Path,
    /// Whether sources that nobody pinned may come too.
    pub unpinned: bool,
}

/// Why one try failed.
enum Failure {
    /// Worth another try.
    Passing(anyhow::Error),
    /// The same next time.
    Lasting(anyhow::Error),
}

impl Fetcher<'_> {
    /// Brings a source, unless it is here. Says whether it came now.
    ///
    /// Errors: unpinned, not to be had, or not what is pinned.
    pub async fn bring(
        &self,
        source: &Source,
        progress: Progress<'_>,
    ) -> Result<(Cached, bool)> {
        if let Some(sha256) = &source.sha256
            && let Some(cached) = self.cache.get(sha256)?
        {
            return Ok((cached, false));
        }
        if source.sha256.is_none()
            && source.unpinned.is_none()
            && !self.unpinned
        {
            bail!(
                "{}: sha256 absent; wanted 64 hex digits, which \
                 `zone-image fetch --pin` tells",
                source.from
            );
        }
        let file = match &source.from {
            Origin::Url(url) => self.download(url, progress).await?,
            Origin::Pypi(requirement) => self.pip(requirement).await?,
            Origin::Apt(package) => self.apt(package).await?,
            Origin::Path(path) => self.copy(path)?,
        };
        let wanted = source.sha256.as_ref();
        let cached = self.cache.put(file, wanted, &source.from)?;
        if wanted.is_none() {
            self.cache.remember(&key(&source.from), &cached.sha256)?;
        }
        Ok((cached, true))
    }

    /// Brings what is known by its digest from the first of several places
    /// that has it, unless it is here. Says whether it came now.
    ///
    /// Errors: none has it; what each said. `what` names it.
    pub async fn bring_from(
        &self,
        places: &[String],
        sha256: &Sha256,
        what: &dyn std::fmt::Display,
    ) -> Result<bool> {
        if self.cache.get(sha256)?.is_some() {
            return Ok(false);
        }
        let mut failures = Vec::new();
        for place in places {
            let came = match place.strip_prefix("file://") {
                Some(path) => self.copy(path),
                None => self.download(place, &|_, _| {}).await,
            };
            let kept =
                came.and_then(|file| self.cache.put(file, Some(sha256), place));
            match kept {
                Ok(_) => return Ok(true),
                Err(error) => failures.push(format!("{error:#}")),
            }
        }
        bail!("{what} is not to be had: {}", failures.join("; "))
    }

    async fn download(
        &self,
        url: &str,
        progress: Progress<'_>,
    ) -> Result<NamedTempFile> {
        let client = client(SILENCE)?;
        let mut pause = PAUSE;
        let mut nth = 1;
        loop {
            let tried = tokio::time::timeout(
                WHOLE,
                self.download_once(&client, url, progress),
            );
            let failure = match tried.await {
                Ok(Ok(file)) => return Ok(file),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::Passing(anyhow!("took over {WHOLE:?}")),
            };
            match failure {
                Failure::Passing(_) if nth < TRIES => {}
                Failure::Passing(error) => {
                    let what = format!("could not get {url} in {TRIES} tries");
                    return Err(error.context(what));
                }
                Failure::Lasting(error) => {
                    return Err(error.context(format!("could not get {url}")));
                }
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
            nth += 1;
        }
    }

    async fn download_once(
        &self,
        client: &reqwest::Client,
        url: &str,
        progress: Progress<'_>,
    ) -> Result<NamedTempFile, Failure> {
        let passing = |e: reqwest::Error| Failure::Passing(e.into());
        let answer = client.get(url).send().await.map_err(passing)?;
        let status = answer.status();
        if status != StatusCode::OK {
            let error = anyhow!("answered {status}");
            let again = status.is_server_error()
                || status == StatusCode::TOO_MANY_REQUESTS
                || status == StatusCode::REQUEST_TIMEOUT;
            return Err(match again {
                true => Failure::Passing(error),
                false => Failure::Lasting(error),
            });
        }
        let whole = answer.content_length();
        let too_large = |len: u64| {
            let why = format!("{len} bytes; wanted {SIZE_MAX} at most");
            Failure::Lasting(anyhow!(why))
        };
        if let Some(len) = whole.filter(|len| *len > SIZE_MAX) {
            return Err(too_large(len));
        }
        let mut file = self.cache.temporary().map_err(Failure::Lasting)?;
        let mut body = answer.bytes_stream();
        let mut so_far = 0;
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(passing)?;
            so_far += bytes.len() as u64;
            if so_far > SIZE_MAX {
                return Err(too_large(so_far));
            }
            file.write_all(&bytes).map_err(|e| {
                let what = format!("could not write {}", file.path().display());
                Failure::Lasting(anyhow::Error::new(e).context(what))
            })?;
            progress(so_far, whole);
        }
        Ok(file)
    }

    /// pip knows the index it is set up for; we do not.
    async fn pip(&self, requirement: &str) -> Result<NamedTempFile> {
        if !requirement.contains("==") || requirement.starts_with('-') {
            bail!("pypi {requirement:?}; wanted NAME==VERSION");
        }
        let folder = tempfile::tempdir_in(self.cache.work()?)?;
        let into = folder.path().to_string_lossy().into_owned();
        let temporary = temporary(self.cache)?;
        let argv = [
            "env",
            &temporary,
            "python3",
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--dest",
            &into,
            requirement,
        ];
        run(&argv).await?;
        self.only_file(folder.path())
    }

    /// apt as well; `download` checks what the archive signed.
    async fn apt(&self, package: &str) -> Result<NamedTempFile> {
        if package.starts_with('-') || package.contains(char::is_whitespace) {
            bail!("apt {package:?}; wanted the name of a package");
        }
        let folder = tempfile::tempdir_in(self.cache.work()?)?;
        let into = folder.path().to_string_lossy().into_owned();
        // A shell for the folder alone: apt-get writes into the current one.
        let script = "cd \"$1\" && exec apt-get --quiet --quiet \
            --option APT::Sandbox::User= download \"$2\"";
        let temporary = temporary(self.cache)?;
        let shell = ["env", &temporary, "/bin/sh", "-ec", script];
        run(&[&shell[..], &["apt", &into, package]].concat()).await?;
        self.only_file(folder.path())
    }

    fn copy(&self, path: &str) -> Result<NamedTempFile> {
        let path = self.workspace.join(path);
        let unreadable = || format!("could not read {}", path.display());
        let mut from = std::fs::File::open(&path).with_context(unreadable)?;
        let mut file = self.cache.temporary()?;
        std::io::copy(&mut from, &mut file).with_context(unreadable)?;
        Ok(file)
    }

    fn only_file(&self, folder: &Path) -> Result<NamedTempFile> {
        let files = std::fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<Vec<PathBuf>>>()?;
        let [one] = files.as_slice() else {
            bail!("{} files came; wanted one", files.len());
        };
        let mut file = self.cache.temporary()?;
        std::io::copy(&mut std::fs::File::open(one)?, &mut file)?;
        Ok(file)
    }
}

/// What is here of a source, for a build: a copy in `folder`, checked as it is
/// made. No network.
///
/// Errors: it is not here; says how to bring it.
pub fn taken(cache: &Cache, source: &Source, folder: &Path) -> Result<Cached> {
    let last = || cache.last_digest(&key(&source.from));
    let found = match source.sha256.clone().or_else(last) {
        Some(sha256) => cache.take(&sha256, folder)?,
        None => None,
    };
    found.with_context(|| {
        format!(
            "{} is not in the cache; `zone-image fetch` brings it",
            source.from
        )
    })
}

/// For tools: what they lay aside goes with what is ours.
pub fn temporary(cache: &Cache) -> Result<String> {
    Ok(format!("TMPDIR={}", cache.work()?.display()))
}

fn key(origin: &Origin) -> String {
    format!("source {origin}")
}

/// A client with limits, who trusts whom the system trusts. For downloads and
/// short calls: a server that is silent for so long has failed.
pub fn client(silence: Duration) -> Result<reqwest::Client> {
    made(builder().read_timeout(silence))
}

/// A client for uploads: while a file is on its way its server says nothing,
/// so the request alone has a limit, for the whole of it.
pub fn uploader() -> Result<reqwest::Client> {
    made(builder().tcp_keepalive(SILENCE))
}

fn builder() -> reqwest::ClientBuilder {
    // The one provider of this workspace; may be set already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(monitoring_agent::triton::AGENT_NAME)
        .connect_timeout(SILENCE)
}

fn made(builder: reqwest::ClientBuilder) -> Result<reqwest::Client> {
    builder.build().context("could not make an HTTP client")
}

/// Runs a tool to its end; wants exit code 0.
pub async fn run(argv: &[&str]) -> Result<host::Finished> {
    run_within(argv, WHOLE).await
}

/// The same, with a time limit of its own.
pub async fn run_within(
    argv: &[&str],
    limit: Duration,
) -> Result<host::Finished> {
    let exec = Exec::new(argv, limit);
    let finished = host::run(&exec).await?;
    match finished.success() {
        true => Ok(finished),
        false => Err(finished.into_error(&exec).into()),
    }
}
