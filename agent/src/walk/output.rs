// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a pass wants in force: files of config manifests, of the role, of the
//! zone's resolver.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    NoRole, Walk, WalkStatus, certificate, compactor, grafana, redact,
    render_manifests, thanos,
};
use crate::discovery::Found;
use crate::metadata::local::load_local_manifests;
use crate::metadata::meaning::{self, Site};
use crate::metadata::peers::datacenters;
use crate::metadata::poll::Fetched;
use crate::metadata::resolve::{TemplateContext, resolve_manifests};
use crate::metadata::wire::Problem;
use crate::model::Model;
use crate::render::{Failed, Output, TemplateSet};

impl Walk {
    /// Files of SAPI's and local config manifests.
    pub(super) fn render_compatible(
        &self,
        fetched: &Fetched,
        context: &TemplateContext,
        status: &mut WalkStatus,
    ) -> Output {
        let dirs =
            self.config.local_manifest_dirs.for_instance(&self.facts.instance);
        let local = load_local_manifests(dirs);
        let resolved = resolve_manifests(
            fetched.parsed.config.manifests.clone(),
            local.manifests,
        );
        let problems = fetched.parsed.problems.iter().map(ToString::to_string);
        status.warnings.extend(problems);
        status.warnings.extend(local.warnings.iter().map(ToString::to_string));
        status
            .warnings
            .extend(resolved.warnings.iter().map(ToString::to_string));
        status
            .warnings
            .extend(context.warnings().iter().map(ToString::to_string));
        let mut output = render_manifests(
            &resolved.manifests,
            context.value(),
            &self.config.root,
            self.host.is_linux(),
        );
        // A file that is there keeps its mode; a new one that holds a secret
        // is for root, until its manifest's command says otherwise.
        let metadata = context.value().as_object();
        let redactor = metadata.map(redact::Redactor::new);
        for file in &mut output.files {
            file.secret =
                redactor.as_ref().is_some_and(|r| r.is_in(&file.bytes));
        }
        output
    }

    /// Files of the zone's role, from the typed model.
    pub(super) fn render_role(
        &mut self,
        metadata: &Map<String, Value>,
        found: &Found,
        status: &mut WalkStatus,
        output: &mut Output,
    ) -> Option<Model> {
        let role = match &self.facts.role {
            Ok(role) => *role,
            Err(reason) => {
                match reason {
                    NoRole::Untagged => {
                        status.warnings.push(reason.to_string());
                    }
                    NoRole::Unknown { .. } => {
                        status.role_error = Some(reason.to_string());
                    }
                }
                return None;
            }
        };
        let site = Site {
            compaction: true,
            root: self.config.root.clone(),
            role,
            flavor: self.facts.flavor,
            instance: self.facts.instance.clone(),
            cmon_domain: found.cmon_domain.clone(),
            peers: found.peers.clone(),
            agent_address: self.config.status_listen,
            caps: self.facts.caps,
        };
        if !self.config.dns_listen.is_empty() {
            // Its problems are among the model's own.
            if let Ok(resolver) = meaning::resolver(metadata, &site) {
                self.render_set("resolver", &resolver, output);
            }
        }
        match self.model(metadata, site, found) {
            Ok(mut model) => {
                if model.prometheus.is_some() {
                    self.certificate(metadata, &model, status);
                }
                let user = Some("nobody");
                let kept = [
                    model
                        .grafana
                        .as_ref()
                        .map(|one| grafana::keep(one, &model.paths, user)),
                    model.thanos.as_ref().map(|one| thanos::keep(one, user)),
                ];
                if let Some(grafana) = &mut model.grafana {
                    grafana.identity = grafana::identity(&model.paths);
                }
                let mut judged = BTreeMap::new();
                for kept in kept.into_iter().flatten() {
                    judged.extend(kept.judged);
                    output.failed.extend(kept.failed);
                    status.warnings.extend(kept.warnings);
                }
                status.served =
                    certificate::served(&model, &mut status.warnings);
                for set in role.template_sets() {
                    self.render_set(set, &model, output);
                }
                for daemon in &mut output.daemons {
                    daemon.judged.clone_from(&judged);
                }
                Some(model)
            }
            Err(problems) => {
                if self.compactor.blind() {
                    output.unwanted.push("thanos-compact".to_owned());
                }
                status.problems = problems;
                None
            }
        }
    }

    /// The model; a zone that is first for a shared bucket compacts it when
    /// its election allows.
    fn model(
        &mut self,
        metadata: &Map<String, Value>,
        site: Site,
        found: &Found,
    ) -> Result<Model, Vec<Problem>> {
        let model = meaning::model(metadata, &site)?;
        let elected = model.thanos.as_ref().and_then(|t| t.elected.as_ref());
        let Some(bucket) = elected else {
            self.compactor.stand_down();
            return Ok(model);
        };
        let region = datacenters(metadata).map(|(region, _)| region);
        let listed = region.and_then(|r| compactor::oldest(&r, &found.listed));
        if self.compactor.ask(bucket, listed) {
            return Ok(model);
        }
        meaning::model(metadata, &Site { compaction: false, ..site })
    }

    /// What CMON asks of its clients.
    fn certificate(
        &self,
        metadata: &Map<String, Value>,
        model: &Model,
        status: &mut WalkStatus,
    ) {
        let tls = &model.paths.tls;
        let made =
            certificate::certificate(&self.config, metadata, model.flavor, tls);
        match made {
            Ok(certificate) => status.certificate = Some(certificate),
            Err(reason) => status.certificate_error = Some(reason),
        }
    }

    fn render_set(
        &self,
        name: &str,
        model: &impl serde::Serialize,
        output: &mut Output,
    ) {
        match TemplateSet::load(&self.config.templates_dir.join(name)) {
            Ok(set) => output.append(set.render(model)),
            Err(error) => output.failed.push(Failed {
                name: name.to_owned(),
                daemon: None,
                reason: crate::log::chain(&error),
            }),
        }
    }
}
