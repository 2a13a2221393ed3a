// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Data sources: `provisioning/datasources/*.yml`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{expands, is_uid};

/// The whole file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct File {
    api_version: u32,
    prune: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    delete_datasources: Vec<Delete>,
    datasources: Vec<Source>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Delete {
    name: String,
    org_id: u32,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Source {
    name: String,
    uid: String,
    #[serde(rename = "type")]
    kind: Kind,
    access: Access,
    org_id: u32,
    url: String,
    is_default: bool,
    editable: bool,
    json_data: JsonData,
    #[serde(skip_serializing_if = "Option::is_none")]
    secure_json_data: Option<SecureJsonData>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Prometheus,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Access {
    Proxy,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct JsonData {
    http_method: Method,
    time_interval: String,
    prometheus_type: PrometheusType,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_query_parameters: Option<String>,
    query_timeout: String,
    manage_alerts: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_name: Option<String>,
    #[serde(
        rename = "tlsAuthWithCACert",
        skip_serializing_if = "Option::is_none"
    )]
    tls_auth_with_ca_cert: Option<bool>,
}

#[derive(Debug, Deserialize, Serialize)]
enum Method {
    #[serde(rename = "POST")]
    Post,
}

#[derive(Debug, Deserialize, Serialize)]
enum PrometheusType {
    Prometheus,
    Thanos,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SecureJsonData {
    #[serde(rename = "tlsCACert")]
    tls_ca_cert: String,
}

pub(super) fn problems(file: &File) -> Vec<String> {
    let mut problems = Vec::new();
    if file.api_version != 1 {
        problems.push(format!("apiVersion {} is not 1", file.api_version));
    }
    if file.datasources.is_empty() {
        problems.push("no data source".to_owned());
    }
    let mut names = BTreeSet::new();
    let mut uids = BTreeSet::new();
    let mut defaults = BTreeSet::new();
    for source in &file.datasources {
        let name = source.name.as_str();
        let mut bad = |what: &str| problems.push(format!("{name:?}: {what}"));
        if name.trim().is_empty() {
            bad("a data source needs a name");
        }
        if !names.insert((source.org_id, name)) {
            bad("two data sources have this name");
        }
        if !is_uid(&source.uid) {
            bad("its uid is not 1 to 40 letters, digits, - or _");
        }
        if !uids.insert((source.org_id, source.uid.as_str())) {
            bad("another one has its uid");
        }
        if source.is_default && !defaults.insert(source.org_id) {
            bad("another one is the default already");
        }
        if source.editable {
            bad("it can be edited, and a change would stop the next start");
        }
        if !is_url(&source.url) {
            bad("its url is none");
        }
        let data = &source.json_data;
        if !is_seconds(&data.time_interval) || !is_seconds(&data.query_timeout)
        {
            bad("timeInterval and queryTimeout are seconds such as 10s");
        }
        let ca = data.tls_auth_with_ca_cert == Some(true);
        if ca != source.secure_json_data.is_some() {
            bad("tlsAuthWithCACert and tlsCACert go together");
        }
        let secure = source.secure_json_data.as_ref();
        let texts = [name, &source.url]
            .into_iter()
            .chain(data.custom_query_parameters.as_deref())
            .chain(data.server_name.as_deref())
            .chain(secure.map(|data| data.tls_ca_cert.as_str()));
        if texts.into_iter().any(expands) {
            bad("a $ of its own would be expanded");
        }
    }
    let orgs = file.delete_datasources.iter().map(|delete| delete.org_id);
    let orgs = orgs.chain(file.datasources.iter().map(|source| source.org_id));
    if orgs.into_iter().any(|org| org != 1) {
        problems.push("there is no organisation but 1".to_owned());
    }
    if file.delete_datasources.iter().any(|delete| delete.name.is_empty()) {
        problems.push("deleteDatasources names nobody".to_owned());
    }
    problems
}

fn is_url(text: &str) -> bool {
    let rest =
        text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| {
        !rest.is_empty()
            && !rest.starts_with(['/', ':'])
            && !rest.contains(|c: char| c.is_whitespace() || c.is_control())
            && !rest.contains(['@', '?', '#'])
    })
}

fn is_seconds(text: &str) -> bool {
    text.strip_suffix('s')
        .and_then(|number| number.parse::<u32>().ok())
        .is_some_and(|number| number > 0)
}
