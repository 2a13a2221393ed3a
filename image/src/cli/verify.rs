// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verbs verify and list.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::{Where, images, recipes, table};
use crate::recipe::{self, Brand};
use crate::verify;

/// Judges an image as imgadm and IMGAPI will.
///
/// Exit status 1 when anything is wrong.
#[derive(Args)]
pub(super) struct VerifyArgs {
    /// Manifest; the image's other files lie beside it
    manifest: PathBuf,
    /// Who may sign: a file of allowed signers, as ssh-keygen(1) has it.
    /// Without a signature of one of them the image is refused
    #[arg(long, value_name = "FILE")]
    signers: Option<PathBuf>,
    /// Let an image pass that holds what nobody pinned
    #[arg(long)]
    allow_unpinned: bool,
    /// Print the verdicts as JSON
    #[arg(long)]
    json: bool,
}

/// Lists recipes, and the images that were built.
#[derive(Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    place: Where,
    /// Folder of images; left out: target/image
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print both lists as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn verify(args: VerifyArgs) -> Result<bool> {
    let signers = args.signers.as_deref();
    let mut verdicts = verify::verify(&args.manifest, signers).await?;
    for verdict in &mut verdicts {
        verdict.ok |= verdict.what == "pins" && args.allow_unpinned;
    }
    let ok = verdicts.iter().all(|verdict| verdict.ok);
    if args.json {
        say!("{}", serde_json::to_string_pretty(&verdicts)?);
        return Ok(ok);
    }
    for verdict in &verdicts {
        let word = if verdict.ok { "ok     " } else { "REFUSED" };
        let found = verdict.found.replace('\n', "\n                   ");
        say!("{word} {:<10} {found}", verdict.what);
    }
    Ok(ok)
}

#[derive(Serialize)]
struct Lists {
    recipes: Vec<RecipeLine>,
    images: Vec<ImageLine>,
}

#[derive(Serialize)]
struct RecipeLine {
    recipe: String,
    name: String,
    brands: Vec<Brand>,
    components: Vec<String>,
}

#[derive(Serialize)]
struct ImageLine {
    uuid: String,
    name: String,
    version: String,
    #[serde(rename = "type")]
    kind: String,
    bytes: u64,
    manifest: PathBuf,
}

pub(super) fn list(args: ListArgs) -> Result<bool> {
    let workspace = args.place.workspace()?;
    let folder = args.out.unwrap_or_else(|| images(&workspace));
    let lists = Lists { recipes: known(&workspace)?, images: built(&folder)? };
    if args.json {
        say!("{}", serde_json::to_string_pretty(&lists)?);
        return Ok(true);
    }
    let rows: Vec<_> = lists
        .recipes
        .into_iter()
        .map(|line| vec![line.recipe, line.name, line.components.join(" ")])
        .collect();
    table::print(&["RECIPE", "IMAGE", "COMPONENTS"], &rows);
    if lists.images.is_empty() {
        return Ok(true);
    }
    say!("");
    let rows: Vec<_> = lists
        .images
        .into_iter()
        .map(|line| {
            let size = table::bytes(line.bytes);
            vec![line.uuid, line.name, line.version, line.kind, size]
        })
        .collect();
    table::print(&["UUID", "NAME", "VERSION", "TYPE", "SIZE"], &rows);
    Ok(true)
}

fn known(workspace: &Path) -> Result<Vec<RecipeLine>> {
    let folder = recipes(workspace);
    let mut all = Vec::new();
    for (name, image) in recipe::list(&folder)? {
        let mut components = Vec::new();
        for brand in Brand::ALL {
            let recipe = recipe::load(&folder, &name, brand)?;
            let parts = recipe.parts.into_iter();
            let named = parts.flat_map(|part| part.wants.component);
            components.extend(named.map(|component| component.name));
        }
        components.sort();
        components.dedup();
        all.push(RecipeLine {
            recipe: name,
            name: image.name,
            brands: Brand::ALL.to_vec(),
            components,
        });
    }
    Ok(all)
}

fn built(folder: &Path) -> Result<Vec<ImageLine>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for entry in entries {
        let manifest = entry?.path();
        if manifest.extension() != Some("imgmanifest".as_ref()) {
            continue;
        }
        let shown = || format!("could not read {}", manifest.display());
        let text = std::fs::read_to_string(&manifest).with_context(shown)?;
        let value: Value = serde_json::from_str(&text).with_context(shown)?;
        let field = |key: &str| value[key].as_str().unwrap_or_default().into();
        all.push(ImageLine {
            uuid: field("uuid"),
            name: field("name"),
            version: field("version"),
            kind: field("type"),
            bytes: value["files"][0]["size"].as_u64().unwrap_or_default(),
            manifest,
        });
    }
    all.sort_by(|a, b| a.manifest.cmp(&b.manifest));
    Ok(all)
}
