// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Images: one that an import left behind, one to be imported.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{EVERY, Hands, api};
use crate::deploy::images;
use crate::deploy::setup::SetupError;
use crate::triton::imgapi::Image;
use crate::triton::job::JobError;

/// How long an image that is on its way by nobody known may take to arrive,
/// before it counts as left behind.
const GRACE: Duration = Duration::from_secs(20);

/// One that somebody took out of use is whole.
fn is_halfway(image: &Image) -> bool {
    !matches!(image.state.as_str(), "active" | "disabled")
}

impl Hands<'_> {
    pub(super) async fn drop_image(
        &mut self,
        uuid: Uuid,
    ) -> Result<(), SetupError> {
        let vmapi = &self.apis.vmapi;
        let job = match self.journal.import(uuid) {
            Some(job) => Some(job),
            None => {
                let going = vmapi.pending(images::TASK, uuid).await;
                going.map_err(api("ask VMAPI for jobs"))?
            }
        };
        match job {
            Some(job) => {
                // Whichever way it ends, the image says how.
                let ended = vmapi.wait(job, EVERY, self.patience).await;
                if let Err(source @ JobError::NotOver { .. }) = ended {
                    let what = format!("see the import of {uuid} end");
                    return Err(SetupError::Job { what, source });
                }
            }
            None => {
                let end = Instant::now() + GRACE.min(self.patience);
                while let Some(image) = self.image(uuid).await?
                    && is_halfway(&image)
                    && Instant::now() < end
                {
                    sleep(EVERY).await;
                }
            }
        }
        let image = self.image(uuid).await?;
        if image.as_ref().is_some_and(is_halfway) {
            let gone = self.apis.imgapi.delete(uuid).await;
            gone.map_err(api("delete an image that was left halfway"))?;
        }
        Ok(self.journal.end_import(uuid)?)
    }

    pub(super) async fn import_image(
        &mut self,
        uuid: Uuid,
        what: &str,
    ) -> Result<(), SetupError> {
        if self.is_active(uuid).await? {
            return Ok(self.journal.end_import(uuid)?);
        }
        let job = match self.journal.import(uuid) {
            // Of an earlier try, whose answer was lost or whose wait was cut.
            Some(job) if self.image(uuid).await?.is_some() => job,
            _ => {
                let imgapi = &self.apis.imgapi;
                let begun = imgapi.import_remote(uuid, &self.source).await;
                let begun = begun.map_err(api("import an image"))?;
                self.journal.begin_import(uuid, begun.job_uuid)?;
                begun.job_uuid
            }
        };
        let ended = self.apis.vmapi.wait(job, EVERY, self.patience).await;
        if self.is_active(uuid).await? {
            return Ok(self.journal.end_import(uuid)?);
        }
        let failed = |source| SetupError::Job {
            what: format!("import image {what}"),
            source,
        };
        match ended {
            Err(source) => Err(failed(source)),
            // It said that it was done.
            Ok(()) => Err(failed(JobError::Ended {
                job,
                name: "import-remote-image".to_owned(),
                execution: "succeeded",
                why: "and the image is not active".to_owned(),
            })),
        }
    }

    async fn is_active(&self, uuid: Uuid) -> Result<bool, SetupError> {
        let image = self.image(uuid).await?;
        Ok(image.is_some_and(|image| image.state == "active"))
    }

    async fn image(&self, uuid: Uuid) -> Result<Option<Image>, SetupError> {
        let image = self.apis.imgapi.image(uuid, None).await;
        image.map_err(api("ask IMGAPI for an image"))
    }
}
