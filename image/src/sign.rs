// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Signatures beside a manifest: `ssh-keygen -Y`, with the SSH keys that
//! operators of Triton have anyway. The manifest names the digests of all
//! else, so one signature covers an image.
//!
//! Source: ssh-keygen(1), "ALLOWED SIGNERS"; OpenSSH's PROTOCOL.sshsig.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::fetch::{run, run_within};

/// What these signatures are for: none made for another purpose passes.
const NAMESPACE: &str = "image@triton-monitoring";

/// How long a signature may take: a key that asks is no key for a build.
const LIMIT: Duration = Duration::from_secs(30);

/// The signature's file: `FILE.sig`.
pub fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

/// Signs a file with a private key, or a public one whose private half an
/// agent holds. The signature lies beside it; an older one is replaced.
pub async fn sign(file: &Path, key: &Path) -> Result<PathBuf> {
    let out = beside(file);
    // ssh-keygen asks before it overwrites.
    match std::fs::remove_file(&out) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e)?,
        _ => {}
    }
    let (key, shown) = (key.to_string_lossy(), file.to_string_lossy());
    // A key with a passphrase would ask for it, on a terminal or on a screen:
    // here is neither.
    let argv = [
        "setsid",
        "--wait",
        "env",
        "SSH_ASKPASS_REQUIRE=never",
        "ssh-keygen",
        "-q",
        "-Y",
        "sign",
        "-f",
        &key,
        "-n",
        NAMESPACE,
        &shown,
    ];
    run_within(&argv, LIMIT)
        .await
        .with_context(|| format!("could not sign {shown} with {key}"))?;
    Ok(out)
}

/// Signs something, so that a key that cannot is known before a long build;
/// `work` is a folder that goes afterwards.
pub async fn trial(key: &Path, work: &Path) -> Result<()> {
    let file = work.join("trial");
    std::fs::write(&file, "a trial\n")
        .with_context(|| format!("could not write {}", file.display()))?;
    sign(&file, key).await?;
    Ok(())
}

/// Checks a file's signature against a list of allowed signers; returns who
/// signed.
///
/// Errors: no signature, a changed file, a stranger.
pub async fn verify(file: &Path, signers: &Path) -> Result<String> {
    let (signature, shown) = (beside(file), file.to_string_lossy());
    let (sig, list) = (signature.to_string_lossy(), signers.to_string_lossy());
    let find = ["ssh-keygen", "-Y", "find-principals", "-s", &sig, "-f", &list];
    let refused = || format!("{sig}; wanted a signature of one in {list}");
    let found = run(&find).await.with_context(refused)?;
    let who = found.stdout.lines().next().unwrap_or_default().trim();
    // The file goes in by standard input, which our processes do not have.
    let script = "exec ssh-keygen -Y verify -f \"$1\" -I \"$2\" -n \"$3\" \
        -s \"$4\" <\"$5\"";
    let verify = [
        "/bin/sh",
        "-ec",
        script,
        "ssh-keygen",
        &list,
        who,
        NAMESPACE,
        &sig,
        &shown,
    ];
    run(&verify).await.with_context(refused)?;
    Ok(who.to_owned())
}
