// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What there is: Grafana's words that we use, labels, kinds of metrics.

/// Types of Grafana 11 we use; `graph`, `singlestat`, `table-old` are Angular.
pub(super) const TYPES: [&str; 9] = [
    "row",
    "timeseries",
    "stat",
    "gauge",
    "bargauge",
    "table",
    "heatmap",
    "state-timeline",
    "text",
];

/// Labels that there are: contract sheet grafana-ufds 4.2, then what the
/// daemons' own metrics carry, by their sources.
pub(super) const LABELS: [&str; 62] = [
    // Scrapes, discovery, alerts.
    "job",
    "instance",
    "alias",
    "hostname",
    "le",
    "quantile",
    "alertname",
    "alertstate",
    "severity",
    // Triton's services, Moray, Manatee, Manta.
    "service",
    "route",
    "method",
    "status_code",
    "rpcMethod",
    "interface",
    "gcType",
    "pool",
    "collector",
    "state",
    "datname",
    "relname",
    "operation",
    "statusCode",
    "success",
    "type",
    // config-agent.
    "file",
    "daemon",
    "zone",
    "suffix",
    "address",
    "source",
    "rcode",
    "answers",
    "outcome",
    "event",
    "role",
    "version",
    // Prometheus.
    "config",
    "name",
    "mechanism",
    "interval",
    "slice",
    "rule_group",
    "alertmanager",
    "url",
    // Thanos; a job of ours holds several components.
    "component",
    "handler",
    "code",
    "grpc_code",
    "store_type",
    "external_labels",
    "op",
    "item_type",
    "reason",
    "result",
    "strategy",
    // Alertmanager; `hash` is made by count_values.
    "integration",
    "status",
    "hash",
    // Grafana.
    "datasource",
    "datasource_type",
    "secure_socks_ds_proxy_enabled",
];

/// Units of Grafana's that we use; it shows any other as text.
pub(super) const UNITS: [&str; 12] = [
    "percentunit",
    "percent",
    "bytes",
    "Bps",
    "pps",
    "cps",
    "reqps",
    "ops",
    "s",
    "ms",
    "short",
    "none",
];

/// Gauges whose names end as counters' do.
pub(super) const GAUGES: [&str; 7] = [
    "ntp_peer_last8_polls_failure_count",
    "tcp_current_established_connections_total",
    "heartbeating_servers_count",
    "nodejs_active_handles_count",
    "nodejs_active_requests_count",
    "gc_storage_instruction_files_queued_count",
    "cpucap_waiting_threads_count",
];

/// Counters whose names do not end as counters' do; histograms of Node's
/// have their buckets under the bare name.
pub(super) const COUNTERS: [&str; 31] = [
    "cpu_user_usage",
    "cpu_sys_usage",
    "cpu_wait_time",
    "mem_anon_alloc_fail",
    "net_agg_bytes_in",
    "net_agg_bytes_out",
    "net_agg_packets_in",
    "net_agg_packets_out",
    "metaslab_group_loads",
    "http_requests_completed",
    "http_request_duration_seconds",
    "http_request_latency_ms",
    "collector_time_seconds",
    "fast_requests_completed",
    "fast_request_time_ms",
    "fast_server_request_time_seconds",
    "fast_client_requests_completed",
    "fast_client_request_time_ms",
    "fast_client_request_time_seconds",
    "binder_requests_completed",
    "binder_request_latency_seconds",
    "muskie_inbound_streamed_bytes",
    "muskie_outbound_streamed_bytes",
    "pg_stat_database_xact_commit",
    "pg_stat_database_blks_hit",
    "pg_stat_database_blks_read",
    "pg_stat_database_tup_inserted",
    "pg_stat_database_tup_updated",
    "pg_stat_database_tup_deleted",
    "pg_stat_database_tup_fetched",
    "pg_stat_user_tables_",
];

pub(super) fn is_counter(metric: &str) -> bool {
    let named = ["_total", "_count", "_sum", "_bucket"]
        .iter()
        .any(|ending| metric.ends_with(ending));
    let listed = COUNTERS
        .iter()
        .any(|c| *c == metric || c.ends_with('_') && metric.starts_with(c));
    (named || listed) && !GAUGES.contains(&metric)
}
