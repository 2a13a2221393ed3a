// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

use super::*;

const SOURCES: &str = "\
apiVersion: 1
prune: true
datasources:
  - {name: a, uid: a, type: prometheus, access: proxy, orgId: 1,
     url: 'http://p:9090', isDefault: true, editable: false,
     jsonData: {httpMethod: POST, timeInterval: 10s, queryTimeout: 30s,
                prometheusType: Prometheus, manageAlerts: false}}
  - {name: b, uid: b, type: prometheus, access: proxy, orgId: 1,
     url: 'http://q:9090', isDefault: false, editable: false,
     jsonData: {httpMethod: POST, timeInterval: 10s, queryTimeout: 30s,
                prometheusType: Thanos, manageAlerts: false,
                tlsAuthWithCACert: true},
     secureJsonData: {tlsCACert: x}}
";

const PROVIDERS: &str = "\
apiVersion: 1
providers:
  - {name: a, orgId: 1, folder: A, folderUid: a, type: file,
     disableDeletion: false, allowUiUpdates: false,
     updateIntervalSeconds: 30, options: {path: /a}}
  - {name: b, orgId: 1, folder: '', type: file,
     disableDeletion: false, allowUiUpdates: false,
     updateIntervalSeconds: 30,
     options: {path: /b, foldersFromFilesStructure: true}}
";

fn refused(kind: Kind, text: &str) -> String {
    crate::log::chain(&lint(kind, text).unwrap_err())
}

#[test]
fn what_keeps_grafana_from_starting_is_refused() {
    let kind = Kind::GrafanaDatasources;
    lint(kind, SOURCES).unwrap();
    for (from, to, why) in [
        ("isDefault: false", "isDefault: true", "default already"),
        ("uid: b", "uid: a", "has its uid"),
        ("name: b, uid: b", "name: a, uid: b", "have this name"),
        ("uid: b", "uid: 'b c'", "letters, digits"),
        ("uid: b", &format!("uid: {}", "b".repeat(41)), "1 to 40"),
        ("uid: b, ", "", "uid"),
        ("url: 'http://q:9090'", "url: q:9090", "its url"),
        ("url: 'http://q:9090'", "url: 'http://u@q'", "its url"),
        ("name: b", "name: $HOME", "expanded"),
        ("type: prometheus", "type: graphite", "graphite"),
        ("editable: false", "editable: true", "stop the next start"),
        ("orgId: 1", "orgID: 1", "orgID"),
        ("orgId: 1", "orgId: 2", "organisation"),
        ("isDefault: true", "isDefault: 'true'", "boolean"),
        ("prune: true", "prune: true\nprune: false", "duplicate"),
        ("apiVersion: 1", "apiVersion: 2", "apiVersion 2"),
        ("tlsAuthWithCACert: true", "tlsAuthWithCACert: false", "together"),
        ("timeInterval: 10s", "timeInterval: 10", "type Grafana takes"),
        ("POST", "PUT", "PUT"),
        ("datasources:", "datasources: []\nx:", "x"),
        ("  - {", "\t- {", "any token"),
    ] {
        let text = SOURCES.replacen(from, to, 1);
        assert_ne!(text, SOURCES, "{from}");
        let reason = refused(kind, &text);
        assert!(reason.contains(why), "{to}: {reason}");
    }
    let twice = format!("{SOURCES}{}", "  - ");
    assert!(lint(kind, &twice).is_err());
}

#[test]
fn providers_of_dashboards_are_judged() {
    let kind = Kind::GrafanaDashboards;
    lint(kind, PROVIDERS).unwrap();
    for (from, to, why) in [
        ("name: b", "name: a", "name of its own"),
        ("path: /b", "path: /a", "path of its own"),
        ("path: /b", "path: b", "absolute"),
        ("folder: ''", "folder: B", "either a folder"),
        ("type: file", "type: folder", "folder"),
        ("updateIntervalSeconds: 30", "updateIntervalSeconds: 0", "is 0"),
        ("allowUiUpdates", "allowUIUpdates", "allowUIUpdates"),
        ("folderUid: a", "folderUid: a b", "folderUid"),
    ] {
        let text = PROVIDERS.replacen(from, to, 1);
        assert_ne!(text, PROVIDERS, "{from}");
        let reason = refused(kind, &text);
        assert!(reason.contains(why), "{to}: {reason}");
    }
}

/// The template itself, its holes filled.
fn ini() -> String {
    let template = include_str!("../../../templates/grafana/grafana.ini.tera");
    let mut text = String::new();
    for line in template.lines() {
        let line = line
            .replace("{{ \"{\" }}", "{")
            .replace("{{ paths.data }}", "/data")
            .replace("{{ paths.etc }}", "/etc")
            .replace("{{ grafana.run }}", "/run")
            .replace("{{ grafana.identity }}", "-0123456789abcdef")
            .replace("{{ grafana.home_dashboard }}", "/d.json")
            .replace("{{ grafana.log_level }}", "info")
            .replace("{{ grafana.query_timeout_seconds }}", "30");
        let line = match line.find("{%").or(line.find("{{")) {
            Some(at) => format!("{}0", &line[..at]),
            None => line,
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

#[test]
fn a_softened_ini_is_refused() {
    let good = ini();
    lint(Kind::GrafanaIni, &good).unwrap();
    for (from, to, why) in [
        ("protocol = socket", "protocol = http", "socket"),
        ("allow_sign_up = false", "allow_signup = false", "not known"),
        ("[auth.basic]\nenabled = false", "", "[auth.basic] enabled must"),
        ("[users]", "[user]", "[users] allow_sign_up must"),
        (
            "secret_key = $__file{/data/secrets/secret_key}",
            "secret_key = SW2YcwTIb9zpOOhoPsMm",
            "never the secret itself",
        ),
        ("sync_ttl = 0", "sync_ttl = 0\nsync_ttl = 60", "twice"),
        ("domain = 0", "domain = a;b", "quotes"),
        ("domain = 0", "domain = ${HOME}", "expanded"),
        ("max_connections = 0", "max_connections = few", "a number"),
        ("whitelist =\nenable", "whitelist = 127.0.0.1\nenable", "\"\""),
        ("Username-0123456789abcdef", "Username-0", "header_name"),
        ("Username-0123456789abcdef", "User", "header_name"),
        ("[live]", "[live", "no section"),
        ("[live]", "live", "neither key"),
        (
            "Role:X-Grafana-Role",
            "GrafanaAdmin:X-Is-Admin Role:X-Grafana-Role",
            "headers",
        ),
    ] {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        let reason = refused(Kind::GrafanaIni, &text);
        assert!(reason.contains(why), "{to}: {reason}");
    }
}
