// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verbs shard apply, drain and rebalance: a plan is shown, done, and looked
//! at again, in CMON too.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio_util::sync::CancellationToken;

use super::super::ask::confirmed;
use super::args::{CmonArgs, DoArgs, Goal};
use super::progress::Progress;
use super::session::Session;
use super::wanted::Wanted;
use crate::deploy::shards::discovered::{self, Cmon, at_members};
use crate::deploy::shards::lock::{LockError, Writer};
use crate::deploy::shards::{Pace, write};
use crate::log::chain;

/// How long another writer is waited for: a round of watch.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a job may take. VMAPI's own limit is below.
const JOB: Duration = Duration::from_secs(600);
/// CMON's port.
const PORT: u16 = 9163;

/// Runs the verb. `false`, where something is not as it should be.
pub(super) async fn apply(goal: &Goal, act: &DoArgs) -> Result<bool> {
    let mut session = Session::open(goal).await?;
    session.measure().await?;
    let planned = session.wanted().await?;
    let json = goal.ask.json;
    if act.dry_run {
        planned.show(json)?;
        return Ok(planned.is_as_planned());
    }
    if !json {
        planned.show(false)?;
    }
    let cuts = planned.cuts();
    let disturbed = format!("{cuts} zones change shard");
    if cuts > 0 && !act.yes && !confirmed(&disturbed)? {
        return Ok(false);
    }
    let failed = match planned.writes.is_empty() {
        true => 0,
        false => {
            // Held from the facts to the last tag that is written by them.
            let _writer = may_write(&act.write.lock).await?;
            let wanted = session.wanted().await?;
            if wanted.cuts() > cuts && !act.yes {
                bail!(
                    "{} zones would change shard by now, {cuts} were to; run \
                     it again",
                    wanted.cuts()
                );
            }
            write_all(&session, &wanted, act.write.at_once).await
        }
    };
    // What was written, VMAPI says now; what was not, the next run finds.
    let mut left = session.wanted().await?;
    verify(&session, &act.cmon, &mut left).await?;
    left.show(json)?;
    if failed > 0 {
        let total = planned.writes.len();
        eprintln!("monadm: {failed} of {total} tags not written; run it again");
    }
    Ok(failed == 0 && left.is_as_planned())
}

/// The right to write; says so, where it must be waited for.
async fn may_write(lock: &Path) -> Result<Writer, LockError> {
    match Writer::take(lock, Duration::ZERO).await {
        Err(LockError::Held(_)) => {
            eprintln!("monadm: another monadm writes tags; waiting for it");
            Writer::take(lock, PATIENCE).await
        }
        other => other,
    }
}

/// Returns how many failed.
async fn write_all(
    session: &Session<'_>,
    wanted: &Wanted,
    at_once: usize,
) -> usize {
    let mut progress = Progress::new(wanted.writes.len());
    let mut failed = 0;
    let (vmapi, account) = (&session.apis.vmapi, session.account);
    let writes = wanted.writes.clone();
    let on = CancellationToken::new();
    let pace = Pace { at_once, limit: JOB };
    write(vmapi, account, writes, pace, &on, |uuid, how| {
        let why = how.err().map(|error| chain(&error));
        failed += usize::from(why.is_some());
        let what = format!("{} {uuid}", wanted.alias(uuid));
        progress.tell(&what, why.as_deref());
    })
    .await;
    progress.end();
    failed
}

/// Adds to the problems what CMON has otherwise, where it can be asked.
async fn verify(
    session: &Session<'_>,
    args: &CmonArgs,
    left: &mut Wanted,
) -> Result<()> {
    if args.no_verify || left.listed.is_empty() {
        return Ok(());
    }
    let CmonArgs { cert: Some(cert), key: Some(key), .. } = args else {
        let note = "CMON was not asked whether it lists the zones so: give \
                    --cert and --key, or --no-verify";
        left.notes.push(note.to_owned());
        return Ok(());
    };
    for file in [cert, key] {
        let seen = std::fs::metadata(file);
        seen.with_context(|| format!("could not read {}", file.display()))?;
    }
    let (host, port, lookup) = match &args.cmon {
        Some(url) => {
            let (host, port) = host_of(url)?;
            (host, port, None)
        }
        None => {
            let lookup = at_members(&session.rosters("cmon").await?);
            (format!("cmon.{}", session.apis.domain), PORT, lookup)
        }
    };
    let (key, certificate) = (key.clone(), cert.clone());
    let cmon = Cmon { host, port, key, certificate, lookup };
    // A tag that is not written yet is none that CMON could know.
    for write in &left.writes {
        left.listed.remove(&write.uuid);
    }
    let limit = Duration::from_secs(args.cmon_wait);
    let prefix = &session.goal.ask.prefix;
    let found =
        discovered::differences(&cmon, prefix, &left.listed, limit).await;
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            let why = chain(&error);
            left.problems.push(format!("CMON could not be asked: {why}"));
            return Ok(());
        }
    };
    let seen = left.listed.len() - found.len();
    let note = format!("CMON lists {seen} zones in their shard's group");
    left.notes.push(note);
    for one in found {
        let seen = match &one.seen {
            None => "no such zone".to_owned(),
            Some(groups) if groups.is_empty() => "no group of ours".to_owned(),
            Some(groups) => groups.join(","),
        };
        let problem = format!(
            "zone {} {}: CMON has {seen}, wanted {}",
            one.uuid,
            left.alias(one.uuid),
            one.wanted
        );
        left.problems.push(problem);
    }
    Ok(())
}

/// Host and port of CMON's URL.
fn host_of(url: &str) -> Result<(String, u16)> {
    let odd = || {
        format!(
            "--cmon: saw {url}, wanted https://HOST[:PORT], HOST beginning \
             \"cmon.\": CMON tells by it what is asked"
        )
    };
    let rest = url.strip_prefix("https://").with_context(odd)?;
    let rest = rest.trim_end_matches('/');
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok().with_context(odd)?),
        None => (rest, PORT),
    };
    let good = host.to_ascii_lowercase().starts_with("cmon.");
    if !good || host.contains(['/', '@', '?', '#', ':']) {
        bail!(odd());
    }
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_cmon_answers_to() {
        let of = |url| host_of(url).ok();
        let cmon = |port| Some(("cmon.dc1.example.com".to_owned(), port));
        assert_eq!(of("https://cmon.dc1.example.com"), cmon(9163));
        assert_eq!(of("https://cmon.dc1.example.com:93/"), cmon(93));
        for bad in [
            "http://cmon.dc1.example.com",
            "cmon.dc1.example.com",
            "https://10.88.0.37",
            "https://cmon.dc1.example.com:99999",
            "https://cmon.dc1.example.com/v1",
            "https://cmon.me@elsewhere",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
