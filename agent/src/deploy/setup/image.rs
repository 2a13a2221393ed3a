// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Which image a service is to run, and what of its chain of origins is not
//! here yet.
//!
//! Source: sdcadm, lib/procedures/shared.js (getImage) and
//! download-images.js.

use uuid::Uuid;

use crate::deploy::images::{self, Updates, Wanted};
use crate::deploy::{Apis, DeployError};
use crate::triton::imgapi::Image;

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
    /// Of these, those that somebody took out of use, who knows why.
    pub disabled: Vec<Uuid>,
    /// An origin of it cannot be had.
    pub broken: bool,
}

/// Looks for it.
///
/// Errors: either IMGAPI's own.
pub(super) async fn find(
    apis: &Apis,
    updates: &Updates,
    names: &[&str],
    wanted: &Wanted,
) -> Result<Found, DeployError> {
    let image = images::find(&apis.imgapi, updates, names, wanted).await?;
    let Some(image) = image else { return Ok(Found::default()) };
    let mut found = Found::default();
    if !lacks(apis, image.uuid, &mut found).await? {
        return Ok(Found { image: Some(image), ..found });
    }
    let chain = updates.imgapi.chain(image.uuid, updates.channel()).await;
    let chain = chain.map_err(DeployError::api("ask for origin images"))?;
    found.broken = chain.is_none();
    for (nth, one) in chain.into_iter().flatten().enumerate() {
        // What is here has its origins here.
        if nth > 0 && !lacks(apis, one.uuid, &mut found).await? {
            break;
        }
        found.missing.insert(0, one);
    }
    found.image = Some(image);
    Ok(found)
}

/// Whether an image is not here, or not of use.
async fn lacks(
    apis: &Apis,
    uuid: Uuid,
    found: &mut Found,
) -> Result<bool, DeployError> {
    let here = apis.imgapi.image(uuid, None).await;
    let here = here.map_err(DeployError::api("ask IMGAPI for an image"))?;
    match here.as_ref().map(|one| one.state.as_str()) {
        Some("active") => return Ok(false),
        Some("disabled") => found.disabled.push(uuid),
        Some(_) => found.stale.push(uuid),
        None => {}
    }
    Ok(true)
}
