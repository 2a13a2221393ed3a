// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The HTTP side, on loopback: a page for people, JSON, metrics and a health
//! check for programs.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Reporter, StatusReport, control, metrics, table};
use crate::dns::NamesHandle;

/// Serves `/`, `/status.json`, `/healthz` and `/metrics` until `stop`, and
/// below `/dns` what verb dns asks of the name server, if one runs.
pub async fn serve(
    listener: TcpListener,
    reporter: Reporter,
    names: Option<NamesHandle>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/", get(page))
        .route("/status.json", get(json))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics_text))
        .with_state(reporter)
        .merge(control::routes(names));
    let served = axum::serve(listener, router)
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    tokio::select! {
        served = served.into_future() => served,
        // A client that lingers does not hold up the end.
        () = async {
            stop.cancelled().await;
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        } => Ok(()),
    }
}

async fn page(State(reporter): State<Reporter>) -> Html<String> {
    Html(html(&reporter()))
}

async fn json(State(reporter): State<Reporter>) -> axum::Json<StatusReport> {
    axum::Json(reporter())
}

async fn health(State(reporter): State<Reporter>) -> impl IntoResponse {
    let report = reporter();
    if report.healthy {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        let faults = report.faults.join("\n");
        (StatusCode::SERVICE_UNAVAILABLE, format!("{faults}\n"))
    }
}

async fn metrics_text(State(reporter): State<Reporter>) -> impl IntoResponse {
    exposition(&reporter())
}

/// The report as Prometheus reads it.
pub(super) fn exposition(report: &StatusReport) -> impl IntoResponse + use<> {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics::render(report))
}

/// The same tables as in a terminal, readable on any screen.
fn html(report: &StatusReport) -> String {
    let title = if report.healthy { "healthy" } else { "unhealthy" };
    let text = escape(&table(report, false));
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta http-equiv=\"refresh\" content=\"10\">\n\
         <title>config-agent: {title}</title>\n\
         <style>body{{font:14px/1.4 monospace;margin:2em;max-width:100em}}\n\
         pre{{overflow-x:auto}} .unhealthy{{border-left:4px solid #b00;\
         padding-left:1em}}</style></head>\n\
         <body class=\"{title}\"><pre>{text}</pre>\n\
         <p><a href=\"/status.json\">status.json</a> \
         <a href=\"/metrics\">metrics</a> \
         <a href=\"/healthz\">healthz</a></p></body></html>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
