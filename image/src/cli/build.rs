// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verbs plan and build.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::{Usage, Where, images, known, table};
use crate::build::{self, Place};
use crate::cache::Cache;
use crate::deliver::{self, Output, Wanted};
use crate::look::look;
use crate::plan::{self, Line, Plan};
use crate::recipe::Brand;
use crate::scratch::Scratch;
use crate::sign;
use crate::stamp::{self, Stamp};

/// Which image.
#[derive(Args)]
struct Which {
    /// Role of the zone: a recipe's name
    role: String,
    /// Brand of the zone
    #[arg(long)]
    brand: Brand,
    /// Version, over what git says; wants SOURCE_DATE_EPOCH too
    #[arg(long, value_name = "STAMP")]
    stamp: Option<String>,
    #[command(flatten)]
    place: Where,
}

/// Prints the steps to an image, or all that stands in the way.
///
/// Reads recipes and the workspace, and touches nothing.
#[derive(Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    which: Which,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

/// Builds an image from what is in the cache.
///
/// No network is used. Writes the image's file, its manifest
/// (NAME-STAMP.imgmanifest) and the list of what is in it, all or nothing.
#[derive(Args)]
pub(super) struct BuildArgs {
    #[command(flatten)]
    which: Which,
    /// Folder for the image; left out: target/image
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Also write what Triton's own build hosts take: a proto tar and a
    /// manifest without what they fill in
    #[arg(long)]
    proto: bool,
    /// Sign the manifest with this SSH key
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
    /// Take the place of another image of this name and version
    #[arg(long)]
    force: bool,
    /// Print the plan and stop
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
    /// No progress on standard error
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Serialize)]
struct PlanReport<'a> {
    recipe: &'a str,
    brand: Brand,
    name: &'a str,
    version: &'a str,
    steps: Vec<Line>,
}

pub(super) async fn plan(args: PlanArgs) -> Result<bool> {
    let plan = make(&args.which, &args.which.place.workspace()?).await?;
    print(&plan, args.json)?;
    Ok(true)
}

async fn make(which: &Which, workspace: &Path) -> Result<Plan> {
    let recipe = known(workspace, &which.role, which.brand)?;
    let artifacts = which.place.artifacts(workspace)?;
    let stamp = stamp(which, workspace).await?;
    let place = which.place.place()?;
    let facts = look(&place, &recipe, which.brand, &artifacts, stamp);
    plan::plan(&recipe, which.brand, &artifacts, &facts).map_err(|problems| {
        let count = problems.0.len();
        anyhow::anyhow!(
            "{} for {} cannot be built, {count} to mend:\n{problems}",
            which.role,
            which.brand
        )
    })
}

async fn stamp(which: &Which, workspace: &Path) -> Result<Stamp> {
    let epoch = stamp::source_date_epoch()?;
    match (&which.stamp, epoch) {
        (Some(version), Some(epoch)) => {
            Ok(Stamp { version: version.clone(), epoch })
        }
        (Some(_), None) => {
            Err(Usage("--stamp wants SOURCE_DATE_EPOCH too".into()).into())
        }
        (None, _) => Stamp::of(&stamp::commit(workspace).await?, epoch),
    }
}

fn print(plan: &Plan, json: bool) -> Result<()> {
    let lines = plan.steps.iter().map(|step| step.line(plan.brand));
    let steps: Vec<_> = lines.collect();
    if json {
        let report = PlanReport {
            recipe: &plan.recipe,
            brand: plan.brand,
            name: &plan.image.name,
            version: &plan.stamp.version,
            steps,
        };
        say!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    say!("{} {} for {}", plan.image.name, plan.stamp.version, plan.brand);
    let rows: Vec<_> = steps
        .into_iter()
        .map(|line| {
            vec![line.action.to_owned(), line.to, line.what, line.detail]
        })
        .collect();
    table::print(&["STEP", "IN THE IMAGE", "WHAT", "DETAIL"], &rows);
    Ok(())
}

pub(super) async fn build(args: BuildArgs) -> Result<bool> {
    let workspace = args.which.place.workspace()?;
    let plan = make(&args.which, &workspace).await?;
    if args.dry_run {
        print(&plan, args.json)?;
        return Ok(true);
    }
    let wanted = Wanted {
        folder: args.out.clone().unwrap_or_else(|| images(&workspace)),
        proto: args.proto,
        key: args.sign.clone(),
        force: args.force,
    };
    let cache = args.which.place.cache(&workspace)?;
    let output = carry_out(&plan, &cache, &wanted, args.quiet).await?;
    match args.json {
        true => say!("{}", serde_json::to_string_pretty(&output)?),
        false => report(&output),
    }
    Ok(true)
}

async fn carry_out(
    plan: &Plan,
    cache: &Cache,
    wanted: &Wanted,
    quiet: bool,
) -> Result<Output> {
    let work = Scratch::new(cache.root(), "work-")?;
    let place = Place { cache, work: work.path() };
    let all = plan.steps.len();
    let tell = |nth: usize, step: &plan::Step| {
        if !quiet {
            let Line { action, what, to, .. } = step.line(plan.brand);
            tell!("[{:>2}/{all}] {action} {to} {what}", nth + 1);
        }
    };
    if let Some(key) = &wanted.key {
        sign::trial(key, work.path()).await?;
    }
    let built = build::build(plan, &place, &tell).await?;
    if !quiet {
        tell!("writing {}", wanted.folder.display());
    }
    deliver::write(plan, &built, wanted).await
}

fn report(output: &Output) {
    let sizes: Vec<_> = output
        .sizes
        .iter()
        .map(|size| {
            vec![
                size.name.clone(),
                size.version.clone(),
                size.names.to_string(),
                table::bytes(size.bytes),
            ]
        })
        .collect();
    table::print(&["COMPONENT", "VERSION", "NAMES", "SIZE"], &sizes);
    say!("");
    let files: Vec<_> = output
        .files
        .iter()
        .map(|file| {
            vec![file.name.clone(), table::bytes(file.len), file.sha256.clone()]
        })
        .collect();
    table::print(&["FILE", "SIZE", "SHA-256"], &files);
    say!("");
    say!("{} {}", output.uuid, output.manifest.display());
}
