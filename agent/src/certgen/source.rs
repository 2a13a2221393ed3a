// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Where the account key and the login come from: SAPI application metadata
//! first, else the files that the image's config-agent writes.

use serde_json::{Map, Value};

use crate::model::{Flavor, Secret};

/// Key of account admin; manifest `sdc_private_key` of application `sdc`.
pub const TRITON_ACCOUNT_KEY_FILE: &str = "/root/.ssh/sdc.id_rsa";

/// Key of account poseidon; manifest `ssh_private_key` of application
/// `manta`.
pub const MANTA_ACCOUNT_KEY_FILE: &str = "/root/.ssh/id_rsa";

/// File with the account key in a zone of this flavor. The name says RSA;
/// the key may be of any type.
pub fn account_key_file(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::Triton => TRITON_ACCOUNT_KEY_FILE,
        Flavor::Manta => MANTA_ACCOUNT_KEY_FILE,
    }
}

/// The account's private key, as PEM text, from SAPI application metadata:
/// `SDC_PRIVATE_KEY` or `ADMIN_PRIVATE_KEY`. `None` when it is absent, blank
/// or no string.
pub fn account_key_from_metadata(
    metadata: &Map<String, Value>,
    flavor: Flavor,
) -> Option<Secret<String>> {
    let name = match flavor {
        Flavor::Triton => "SDC_PRIVATE_KEY",
        Flavor::Manta => "ADMIN_PRIVATE_KEY",
    };
    text(metadata, name).map(|pem| Secret::new(pem.to_owned()))
}

/// Login of the account: `ufds_admin_login`, by default `admin`; or
/// `ADMIN_USERNAME`, by default `poseidon`.
pub fn login_from_metadata(
    metadata: &Map<String, Value>,
    flavor: Flavor,
) -> String {
    let (name, default) = match flavor {
        Flavor::Triton => ("ufds_admin_login", "admin"),
        Flavor::Manta => ("ADMIN_USERNAME", "poseidon"),
    };
    text(metadata, name).map_or(default, str::trim).to_owned()
}

fn text<'a>(metadata: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    let text = metadata.get(name)?.as_str()?;
    (!text.trim().is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn each_flavor_has_its_own_names() {
        let metadata = map(json!({
            "SDC_PRIVATE_KEY": "sdc key", "ADMIN_PRIVATE_KEY": "manta key",
            "ufds_admin_login": "root", "ADMIN_USERNAME": " neptune ",
        }));
        let key = |flavor| {
            account_key_from_metadata(&metadata, flavor)
                .map(|key| key.expose().clone())
        };
        assert_eq!(key(Flavor::Triton).as_deref(), Some("sdc key"));
        assert_eq!(key(Flavor::Manta).as_deref(), Some("manta key"));
        assert_eq!(login_from_metadata(&metadata, Flavor::Triton), "root");
        assert_eq!(login_from_metadata(&metadata, Flavor::Manta), "neptune");
    }

    #[test]
    fn absent_blank_and_odd_values_count_as_absent() {
        for value in [json!(null), json!(""), json!(" \n"), json!(7)] {
            let metadata = map(json!({
                "SDC_PRIVATE_KEY": value, "ufds_admin_login": value,
                "ADMIN_USERNAME": value,
            }));
            let key = account_key_from_metadata(&metadata, Flavor::Triton);
            assert!(key.is_none());
            let login = |flavor| login_from_metadata(&metadata, flavor);
            assert_eq!(login(Flavor::Triton), "admin");
            assert_eq!(login(Flavor::Manta), "poseidon");
        }
    }

    #[test]
    fn the_files_are_those_of_the_images() {
        assert_eq!(account_key_file(Flavor::Triton), "/root/.ssh/sdc.id_rsa");
        assert_eq!(account_key_file(Flavor::Manta), "/root/.ssh/id_rsa");
    }
}
