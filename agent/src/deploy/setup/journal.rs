// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a run has begun and not yet seen the end of, written down before it is
//! begun: so the next run asks for the same zone again, and not for a twin.
//! Without it all is still found by looking at what there is, but for a zone
//! that failed, which could be anybody's then.
//!
//! Nobody may have looked when a zone came up after all, so that it is held
//! for begun for as long as the file lasts. An entry says by image and time
//! whether a zone that failed can be the one that was begun then.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::step::Own;
use crate::triton::vmapi::Vm;

/// How long a zone that was begun may fail for that it never ran. Its job ends
/// within an hour; the operator may come back to it the next morning.
const FRESH: Duration = Duration::from_secs(86_400);

/// Writes the text for good, as a whole or not at all.
pub type Save = Box<dyn Fn(&str) -> io::Result<()> + Send + Sync>;

/// A zone that was asked for, and has not been seen to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Service.
    pub service: String,
    /// Alias.
    pub alias: String,
    /// What the instance is to have of its own, should only its zone be made.
    #[serde(default, flatten)]
    pub own: Own,
    /// It takes the place of one that is gone, so it is to be made although
    /// nothing else says so.
    #[serde(default)]
    pub anew: bool,
    /// The image that it was to have. Older entries do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Uuid>,
    /// When, Unix seconds. Older entries do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<u64>,
}

impl Pending {
    /// Whether its zone, which failed, has never run, and so holds nothing: it
    /// was begun shortly before `now`, Unix seconds, and has the image still.
    pub(super) fn never_ran(&self, vm: &Vm, now: u64) -> bool {
        let age = self.begun.and_then(|begun| now.checked_sub(begun));
        self.image.is_some()
            && self.image == vm.image_uuid
            && age.is_some_and(|age| age < FRESH.as_secs())
    }
}

/// This machine's clock, Unix seconds.
pub(super) fn unix_now() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed();
    since.unwrap_or_default().as_secs()
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    /// By the zone's uuid.
    #[serde(default)]
    zones: BTreeMap<Uuid, Pending>,
    /// Jobs that import images, by the image's uuid.
    #[serde(default)]
    imports: BTreeMap<Uuid, Uuid>,
}

/// The journal of one datacenter.
pub struct Journal {
    state: State,
    save: Save,
}

impl Journal {
    /// From what was saved last; `None` when nothing was.
    ///
    /// Errors: the text is no journal.
    pub fn open(
        text: Option<&str>,
        save: Save,
    ) -> Result<Self, serde_json::Error> {
        let state = text.map(serde_json::from_str).transpose()?;
        Ok(Self { state: state.unwrap_or_default(), save })
    }

    /// The zones of a service that were begun.
    pub fn zones(&self, service: &str) -> BTreeMap<Uuid, Pending> {
        let of = |(_, one): &(&Uuid, &Pending)| one.service == service;
        let zones = self.state.zones.iter().filter(of);
        zones.map(|(uuid, one)| (*uuid, one.clone())).collect()
    }

    /// The job that imports an image.
    pub fn import(&self, image: Uuid) -> Option<Uuid> {
        self.state.imports.get(&image).copied()
    }

    /// A zone is about to be asked for.
    pub fn begin_zone(&mut self, uuid: Uuid, zone: Pending) -> io::Result<()> {
        match self.state.zones.insert(uuid, zone.clone()) {
            Some(known) if known == zone => Ok(()),
            _ => self.write(),
        }
    }

    /// It runs, or is gone.
    pub fn end_zone(&mut self, uuid: Uuid) -> io::Result<()> {
        match self.state.zones.remove(&uuid) {
            Some(_) => self.write(),
            None => Ok(()),
        }
    }

    /// A job imports an image.
    pub fn begin_import(&mut self, image: Uuid, job: Uuid) -> io::Result<()> {
        self.state.imports.insert(image, job);
        self.write()
    }

    /// No job does any more.
    pub fn end_import(&mut self, image: Uuid) -> io::Result<()> {
        match self.state.imports.remove(&image) {
            Some(_) => self.write(),
            None => Ok(()),
        }
    }

    fn write(&self) -> io::Result<()> {
        let text = serde_json::to_string_pretty(&self.state)?;
        (self.save)(&text)
    }
}
