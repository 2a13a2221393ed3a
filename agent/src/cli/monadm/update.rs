// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verbs update and rollback: what is asked for, and what is said meanwhile
//! and at the end. `deploy::update` plans and does it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
use uuid::Uuid;

use super::ask::{Connect, Source, confirmed};
use super::screen::{
    self, Cell, Paint, Row, first_gives_way, hang, paragraph, tell,
};
use super::state::State;
use crate::deploy::Apis;
use crate::deploy::images::{self, Updates, Wanted};
use crate::deploy::update::{
    Event, Facts, Goal, Plan, apply, gather, gather_back, plan,
};
use crate::log::chain;

/// What is updated, and how.
#[derive(Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    connect: Connect,
    /// The service
    #[arg(value_parser = ["prometheus", "thanos", "grafana"])]
    service: String,
    /// Show what would be done, and end
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Do not ask before zones are reprovisioned
    #[arg(long, short)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// How long to wait for a job, a zone, its partner, its metrics; each
    #[arg(long, default_value_t = 900, value_name = "SECONDS")]
    patience: u64,
}

/// And what to.
#[derive(Args)]
pub(super) struct UpdateArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Image: latest (on the updates server), current (the newest that is
    /// here), a UUID or a VERSION
    #[arg(long, short, default_value = "latest", value_name = "IMAGE")]
    image: Wanted,
    #[command(flatten)]
    source: Source,
    /// Boot script for the service and its zones [default: the service's]
    #[arg(long, value_name = "FILE")]
    user_script: Option<PathBuf>,
    /// Also zones without delegate dataset, which lose what they keep
    #[arg(long)]
    lose_data: bool,
}

/// Puts a service's zones on another image. `false`, where something is not as
/// it should be.
pub(super) async fn update(args: UpdateArgs) -> Result<bool> {
    let script = match &args.user_script {
        Some(path) => {
            let read = std::fs::read_to_string(path);
            Some(read.with_context(|| path.display().to_string())?)
        }
        None => None,
    };
    let apis = args.run.connect.apis().await?;
    let state = hold(&args.run, &apis)?;
    let updates = args.source.updates(&apis).await?;
    let service = &args.run.service;
    let facts = gather(&apis, service, script.as_deref()).await?;
    settle(state.as_ref(), &facts)?;
    let choice = images::choose(&apis, &updates, service, &args.image).await?;
    let goal = Goal::To {
        image: choice.image.uuid,
        kind: choice.image.kind.clone(),
        fetch: choice.fetch,
        lose_data: args.lose_data,
    };
    let plan = plan(&facts, &goal);
    let head = format!(
        "{service}: image {}\n  {} {}",
        choice.image.uuid, choice.image.name, choice.image.version
    );
    run(&args.run, &apis, &updates, &facts, &plan, &head).await
}

/// Puts a service's zones on the image that each had.
pub(super) async fn rollback(args: RunArgs) -> Result<bool> {
    let apis = args.connect.apis().await?;
    let state = hold(&args, &apis)?;
    let facts = gather_back(&apis, &args.service).await?;
    settle(state.as_ref(), &facts)?;
    let mut plan = plan(&facts, &Goal::Back);
    for image in plan.images() {
        let found = apis.imgapi.image(image, None).await?;
        let state = found.map_or("none".to_owned(), |image| image.state);
        if state != "active" {
            plan.faults.push(format!(
                "image {image}: saw {state} in the datacenter's IMGAPI, wanted \
                 it active"
            ));
        }
    }
    // All it may need is here.
    let none = Updates {
        imgapi: apis.imgapi.clone(),
        url: String::new(),
        channel: None,
    };
    let head = format!("{}: back to the images before", args.service);
    run(&args, &apis, &none, &facts, &plan, &head).await
}

/// Keeps other runs out, of post-setup too, for as long as it is held; who
/// only looks is in nobody's way.
fn hold(args: &RunArgs, apis: &Apis) -> Result<Option<State>> {
    (!args.dry_run).then(|| State::hold(apis.sdc)).transpose()
}

/// A zone that runs is no longer one that post-setup has begun: should its
/// reprovision fail, what it holds is not post-setup's to destroy.
fn settle(state: Option<&State>, facts: &Facts) -> Result<()> {
    let Some(state) = state else { return Ok(()) };
    let mut journal = state.journal()?;
    let mut all = facts.instances.iter();
    all.try_for_each(|one| match one.state.as_str() {
        "running" => Ok(journal.end_zone(one.uuid)?),
        _ => Ok(()),
    })
}

async fn run(
    args: &RunArgs,
    apis: &Apis,
    updates: &Updates,
    facts: &Facts,
    plan: &Plan,
    head: &str,
) -> Result<bool> {
    let idle = plan.steps.is_empty() && plan.faults.is_empty();
    if args.dry_run || idle || !plan.faults.is_empty() {
        show(args, facts, Some(plan), head, None)?;
        return Ok(idle && facts.lacks().is_empty());
    }
    if !args.json {
        show(args, facts, Some(plan), head, None)?;
    }
    let down = plan.disturbed();
    let what = format!(
        "{} of {} zones reprovisioned, one at a time: {}",
        down.len(),
        facts.instances.len(),
        down.join(", ")
    );
    if !down.is_empty() && !args.yes && !confirmed(&what)? {
        return Ok(false);
    }
    let patience = Duration::from_secs(args.patience);
    let mut told = |event: Event<'_>| match event {
        Event::Begins(at, of, step) => {
            tell(&format!("[{at}/{of}] "), &step.to_string());
        }
        Event::Waits(alias, what) => {
            tell("        ", &format!("{alias}: waiting for {what}"));
        }
    };
    let done = apply(apis, updates, facts, plan, patience, &mut told).await;
    // What was done, the datacenter says now.
    let left = gather(apis, &args.service, None).await;
    let error = done.as_ref().err().map(|error| chain(error));
    match &left {
        Ok(left) => show(args, left, None, head, error.as_deref())?,
        Err(error) => tell("monadm: ", &chain(error)),
    }
    if let Some(error) = error {
        tell("monadm: ", &error);
        let failed = left.as_ref().is_ok_and(Facts::has_failed);
        // On it goes no more, beside one that has failed.
        let on = if failed { "Go" } else { "Run it again to go on, or go" };
        let way = format!(
            "stopped; the other zones are as they were. {on} back: monadm \
             rollback {}",
            args.service
        );
        tell("monadm: ", &way);
    }
    let lacks = left.as_ref().map_or_else(|_| Vec::new(), Facts::lacks);
    lacks.iter().for_each(|lack| tell("monadm: ", lack));
    Ok(done.is_ok() && left.is_ok() && lacks.is_empty())
}

/// Prints what there is, what is to be done, and how it went.
fn show(
    args: &RunArgs,
    facts: &Facts,
    plan: Option<&Plan>,
    head: &str,
    error: Option<&str>,
) -> Result<()> {
    if args.json {
        let said = json(facts, plan, error);
        say!("{}", serde_json::to_string_pretty(&said)?);
    } else {
        say!("{}", table(facts, plan, head).trim_end());
    }
    Ok(())
}

fn json(facts: &Facts, plan: Option<&Plan>, error: Option<&str>) -> Value {
    let instances = facts.instances.iter().map(|one| {
        json!({"uuid": one.uuid, "alias": one.alias, "image": one.image,
            "state": one.state, "unwell": one.unwell,
            "before": facts.record.as_ref().and_then(|r| r.zones.get(&one.uuid))})
    });
    json!({
        "service": facts.service,
        "image": facts.image,
        "instances": instances.collect::<Vec<_>>(),
        "plan": plan.map(Plan::json),
        "error": error,
        "way_back": error.map(|_| format!("monadm rollback {}", facts.service)),
    })
}

fn table(facts: &Facts, plan: Option<&Plan>, head: &str) -> String {
    let or = |image: Option<Uuid>| {
        image.map_or_else(|| "none".to_owned(), |image| image.to_string())
    };
    let mut text = String::new();
    for line in head.lines() {
        let indent = line.len() - line.trim_start().len();
        paragraph(&mut text, indent, line);
    }
    text.push('\n');
    let row = |cells: [&str; 3]| cells.map(Cell::new).to_vec();
    let mut rows = vec![row(["ZONE", "IMAGE", "STATE"])];
    for one in &facts.instances {
        let well = if one.unwell.is_some() { ", not well" } else { "" };
        let state = format!("{}{well}", one.state);
        rows.push(row([&one.alias, &or(one.image), &state]));
    }
    rows.push(row(["new zones", &or(facts.image), ""]));
    first_gives_way(&mut rows);
    let rows: Vec<Row> = rows.into_iter().map(Row::Cells).collect();
    screen::table(&mut text, &rows, Paint(false));
    for one in &facts.instances {
        if let Some(why) = &one.unwell {
            paragraph(&mut text, 2, &format!("{}: {why}", one.alias));
        }
    }
    let Some(plan) = plan else { return text };
    text.push('\n');
    for (at, step) in (1..).zip(&plan.steps) {
        hang(&mut text, &format!("{at:>3}. "), &step.to_string());
    }
    for note in &plan.notes {
        hang(&mut text, "note: ", note);
    }
    for fault in &plan.faults {
        hang(&mut text, "fault: ", fault);
    }
    let idle = plan.steps.is_empty() && plan.faults.is_empty();
    if idle && facts.lacks().is_empty() {
        text.push_str("nothing to do\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::monadm::screen::{ODD, assert_fits};
    use crate::deploy::update::{Instance, Step};

    #[test]
    fn it_fits_whatever_others_call_their_things() {
        let alias = ODD.to_owned();
        let instance = Instance {
            alias: alias.clone(),
            image: Some(Uuid::nil()),
            state: "provisioning".to_owned(),
            unwell: Some(format!("answered 500: {ODD}")),
            ..Instance::default()
        };
        let facts = Facts { instances: vec![instance], ..Facts::default() };
        let watch = Step::Watch { uuid: Uuid::nil(), alias, data: None };
        let plan = Plan {
            steps: vec![watch],
            faults: vec![format!("{ODD}: saw {ODD}")],
            notes: vec!["long ".repeat(30)],
            ..Plan::default()
        };
        let text = table(&facts, Some(&plan), &format!("x: y\n  {ODD} z"));
        assert_fits(&text);
        let image = Uuid::nil().to_string();
        assert!(text.contains(&image), "images are whole: {text}");
    }
}
