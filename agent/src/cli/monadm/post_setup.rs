// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verb post-setup: facts, a plan that is shown, and its steps. Where one
//! fails, what is done and what is not is said; running it again goes on.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use uuid::Uuid;

use super::ask::{Connect, Source, confirmed};
use super::screen::{hang, paragraph, tell};
use super::state::State;
use crate::deploy::Apis;
use crate::deploy::images::{Updates, Wanted};
use crate::deploy::setup::{
    self, Hands, Journal, Outcome, Plan, Refused, Request, Target,
};
use crate::deploy::status::look::PREFIX;
use crate::log::chain;
use crate::shard::ShardName;
use crate::triton::Http;

/// Longest answer of a zone that is asked whether it is well.
const HEALTH: Duration = Duration::from_secs(5);

/// What to set up, and how.
#[derive(Args)]
pub(super) struct PostSetupArgs {
    /// What to set up
    #[arg(value_enum)]
    service: Service,
    #[command(flatten)]
    connect: Connect,
    /// Zones in all, or of each shard [default: those there are, or 1; 2 of
    /// each shard]
    #[arg(long, value_name = "COUNT", value_parser = count())]
    replicas: Option<usize>,
    /// Shards of Prometheus, a pair each; `monadm shard apply` then says which
    /// zones each scrapes
    #[arg(long, value_name = "COUNT", value_parser = count())]
    shards: Option<usize>,
    /// What the groups of shards begin with, before their number
    #[arg(long, value_name = "TEXT", default_value = PREFIX, value_parser = prefix)]
    prefix: String,
    /// Servers for new zones, by uuid or host name [default: all, the headnode
    /// first, and never two of a pair on one]
    #[arg(long, short, value_name = "SERVER", value_delimiter = ',')]
    servers: Vec<String>,
    /// latest, current (the newest that is here), a uuid or a version
    /// [default: the service's own, or latest]
    #[arg(long, short, value_name = "IMAGE")]
    image: Option<Wanted>,
    #[command(flatten)]
    source: Source,
    /// Package of new zones [default: sdc_1024]
    #[arg(long, value_name = "NAME")]
    package: Option<String>,
    /// Least quota of each zone [default: 100, of grafana 25]
    #[arg(long, value_name = "GIB")]
    quota: Option<u64>,
    /// Destroy this zone, which never ran, and make another; may be said again
    #[arg(long, value_name = "UUID")]
    replace: Vec<Uuid>,
    /// Longest wait for a job, and for a zone to be well
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    wait: u64,
    /// Show what would be done, and end
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Do not ask before something is disturbed
    #[arg(long, short)]
    yes: bool,
    /// Print JSON: the steps and how they went; or problems, where it is
    /// refused
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Service {
    /// Scrapes CMON; zones of its own
    Prometheus,
    /// Joins the series of all Prometheus servers; zones of its own
    Thanos,
    /// Shows them; zones of its own
    Grafana,
    /// Tells people of alerts; in the zones of prometheus
    Alertmanager,
}

impl From<Service> for Target {
    fn from(service: Service) -> Self {
        match service {
            Service::Prometheus => Self::Prometheus,
            Service::Thanos => Self::Thanos,
            Service::Grafana => Self::Grafana,
            Service::Alertmanager => Self::Alertmanager,
        }
    }
}

/// No more zones of a service than anybody has.
fn count() -> impl clap::builder::TypedValueParser<Value = usize> {
    use clap::builder::TypedValueParser as _;
    clap::value_parser!(u16).range(1..=1000).map(usize::from)
}

/// What a group's name may begin with.
fn prefix(text: &str) -> Result<String, String> {
    let wanted = "wanted characters of A-Z a-z 0-9 _ -, 90 at most";
    let long = text.len() > 90;
    match ShardName::parse(text) {
        Ok(_) if !long => Ok(text.to_owned()),
        _ => Err(wanted.to_owned()),
    }
}

/// Whom a run asks, and about what.
struct Run {
    apis: Apis,
    http: Http,
    updates: Updates,
    request: Request,
}

impl Run {
    async fn new(args: &PostSetupArgs) -> Result<Self> {
        let target = Target::from(args.service);
        if target != Target::Prometheus {
            for (option, is_said) in [
                ("--shards", args.shards.is_some()),
                ("--prefix", args.prefix != PREFIX),
            ] {
                if is_said {
                    bail!("{option}: only prometheus has shards");
                }
            }
        }
        let apis = args.connect.apis().await?;
        let updates = args.source.updates(&apis).await?;
        Ok(Self {
            apis,
            http: Http::trusting_anyone(HEALTH).retrying(),
            updates,
            request: Request {
                target,
                replicas: args.replicas,
                shards: args.shards,
                prefix: args.prefix.clone(),
                servers: args.servers.clone(),
                package: args.package.clone(),
                quota_gib: args.quota,
                image: args.image.clone(),
                replace: args.replace.clone(),
            },
        })
    }

    /// Plans; `writes`: what is done is taken out of the journal too.
    async fn plan(&self, journal: &mut Journal, writes: bool) -> Result<Plan> {
        let pending = journal.zones(self.request.target.blueprint().service);
        let (apis, http, request) = (&self.apis, &self.http, &self.request);
        let facts = setup::gather(apis, http, &self.updates, request, pending);
        let mut facts = facts.await?;
        for uuid in facts.settle() {
            if writes {
                journal.end_zone(uuid)?;
            }
        }
        Ok(setup::plan(&facts, request, &mut Uuid::new_v4)?)
    }
}

/// Runs the verb. `false`, where not all is as it should be.
pub(super) async fn post_setup(args: PostSetupArgs) -> Result<bool> {
    let run = Run::new(&args).await?;
    let name = run.request.target.name();
    let state = match args.dry_run {
        true => State::look(run.apis.sdc),
        false => State::hold(run.apis.sdc)?,
    };
    let mut journal = state.journal()?;
    let plan = match run.plan(&mut journal, !args.dry_run).await {
        Ok(plan) => plan,
        Err(error) => {
            let refused = error.downcast_ref::<Refused>();
            let Some(Refused(problems)) = refused.filter(|_| args.json) else {
                return Err(error);
            };
            say_json(&json!({"service": name, "problems": problems}));
            return Ok(false);
        }
    };
    let nothing = plan.steps.is_empty();
    if args.dry_run || nothing {
        match args.json {
            true => say_json(&summary(name, &plan, None)),
            false => show(name, &plan),
        }
        return Ok(nothing);
    }
    if !args.json {
        show(name, &plan);
    }
    let disturbed: Vec<String> =
        plan.steps.iter().filter_map(setup::Step::disturbs).collect();
    let asks = !disturbed.is_empty() && !args.yes;
    if asks && !confirmed(&disturbed.join("; "))? {
        return Ok(false);
    }
    let total = plan.steps.len();
    let mut hands = Hands {
        apis: &run.apis,
        http: &run.http,
        source: run.updates.source(),
        target: run.request.target,
        patience: Duration::from_secs(args.wait),
        journal: &mut journal,
    };
    let outcome = hands
        .run(&plan, |nth, step| {
            tell(&format!("[{}/{total}] ", nth + 1), &step.what());
        })
        .await;
    complain(name, &plan, &outcome);
    let mut said = summary(name, &plan, Some(&outcome));
    let mut good = outcome.failed.is_none();
    if good {
        // What was done must leave nothing to do but what may fail.
        match run.plan(&mut journal, true).await {
            Ok(left) => {
                let left: Vec<_> = left.hard().map(setup::Step::what).collect();
                good = left.is_empty();
                if !good {
                    let left = format!("still to be done: {}", left.join("; "));
                    tell("monadm: ", &left);
                }
                said["left"] = json!(left);
            }
            // All is done, and only that nothing is left was not seen.
            Err(error) => {
                good = false;
                let error = format!("{error:#}");
                let all = format!(
                    "all {total} steps are done; whether more is left is not \
                     known: {error}"
                );
                tell("monadm: ", &all);
                said["left_unknown"] = json!(error);
            }
        }
    }
    match args.json {
        true => say_json(&said),
        false if good => say!("{name} is set up: {} steps done", outcome.done),
        false => {}
    }
    Ok(good)
}

fn say_json(value: &Value) {
    say!("{value:#}");
}

/// What is to be done, and what else to know.
fn shown(name: &str, plan: &Plan) -> String {
    let mut out = match plan.steps.len() {
        0 => format!("{name} is set up: nothing to do\n"),
        count => format!("To set up {name}, {count} steps:\n\n"),
    };
    for (nth, step) in plan.steps.iter().enumerate() {
        hang(&mut out, &format!("{:>3}. ", nth + 1), &step.what());
        for why in step.why() {
            paragraph(&mut out, 7, &why);
        }
    }
    let disturbed: Vec<_> =
        plan.steps.iter().filter_map(setup::Step::disturbs).collect();
    if !disturbed.is_empty() {
        out.push('\n');
    }
    for what in disturbed {
        hang(&mut out, "disturbs: ", &what);
    }
    for note in &plan.notes {
        hang(&mut out, "note: ", note);
    }
    out
}

fn show(name: &str, plan: &Plan) {
    say!("{}", shown(name, plan).trim_end_matches('\n'));
}

/// What went wrong, what is done, and how to go on.
fn complain(name: &str, plan: &Plan, outcome: &Outcome) {
    for (nth, error) in &outcome.warnings {
        let what = plan.steps[*nth].what();
        let said = format!("{what}: {}; run it again later", chain(error));
        tell("monadm: ", &said);
    }
    let Some((nth, error)) = &outcome.failed else { return };
    let what = plan.steps[*nth].what();
    tell("monadm: ", &format!("{what}: {}", chain(error)));
    let (done, all) = (outcome.done, plan.steps.len());
    let said = format!("{done} of {all} steps of {name} are done. Not done:");
    tell("monadm: ", &said);
    for step in &plan.steps[*nth..] {
        tell("  ", &step.what());
    }
    tell("monadm: ", "to go on, run it again");
}

fn summary(name: &str, plan: &Plan, outcome: Option<&Outcome>) -> Value {
    let steps: Vec<_> = plan.steps.iter().map(setup::Step::json).collect();
    let mut said =
        json!({"service": name, "steps": steps, "notes": plan.notes});
    if let Some(outcome) = outcome {
        let fault = |(nth, error): &(usize, setup::SetupError)| json!({"step": nth + 1, "error": chain(error)});
        said["done"] = json!(outcome.done);
        said["warnings"] = outcome.warnings.iter().map(fault).collect();
        said["failed"] = outcome.failed.as_ref().map_or(Value::Null, fault);
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::monadm::screen::{ODD, assert_fits};
    use crate::deploy::setup::Step;

    #[test]
    fn it_fits_whatever_others_call_their_things() {
        let plan = Plan {
            steps: vec![Step::ImportImage {
                uuid: Uuid::nil(),
                what: ODD.to_owned(),
                origin_of: None,
            }],
            notes: vec![format!("{ODD}: saw {ODD}"), "long ".repeat(30)],
        };
        assert_fits(&shown("thanos", &plan));
        let none = shown("thanos", &Plan::default());
        assert_eq!(none, "thanos is set up: nothing to do\n");
    }
}
