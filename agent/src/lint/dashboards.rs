// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Providers of dashboards: `provisioning/dashboards/*.yml`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{expands, is_uid};

/// The whole file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct File {
    api_version: u32,
    providers: Vec<Provider>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Provider {
    name: String,
    org_id: u32,
    folder: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    folder_uid: Option<String>,
    #[serde(rename = "type")]
    kind: Kind,
    disable_deletion: bool,
    allow_ui_updates: bool,
    update_interval_seconds: u32,
    options: Options,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    File,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Options {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    folders_from_files_structure: Option<bool>,
}

pub(super) fn problems(file: &File) -> Vec<String> {
    let mut problems = Vec::new();
    if file.api_version != 1 {
        problems.push(format!("apiVersion {} is not 1", file.api_version));
    }
    let mut names = BTreeSet::new();
    let mut paths = BTreeSet::new();
    for provider in &file.providers {
        let name = provider.name.as_str();
        let mut bad = |what: &str| problems.push(format!("{name:?}: {what}"));
        if name.is_empty() || !names.insert(name) {
            bad("each provider needs a name of its own");
        }
        let path = provider.options.path.as_str();
        if !path.starts_with('/') || !paths.insert(path) {
            bad("each provider needs an absolute path of its own");
        }
        if !provider.folder_uid.as_deref().is_none_or(is_uid) {
            bad("its folderUid is not 1 to 40 letters, digits, - or _");
        }
        let named =
            !provider.folder.is_empty() || provider.folder_uid.is_some();
        if provider.options.folders_from_files_structure == Some(true) && named
        {
            bad("either a folder or the folders of its files");
        }
        if provider.org_id != 1 {
            bad("there is no organisation but 1");
        }
        if provider.update_interval_seconds == 0 {
            bad("updateIntervalSeconds is 0");
        }
        if [name, path, provider.folder.as_str()].into_iter().any(expands) {
            bad("a $ of its own would be expanded");
        }
    }
    problems
}
