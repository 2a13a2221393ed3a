// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What an operator's tool does to a datacenter: facts are gathered of its
//! APIs, a plan is made of them (by `shard`, which knows no API), and its
//! steps are run. Every step looks first, so a run that was cut off is
//! finished by the next.

/// What each kind of step is called in JSON, and all such names: a kind that
/// is missing does not compile, and tests go through the list.
macro_rules! kinds {
    ($($pattern:pat => $name:literal,)*) => {
        /// All kinds there are.
        pub const KINDS: &[&str] = &[$($name),*];

        /// What it is called in JSON.
        pub fn kind(&self) -> &'static str {
            match self {
                $($pattern => $name,)*
            }
        }
    };
}

pub mod exposition;
pub mod health;
pub mod images;
pub mod manta;
pub mod roster;
pub mod setup;
pub mod shards;
pub mod status;
pub mod update;

use serde_json::Value;
use uuid::Uuid;

use crate::triton::cnapi::Cnapi;
use crate::triton::fwapi::Fwapi;
use crate::triton::imgapi::Imgapi;
use crate::triton::napi::Napi;
use crate::triton::papi::Papi;
use crate::triton::sapi::Sapi;
use crate::triton::vmapi::Vmapi;
use crate::triton::{ApiError, Http};

/// Why a datacenter's facts could not be had, or a step not be run.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// An API said no, or nothing.
    #[error("could not {step}")]
    Api {
        /// What was tried.
        step: &'static str,
        /// Its answer.
        #[source]
        source: Box<ApiError>,
    },
    /// SAPI is not what it should be.
    #[error("{what}: saw {seen}, wanted {wanted}")]
    Odd {
        /// Which object and key.
        what: String,
        /// What is there.
        seen: String,
        /// What should be.
        wanted: &'static str,
    },
}

impl DeployError {
    fn api(step: &'static str) -> impl FnOnce(ApiError) -> Self {
        move |source| Self::Api { step, source: Box::new(source) }
    }

    /// See `ApiError::is_passing`.
    fn is_passing(&self) -> bool {
        matches!(self, Self::Api { source, .. } if source.is_passing())
    }
}

/// A datacenter's APIs, as application `sdc` names them.
#[derive(Clone, Debug)]
pub struct Apis {
    /// SAPI.
    pub sapi: Sapi,
    /// VMAPI.
    pub vmapi: Vmapi,
    /// The datacenter's own IMGAPI.
    pub imgapi: Imgapi,
    /// NAPI.
    pub napi: Napi,
    /// PAPI.
    pub papi: Papi,
    /// CNAPI.
    pub cnapi: Cnapi,
    /// FWAPI.
    pub fwapi: Fwapi,
    /// Application `sdc`.
    pub sdc: Uuid,
    /// The account that owns Triton's own zones: `admin`.
    pub admin: Uuid,
    /// `<datacenter>.<dns domain>`, below which Triton's services are named.
    pub domain: String,
}

impl Apis {
    /// Whether this is what the datacenter is called.
    pub(crate) fn is_here(&self, datacenter: &str) -> bool {
        let rest = self.domain.strip_prefix(datacenter);
        rest.is_some_and(|rest| rest.starts_with('.'))
    }

    /// Asks SAPI at `url` where the others are.
    ///
    /// Errors: SAPI's own; no application `sdc`, or one that lacks a key.
    pub async fn find(http: &Http, url: &str) -> Result<Self, DeployError> {
        let sapi = Sapi::new(http.clone(), url).traced();
        let found = sapi.applications("sdc", false).await;
        let found = found.map_err(DeployError::api("ask SAPI for sdc"))?;
        let [sdc] = &found[..] else {
            return Err(DeployError::Odd {
                what: "SAPI's applications named sdc".into(),
                seen: found.len().to_string(),
                wanted: "one",
            });
        };
        let text = |key: &str| match sdc.metadata.get(key) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text),
            other => Err(DeployError::Odd {
                what: format!("application sdc, metadata {key}"),
                seen: other.map_or("nothing".into(), Value::to_string),
                wanted: "a name",
            }),
        };
        let url = |api: &str| {
            let domain = text(&format!("{api}_domain"))?;
            Ok::<_, DeployError>(format!("http://{domain}"))
        };
        let http = || http.clone();
        Ok(Self {
            vmapi: Vmapi::new(http(), &url("vmapi")?),
            imgapi: Imgapi::new(http(), &url("imgapi")?),
            napi: Napi::new(http(), &url("napi")?),
            papi: Papi::new(http(), &url("papi")?),
            cnapi: Cnapi::new(http(), &url("cnapi")?),
            fwapi: Fwapi::new(http(), &url("fwapi")?),
            admin: sdc.owner_uuid.ok_or_else(|| DeployError::Odd {
                what: "application sdc, owner_uuid".into(),
                seen: "nothing".into(),
                wanted: "a uuid",
            })?,
            domain: format!(
                "{}.{}",
                text("datacenter_name")?,
                text("dns_domain")?
            ),
            sdc: sdc.uuid,
            sapi,
        })
    }

    /// Looks whether SAPI's lists are to be believed: those of one that has
    /// lost its store are up to an hour old, and lack Manta. What they lack
    /// may be there, and a twin would be made, or zones moved.
    ///
    /// Errors: SAPI's own; it is without its store, or in proto mode.
    pub async fn whole(&self) -> Result<(), DeployError> {
        let ping = self.sapi.ping().await;
        let ping = ping.map_err(DeployError::api("ask SAPI how it is"))?;
        let seen = match (ping.stored, ping.full) {
            (true, true) => return Ok(()),
            (false, _) => "without its store",
            (_, false) => "in proto mode",
        };
        Err(DeployError::Odd {
            what: "SAPI".into(),
            seen: seen.into(),
            wanted: "one in full mode, with its store",
        })
    }
}
