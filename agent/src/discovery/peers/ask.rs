// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! One SAPI's lists of monitoring instances, both applications'.

use std::net::IpAddr;
use std::time::Duration;

use super::decide::Scope;
use crate::metadata::peers::{datacenter_of, manta_names};
use crate::model::dns::ZoneName;
use crate::model::peers::SERVICES;
use crate::model::{Flavor, Peer};
use crate::triton::ApiError;
use crate::triton::sapi::Sapi;

/// What one SAPI may take for all its lists.
const LIMIT: Duration = Duration::from_secs(30);

/// Instances of one application; the largest sites have some hundred.
const MAX_INSTANCES: usize = 10_000;

/// Why a list is not to be had.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("could not list {kind} of {application}")]
    List {
        kind: &'static str,
        application: &'static str,
        #[source]
        source: ApiError,
    },
    #[error("could not learn whether its lists are whole")]
    Ping(#[source] ApiError),
    #[error("its store is out of reach, and it lists what it remembers")]
    Remembered,
    #[error("{url} has no application sdc")]
    NoTriton { url: String },
    #[error("{url} is SAPI of {said}")]
    Elsewhere { url: String, said: String },
    #[error("more than {MAX_INSTANCES} instances of {0}")]
    TooMany(&'static str),
    #[error("no lists within {} s", LIMIT.as_secs())]
    Late,
}

/// What a SAPI answered.
#[derive(Default)]
pub(super) struct Answer {
    /// The lists there are; one that failed is missing.
    pub(super) lists: Vec<Asked>,
    /// Why something is missing, with its causes.
    pub(super) failure: Option<String>,
}

/// The list of one application.
pub(super) struct Asked {
    pub(super) flavor: Flavor,
    /// Its instances.
    pub(super) peers: Vec<Peer>,
    /// Manta's domain and who serves it, if it has instances.
    pub(super) manta: Option<(ZoneName, Vec<IpAddr>)>,
    /// Nobody is missing from it.
    pub(super) whole: bool,
}

/// Asks `sapi`; `here` is this datacenter's, which is believed to be it.
pub(super) async fn ask<'a>(
    sapi: &Sapi,
    here: bool,
    scope: impl Fn(Flavor) -> Scope<'a>,
) -> Answer {
    let mut answer = Answer::default();
    let mut fail = |error: AskError| {
        answer.failure.get_or_insert(crate::log::chain(&error));
    };
    let asking = async {
        let mut lists = Vec::new();
        for flavor in [Flavor::Triton, Flavor::Manta] {
            match list(sapi, here, &scope(flavor)).await {
                Ok(asked) => lists.push(asked),
                Err(error) => {
                    fail(error);
                    // Whoever answers for Triton is not who was asked.
                    if flavor == Flavor::Triton {
                        break;
                    }
                }
            }
        }
        // Afterwards: what it is now, it was when it listed, give or take
        // what the next list mends.
        if !lists.is_empty() {
            let whole = sapi.is_whole().await;
            let whole = match whole {
                Ok(true) => true,
                Ok(false) => {
                    fail(AskError::Remembered);
                    false
                }
                Err(error) => {
                    fail(AskError::Ping(error));
                    false
                }
            };
            for asked in &mut lists {
                asked.whole = whole;
            }
        }
        lists
    };
    let lists = tokio::time::timeout(LIMIT, asking).await;
    match lists {
        Ok(lists) => answer.lists = lists,
        Err(_) => {
            let late = crate::log::chain(&AskError::Late);
            answer.failure.get_or_insert(late);
        }
    }
    answer
}

/// The instances of one application. Manta's may be kept in the master
/// datacenter; Triton's never are, and asking there would be slow.
async fn list(
    sapi: &Sapi,
    here: bool,
    scope: &Scope<'_>,
) -> Result<Asked, AskError> {
    let (application, master) = match scope.flavor {
        Flavor::Triton => ("sdc", false),
        Flavor::Manta => ("manta", true),
    };
    let failed =
        |kind| move |source| AskError::List { kind, application, source };
    let mut asked = Asked {
        flavor: scope.flavor,
        peers: Vec::new(),
        manta: None,
        whole: false,
    };
    let applications = sapi.applications(application, master);
    let applications = applications.await.map_err(failed("applications"))?;
    if scope.flavor == Flavor::Triton {
        let Some(first) = applications.first() else {
            return Err(AskError::NoTriton { url: sapi.url().to_owned() });
        };
        let said = datacenter_of(&first.metadata).filter(|said| {
            !here && !said.eq_ignore_ascii_case(scope.datacenter)
        });
        if let Some(said) = said {
            let url = sapi.url().to_owned();
            return Err(AskError::Elsewhere { url, said });
        }
    }
    // Names are not unique: all that bear one count.
    for one in &applications {
        let services = sapi.services(one.uuid, master).await;
        let services = services.map_err(failed("services"))?;
        for service in services {
            if !SERVICES.contains(&service.name.as_str()) {
                continue;
            }
            let instances = sapi.instances(service.uuid, master).await;
            let instances = instances.map_err(failed("instances"))?;
            if asked.peers.len() + instances.len() > MAX_INSTANCES {
                return Err(AskError::TooMany(application));
            }
            asked.peers.extend(instances.iter().filter_map(|instance| {
                scope.peer(&one.metadata, &service, instance)
            }));
        }
        if scope.flavor == Flavor::Manta && !asked.peers.is_empty() {
            asked.manta = manta_names(&one.metadata);
        }
    }
    Ok(asked)
}
