// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Which image a service's zones are to have, and how it gets here: from the
//! updates server, with the images it is built on.
//!
//! Source: sdcadm's image names, `latest` and `current`, and its walk over
//! origins. An import that was cut off leaves an unactivated image behind;
//! unless its job goes on, that is deleted first.

use std::time::Duration;

use uuid::Uuid;

use super::{Apis, DeployError};
use crate::triton::imgapi::{Image, Imgapi};
use crate::triton::job::JobError;
use crate::triton::{ApiError, Tries};

/// IMGAPI's workflow.
pub(super) const TASK: &str = "import-remote-image";
/// How often its job is asked for.
const EVERY: Duration = Duration::from_secs(1);
/// How long an import may take: some hundred MB, with all origins, by a slow
/// line.
const LIMIT: Duration = Duration::from_secs(3600);

/// Why an image could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// An API said no, or nothing.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// No image is what was asked for.
    #[error("image {wanted}: saw none {place}, wanted one named {names}")]
    None {
        /// What was asked for.
        wanted: Wanted,
        /// Where it was looked for.
        place: String,
        /// What its name may be.
        names: String,
    },
    /// It is another service's.
    #[error("image {uuid}: saw name {seen:?}, wanted {names}")]
    Name {
        /// The image.
        uuid: Uuid,
        /// Its name.
        seen: String,
        /// What it may be.
        names: String,
    },
    /// It was not imported.
    #[error("could not import image {uuid}")]
    Import {
        /// The image.
        uuid: Uuid,
        /// Why.
        #[source]
        source: Box<JobError>,
    },
    /// It is here, or should be, and is of no use.
    #[error("image {uuid}: saw state {state:?}, wanted active")]
    State {
        /// The image.
        uuid: Uuid,
        /// Its state; empty without an image.
        state: String,
    },
}

/// What an operator may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The newest on the updates server.
    Latest,
    /// The newest that is here.
    Current,
    /// This one.
    Uuid(Uuid),
    /// The one with this version.
    Version(String),
}

impl std::str::FromStr for Wanted {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match (text, text.parse()) {
            ("latest", _) => Self::Latest,
            ("current", _) => Self::Current,
            (_, Ok(uuid)) => Self::Uuid(uuid),
            _ => Self::Version(text.to_owned()),
        })
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Current => f.write_str("current"),
            Self::Uuid(uuid) => uuid.fmt(f),
            Self::Version(version) => version.fmt(f),
        }
    }
}

/// Names of a service's images; none for a service that is not ours.
///
/// Assumed: an Alertmanager in zones of its own has the image of Thanos, which
/// brings it along.
pub fn names(service: &str) -> &'static [&'static str] {
    match service {
        "prometheus" => &["mantav2-prometheus", "manta-prometheus"],
        "thanos" | "alertmanager" => &["thanos"],
        "grafana" => &["grafana"],
        _ => &[],
    }
}

/// The server that new images come from.
#[derive(Clone, Debug)]
pub struct Updates {
    /// It.
    pub imgapi: Imgapi,
    /// Its base URL.
    pub url: String,
    /// One of its channels; `None` is its default.
    pub channel: Option<String>,
}

impl Updates {
    pub(super) fn channel(&self) -> Option<&str> {
        self.channel.as_deref()
    }

    fn place(&self) -> String {
        match &self.channel {
            Some(channel) => format!("at {}, channel {channel}", self.url),
            None => format!("at {}", self.url),
        }
    }

    /// It as IMGAPI is told of it: the channel is in the query.
    pub fn source(&self) -> String {
        match &self.channel {
            Some(channel) => format!("{}?channel={channel}", self.url),
            None => self.url.clone(),
        }
    }
}

/// The image to be, and whether it must be fetched.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The image.
    pub image: Image,
    /// It is not here, or not whole.
    pub fetch: bool,
}

/// Finds the image that is `wanted` for a service, and looks whether it is
/// here.
///
/// Errors: there is none such, or it is another service's.
pub async fn choose(
    apis: &Apis,
    updates: &Updates,
    service: &str,
    wanted: &Wanted,
) -> Result<Choice, ImageError> {
    let names = names(service);
    let listed = || names.join(" or ");
    let Some(image) = find(&apis.imgapi, updates, names, wanted).await? else {
        let here = "in the datacenter's IMGAPI".to_owned();
        let place = match wanted {
            Wanted::Latest => updates.place(),
            Wanted::Current => here,
            _ => format!("{here} or {}", updates.place()),
        };
        let (wanted, names) = (wanted.clone(), listed());
        return Err(ImageError::None { wanted, place, names });
    };
    if !names.contains(&image.name.as_str()) {
        let (uuid, seen) = (image.uuid, image.name);
        return Err(ImageError::Name { uuid, seen, names: listed() });
    }
    let local = look(apis, image.uuid).await?;
    let fetch = !local.as_ref().is_some_and(is_active);
    Ok(Choice { image, fetch })
}

/// The image that is `wanted`: `here` is the datacenter's own IMGAPI. The
/// updates server is asked for `latest`, and for what is not here. One that is
/// given by its uuid may have any name.
///
/// Errors: either IMGAPI's own.
pub(super) async fn find(
    here: &Imgapi,
    updates: &Updates,
    names: &[&str],
    wanted: &Wanted,
) -> Result<Option<Image>, DeployError> {
    let (there, channel) = (&updates.imgapi, updates.channel());
    match wanted {
        Wanted::Latest => newest(there, names, channel, |_| true).await,
        Wanted::Current => newest(here, names, None, |_| true).await,
        Wanted::Version(version) => {
            let fits = |image: &Image| image.version == *version;
            match newest(here, names, None, fits).await? {
                Some(image) => Ok(Some(image)),
                None => newest(there, names, channel, fits).await,
            }
        }
        Wanted::Uuid(uuid) => {
            let asked = DeployError::api("ask IMGAPI for an image");
            let local = here.image(*uuid, None).await.map_err(asked)?;
            if let Some(local) = local.filter(is_active) {
                return Ok(Some(local));
            }
            let asked = DeployError::api("ask the updates server");
            there.image(*uuid, channel).await.map_err(asked)
        }
    }
}

/// The newest that fits, by the day it was published, which is what `latest`
/// means.
async fn newest(
    imgapi: &Imgapi,
    names: &[&str],
    channel: Option<&str>,
    fits: impl Fn(&Image) -> bool,
) -> Result<Option<Image>, DeployError> {
    let mut all = Vec::new();
    for name in names {
        let found = imgapi.images(name, channel).await;
        let asked = DeployError::api("ask for the images there are");
        all.extend(found.map_err(asked)?.into_iter().filter(&fits));
    }
    Ok(all.into_iter().max_by(|a, b| a.published_at.cmp(&b.published_at)))
}

fn is_active(image: &Image) -> bool {
    image.state == "active"
}

fn own(step: &'static str) -> impl FnOnce(ApiError) -> ImageError {
    move |source| ImageError::Deploy(DeployError::api(step)(source))
}

/// The image as it is here.
async fn look(apis: &Apis, uuid: Uuid) -> Result<Option<Image>, ImageError> {
    let asked = apis.imgapi.image(uuid, None).await;
    asked.map_err(own("ask IMGAPI for an image"))
}

/// Has IMGAPI fetch an image and what it is built on, unless it is here. A
/// job that is at it already is waited for instead.
pub async fn fetch(
    apis: &Apis,
    updates: &Updates,
    uuid: Uuid,
) -> Result<(), ImageError> {
    let mut tries = Tries::new();
    loop {
        match try_fetch(apis, updates, uuid).await {
            Err(ImageError::Deploy(error))
                if error.is_passing() && tries.another().await => {}
            done => return done,
        }
    }
}

async fn try_fetch(
    apis: &Apis,
    updates: &Updates,
    uuid: Uuid,
) -> Result<(), ImageError> {
    let asked = apis.vmapi.pending(TASK, uuid).await;
    let mut job = asked.map_err(own("ask VMAPI for jobs"))?;
    if job.is_none() {
        if clear(apis, updates, uuid).await? {
            return Ok(());
        }
        let started = apis.imgapi.import_remote(uuid, &updates.source()).await;
        let started = started.map_err(own("have an image imported"))?;
        job = Some(started.job_uuid);
    }
    let over = match job {
        Some(job) => apis.vmapi.wait(job, EVERY, LIMIT).await,
        None => Ok(()),
    };
    // What a job says of itself counts less than the image.
    let found = look(apis, uuid).await?;
    let state = found.map(|image| image.state).unwrap_or_default();
    match over {
        _ if state == "active" => Ok(()),
        Ok(()) => Err(ImageError::State { uuid, state }),
        Err(error) => {
            let source = Box::new(error);
            Err(ImageError::Import { uuid, source })
        }
    }
}

/// Deletes what lies unfinished of the image and what it is built on: nobody
/// is at it any more, and IMGAPI takes neither a second copy nor an unfinished
/// origin. True: there is nothing to be fetched.
async fn clear(
    apis: &Apis,
    updates: &Updates,
    uuid: Uuid,
) -> Result<bool, ImageError> {
    let chain = updates.imgapi.chain(uuid, updates.channel()).await;
    let chain = chain.map_err(own("ask the updates server"))?;
    // Itself first: IMGAPI deletes none that another is built on.
    let chain = chain.map_or(vec![uuid], |all| {
        all.into_iter().map(|image| image.uuid).collect()
    });
    for (at, part) in chain.into_iter().enumerate() {
        let mut seen = look(apis, part).await?;
        // It is unfinished as long as somebody is at it.
        if seen.as_ref().is_some_and(|image| !is_active(image)) {
            let going = apis.vmapi.pending(TASK, part).await;
            if let Some(job) = going.map_err(own("ask VMAPI for jobs"))? {
                let over = apis.vmapi.wait(job, EVERY, LIMIT).await;
                if let Err(source @ JobError::NotOver { .. }) = over {
                    let source = Box::new(source);
                    return Err(ImageError::Import { uuid: part, source });
                }
                seen = look(apis, part).await?;
            }
        }
        match seen {
            Some(image) if is_active(&image) => return Ok(at == 0),
            // Somebody took it out of use, who knows why.
            Some(image) if image.state == "disabled" => {
                let (uuid, state) = (part, image.state);
                return Err(ImageError::State { uuid, state });
            }
            Some(_) => {
                let gone = apis.imgapi.delete(part).await;
                gone.map_err(own("delete an unfinished image"))?;
            }
            None => {}
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_reads_back() {
        let uuid = "f0000000-0000-4000-8000-000000000020";
        for (text, wanted) in [
            ("latest", Wanted::Latest),
            ("current", Wanted::Current),
            (uuid, Wanted::Uuid(uuid.parse().unwrap())),
            ("main-2030", Wanted::Version("main-2030".into())),
        ] {
            assert_eq!(text.parse(), Ok(wanted.clone()));
            assert_eq!(wanted.to_string(), text);
        }
    }
}
