// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The report in Prometheus' text format.
//!
//! Written here rather than by a metrics crate: the report is the only state,
//! gathered when asked for, and the format is a line a number.

use std::fmt::{Display, Write};

use super::{RoomPart, StatusReport};

/// Renders `report` as exposition text, version 0.0.4.
pub(super) fn render(report: &StatusReport) -> String {
    let mut out = Text(String::with_capacity(8 << 10));
    let r = report;
    let flag = u8::from;
    out.family("config_agent_info", "gauge", "Version of the agent.");
    out.sample(
        "config_agent_info",
        &[("version", &r.agent.version), ("role", &r.agent.role)],
        1,
    );
    out.one(
        "config_agent_healthy",
        "gauge",
        "Whether nothing is at fault.",
        Some(flag(r.healthy)),
    );
    out.one(
        "config_agent_faults",
        "gauge",
        "Faults now.",
        Some(r.faults.len()),
    );
    out.one(
        "config_agent_sapi_last_success_age_seconds",
        "gauge",
        "Since SAPI answered well.",
        r.sapi.last_success_age_seconds,
    );
    out.one(
        "config_agent_sapi_polls_total",
        "counter",
        "Polls of SAPI.",
        Some(r.sapi.polls),
    );
    out.one(
        "config_agent_sapi_not_modified_total",
        "counter",
        "Polls answered 304.",
        Some(r.sapi.not_modified),
    );
    out.one(
        "config_agent_sapi_changes_missed_by_etag_total",
        "counter",
        "Changes that a 304 had hidden.",
        Some(r.sapi.missed_by_etag),
    );
    out.one(
        "config_agent_sapi_consecutive_failures",
        "gauge",
        "Failed polls in a row.",
        Some(r.sapi.failures),
    );
    out.one(
        "config_agent_revision_age_seconds",
        "gauge",
        "Since the configuration in force was first seen.",
        r.sapi.revision_age_seconds,
    );
    if let (Some(revision), Some(shared)) =
        (&r.sapi.revision, &r.sapi.shared_revision)
    {
        let name = "config_agent_revision_info";
        let help = "The configuration in force, whole and without instance.";
        out.family(name, "gauge", help);
        out.sample(name, &[("revision", revision), ("shared", shared)], 1);
    }
    out.one(
        "config_agent_passes_total",
        "counter",
        "Passes of the config walk.",
        Some(r.walk.passes),
    );
    out.one(
        "config_agent_unclean_passes_total",
        "counter",
        "Passes that left something undone.",
        Some(r.walk.unclean_passes),
    );
    out.one(
        "config_agent_file_writes_total",
        "counter",
        "Files written.",
        Some(r.walk.writes),
    );
    out.one(
        "config_agent_file_repairs_total",
        "counter",
        "Files put back after someone changed them.",
        Some(r.walk.repairs),
    );
    out.one(
        "config_agent_reloads_total",
        "counter",
        "Reloads, restarts and post commands that succeeded.",
        Some(r.walk.reloads),
    );
    out.one(
        "config_agent_refusals_total",
        "counter",
        "Times a daemon refused new files.",
        Some(r.walk.refusals),
    );
    out.family(
        "config_agent_file_in_force",
        "gauge",
        "Whether a file's wanted content is in force.",
    );
    for file in &r.files {
        let in_force = flag(file.outcome.reason().is_none());
        let name = [("file", file.name.as_str())];
        out.sample("config_agent_file_in_force", &name, in_force);
    }
    let name = "config_agent_daemon_up";
    out.family(name, "gauge", "Whether a daemon runs and is ready.");
    for daemon in &r.daemons {
        let up = flag(daemon.state == "online" && daemon.ready);
        out.sample(name, &[("daemon", daemon.name.as_str())], up);
    }
    out.one(
        "config_agent_certificate_expires_in_seconds",
        "gauge",
        "Life left in the CMON client certificate.",
        r.certificate.as_ref().map(|c| c.expires_in_seconds),
    );
    let name = "config_agent_server_certificate_expires_in_seconds";
    out.family(name, "gauge", "Life left in a certificate shown to others, or in the authority over it.");
    for served in &r.served {
        let file = [("file", served.file.as_str())];
        out.sample(name, &file, served.expires_in_seconds);
    }
    let counts = super::peers::counts(&r.peers);
    let name = "config_agent_peers";
    out.family(name, "gauge", "Monitoring instances SAPI lists.");
    for ((service, datacenter), (all, _)) in &counts {
        let place = [("service", *service), ("peer_datacenter", *datacenter)];
        out.sample(name, &place, *all);
    }
    let name = "config_agent_peers_without_address";
    out.family(name, "gauge", "Those of them that were never found.");
    for ((service, datacenter), (_, without)) in &counts {
        let place = [("service", *service), ("peer_datacenter", *datacenter)];
        out.sample(name, &place, *without);
    }
    out.one(
        "config_agent_discovery_targets",
        "gauge",
        "Zones CMON lists for this server.",
        r.discovery.targets,
    );
    out.one(
        "config_agent_discovery_up",
        "gauge",
        "Whether CMON answers discovery.",
        r.discovery.age_seconds.map(|_| flag(r.discovery.error.is_none())),
    );
    room(&mut out, &r.zone);
    super::dns_metrics::render(&mut out, report);
    out.0
}

fn room(out: &mut Text, zone: &RoomPart) {
    for (name, help, value) in [
        (
            "config_agent_zone_memory_cap_bytes",
            "Physical memory the zone may use.",
            zone.memory_cap_bytes,
        ),
        (
            "config_agent_zone_quota_bytes",
            "What the zone's datasets may hold.",
            zone.quota_bytes,
        ),
        (
            "config_agent_data_size_bytes",
            "Size of the file system with the daemons' data.",
            zone.data_size_bytes,
        ),
        (
            "config_agent_data_available_bytes",
            "Room left there.",
            zone.data_available_bytes,
        ),
    ] {
        out.one(name, "gauge", help, value);
    }
    let name = "config_agent_data_info";
    out.family(name, "gauge", "Id of the zone's data; 0 when unreadable.");
    let id = zone.data_id.as_deref();
    let known = u8::from(id.is_some());
    out.sample(name, &[("id", id.unwrap_or_default())], known);
    out.one(
        "config_agent_zone_cpu_cap_cores",
        "gauge",
        "Processors the zone may use.",
        zone.cpu_cap_cores,
    );
}

/// Exposition text in the making.
pub(super) struct Text(String);

impl Text {
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}");
        let _ = writeln!(self.0, "# TYPE {name} {kind}");
    }

    fn one(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        value: Option<impl Display>,
    ) {
        if let Some(value) = value {
            self.family(name, kind, help);
            self.sample(name, &[], value);
        }
    }

    pub(super) fn sample(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        value: impl Display,
    ) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let open = if at == 0 { '{' } else { ',' };
            let text = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(self.0, "{open}{label}=\"{text}\"");
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        let mut out = Text(String::new());
        out.sample("m", &[("a", "x\"\\\ny"), ("b", "2")], 3);
        assert_eq!(out.0, "m{a=\"x\\\"\\\\\\ny\",b=\"2\"} 3\n");
    }
}
