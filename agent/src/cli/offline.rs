// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Verbs check and render: the walk without SAPI, without root, and without
//! touching what is in force.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::CONFIG;
use crate::apply::commit::{Access, ensure_dir, write_atomic};
use crate::certgen::{CertPaths, ensure};
use crate::config::ConfigFile;
use crate::host::{self, Exec};
use crate::metadata::auto::{MdataFacts, auto_metadata};
use crate::metadata::config::{Parsed, SapiConfig};
use crate::metadata::local::load_local_manifests;
use crate::metadata::meaning::{self, Site};
use crate::metadata::names;
use crate::metadata::poll::CONFIG_LIMIT;
use crate::metadata::resolve::{TemplateContext, resolve_manifests};
use crate::model::{Caps, Flavor, Paths, Peers, Role};
use crate::render::{Output, Rendered, TemplateSet};
use crate::walk::{account_key, grafana, parse_role, render_manifests, thanos};

/// Time limit of one checker.
const CHECK_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Args)]
struct Source {
    /// Metadata to work from: a body of GET /configs/:uuid, or a bare
    /// metadata object; - is standard input. Left out: the agent's last good
    /// configuration
    #[arg(long, value_name = "FILE")]
    metadata: Option<PathBuf>,
    /// What the zone is for
    #[arg(long)]
    role: Option<String>,
    /// Folder with one folder of templates a role
    #[arg(long, value_name = "DIR")]
    templates: Option<PathBuf>,
    /// Configuration file of the agent
    #[arg(long, short = 'f', default_value = CONFIG)]
    config: PathBuf,
}

/// Walks from metadata to the checkers' verdict and commits nothing.
///
/// Works in a scratch folder, so neither root nor SAPI is needed. Exit status
/// 1 when anything would be refused.
#[derive(Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    source: Source,
    /// Print the verdicts as JSON
    #[arg(long)]
    json: bool,
}

/// Renders the files of a role into a folder, for reading and comparing.
#[derive(Args)]
pub(super) struct RenderArgs {
    #[command(flatten)]
    source: Source,
    /// Folder that stands for /; made if absent
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Serialize)]
struct Verdict {
    name: String,
    target: Option<PathBuf>,
    ok: bool,
    reason: Option<String>,
}

pub(super) async fn check(args: CheckArgs) -> Result<bool> {
    let scratch = Scratch::new()?;
    let loaded = args.source.load()?;
    let (output, mut verdicts) = loaded.walk(&scratch.0, &scratch.0);
    let host = host::native();
    for directory in &output.directories {
        // Checkers want them to be there; whose they are is no matter here.
        ensure_dir(&directory.path, Access::default())?;
    }
    for file in &output.files {
        let reason = check_file(file, host.as_ref()).await.err();
        let below = file.target.strip_prefix(&scratch.0);
        verdicts.push(Verdict {
            name: file.name.clone(),
            target: below.ok().map(|path| Path::new("/").join(path)),
            ok: reason.is_none(),
            reason: reason.map(|error| format!("{error:#}")),
        });
    }
    let ok = verdicts.iter().all(|verdict| verdict.ok);
    if args.json {
        say!("{}", serde_json::to_string_pretty(&verdicts)?);
        return Ok(ok);
    }
    for verdict in &verdicts {
        match &verdict.reason {
            None => say!("ok      {}", verdict.name),
            Some(reason) => say!("REFUSED {}: {reason}", verdict.name),
        }
    }
    Ok(ok)
}

pub(super) fn render(args: RenderArgs) -> Result<bool> {
    let out = std::path::absolute(&args.out)
        .with_context(|| format!("no such folder {}", args.out.display()))?;
    let loaded = args.source.load()?;
    let (output, verdicts) = loaded.walk(Path::new("/"), &out);
    for verdict in &verdicts {
        let reason = verdict.reason.as_deref().unwrap_or_default();
        eprintln!("config-agent: {}: {reason}", verdict.name);
    }
    for file in &output.files {
        let path = below(&out, &file.target);
        // Config manifests name no mode and may print any secret.
        write_atomic(&path, &file.bytes, file.mode.unwrap_or(0o600))
            .with_context(|| format!("could not write {}", path.display()))?;
        say!("{}", path.display());
    }
    Ok(verdicts.is_empty())
}

async fn check_file(file: &Rendered, host: &dyn host::Host) -> Result<()> {
    write_atomic(&file.target, &file.bytes, 0o600)?;
    if file.check.is_empty() {
        return Ok(());
    }
    let path = file.target.to_string_lossy();
    let argv: Vec<String> =
        file.check.iter().map(|w| w.replace("{staged}", &path)).collect();
    let exec = Exec::new(&argv, CHECK_TIMEOUT);
    let finished = host.run(&exec).await?;
    if finished.success() {
        return Ok(());
    }
    Err(finished.into_error(&exec).into())
}

/// Everything a walk starts from.
struct Loaded {
    parsed: Parsed,
    config: ConfigFile,
    templates: PathBuf,
    role: Role,
}

impl Source {
    fn load(self) -> Result<Loaded> {
        let config = match ConfigFile::load(&self.config) {
            Ok(config) => config,
            Err(error) if self.config.exists() => return Err(error.into()),
            Err(_) => ConfigFile::default(),
        };
        let path = match self.metadata {
            Some(path) => path,
            None => config.state_dir.join("config.json"),
        };
        let body = read(&path)
            .with_context(|| format!("could not read {}", path.display()))?;
        let parsed = parse(&body)
            .with_context(|| format!("{} is no metadata", path.display()))?;
        let role = self.role.or_else(|| config.role.clone());
        // Without a zone around us, nobody else can say.
        let role = role.as_deref().unwrap_or(Role::Prometheus.as_str());
        Ok(Loaded {
            parsed,
            role: parse_role(Some(role))?,
            templates: self
                .templates
                .unwrap_or_else(|| config.templates_dir.clone()),
            config,
        })
    }
}

impl Loaded {
    /// Renders with the zone's root at `root`; what did not render comes as
    /// verdicts. A certificate for the checkers is made below `scratch`.
    fn walk(&self, root: &Path, scratch: &Path) -> (Output, Vec<Verdict>) {
        let mut verdicts = Vec::new();
        let mut refuse = |name: &str, reason: String| {
            verdicts.push(Verdict {
                name: name.to_owned(),
                target: None,
                ok: false,
                reason: Some(reason),
            });
        };
        for problem in &self.parsed.problems {
            refuse(&problem.which, problem.reason.clone());
        }
        let instance = self.config.instances.first().cloned();
        let facts = MdataFacts::default();
        let instance = instance.unwrap_or_else(|| "instance".to_owned());
        let context = TemplateContext::new(
            self.parsed.config.metadata.clone(),
            self.config.local_metadata.clone(),
            auto_metadata(&facts, &instance),
        );
        let metadata = context
            .value()
            .as_object()
            .expect("a template context is an object");
        let dirs = self.config.local_manifest_dirs.for_instance(&instance);
        let local = load_local_manifests(dirs);
        for warning in &local.warnings {
            refuse("local manifests", warning.to_string());
        }
        let manifests = resolve_manifests(
            self.parsed.config.manifests.clone(),
            local.manifests,
        )
        .manifests;
        let mut output = render_manifests(
            &manifests,
            context.value(),
            root,
            host::native().is_linux(),
        );
        let site = Site {
            compaction: true,
            root: root.to_owned(),
            role: self.role,
            flavor: meaning::flavor(metadata, Flavor::Triton),
            instance,
            cmon_domain: None,
            peers: Peers::default(),
            agent_address: self.config.status_listen,
            caps: Caps::default(),
        };
        if let Ok(model) = meaning::resolver(metadata, &site) {
            self.set("resolver", &model, &mut output, &mut refuse);
        }
        match meaning::model(metadata, &site) {
            Ok(model) => {
                let tls = Paths::new(scratch, self.role).tls;
                if root == scratch
                    && let Err(error) = self.certificate(metadata, &tls)
                {
                    refuse("client certificate", format!("{error:#}"));
                }
                if root == scratch
                    && let Some(grafana) = &model.grafana
                {
                    let kept = grafana::keep(grafana, &model.paths, None);
                    output.failed.extend(kept.failed);
                }
                // Files of the operator lie in the zone, and not below the
                // scratch folder.
                if root == scratch
                    && let Some(thanos) = &model.thanos
                    && thanos.tls.as_ref().is_some_and(|t| t.issued.is_some())
                {
                    output.failed.extend(thanos::keep(thanos, None).failed);
                }
                for set in self.role.template_sets() {
                    self.set(set, &model, &mut output, &mut refuse);
                }
            }
            Err(problems) => {
                for problem in problems {
                    refuse("metadata", problem.to_string());
                }
            }
        }
        for failed in &output.failed {
            refuse(&failed.name, failed.reason.clone());
        }
        (output, verdicts)
    }

    fn set(
        &self,
        name: &str,
        model: &impl Serialize,
        output: &mut Output,
        refuse: &mut impl FnMut(&str, String),
    ) {
        match TemplateSet::load(&self.templates.join(name)) {
            Ok(set) => output.append(set.render(model)),
            Err(error) => refuse(name, crate::log::chain(&error)),
        }
    }

    /// Checkers want key and certificate to be there. Stand-ins where the
    /// account's key is not at hand, for it need not be in a metadata file.
    fn certificate(
        &self,
        metadata: &Map<String, Value>,
        tls: &Path,
    ) -> Result<()> {
        let flavor = meaning::flavor(metadata, Flavor::Triton);
        let paths = CertPaths {
            key: tls.join("cmon.key"),
            cert: tls.join("cmon.crt"),
            owner: None,
        };
        match account_key(metadata, flavor, &self.config) {
            Ok(key) => {
                let login = names::account(metadata, flavor);
                ensure(&paths, &key, &login, OffsetDateTime::now_utc())?;
            }
            Err(reason) if is_in(metadata, flavor) => bail!(reason),
            Err(_) => {
                write_atomic(&paths.key, b"", 0o600)?;
                write_atomic(&paths.cert, b"", 0o600)?;
            }
        }
        Ok(())
    }
}

fn is_in(metadata: &Map<String, Value>, flavor: Flavor) -> bool {
    crate::certgen::account_key_from_metadata(metadata, flavor).is_some()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    let limit = CONFIG_LIMIT as u64 + 1;
    if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut body)?;
    } else {
        std::fs::File::open(path)?.take(limit).read_to_end(&mut body)?;
    }
    Ok(body)
}

/// A body of SAPI, or metadata alone.
fn parse(body: &[u8]) -> Result<Parsed> {
    let value: Value = serde_json::from_slice(body)?;
    let Value::Object(map) = value else {
        bail!("wanted a JSON object");
    };
    if map.get("metadata").is_some_and(Value::is_object) {
        return Ok(SapiConfig::parse(body, CONFIG_LIMIT)?);
    }
    let wrapped = serde_json::json!({ "metadata": map }).to_string();
    Ok(SapiConfig::parse(wrapped.as_bytes(), CONFIG_LIMIT)?)
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// A private folder that goes when dropped.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new() -> Result<Self> {
        let name = format!("config-agent-{}", uuid::Uuid::new_v4());
        let dir = std::env::temp_dir().join(name);
        // Its name is unguessable; its mode keeps the keys in it private.
        let access = Access { mode: Some(0o700), owner: None };
        ensure_dir(&dir, access)?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
