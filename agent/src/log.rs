// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! tracing events become bunyan lines: one JSON object each, `v name hostname
//! pid level time msg`, then ours. `err.message` holds the joined chain.

use std::fmt;
use std::io::Write;
use std::sync::Mutex;

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// An error and its causes, joined as they are logged: `a: b: c`. A cause
/// that draws a picture over several lines is put on one.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    if text.contains('\n') {
        return text.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    text
}

/// Where lines go: standard output for loops, standard error for verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, which SMF and systemd collect.
    Stdout,
    /// Standard error, beside a verb's answer.
    Stderr,
}

/// A bunyan level's name (`info`, `warn`, ...) as tracing knows it.
pub fn level(name: &str) -> Option<Level> {
    match name {
        "trace" => Some(Level::TRACE),
        "debug" => Some(Level::DEBUG),
        "info" => Some(Level::INFO),
        "warn" => Some(Level::WARN),
        "error" | "fatal" => Some(Level::ERROR),
        _ => None,
    }
}

/// Starts logging for the whole process; a second call changes nothing.
pub fn start(name: &'static str, level: Level, stream: Stream) {
    let layer = Bunyan::new(name, level, move |line: &[u8]| {
        // Nowhere left to complain to when the log itself is gone.
        let _ = match stream {
            Stream::Stdout => std::io::stdout().lock().write_all(line),
            Stream::Stderr => std::io::stderr().lock().write_all(line),
        };
    });
    let subscriber = tracing_subscriber::registry().with(layer);
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// The layer that writes bunyan lines.
struct Bunyan<W> {
    name: &'static str,
    hostname: String,
    pid: u32,
    level: Level,
    write: Mutex<W>,
}

impl<W: FnMut(&[u8])> Bunyan<W> {
    fn new(name: &'static str, level: Level, write: W) -> Self {
        let hostname = nix::unistd::gethostname()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        Self {
            name,
            hostname,
            pid: std::process::id(),
            level,
            write: Mutex::new(write),
        }
    }
}

impl<S, W> Layer<S> for Bunyan<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: FnMut(&[u8]) + Send + 'static,
{
    fn enabled(
        &self,
        metadata: &tracing::Metadata<'_>,
        _: Context<'_, S>,
    ) -> bool {
        // Libraries speak up from warn; their own errors reach us as values.
        let ours = metadata.target().starts_with("monitoring_agent")
            || metadata.target().starts_with("config_agent");
        let level = *metadata.level();
        level <= self.level && (ours || level <= Level::WARN)
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.level.into())
    }

    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        id: &tracing::span::Id,
        context: Context<'_, S>,
    ) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields(Map::new());
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Map::new();
        line.insert("v".into(), 0.into());
        line.insert("name".into(), self.name.into());
        line.insert("hostname".into(), self.hostname.clone().into());
        line.insert("pid".into(), self.pid.into());
        line.insert("level".into(), number(event.metadata().level()).into());
        let now = OffsetDateTime::now_utc();
        let now = now.replace_millisecond(now.millisecond()).unwrap_or(now);
        line.insert(
            "time".into(),
            now.format(&Rfc3339).unwrap_or_default().into(),
        );
        line.insert("msg".into(), "".into());
        let component = event.metadata().target().split("::").nth(1);
        line.insert("component".into(), component.unwrap_or("main").into());
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(Fields(fields)) = span.extensions().get::<Fields>() {
                for (key, value) in fields {
                    line.insert(key.clone(), value.clone());
                }
            }
        }
        let mut fields = Fields(line);
        event.record(&mut fields);
        let mut text = serde_json::to_vec(&fields.0).unwrap_or_default();
        text.push(b'\n');
        let mut write = self.write.lock().expect("no holder panics");
        (write)(&text);
    }
}

fn number(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 50,
        Level::WARN => 40,
        Level::INFO => 30,
        Level::DEBUG => 20,
        Level::TRACE => 10,
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn set(&mut self, field: &Field, value: Value) {
        let name = match field.name() {
            "message" => "msg",
            // bunyan's `err` is an object.
            "err.message" => {
                let error = Map::from_iter([("message".to_owned(), value)]);
                self.0.insert("err".into(), error.into());
                return;
            }
            name => name.strip_prefix("r#").unwrap_or(name),
        };
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn logged(emit: impl FnOnce()) -> Vec<Value> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let layer = Bunyan::new("test", Level::INFO, move |line: &[u8]| {
            sink.lock().unwrap().push(serde_json::from_slice(line).unwrap());
        });
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, emit);
        std::mem::take(&mut lines.lock().unwrap())
    }

    #[test]
    fn an_event_is_a_bunyan_line() {
        let lines = logged(|| {
            let span = tracing::info_span!("poll", req_id = "r1");
            let _entered = span.enter();
            tracing::warn!(
                serial = 7,
                err.message = "a: b",
                path = %"/x",
                "zone not transferred"
            );
            tracing::debug!("too quiet");
        });
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        assert_eq!(line["v"], 0);
        assert_eq!(line["level"], 40);
        assert_eq!(line["msg"], "zone not transferred");
        assert_eq!(line["serial"], 7);
        assert_eq!(line["path"], "/x");
        assert_eq!(line["err"]["message"], "a: b");
        assert_eq!(line["req_id"], "r1");
        assert_eq!(line["component"], "log");
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
    }
}
