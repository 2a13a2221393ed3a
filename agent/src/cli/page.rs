// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Where the running agent answers on loopback: for the verbs that ask it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::CONFIG;
use crate::config::{ConfigFile, ConfigFileError};

/// The address, or the file that holds it.
#[derive(Args)]
pub(super) struct PageArgs {
    /// Configuration file, for the agent's addresses
    #[arg(long, short = 'f', default_value = CONFIG)]
    config: PathBuf,
    /// Address of the status page, over the configuration's
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<SocketAddr>,
}

impl PageArgs {
    /// The agent's configuration; the default one when there is no file.
    pub(super) fn config(&self) -> Result<ConfigFile, ConfigFileError> {
        match ConfigFile::load(&self.config) {
            Err(_) if !self.config.exists() => Ok(ConfigFile::default()),
            loaded => loaded,
        }
    }

    /// The URL of `path` on the status page.
    pub(super) fn url(&self, path: &str) -> Result<String, ConfigFileError> {
        let address = match self.address {
            Some(address) => address,
            None => self.config()?.status_listen,
        };
        Ok(format!("http://{address}{path}"))
    }
}
