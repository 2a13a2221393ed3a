// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Invented metrics under the names and types that cmon-agent uses: a modest
//! part of what it has. Values depend on uuid and time only: counters grow,
//! gauges wander a little.

use std::fmt::Write as _;

use crate::datacenter::{Server, Vm};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Counter,
    Gauge,
}
use Sort::{Counter, Gauge};

/// Name, sort and size: of a counter the usual growth per second, of a gauge
/// the usual value.
type Family = (&'static str, Sort, f64);

const VM_FAMILIES: &[Family] = &[
    ("cpu_user_usage", Counter, 2.0e7),
    ("cpu_sys_usage", Counter, 1.0e7),
    ("cpu_wait_time", Counter, 1.0e6),
    ("load_average", Gauge, 0.2),
    ("cpucap_limit_percentage", Gauge, 300.0),
    ("cpucap_cur_usage_percentage", Gauge, 5.0),
    ("mem_agg_usage", Gauge, 2.0e8),
    ("mem_limit", Gauge, 1.0e9),
    ("mem_swap", Gauge, 3.0e8),
    ("mem_swap_limit", Gauge, 2.0e9),
    ("mem_anon_alloc_fail", Counter, 0.0),
    ("tcp_active_open_count", Counter, 2.0),
    ("tcp_passive_open_count", Counter, 3.0),
    ("tcp_retransmitted_segment_count", Counter, 0.1),
    ("tcp_current_established_connections_total", Gauge, 25.0),
    ("vfs_bytes_read_count", Counter, 5.0e4),
    ("vfs_bytes_written_count", Counter, 2.0e4),
    ("vfs_read_operation_count", Counter, 40.0),
    ("vfs_write_operation_count", Counter, 15.0),
    ("zfs_used", Gauge, 4.0e9),
    ("zfs_available", Gauge, 2.0e10),
    ("zfs_quota", Gauge, 2.5e10),
];

const NIC_FAMILIES: &[Family] = &[
    ("net_agg_bytes_in", Counter, 3.0e4),
    ("net_agg_bytes_out", Counter, 4.0e4),
    ("net_agg_packets_in", Counter, 60.0),
    ("net_agg_packets_out", Counter, 55.0),
];

const SERVER_FAMILIES: &[Family] = &[
    ("arcstats_size_bytes", Gauge, 8.0e9),
    ("arcstats_target_cache_size_bytes", Gauge, 9.0e9),
    ("arcstats_hits_total", Counter, 900.0),
    ("arcstats_misses_total", Counter, 30.0),
    ("ntp_stratum_number", Gauge, 3.0),
    ("ntp_root_delay_seconds", Gauge, 0.02),
];

const CPU_FAMILIES: &[Family] = &[
    ("cpu_idle_seconds_total", Counter, 0.5),
    ("cpu_kernel_seconds_total", Counter, 0.1),
    ("cpu_user_seconds_total", Counter, 0.2),
];

const POOL_FAMILIES: &[Family] = &[
    ("zpool_allocated_bytes", Gauge, 3.0e11),
    ("zpool_size_bytes", Gauge, 1.0e12),
    ("zpool_fragmentation_percent", Gauge, 12.0),
    ("zpool_health_status", Gauge, 0.0),
];

/// CPUs of every compute node here.
const CPUS: usize = 2;
/// 2025-01-01, when all counters stood at 0.
const EPOCH_MS: u64 = 1_735_689_600_000;

/// The metrics of a running VM.
pub(super) fn of_vm(vm: &Vm, now_ms: u64) -> String {
    let mut text = Text { seed: &vm.uuid, now_ms, out: String::new() };
    text.families(VM_FAMILIES, &[String::new()]);
    let nics: Vec<String> = (0..vm.nics.len())
        .map(|index| format!("{{interface=\"vnic{index}\"}}"))
        .collect();
    text.families(NIC_FAMILIES, &nics);
    text.finish()
}

/// The metrics of a compute node.
pub(super) fn of_server(server: &Server, now_ms: u64) -> String {
    let mut text = Text { seed: &server.uuid, now_ms, out: String::new() };
    text.families(SERVER_FAMILIES, &[String::new()]);
    let cpus: Vec<String> =
        (0..CPUS).map(|id| format!("{{cpu_id=\"{id}\"}}")).collect();
    text.families(CPU_FAMILIES, &cpus);
    text.families(POOL_FAMILIES, &["{pool=\"zones\"}".to_owned()]);
    text.finish()
}

struct Text<'a> {
    seed: &'a str,
    now_ms: u64,
    out: String,
}

impl Text<'_> {
    /// One series per label set; without any, no family.
    fn families(&mut self, families: &[Family], labels: &[String]) {
        if labels.is_empty() {
            return;
        }
        for (name, sort, size) in families {
            self.head(name, *sort);
            for label in labels {
                let value = self.value(&format!("{name}{label}"), *sort, *size);
                // Writing to a String cannot fail.
                let _ = writeln!(self.out, "{name}{label} {value}");
            }
        }
    }

    /// The clock comes last. In milliseconds, although its help upstream
    /// speaks of seconds.
    fn finish(mut self) -> String {
        self.head("time_of_day", Counter);
        let _ = writeln!(self.out, "time_of_day {}", self.now_ms);
        self.out
    }

    fn head(&mut self, name: &str, sort: Sort) {
        let sort = if sort == Counter { "counter" } else { "gauge" };
        let _ = writeln!(self.out, "# HELP {name} {}", name.replace('_', " "));
        let _ = writeln!(self.out, "# TYPE {name} {sort}");
    }

    fn value(&self, series: &str, sort: Sort, size: f64) -> f64 {
        let seconds = self.now_ms.saturating_sub(EPOCH_MS) as f64 / 1000.0;
        let chance = chance(&[self.seed, series]);
        let usual = size * (0.5 + chance);
        match sort {
            Counter => (usual * seconds * 1000.0).round() / 1000.0,
            Gauge if size == 0.0 => 0.0,
            Gauge => {
                let turn = seconds / 60.0 + chance * std::f64::consts::TAU;
                usual * (1.0 + 0.1 * turn.sin())
            }
        }
    }
}

/// A number in [0, 1) that depends on the words only (FNV-1a).
fn chance(words: &[&str]) -> f64 {
    let bytes = words.iter().flat_map(|word| word.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash >> 40) as f64 / (1_u64 << 24) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::facts;

    #[test]
    fn counters_grow_and_every_series_has_a_type() {
        let facts = facts();
        let series = |now_ms| {
            let text = of_vm(&facts.vms[0], now_ms);
            let mut lines: Vec<(String, f64)> = Vec::new();
            for line in text.lines().filter(|l| !l.starts_with('#')) {
                let (name, value) = line.rsplit_once(' ').unwrap();
                let family = name.split('{').next().unwrap();
                assert!(text.contains(&format!("# TYPE {family} ")));
                lines.push((name.to_owned(), value.parse().unwrap()));
            }
            lines
        };
        let (early, late) =
            (series(1_800_000_000_000), series(1_800_000_010_000));
        let of = |all: &[(String, f64)], name: &str| {
            all.iter().find(|(n, _)| n == name).unwrap().1
        };
        for name in ["cpu_user_usage", "net_agg_bytes_in{interface=\"vnic0\"}"]
        {
            assert!(of(&late, name) > of(&early, name), "{name}");
        }
        assert_eq!(of(&late, "time_of_day"), 1_800_000_010_000.0);
        assert!(of(&early, "mem_agg_usage") > 0.0);
    }
}
