// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! `import-remote`: a job that takes an image, and those of its origins that
//! are not here, from an updates server; oldest first.
//!
//! A job that fails deletes what it has brought. One that vanishes undone
//! leaves unactivated images behind, as one does whose runner was killed.

use serde_json::{Value, json};

use super::invalid;
use crate::datacenter::job::{Effect, Plan};
use crate::datacenter::{Datacenter, Stock};
use crate::http::Call;
use crate::http::rest::{Answer, Refusal};

/// Checks, starts the job, and answers 200 with it.
pub(super) fn start(
    datacenter: &Datacenter,
    call: &Call,
    uuid: &str,
) -> Answer {
    let Some(source) = call.parameter("source") else {
        return Err(invalid("ValidationFailed", "source"));
    };
    if call.parameter("account").is_some() {
        return Err(Refusal::new(403, "OperatorOnly", "no account"));
    }
    let images = {
        let stock = datacenter.stock();
        if stock.images.contains_key(uuid) {
            let why = format!("image uuid \"{uuid}\" already exists");
            return Err(Refusal::new(409, "ImageUuidAlreadyExists", why));
        }
        if stock.workflow_down {
            let code = "ServiceUnavailableError";
            return Err(Refusal::new(503, code, "Workflow API is down."));
        }
        gather(&stock, uuid, &source)?
    };
    let uuids: Vec<String> = images
        .iter()
        .filter_map(|image| image["uuid"].as_str().map(str::to_owned))
        .collect();
    let brought = images.clone();
    let midway: Effect = Box::new(move |_, stock| {
        for mut image in brought {
            image["state"] = json!("unactivated");
            stock.put_image(image);
        }
    });
    let done: Effect = Box::new(move |_, stock| {
        for image in images {
            stock.put_image(image);
        }
    });
    let undone: Effect = Box::new(move |_, stock| {
        stock.images.retain(|uuid, _| !uuids.contains(uuid));
    });
    let job_uuid = datacenter.start(Plan {
        task: "import-remote-image",
        subject: uuid.to_owned(),
        midway: Some(midway),
        done,
        undone: Some(undone),
    });
    Ok((200, json!({"image_uuid": uuid, "job_uuid": job_uuid})))
}

/// The image and those of its origins that are not here, as they will be.
fn gather(
    stock: &Stock,
    uuid: &str,
    source: &str,
) -> Result<Vec<Value>, Refusal> {
    let (base, query) = source.split_once('?').unwrap_or((source, ""));
    let known = stock.updates_url.as_deref().unwrap_or(base);
    let at_home = known.trim_end_matches('/') == base.trim_end_matches('/');
    let channel = query.strip_prefix("channel=").unwrap_or("dev");
    let remote = |uuid: &str, what: &str| {
        let found = stock
            .updates
            .get(uuid)
            .filter(|image| at_home && super::in_channel(image, Some(channel)));
        found.cloned().ok_or_else(|| {
            let why = match at_home {
                true => "image not found",
                false => "connect ECONNREFUSED",
            };
            let message = format!(
                "Unable to get manifest for {what} {uuid}. Error from remote: \
                 {why}"
            );
            Refusal::new(503, "RemoteSourceError", message)
        })
    };
    let inactive = |uuid: &str| {
        let message = format!("origin image \"{uuid}\" is not active");
        Refusal::new(422, "OriginIsNotActive", message)
    };
    let mut images = vec![remote(uuid, "image")?];
    loop {
        let last = images.last().map(|image| image["origin"].clone());
        let Some(Value::String(origin)) = last else { break };
        match stock.images.get(&origin) {
            Some(local) if local["state"] == "active" => break,
            Some(_) => return Err(inactive(&origin)),
            None => images.push(remote(&origin, "origin image")?),
        }
    }
    for image in images.iter_mut().filter_map(Value::as_object_mut) {
        // This datacenter's own has no channels.
        image.remove("channels");
    }
    Ok(images)
}
