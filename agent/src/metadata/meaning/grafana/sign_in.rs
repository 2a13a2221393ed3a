// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Who may sign in to Grafana: where UFDS is, whose certificate it shows,
//! what its groups are to Grafana, how long a session lasts.

use std::path::Path;

use super::super::super::grammar::{is_host_port, is_line, with_port};
use super::super::super::setting::{
    About, Change, Choice, Seconds, Setting, Switch, Text, Texts,
};
use super::super::super::wire::Reader;
use super::wire::{is_address, is_certificates, is_name};
use crate::model::grafana::{Roles, SignIn, Trust, Ufds};
use crate::model::{Paths, Place, Secret};

/// LDAPS.
const PORT: u16 = 636;

const RESTART: Change = Change::Restart;
const ROLES: &[&str] = &["Admin", "Editor", "Viewer", "none"];

static UFDS: Texts = Texts {
    about: About::derived(
        "grafana_ufds",
        "Where the master UFDS answers, the best address first; port 636 \
         unless given.",
        "ufds_remote_ip, or ufds_domain",
        RESTART,
    ),
    wanted: "host or host:port",
    accept: |text| is_host_port(&with_port(text, PORT)),
    most: 8,
};
static REMOTE_IP: Text = Text {
    about: About::derived(
        "ufds_remote_ip",
        "The master UFDS, where that is in another datacenter.",
        "the master is in this one",
        RESTART,
    ),
    wanted: "an IP address",
    accept: is_address,
};
static DOMAIN: Text = Text {
    about: About::derived(
        "ufds_domain",
        "The name of this datacenter's UFDS.",
        "ufds.<datacenter>.<dns_domain>",
        RESTART,
    ),
    wanted: "a DNS name",
    accept: is_name,
};
static ROOT_DN: Text = Text {
    about: About::value(
        "ufds_ldap_root_dn",
        "Who asks UFDS.",
        "\"cn=root\"",
        RESTART,
    ),
    wanted: "a DN",
    accept: |text| is_line(text) && text.contains('='),
};
static ROOT_PW: Text = Text {
    about: About::derived(
        "ufds_ldap_root_pw",
        "The password of ufds_ldap_root_dn.",
        "none: nobody can sign in",
        RESTART,
    ),
    wanted: "a password",
    accept: is_line,
};
static REMOTE_ROOT_PW: Text = Text {
    about: About::derived(
        "ufds_remote_ldap_root_pw",
        "The same at ufds_remote_ip.",
        "ufds_ldap_root_pw",
        RESTART,
    ),
    wanted: "a password",
    accept: is_line,
};
static TRUST: Choice = Choice {
    about: About::value(
        "grafana_ufds_trust",
        "Whose certificate UFDS may show: the one that was seen first at each \
         address, kept on the data folder, or any. grafana_ufds_pins and \
         grafana_ufds_ca say it better.",
        "\"first_use\"",
        RESTART,
    ),
    words: &["first_use", "insecure"],
};
static PINS: Texts = Texts {
    about: About::derived(
        "grafana_ufds_pins",
        "The certificates that UFDS may show, by their SHA-256.",
        "as grafana_ufds_trust says",
        RESTART,
    ),
    wanted: "64 hex digits",
    accept: |text| {
        text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
    },
    most: 16,
};
static CA: Text = Text {
    about: About::derived(
        "grafana_ufds_ca",
        "The certificates that UFDS may show, or authorities that sign them \
         for the name that is asked.",
        "as grafana_ufds_trust says",
        RESTART,
    ),
    wanted: "PEM certificates",
    accept: is_certificates,
};
static OPERATORS: Choice = Choice {
    about: About::value(
        "grafana_operators_role",
        "What operators are to Grafana; none keeps them out.",
        "\"Admin\"",
        RESTART,
    ),
    words: ROLES,
};
static READERS: Choice = Choice {
    about: About::value(
        "grafana_readers_role",
        "What the members of UFDS' group readers are to Grafana.",
        "\"Viewer\"",
        RESTART,
    ),
    words: ROLES,
};
static EMAIL: Choice = Choice {
    about: About::value(
        "grafana_email",
        "Whose e-mail address Grafana is told: the first that UFDS has, or \
         one made of the account's uuid. Grafana looks people up by it first, \
         so who gives himself an operator's address in UFDS has his account \
         in Grafana, too.",
        "\"synthetic\"",
        RESTART,
    ),
    words: &["ufds", "synthetic"],
};
static SESSION_IDLE: Seconds = Seconds {
    about: About::value(
        "grafana_session_idle",
        "Time after which an unused session ends.",
        "3600",
        RESTART,
    ),
    low: 120,
    high: 86_400,
};
static SESSION_LENGTH: Seconds = Seconds {
    about: About::value(
        "grafana_session_length",
        "Time after which a session ends, used or not.",
        "43200",
        RESTART,
    ),
    low: 120,
    high: 604_800,
};
static TOKENS: Switch = Switch {
    about: About::value(
        "grafana_tokens",
        "Whether tokens of Grafana's service accounts may pass to /api/ \
         without a sign-in; Grafana alone judges them then.",
        "false",
        RESTART,
    ),
};

/// The keys of this file.
pub(crate) static SETTINGS: &[&dyn Setting] = &[
    &UFDS,
    &REMOTE_IP,
    &DOMAIN,
    &ROOT_DN,
    &ROOT_PW,
    &REMOTE_ROOT_PW,
    &TRUST,
    &PINS,
    &CA,
    &OPERATORS,
    &READERS,
    &EMAIL,
    &SESSION_IDLE,
    &SESSION_LENGTH,
    &TOKENS,
];

/// What the sign-in proxy reads; `None` while UFDS' password is not known:
/// then nobody can sign in.
pub(super) fn sign_in(
    reader: &mut Reader<'_>,
    place: &Place,
    paths: &Paths,
    run: &Path,
    title: &str,
    log_level: &str,
) -> Option<SignIn> {
    let remote = reader.get(&REMOTE_IP);
    let domain = reader.get(&DOMAIN).unwrap_or_else(|| {
        format!("ufds.{}.{}", place.datacenter, place.dns_domain)
    });
    let own_password = reader.get(&ROOT_PW);
    let remote_password = reader.get(&REMOTE_ROOT_PW);
    let password = match &remote {
        Some(_) => remote_password.or(own_password),
        None => own_password,
    };
    let listed = reader.get(&UFDS).filter(|listed| !listed.is_empty());
    let addresses = listed.unwrap_or_else(|| vec![remote.unwrap_or(domain)]);
    let addresses = addresses.iter().map(|one| match one.contains("::") {
        true => format!("[{one}]:{PORT}"),
        false => with_port(one, PORT),
    });
    let pins = reader.get(&PINS).filter(|pins| !pins.is_empty());
    let given = reader.get(&CA);
    if pins.is_some() && given.is_some() {
        reader.reject(&CA, "nothing while grafana_ufds_pins is set");
    }
    let trust = match (pins, given, reader.or_default(&TRUST)) {
        (Some(pins), _, _) => Trust::Pins(pins),
        (_, Some(pem), _) => Trust::Certificates(pem),
        (_, _, "insecure") => Trust::Insecure,
        _ => Trust::FirstUse,
    };
    let mut role = |key| {
        let word: &str = reader.or_default(key);
        (word != "none").then(|| word.to_owned())
    };
    let roles = Roles { operators: role(&OPERATORS), readers: role(&READERS) };
    let bind_dn = reader.or_default(&ROOT_DN);
    let email = reader.or_default(&EMAIL).to_owned();
    let idle = reader.or_default(&SESSION_IDLE);
    let length = reader.or_default(&SESSION_LENGTH);
    let tokens = reader.or_default(&TOKENS);
    Some(SignIn {
        socket: run.join("sign-in/sign-in.sock"),
        state: paths.data.join("sign-in"),
        peers: ["root", "daemon"].map(str::to_owned).to_vec(),
        title: title.to_owned(),
        log_level: log_level.to_owned(),
        ufds: Ufds {
            addresses: addresses.collect(),
            bind_dn,
            password: Secret::new(password?),
            trust,
        },
        roles,
        email,
        session_idle_seconds: idle.min(length),
        session_seconds: length,
        tokens,
    })
}
