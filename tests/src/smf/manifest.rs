// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Service manifests as `svccfg import` takes them. Leaves the order and the
//! attributes of elements to xmllint and the DTD.

use std::collections::BTreeMap;

use roxmltree::{Document, Node, ParsingOptions};
use serde::{Deserialize, Serialize};

/// What privileges(7) lists and a zone can have, as far as ours name it.
const PRIVILEGES: [&str; 11] = [
    "basic",
    "zone",
    "all",
    "none",
    "net_privaddr",
    "net_rawaccess",
    "dtrace_proc",
    "dtrace_user",
    "sys_ip_config",
    "sys_nfs",
    "sys_smb",
];

/// First words that a shell cannot exec, or not as they are meant.
const BUILTINS: [&str; 22] = [
    ".", ":", "[", "[[", "cd", "case", "eval", "exec", "exit", "export", "for",
    "if", "read", "return", "set", "test", "trap", "ulimit", "umask", "unset",
    "until", "while",
];

/// A service with its default instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// `svc:/NAME:default`.
    pub fmri: String,
    /// As it is imported.
    pub enabled: bool,
    /// What must run before.
    pub dependencies: Vec<Dependency>,
    /// By name: start, stop, refresh.
    pub methods: BTreeMap<String, Method>,
    /// Account of the methods; root when none.
    pub user: Option<String>,
    /// Group, likewise.
    pub group: Option<String>,
    /// Privileges; the zone's when none.
    pub privileges: Option<String>,
    /// Where methods start.
    pub working_directory: Option<String>,
    /// Environment of the methods.
    pub environment: BTreeMap<String, String>,
    /// `contract`, `child` or `transient`.
    pub duration: String,
    /// `startd/critical_failure_period`: starts that are fewer seconds apart
    /// on average are too many.
    pub critical_seconds: Option<u64>,
}

/// A dependency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// `require_all`, `optional_all`, ...
    pub grouping: String,
    /// On whom.
    pub fmris: Vec<String>,
}

/// A method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Method {
    /// A shell command, `:kill [-SIGNAL]` or `:true`.
    pub exec: String,
    /// Seconds it may take; none when 0 or less.
    pub timeout_seconds: Option<u64>,
}

/// Reads a manifest of one service.
///
/// Errors: what svccfg or the restarter would trip over.
pub fn parse(text: &str) -> Result<Manifest, String> {
    let options = ParsingOptions { allow_dtd: true, ..Default::default() };
    let document = Document::parse_with_options(text, options)
        .map_err(|error| error.to_string())?;
    let bundle = document.root_element();
    if bundle.attribute("type") != Some("manifest") {
        return Err("not a service bundle of type manifest".to_owned());
    }
    let service = child(bundle, "service").ok_or("no service")?;
    let name = service.attribute("name").ok_or("a service without a name")?;
    let version = service.attribute("version").unwrap_or_default();
    if version.parse::<u32>().is_err() {
        return Err(format!("version {version:?} is no whole number"));
    }
    let instance = child(service, "create_default_instance");
    let instance = instance.ok_or("no default instance")?;
    let mut dependencies = Vec::new();
    for dependency in children(service, "dependency") {
        let fmris = children(dependency, "service_fmri");
        dependencies.push(Dependency {
            grouping: text_of(dependency, "grouping")?,
            fmris: fmris
                .map(|it| text_of(it, "value"))
                .collect::<Result<_, _>>()?,
        });
    }
    let mut methods = BTreeMap::new();
    for method in children(service, "exec_method") {
        let limit = text_of(method, "timeout_seconds")?;
        let limit: i64 = limit.parse().map_err(|_| "a timeout is a number")?;
        let timeout_seconds = u64::try_from(limit).ok().filter(|it| *it > 0);
        let exec = text_of(method, "exec")?;
        check_exec(&exec)?;
        methods
            .insert(text_of(method, "name")?, Method { exec, timeout_seconds });
    }
    for name in ["start", "stop"] {
        if !methods.contains_key(name) {
            return Err(format!("no method {name}"));
        }
    }
    let context = child(service, "method_context");
    let credential = context.and_then(|it| child(it, "method_credential"));
    let of = |name: &str| Some(credential?.attribute(name)?.to_owned());
    if let Some(privileges) = of("privileges") {
        check_privileges(&privileges)?;
    }
    let environment = context.and_then(|it| child(it, "method_environment"));
    let environment = environment.into_iter().flat_map(|environment| {
        children(environment, "envvar").filter_map(|it| {
            Some((it.attribute("name")?.into(), it.attribute("value")?.into()))
        })
    });
    let property = |name: &str| {
        let named = |it: &Node<'_, '_>| it.attribute("name") == Some(name);
        service.descendants().find(named)?.attribute("value")
    };
    let count = property("critical_failure_count");
    let period = property("critical_failure_period");
    // startd keeps the times of five starts, and wants both or none.
    let known = match count.map(str::parse::<u32>) {
        None => period.is_none(),
        Some(count) => matches!(count, Ok(2..=5)) && period.is_some(),
    };
    if !known {
        return Err(format!("critical_failure_count {count:?}, {period:?}"));
    }
    let critical_seconds = period.map(str::parse).transpose();
    let critical_seconds =
        critical_seconds.map_err(|_| "critical_failure_period is a number")?;
    Ok(Manifest {
        fmri: format!("svc:/{name}:default"),
        enabled: instance.attribute("enabled") == Some("true"),
        dependencies,
        methods,
        user: of("user"),
        group: of("group"),
        privileges: of("privileges"),
        working_directory: context
            .and_then(|it| it.attribute("working_directory"))
            .map(str::to_owned),
        environment: environment.collect(),
        duration: property("duration").unwrap_or("contract").to_owned(),
        critical_seconds,
    })
}

fn children<'a, 'i>(
    node: Node<'a, 'i>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |it| it.has_tag_name(name))
}

fn child<'a, 'i>(
    node: Node<'a, 'i>,
    name: &'static str,
) -> Option<Node<'a, 'i>> {
    children(node, name).next()
}

fn text_of(node: Node<'_, '_>, name: &str) -> Result<String, String> {
    let value = node.attribute(name).map(str::to_owned);
    value.ok_or_else(|| format!("a {} without {name}", node.tag_name().name()))
}

fn check_exec(exec: &str) -> Result<(), String> {
    let known = ["", "-HUP", "-TERM", "-KILL", "-USR1", "-USR2", "-INT"];
    // startd has a shell exec the method, and a builtin is no program.
    let first = exec.split_whitespace().next().unwrap_or_default();
    if BUILTINS.contains(&first) || first.contains([';', '=', '(', '{']) {
        return Err(format!("no program to exec: {exec}"));
    }
    match exec.strip_prefix(":kill") {
        Some(signal) if !known.contains(&signal.trim()) => {
            Err(format!("no such signal: {exec}"))
        }
        None if exec.starts_with(':') && exec != ":true" => {
            Err(format!("no such token: {exec}"))
        }
        _ => Ok(()),
    }
}

fn check_privileges(set: &str) -> Result<(), String> {
    let unknown = set
        .split(',')
        .map(|it| it.trim_start_matches(['!', '-']))
        .find(|it| !PRIVILEGES.contains(it));
    match unknown {
        Some(name) => Err(format!("no such privilege: {name}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: &str = include_str!("../../../smf/smartos/config-agent.xml");

    #[test]
    fn a_manifest_is_read_whole() {
        let agent = parse(AGENT).unwrap();
        assert_eq!(agent.fmri, "svc:/triton/application/config-agent:default");
        assert!(!agent.enabled);
        assert_eq!(agent.methods["refresh"].exec, ":kill -HUP");
        assert_eq!(agent.methods["stop"].timeout_seconds, Some(60));
        assert_eq!(agent.user.as_deref(), Some("root"));
        assert_eq!(agent.duration, "contract");
        assert_eq!(agent.dependencies.len(), 2);
        assert_eq!(agent.critical_seconds, Some(30));
    }

    #[test]
    fn what_smf_trips_over_is_refused() {
        const EXEC: &str = "no program to exec";
        for (from, to, says) in [
            ("version=\"1\"", "version=\"1.0.0\"", "no whole number"),
            ("\"root\"/>", "\"root\" privileges=\"nett\"/>", "such privilege"),
            (
                "/opt/triton/config-agent/bin/config-agent run",
                "set -a; x",
                EXEC,
            ),
            ("/opt/triton/config-agent/bin/config-agent run", "[ -r x ]", EXEC),
            (":kill -HUP", ":kill -HUB", "no such signal"),
            ("integer\" value=\"5\"", "integer\" value=\"9\"", "failure_count"),
            ("name=\"stop\"", "name=\"halt\"", "no method stop"),
            ("exec=\":kill\"", "exec=\":die\"", "no such token"),
        ] {
            let error = parse(&AGENT.replace(from, to)).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
