// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb certgen: the client certificate for CMON, made by hand; `authority` is
//! its neighbour.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::CONFIG;
use super::authority::{self, AuthorityArgs};
use crate::certgen::{AccountKey, CertPaths, ensure};
use crate::config::ConfigFile;
use crate::metadata::config::SapiConfig;
use crate::metadata::poll::CONFIG_LIMIT;
use crate::metadata::{meaning, names};
use crate::model::{Flavor, Paths, Role};
use crate::walk::account_key;

/// Makes or renews the client certificate for CMON.
///
/// Looks first: a key and certificate that are still good stay. The
/// account's key comes from --account-key, else from the last good
/// configuration of the agent.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct CertgenArgs {
    #[command(subcommand)]
    other: Option<Other>,
    /// The account's private key: PKCS#1, PKCS#8, SEC1 or OpenSSH; RSA,
    /// ECDSA or Ed25519
    #[arg(long, value_name = "FILE")]
    account_key: Option<PathBuf>,
    /// The account's login, the subject of the certificate
    #[arg(long)]
    login: Option<String>,
    /// Folder for cmon.key and cmon.crt; the zone's own when left out
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Configuration file of the agent
    #[arg(long, short = 'f', default_value = CONFIG)]
    config: PathBuf,
}

/// What else can be made.
#[derive(Subcommand)]
enum Other {
    Authority(AuthorityArgs),
}

pub(super) fn certgen(args: CertgenArgs) -> Result<bool> {
    if let Some(Other::Authority(args)) = &args.other {
        return authority::authority(args);
    }
    let mut config = match ConfigFile::load(&args.config) {
        Ok(config) => config,
        Err(error) if args.config.exists() => return Err(error.into()),
        Err(_) => ConfigFile::default(),
    };
    if args.account_key.is_some() {
        config.account_key_file = args.account_key;
    }
    let kept = config.state_dir.join("config.json");
    let metadata = match std::fs::read(&kept) {
        Ok(body) => {
            SapiConfig::parse(&body, CONFIG_LIMIT)
                .with_context(|| format!("{} is damaged", kept.display()))?
                .config
                .metadata
        }
        Err(_) => serde_json::Map::new(),
    };
    let flavor = meaning::flavor(&metadata, Flavor::Triton);
    let key: AccountKey =
        account_key(&metadata, flavor, &config).map_err(|e| anyhow!(e))?;
    let login = args.login.unwrap_or_else(|| names::account(&metadata, flavor));
    let (tls, owner) = match args.out {
        Some(out) => (out, None),
        None => {
            let (uid, gid) = crate::apply::commit::owner("nobody")
                .map_err(|e| anyhow!(e))?;
            let paths = Paths::new(&config.root, Role::Prometheus);
            (paths.tls, Some((uid.as_raw(), gid.as_raw())))
        }
    };
    let paths = CertPaths {
        key: tls.join("cmon.key"),
        cert: tls.join("cmon.crt"),
        owner,
    };
    let now = OffsetDateTime::now_utc();
    let ensured = ensure(&paths, &key, &login, now)?;
    let not_after = ensured.info.not_after.format(&Rfc3339)?;
    let fingerprint = key.md5_fingerprint();
    if args.json {
        let report = serde_json::json!({
            "changed": ensured.changed,
            "key": paths.key,
            "certificate": paths.cert,
            "login": login,
            "account_key": fingerprint.to_string(),
            "not_after": not_after,
        });
        say!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        let what = if ensured.changed { "issued" } else { "still good" };
        say!("certificate  {} ({what})", paths.cert.display());
        say!("key          {}", paths.key.display());
        say!("login        {login}");
        say!("account key  {fingerprint}");
        say!("valid until  {not_after}");
    }
    Ok(true)
}
