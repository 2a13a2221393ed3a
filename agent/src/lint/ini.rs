// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! `grafana.ini`: the sections and keys that we set, what each may hold, and
//! those that must stand there as they are. Grafana takes a misspelled key
//! for nothing at all, and its defaults are those of a desk, not of a
//! datacenter.

use std::collections::BTreeMap;

/// What a key may hold.
#[derive(Clone, Copy, Debug)]
enum Want {
    /// This, and it must be there.
    Is(&'static str),
    /// Must be there: this, and what this zone ends such names with.
    Header(&'static str),
    /// Must be there: fields, each from such a header.
    Headers(&'static [(&'static str, &'static str)]),
    /// Must be there: the content of a file, which holds a secret.
    Secret,
    /// `true` or `false`.
    Switch,
    /// A whole number.
    Number,
    /// An absolute path.
    Path,
    /// Anything that is one line.
    Text,
    /// One of these.
    One(&'static [&'static str]),
}

use Want::{Header, Headers, Is, Number, One, Path, Secret, Switch, Text};

const OFF: Want = Is("false");
const ON: Want = Is("true");

/// Section, key, what it may hold.
const KEYS: &[(&str, &str, Want)] = &[
    ("paths", "data", Path),
    ("paths", "logs", Path),
    ("paths", "plugins", Path),
    ("paths", "provisioning", Path),
    // Any port would be open to each process of the zone, and to Grafana's
    // own data sources (CVE-2022-35957).
    ("server", "protocol", Is("socket")),
    ("server", "socket", Path),
    ("server", "socket_mode", Is("0660")),
    ("server", "domain", Text),
    ("server", "root_url", Text),
    ("server", "enforce_domain", Switch),
    ("server", "router_logging", Switch),
    ("database", "type", Is("sqlite3")),
    ("database", "path", Text),
    ("database", "wal", Switch),
    ("security", "secret_key", Secret),
    ("security", "admin_user", Secret),
    ("security", "admin_email", Secret),
    ("security", "admin_password", Secret),
    ("security", "disable_gravatar", ON),
    ("security", "cookie_secure", ON),
    ("security", "cookie_samesite", One(&["lax", "strict"])),
    ("security", "allow_embedding", OFF),
    ("security", "content_security_policy", Switch),
    ("security", "strict_transport_security", Switch),
    ("security", "data_source_proxy_whitelist", Text),
    ("auth.proxy", "enabled", ON),
    ("auth.proxy", "header_name", Header("X-Grafana-Username")),
    ("auth.proxy", "header_property", Is("username")),
    // Each of them is set by nginx on every request.
    (
        "auth.proxy",
        "headers",
        Headers(&[
            ("Name", "X-Grafana-Name"),
            ("Email", "X-Grafana-Email"),
            ("Role", "X-Grafana-Role"),
        ]),
    ),
    ("auth.proxy", "headers_encoded", ON),
    ("auth.proxy", "auto_sign_up", Switch),
    ("auth.proxy", "sync_ttl", Is("0")),
    ("auth.proxy", "whitelist", Is("")),
    ("auth.proxy", "enable_login_token", OFF),
    ("auth", "disable_login_form", ON),
    ("auth", "disable_signout_menu", Switch),
    ("auth", "oauth_allow_insecure_email_lookup", OFF),
    ("auth", "login_maximum_inactive_lifetime_duration", Text),
    ("auth", "login_maximum_lifetime_duration", Text),
    ("auth.basic", "enabled", OFF),
    ("auth.anonymous", "enabled", OFF),
    ("auth.anonymous", "hide_version", Switch),
    ("users", "allow_sign_up", OFF),
    ("users", "allow_org_create", OFF),
    ("users", "auto_assign_org", Switch),
    ("users", "auto_assign_org_id", Number),
    ("users", "auto_assign_org_role", Is("Viewer")),
    ("snapshots", "enabled", OFF),
    ("snapshots", "external_enabled", OFF),
    ("public_dashboards", "enabled", OFF),
    ("analytics", "reporting_enabled", OFF),
    ("analytics", "check_for_updates", OFF),
    ("analytics", "check_for_plugin_updates", OFF),
    ("analytics", "feedback_links_enabled", OFF),
    ("news", "news_feed_enabled", OFF),
    ("plugins", "plugin_admin_enabled", OFF),
    ("plugins", "public_key_retrieval_disabled", ON),
    ("plugins", "preinstall_disabled", ON),
    ("plugins", "allow_loading_unsigned_plugins", Is("")),
    ("cloud_migration", "enabled", OFF),
    ("support_bundles", "enabled", OFF),
    ("provisioning", "enabled", OFF),
    ("unified_alerting", "enabled", OFF),
    ("live", "max_connections", Number),
    ("metrics", "enabled", Switch),
    ("dashboards", "default_home_dashboard_path", Path),
    ("dashboards", "min_refresh_interval", Text),
    ("dataproxy", "timeout", Number),
    ("date_formats", "default_timezone", Text),
    ("log", "mode", Is("console")),
    ("log", "level", One(&["debug", "info", "warn", "error"])),
    ("log.console", "format", Is("json")),
];

pub(super) fn problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let set = parse(text, &mut problems);
    for ((section, key), value) in &set {
        let known = KEYS.iter().find(|(s, k, _)| s == section && k == key);
        match known {
            None => problems.push(format!("[{section}] {key} is not known")),
            Some((_, _, want)) => {
                if let Err(wanted) = judge(*want, value) {
                    problems.push(format!(
                        "[{section}] {key} is {value:?}, wanted {wanted}"
                    ));
                }
            }
        }
    }
    for (section, key, want) in KEYS {
        if matches!(want, Is(_) | Header(_) | Headers(_) | Secret)
            && !set.contains_key(&(section, key))
        {
            problems.push(format!("[{section}] {key} must be set"));
        }
    }
    problems
}

/// Section and key to value; what is no line of an ini file is a problem.
fn parse<'a>(
    text: &'a str,
    problems: &mut Vec<String>,
) -> BTreeMap<(&'a str, &'a str), &'a str> {
    let mut set = BTreeMap::new();
    let mut section = "";
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            match name.strip_suffix(']') {
                Some(name) => section = name,
                None => problems.push(format!("line {number}: no section")),
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            problems.push(format!("line {number}: neither key nor section"));
            continue;
        };
        let (key, value) = (key.trim(), value.trim());
        // Comments, quotes, continued lines, references to other keys.
        if value.contains(['#', ';', '`', '"', '\'', '\\', '%'])
            || value.chars().any(char::is_control)
        {
            problems.push(format!("line {number}: {key} would need quotes"));
        }
        if set.insert((section, key), value).is_some() {
            problems.push(format!("[{section}] {key} stands there twice"));
        }
    }
    set
}

fn judge(want: Want, value: &str) -> Result<(), String> {
    let secret =
        value.strip_prefix("$__file{").and_then(|rest| rest.strip_suffix('}'));
    if !matches!(want, Secret) && value.contains('$') {
        return Err("nothing that is expanded".to_owned());
    }
    let (good, wanted) = match want {
        Header(name) => {
            (is_header(value, name), format!("{name}, and hex after a dash"))
        }
        Headers(fields) => {
            let mut words = value.split(' ');
            let good = fields.iter().all(|(field, name)| {
                let pair = words.next().and_then(|word| word.split_once(':'));
                pair.is_some_and(|(f, n)| f == *field && is_header(n, name))
            });
            let wanted = fields.iter().map(|(f, n)| format!("{f}:{n}"));
            let wanted = wanted.collect::<Vec<_>>().join(" ");
            (good && words.next().is_none(), wanted)
        }
        Is(text) => (value == text, format!("{text:?}")),
        Secret => (
            secret.is_some_and(is_path),
            "$__file{PATH}, never the secret itself".to_owned(),
        ),
        Switch => {
            (["true", "false"].contains(&value), "true or false".to_owned())
        }
        Number => (value.parse::<u32>().is_ok(), "a number".to_owned()),
        Path => (is_path(value), "an absolute path".to_owned()),
        Text => (!value.is_empty(), "something".to_owned()),
        One(words) => (words.contains(&value), words.join(" or ")),
    };
    if good { Ok(()) } else { Err(wanted) }
}

/// `name`, or `name` with a dash and hex digits after it.
fn is_header(text: &str, name: &str) -> bool {
    match text.strip_prefix(name) {
        Some("") => true,
        Some(end) => end.strip_prefix('-').is_some_and(|end| {
            end.len() >= 16 && end.bytes().all(|b| b.is_ascii_hexdigit())
        }),
        None => false,
    }
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && !text.contains(['{', '}', '$', ' '])
}
