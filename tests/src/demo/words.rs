// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the demo prints. Colours on a terminal only; a reader that went away
//! is no reason to fail.

use std::io::{self, IsTerminal, Write};
use std::time::Instant;

use uuid::Uuid;

use super::Shown;
use crate::sapi::UFDS_ADMIN_PASSWORD;
use crate::triton::ids::CORE_IMAGE;
use crate::world::{ADMIN, MONADM, Target};

const BOLD: &str = "1";
const GREEN: &str = "32";
const RED: &str = "31";
const DIM: &str = "2";

/// Stdout, and the step under way.
pub(super) struct Paper {
    colour: bool,
    begin: Instant,
    step: Option<(String, Instant)>,
}

impl Paper {
    pub(super) fn new() -> Self {
        let colour = io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none();
        Self { colour, begin: Instant::now(), step: None }
    }

    pub(super) fn title(&self) {
        self.line(
            &self.paint(
                BOLD,
                "localdc: a small Triton datacenter on this machine",
            ),
        );
        self.line("");
    }

    /// Ends the step before and begins this one.
    pub(super) fn step(&mut self, what: &str) {
        self.done();
        if self.colour {
            // Overwritten once it is done.
            self.text(&format!("  ...      {what}\r"));
        }
        self.step = Some((what.to_owned(), Instant::now()));
    }

    /// Ends the step under way, if any.
    pub(super) fn done(&mut self) {
        let Some((what, begin)) = self.step.take() else { return };
        let took = begin.elapsed().as_secs_f64();
        let mark = self.paint(GREEN, "done");
        self.line(&format!("  {mark} {took:5.1} s  {what}"));
    }

    pub(super) fn failed(&mut self, why: &str) {
        let mark = self.paint(RED, "failed");
        let what = self.step.take().map(|(what, _)| what).unwrap_or_default();
        self.line(&format!("  {mark}  {what}"));
        self.line(&format!("  {why}"));
    }

    pub(super) fn late(&mut self) {
        let seconds = self.begin.elapsed().as_secs();
        self.failed(&format!("not done within {seconds} s"));
    }

    pub(super) fn places(&self, shown: &Shown) {
        let doors = &shown.doors;
        let zone = shown.first.zone();
        let url = |door: &crate::zone::Forward, path: &str| {
            format!("http://{}{path}", door.local_addr())
        };
        self.line("");
        self.table(&[
            ["WHAT", "ON THIS MACHINE", "IN THE DATACENTER"].map(str::to_owned),
            [
                "Prometheus".to_owned(),
                url(&doors.prometheus, "/targets"),
                format!("http://{}:9090", zone.spec().ip),
            ],
            [
                "Grafana's nginx".to_owned(),
                format!("https://{}/", shown.grafana.local_addr()),
                "https://grafana.dc1.triton.test".to_owned(),
            ],
            [
                "status page".to_owned(),
                url(&doors.status, "/"),
                "http://127.0.0.1:9165 in the zone".to_owned(),
            ],
            [
                "zone's DNS".to_owned(),
                doors.dns.local_addr().to_string(),
                "127.0.0.1:53 in the zone".to_owned(),
            ],
            [
                "SAPI".to_owned(),
                url(&doors.sapi, ""),
                "http://sapi.dc1.triton.test".to_owned(),
            ],
            [
                "VMAPI".to_owned(),
                url(&doors.vmapi, ""),
                "http://vmapi.dc1.triton.test".to_owned(),
            ],
            [
                "log files".to_owned(),
                zone.log_folder().display().to_string(),
                "/var/svc/log in the zone".to_owned(),
            ],
        ]);
    }

    pub(super) fn to_try(&self, shown: &Shown) {
        let doors = &shown.doors;
        let (sapi, vmapi) = (doors.sapi.local_addr(), doors.vmapi.local_addr());
        let prometheus = doors.prometheus.local_addr();
        let (dns, vm) = (doors.dns.local_addr(), Uuid::new_v4());
        let json = "-H 'content-type: application/json'";
        let sapi_inside = shown.site.sapi_url();
        let service = shown.site.services().sapi.service_uuid("prometheus");
        let service = service.unwrap_or_default();
        let sudo = match std::env::var_os("SUDO_USER") {
            Some(_) => "sudo ",
            None => "",
        };
        let enter = shown.first.zone().enter_command();
        let headnode = shown.site.headnode().enter_command();
        self.line("");
        let all = [
            (
                "change the scrape interval in SAPI; Prometheus reloads",
                format!(
                    "curl -sS -X PUT {json} -d \
                     '{{\"metadata\": {{\"scrape_interval\": 2}}}}' \
                     http://{sapi}/services/{service} >/dev/null"
                ),
            ),
            (
                "see it",
                format!(
                    "curl -sS http://{prometheus}/api/v1/status/config \
                     | grep -o 'scrape_interval: [0-9a-z]*' | head -1"
                ),
            ),
            (
                "create a VM: a new target appears within seconds",
                format!(
                    "curl -sS {json} -d '{{\"uuid\": \"{vm}\", \
                     \"alias\": \"web0\", \"owner_uuid\": \"{ADMIN}\", \
                     \"tags\": {{\"smartdc_role\": \"web\"}}, \
                     \"image_uuid\": \"{CORE_IMAGE}\", \
                     \"networks\": [\"external\"]}}' http://{vmapi}/vms"
                ),
            ),
            (
                "ask the zone's DNS for it, as Prometheus does",
                format!(
                    "dig @{} -p {} +noall +answer \
                     {vm}.cmon.dc1.cns.triton.test",
                    dns.ip(),
                    dns.port()
                ),
            ),
            (
                "sign in to Grafana as UFDS' admin, here without a browser",
                format!(
                    "curl -sSk -u admin:{UFDS_ADMIN_PASSWORD} \
                     https://{}/api/user",
                    shown.grafana.local_addr()
                ),
            ),
            (
                "how the agent fares",
                format!(
                    "{sudo}{enter} \
                     /opt/triton/config-agent/bin/config-agent status"
                ),
            ),
            (
                "how the datacenter fares, as an operator asks",
                format!(
                    "{sudo}{headnode} {MONADM} status --sapi {sapi_inside}"
                ),
            ),
        ];
        for (what, command) in all {
            self.line(&self.paint(DIM, &format!("# {what}")));
            self.line(&command);
        }
    }

    pub(super) fn stays(&self, seconds: Option<u64>) {
        self.line("");
        self.line(&match seconds {
            None => "Ctrl-C ends it.".to_owned(),
            Some(n) => format!("Ends {n} s after its start, or with Ctrl-C."),
        });
    }

    pub(super) fn targets(&self, targets: &[Target]) {
        self.line("");
        let head = ["JOB", "TARGET", "HEALTH"].map(str::to_owned);
        let rows = targets.iter().map(|target| {
            let health = match target.is_up() {
                true => "up".to_owned(),
                false => format!("{} {}", target.health, target.last_error),
            };
            [target.job.clone(), target.name.clone(), health]
        });
        let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
        self.table(&rows);
        let up = targets.iter().filter(|target| target.is_up()).count();
        let sum = format!("{up} of {} targets up", targets.len());
        let colour = if up == targets.len() { GREEN } else { RED };
        self.line(&self.paint(colour, &sum));
    }

    pub(super) fn ends(&mut self, why: &str) {
        self.step = None;
        self.line("");
        self.line(&format!("{why}: taking it down"));
    }

    pub(super) fn gone(&self) {
        let seconds = self.begin.elapsed().as_secs_f64();
        self.line(&format!("all gone after {seconds:.1} s"));
    }

    fn table(&self, rows: &[[String; 3]]) {
        let width = |at: usize| {
            rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0)
        };
        let (first, second) = (width(0), width(1));
        for (at, [a, b, c]) in rows.iter().enumerate() {
            let line = format!("{a:first$}  {b:second$}  {c}");
            let line = line.trim_end();
            match at {
                0 => self.line(&self.paint(BOLD, line)),
                _ => self.line(line),
            }
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        match self.colour {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    fn line(&self, text: &str) {
        self.text(text);
        self.text("\n");
    }

    fn text(&self, text: &str) {
        let mut out = io::stdout();
        let _ = out.write_all(text.as_bytes());
        let _ = out.flush();
    }
}
