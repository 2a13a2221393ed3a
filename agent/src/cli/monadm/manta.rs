// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verbs manta: the file that `manta-adm update` reads, from what is deployed,
//! and what it would do with one. `deploy::manta` decides.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use super::ask::Connect;
use super::screen::{hang, tell};
use crate::deploy::Apis;
use crate::deploy::images::{self, Updates, Wanted};
use crate::deploy::manta::{
    Change, Deployed, Layout, OURS, Place, Request, Server, Size, changes,
    definition, gather, generate,
};

/// A file larger than this is none, bytes.
const FILE_LIMIT: u64 = 16 << 20;

/// Verbs.
#[derive(Subcommand)]
pub(super) enum MantaVerb {
    /// Print what is deployed, as manta-adm show -sj does
    Show(Connect),
    /// Print a file for manta-adm update, with zones of ours
    ///
    /// What is deployed and not in such a file is destroyed by manta-adm. So
    /// everything that is there stays in, but what --remove names.
    Genconfig(GenArgs),
    /// Say what manta-adm update FILE would do
    Plan(PlanArgs),
    /// Print what service prometheus is made of, by the size of Manta
    Service(ServiceArgs),
}

/// What the file is to hold.
#[derive(Args)]
pub(super) struct GenArgs {
    #[command(flatten)]
    connect: Connect,
    /// Start from this file instead of what is deployed
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// So many zones of prometheus, or more where there are more
    #[arg(long, default_value_t = 2, value_name = "COUNT")]
    replicas: u64,
    /// Image for all of them: current (the newest that is here), a UUID or a
    /// VERSION [default: that of those there are, else current]
    #[arg(long, short, value_name = "IMAGE")]
    image: Option<Wanted>,
    /// A server for new ones; may be said again [default: those with zones of
    /// Manta]
    #[arg(long, value_name = "UUID")]
    server: Vec<Uuid>,
    /// Leave this service out: its zones will be destroyed, with what they keep
    #[arg(long, value_name = "SERVICE")]
    remove: Vec<String>,
}

/// Which file.
#[derive(Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    connect: Connect,
    /// The file
    file: PathBuf,
    /// All services, not ours alone
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Of which size.
#[derive(Args)]
pub(super) struct ServiceArgs {
    #[command(flatten)]
    connect: Connect,
    /// coal, lab or production [default: SIZE of application manta]
    #[arg(long)]
    size: Option<Size>,
}

/// Runs a verb. `false`, where something is not as it should be.
pub(super) async fn manta(verb: MantaVerb) -> Result<bool> {
    match verb {
        MantaVerb::Show(connect) => {
            let deployed = gather(&connect.apis().await?).await?;
            note(&deployed);
            print(&deployed.layout)?;
            Ok(deployed.notes.is_empty())
        }
        MantaVerb::Genconfig(args) => genconfig(args).await,
        MantaVerb::Plan(args) => plan(args).await,
        MantaVerb::Service(args) => {
            let size = match args.size {
                Some(size) => size,
                None => {
                    let deployed = gather(&args.connect.apis().await?).await?;
                    deployed.size.context(
                        "application manta, metadata SIZE: saw none, wanted \
                         coal, lab or production; --size says it",
                    )?
                }
            };
            say!("{}", serde_json::to_string_pretty(&definition(size))?);
            Ok(true)
        }
    }
}

fn print(layout: &Layout) -> Result<()> {
    say!("{}", serde_json::to_string_pretty(&layout.json())?);
    Ok(())
}

fn note(deployed: &Deployed) {
    for note in &deployed.notes {
        tell("monadm: ", note);
    }
}

/// One line each, as they stand in the file.
fn faulty<T>(found: Result<T, Vec<String>>, what: &str) -> Result<T> {
    found.map_err(|faults| anyhow::anyhow!("{what}: {}", faults.join("; ")))
}

fn read(path: &Path) -> Result<Layout> {
    let name = path.display().to_string();
    let mut text = String::new();
    let file = std::fs::File::open(path);
    let read =
        file.and_then(|file| file.take(FILE_LIMIT).read_to_string(&mut text));
    read.with_context(|| name.clone())?;
    faulty(Layout::parse(&text), &name)
}

async fn genconfig(args: GenArgs) -> Result<bool> {
    let service = OURS[0];
    let base = args.from.as_deref().map(read).transpose()?;
    let apis = args.connect.apis().await?;
    let deployed = gather(&apis).await?;
    note(&deployed);
    if !deployed.services.iter().any(|one| one.name == service) {
        bail!(
            "application manta: saw no service {service}, wanted one; \
             manta-init makes it, of what monadm manta service prints"
        );
    }
    let before = base.as_ref().unwrap_or(&deployed.layout);
    let mut ours = before.iter().filter(|(p, _)| p.service == service);
    let image = match (&args.image, ours.next()) {
        (None, Some((place, _))) => place.image,
        (wanted, _) => {
            let wanted = wanted.clone().unwrap_or(Wanted::Current);
            local(&apis, service, &wanted).await?
        }
    };
    let servers = match &args.server[..] {
        [] => servers(&apis, &deployed).await?,
        named => named.to_vec(),
    };
    let request = Request {
        service: service.to_owned(),
        replicas: args.replicas,
        image,
        everywhere: args.image.is_some(),
        servers,
        remove: args.remove,
    };
    let file = generate(&deployed.layout, base.as_ref(), &request);
    print(&faulty(file, "no such file can be")?)?;
    // Instances that were left out are not in the file either.
    Ok(deployed.notes.is_empty())
}

/// An image that is here: manta-adm imports none.
async fn local(apis: &Apis, service: &str, wanted: &Wanted) -> Result<Uuid> {
    let here = Updates {
        imgapi: apis.imgapi.clone(),
        url: "the datacenter's IMGAPI".to_owned(),
        channel: None,
    };
    let choice = images::choose(apis, &here, service, wanted).await?;
    if choice.fetch {
        let (uuid, state) = (choice.image.uuid, choice.image.state);
        bail!("image {uuid}: saw state {state:?}, wanted active");
    }
    Ok(choice.image.uuid)
}

/// Servers that take zones, those with some of Manta's first.
async fn servers(apis: &Apis, deployed: &Deployed) -> Result<Vec<Uuid>> {
    let mut found = apis.cnapi.servers().await?;
    found.retain(|server| server.setup && server.status == "running");
    let known = deployed.layout.servers();
    let manta = |uuid: Uuid| known.contains(&Server::Uuid(uuid));
    // Where none has any, the headnode comes last.
    found.sort_by_key(|one| (!manta(one.uuid), one.headnode, one.uuid));
    let some = found.iter().any(|one| manta(one.uuid));
    let fits = found.iter().filter(|one| !some || manta(one.uuid));
    Ok(fits.map(|one| one.uuid).collect())
}

async fn plan(args: PlanArgs) -> Result<bool> {
    let mut wanted = read(&args.file)?;
    let apis = args.connect.apis().await?;
    let deployed = gather(&apis).await?;
    note(&deployed);
    let mut faults = Vec::new();
    if wanted.servers().contains(&Server::Any) {
        match (
            &deployed.layout.servers()[..],
            &servers(&apis, &deployed).await?[..],
        ) {
            ([Server::Uuid(only)], _) | ([], [only]) => {
                wanted = wanted.at(*only);
            }
            (has, all) => bail!(
                "{}: saw <any> beside zones on {} of {} servers, wanted \
                 servers by uuid",
                args.file.display(),
                has.len(),
                all.len()
            ),
        }
    }
    let all = changes(&deployed.layout, &wanted);
    let ours =
        |change: &&Change| OURS.contains(&change.place().service.as_str());
    let shown: Vec<&Change> =
        all.iter().filter(|change| args.all || ours(change)).collect();
    let others = all.iter().filter(|change| !ours(change));
    let (gone, more): (Vec<_>, Vec<_>) = others.partition(|c| c.is_removal());
    // With --all those that are made or reprovisioned are seen.
    let more = if args.all { 0 } else { more.len() };
    for (what, places) in
        [("destroys", gone.len()), ("makes or reprovisions", more)]
    {
        if places > 0 {
            faults.push(format!(
                "the file also {what} zones of other services, in {places} \
                 places (--all shows them); manta-adm update FILE {} leaves \
                 them alone",
                OURS[0]
            ));
        }
    }
    for (place, _) in wanted.iter() {
        if OURS.contains(&place.service.as_str()) {
            faults.extend(image_fault(&apis, place).await?);
        }
    }
    faults.dedup();
    if args.json {
        let changes: Vec<_> = shown.iter().map(|one| one.json()).collect();
        let said = json!({"changes": changes, "faults": faults});
        say!("{}", serde_json::to_string_pretty(&said)?);
    } else {
        say!("{}", listed(&shown, &faults).trim_end());
    }
    Ok(shown.is_empty() && faults.is_empty())
}

fn listed(changes: &[&Change], faults: &[String]) -> String {
    let mut out = String::new();
    for change in changes {
        hang(&mut out, "- ", &change.to_string());
    }
    for fault in faults {
        hang(&mut out, "fault: ", fault);
    }
    if out.is_empty() {
        out.push_str("nothing to do");
    }
    out
}

/// manta-adm refuses images of other services, and those that are not here.
async fn image_fault(apis: &Apis, place: &Place) -> Result<Option<String>> {
    let Place { service, image, .. } = place;
    let names = images::names(service);
    let found = apis.imgapi.image(*image, None).await?;
    Ok(match found {
        None => Some(format!(
            "{service}, image {image}: saw none in the datacenter's IMGAPI, \
             wanted it there"
        )),
        Some(found) if !names.contains(&found.name.as_str()) => Some(format!(
            "{service}, image {image}: saw name {:?}, wanted {}",
            found.name,
            names.join(" or ")
        )),
        Some(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::monadm::screen::{ODD, assert_fits};

    #[test]
    fn it_fits_whatever_others_call_their_things() {
        let place = Place {
            server: Server::Uuid(Uuid::nil()),
            service: ODD.to_owned(),
            shard: Some(ODD.to_owned()),
            image: Uuid::nil(),
        };
        let image = Uuid::nil();
        let change = Change::Reprovision { from: place, image, count: 1 };
        assert_fits(&listed(&[&change], &[format!("{ODD}: saw {ODD}")]));
        assert_eq!(listed(&[], &[]), "nothing to do");
    }
}
