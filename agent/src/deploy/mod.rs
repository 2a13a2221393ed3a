// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What an operator's tool does to a datacenter: facts are gathered of its
//! APIs, a plan is made of them (by `shard`, which knows no API), and its
//! steps are run. Every step looks first, so a run that was cut off is
//! finished by the next.

pub mod shards;

use uuid::Uuid;

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
        source: ApiError,
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
        move |source| Self::Api { step, source }
    }
}

/// A datacenter's APIs, as application `sdc` names them.
#[derive(Clone, Debug)]
pub struct Apis {
    /// SAPI.
    pub sapi: Sapi,
    /// VMAPI.
    pub vmapi: Vmapi,
    /// Application `sdc`.
    pub sdc: Uuid,
    /// The account that owns Triton's own zones: `admin`.
    pub admin: Uuid,
}

impl Apis {
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
        let odd = |key: &str, wanted| DeployError::Odd {
            what: format!("application sdc, {key}"),
            seen: "nothing".into(),
            wanted,
        };
        let admin = sdc.owner_uuid;
        let admin = admin.ok_or_else(|| odd("owner_uuid", "a uuid"))?;
        let domain = sdc.metadata.get("vmapi_domain");
        let domain = domain.and_then(|domain| domain.as_str());
        let domain =
            domain.ok_or_else(|| odd("metadata vmapi_domain", "a name"))?;
        let vmapi = Vmapi::new(http.clone(), &format!("http://{domain}"));
        Ok(Self { sapi, vmapi, sdc: sdc.uuid, admin })
    }
}
