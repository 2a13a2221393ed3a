// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Which image a service is to run, and what of its chain of origins is not
//! here yet.
//!
//! Source: sdcadm, lib/procedures/shared.js (getImage) and
//! download-images.js.

use uuid::Uuid;

use crate::deploy::DeployError;
use crate::triton::imgapi::{Image, Imgapi};

/// Which image is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The newest of the updates server's channel.
    Latest,
    /// The newest that is here.
    Current,
    /// This one, here or there.
    Uuid(Uuid),
    /// The one of this version, here or there.
    Version(String),
}

/// Where images are: here, and there.
pub struct Shelves<'a> {
    /// The datacenter's own.
    pub here: &'a Imgapi,
    /// The updates server.
    pub updates: &'a Imgapi,
    /// Its channel; `None` is its default.
    pub channel: Option<&'a str>,
}

/// The image, and the way to it.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The image; `None` when there is none such.
    pub image: Option<Image>,
    /// What is to be imported, the image itself last; each is the origin of
    /// the one that follows.
    pub missing: Vec<Image>,
    /// Of these, those that an import left behind halfway.
    pub stale: Vec<Uuid>,
    /// An origin of it cannot be had.
    pub broken: bool,
}

impl Shelves<'_> {
    /// Looks for it.
    ///
    /// Errors: either IMGAPI's own.
    pub async fn find(
        &self,
        names: &[&str],
        wish: &Wish,
    ) -> Result<Found, DeployError> {
        let Some(image) = self.choose(names, wish).await? else {
            return Ok(Found::default());
        };
        let mut found = Found::default();
        if !self.lacks(image.uuid, &mut found).await? {
            return Ok(Found { image: Some(image), ..found });
        }
        let chain = self.updates.chain(image.uuid, self.channel).await;
        let chain = chain.map_err(DeployError::api("ask for origin images"))?;
        found.broken = chain.is_none();
        for (nth, one) in chain.into_iter().flatten().enumerate() {
            // What is here has its origins here.
            if nth > 0 && !self.lacks(one.uuid, &mut found).await? {
                break;
            }
            found.missing.insert(0, one);
        }
        found.image = Some(image);
        Ok(found)
    }

    /// Whether an image is not here, or not of use.
    async fn lacks(
        &self,
        uuid: Uuid,
        found: &mut Found,
    ) -> Result<bool, DeployError> {
        let here = self.here.image(uuid, None).await;
        let here = here.map_err(DeployError::api("ask IMGAPI for an image"))?;
        let active = here.as_ref().is_some_and(|one| one.state == "active");
        if here.is_some() && !active {
            found.stale.push(uuid);
        }
        Ok(!active)
    }

    async fn choose(
        &self,
        names: &[&str],
        wish: &Wish,
    ) -> Result<Option<Image>, DeployError> {
        match wish {
            Wish::Latest => self.newest(self.updates, names, |_| true).await,
            Wish::Current => self.newest(self.here, names, |_| true).await,
            Wish::Version(version) => {
                let it = |image: &Image| image.version == *version;
                match self.newest(self.here, names, it).await? {
                    Some(image) => Ok(Some(image)),
                    None => self.newest(self.updates, names, it).await,
                }
            }
            Wish::Uuid(uuid) => {
                let asked = DeployError::api("ask IMGAPI for an image");
                let here = self.here.image(*uuid, None).await.map_err(asked)?;
                if let Some(here) = here.filter(|one| one.state == "active") {
                    return Ok(Some(here));
                }
                let there = self.updates.image(*uuid, self.channel).await;
                there.map_err(DeployError::api("ask for an image"))
            }
        }
    }

    async fn newest(
        &self,
        shelf: &Imgapi,
        names: &[&str],
        fits: impl Fn(&Image) -> bool,
    ) -> Result<Option<Image>, DeployError> {
        let mut all = Vec::new();
        for name in names {
            let found = shelf.images(name, self.channel).await;
            let asked = DeployError::api("ask for images");
            all.extend(found.map_err(asked)?.into_iter().filter(&fits));
        }
        Ok(all.into_iter().max_by(|a, b| a.published_at.cmp(&b.published_at)))
    }
}
