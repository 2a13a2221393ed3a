// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! `systemctl` as config-agent and people use it, over the control socket.

use nix::sys::signal::Signal;

use super::control::{Refusal, Reply, Request, UnitView, Verb};
use super::spec::bare_unit_name;
use super::tools::{request, trouble};

/// systemctl(1), "Exit status"; the LSB codes for starting and stopping.
const NOT_PERMITTED: u8 = 4;
const NOT_INSTALLED: u8 = 5;
/// The LSB codes for asking.
const NOT_RUNNING: u8 = 3;
const UNKNOWN: u8 = 4;

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    now: bool,
    quiet: bool,
    value: bool,
    properties: Vec<String>,
    signal: Option<String>,
    words: Vec<String>,
}

pub(super) fn run(args: &[String]) -> u8 {
    let options = match parse(args) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return 1;
        }
    };
    let Some((verb, units)) = options.words.split_first() else {
        return list();
    };
    let each = |act: &dyn Fn(&str) -> u8| worst(units.iter(), act);
    match verb.as_str() {
        "daemon-reload" | "daemon-reexec" => 0,
        "list-units" => list(),
        "reset-failed" if units.is_empty() => reset_all(),
        "show" => each(&|unit| show(&options, unit)),
        _ if units.is_empty() => {
            eprintln!("Too few arguments.");
            1
        }
        "is-active" => first_good(units, |unit| {
            let view = view(unit)?;
            say(&options, &view.active_state);
            Some(if view.active_state == "active" { 0 } else { NOT_RUNNING })
        }),
        "is-failed" => first_good(units, |unit| {
            let view = view(unit)?;
            say(&options, &view.active_state);
            Some(u8::from(view.active_state != "failed"))
        }),
        "is-enabled" => first_good(units, |unit| is_enabled(&options, unit)),
        "status" => each(&status),
        "kill" => each(&|unit| kill(&options, unit)),
        "enable" => each(&|unit| enable(&options, Verb::Enable, unit)),
        "disable" => each(&|unit| enable(&options, Verb::Disable, unit)),
        other => match job(other) {
            Some(job) => each(&|unit| change(other, job, unit)),
            None => {
                eprintln!("Unknown command verb {other}.");
                1
            }
        },
    }
}

fn job(verb: &str) -> Option<Verb> {
    Some(match verb {
        "start" => Verb::Start,
        "stop" => Verb::Stop,
        "restart" => Verb::Restart,
        "try-restart" => Verb::TryRestart,
        "reload" => Verb::Reload,
        "reload-or-restart" => Verb::ReloadOrRestart,
        "reset-failed" => Verb::ResetFailed,
        _ => return None,
    })
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let (name, inline) = match arg.split_once('=') {
            Some((name, value)) if name.starts_with("--") => {
                (name, Some(value.to_owned()))
            }
            _ => (arg.as_str(), None),
        };
        let mut value = || {
            let next = inline.clone().or_else(|| args.next().cloned());
            next.ok_or_else(|| format!("option {name} wants an argument"))
        };
        match name {
            "--now" => options.now = true,
            "-q" | "--quiet" => options.quiet = true,
            "--value" => options.value = true,
            "-p" | "--property" => {
                let list = value()?;
                options.properties.extend(list.split(',').map(String::from));
            }
            "-s" | "--signal" => options.signal = Some(value()?),
            // Of no consequence here.
            "--no-pager" | "--no-ask-password" | "--system" | "--full"
            | "-l" | "--no-legend" | "--plain" | "--all" | "-a" => {}
            _ if name.starts_with('-') => {
                return Err(format!("unrecognized option '{name}'"));
            }
            _ => options.words.push(arg.clone()),
        }
    }
    Ok(options)
}

/// The first exit code that is not 0; 0 when all are.
fn worst<'a>(
    units: impl Iterator<Item = &'a String>,
    act: &dyn Fn(&str) -> u8,
) -> u8 {
    units.map(|unit| act(unit)).fold(0, |a, b| if a == 0 { b } else { a })
}

/// Asking verbs succeed when one unit does.
fn first_good(units: &[String], ask: impl Fn(&str) -> Option<u8>) -> u8 {
    let codes: Vec<u8> =
        units.iter().map(|unit| ask(unit).unwrap_or(1)).collect();
    if codes.contains(&0) { 0 } else { codes.first().copied().unwrap_or(1) }
}

fn say(options: &Options, text: &str) {
    if !options.quiet {
        println!("{text}");
    }
}

fn full(unit: &str) -> String {
    format!("{}.service", bare_unit_name(unit))
}

fn view(unit: &str) -> Option<UnitView> {
    match request(&Request::Show { unit: unit.to_owned() }) {
        Ok(Reply::Unit(view)) => Some(view),
        other => {
            eprintln!("Failed to get unit state: {}", trouble(other));
            None
        }
    }
}

fn is_enabled(options: &Options, unit: &str) -> Option<u8> {
    let view = view(unit)?;
    if !view.is_known() {
        let unit = full(unit);
        eprintln!(
            "Failed to get unit file state for {unit}: \
             No such file or directory"
        );
        return Some(1);
    }
    say(options, if view.enabled { "enabled" } else { "disabled" });
    Some(u8::from(!view.enabled))
}

fn show(options: &Options, unit: &str) -> u8 {
    let Some(view) = view(unit) else { return 1 };
    for line in property_lines(options, &view) {
        println!("{line}");
    }
    0
}

/// `Name=value` lines, or values alone; unknown names are passed over.
fn property_lines(options: &Options, view: &UnitView) -> Vec<String> {
    let yes = |is| if is { "yes" } else { "no" }.to_owned();
    let file_state = match (view.is_known(), view.enabled) {
        (false, _) => "",
        (true, true) => "enabled",
        (true, false) => "disabled",
    };
    let all = [
        ("Id", full(&view.name)),
        ("LoadState", view.load_state.clone()),
        ("ActiveState", view.active_state.clone()),
        ("SubState", view.sub_state.clone()),
        ("UnitFileState", file_state.to_owned()),
        ("MainPID", view.main_pid.to_string()),
        ("ExecMainStatus", view.exec_main_status.to_string()),
        ("NRestarts", view.restarts.to_string()),
        ("Result", view.result.clone()),
        ("CanReload", yes(view.can_reload)),
    ];
    // Like the real one: in its own order, whatever order was asked.
    all.into_iter()
        .filter(|(name, _)| {
            options.properties.is_empty()
                || options.properties.iter().any(|wanted| wanted == name)
        })
        .map(
            |(name, value)| {
                if options.value { value } else { format!("{name}={value}") }
            },
        )
        .collect()
}

fn status(unit: &str) -> u8 {
    let Some(view) = view(unit) else { return 1 };
    let name = full(unit);
    if !view.is_known() {
        eprintln!("Unit {name} could not be found.");
        return UNKNOWN;
    }
    println!("{name}");
    println!("     Active: {} ({})", view.active_state, view.sub_state);
    if view.main_pid != 0 {
        println!("   Main PID: {}", view.main_pid);
    }
    if view.active_state == "active" { 0 } else { NOT_RUNNING }
}

fn list() -> u8 {
    match request(&Request::List) {
        Ok(Reply::Units(units)) => {
            for view in units {
                println!(
                    "{:32} {:9} {:12} {}",
                    full(&view.name),
                    view.load_state,
                    view.active_state,
                    view.sub_state
                );
            }
            0
        }
        other => {
            eprintln!("Failed to list units: {}", trouble(other));
            1
        }
    }
}

fn reset_all() -> u8 {
    let Ok(Reply::Units(units)) = request(&Request::List) else { return 1 };
    let names: Vec<String> = units.into_iter().map(|view| view.name).collect();
    worst(names.iter(), &|unit| change("reset-failed", Verb::ResetFailed, unit))
}

fn kill(options: &Options, unit: &str) -> u8 {
    let wanted = options.signal.as_deref().unwrap_or("SIGTERM");
    let Some(signal) = signal_number(wanted) else {
        eprintln!("Failed to parse signal string {wanted}.");
        return 1;
    };
    let unit_name = unit.to_owned();
    match request(&Request::Kill { unit: unit_name, signal }) {
        Ok(Reply::Done) => 0,
        other => {
            let why = trouble(other);
            eprintln!("Failed to kill unit {}: {why}", full(unit));
            1
        }
    }
}

/// `HUP`, `SIGHUP` or `1`.
fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return Signal::try_from(number).ok().map(|signal| signal as i32);
    }
    let name = text.strip_prefix("SIG").unwrap_or(text);
    format!("SIG{name}").parse::<Signal>().ok().map(|signal| signal as i32)
}

fn enable(options: &Options, verb: Verb, unit: &str) -> u8 {
    let (word, job_word, job) = match verb {
        Verb::Disable => ("disable", "stop", Verb::Stop),
        _ => ("enable", "start", Verb::Start),
    };
    match request(&Request::Unit { verb, unit: unit.to_owned() }) {
        Ok(Reply::Done) if options.now => change(job_word, job, unit),
        Ok(Reply::Done) => 0,
        Ok(Reply::Refused(Refusal::NoSuchUnit)) => {
            let unit = full(unit);
            eprintln!(
                "Failed to {word} unit: Unit file {unit} does not exist."
            );
            1
        }
        other => {
            eprintln!("Failed to {word} unit: {}", trouble(other));
            1
        }
    }
}

fn change(word: &str, verb: Verb, unit: &str) -> u8 {
    let name = full(unit);
    let answer = request(&Request::Unit { verb, unit: unit.to_owned() });
    let (code, message) = match answer {
        Ok(Reply::Done) => return 0,
        Ok(Reply::Refused(Refusal::NoSuchUnit)) => {
            let lacks = match verb {
                Verb::Start | Verb::Restart | Verb::ReloadOrRestart => {
                    "not found"
                }
                _ => "not loaded",
            };
            let message =
                format!("Failed to {word} {name}: Unit {name} {lacks}.");
            let code =
                if verb == Verb::ResetFailed { 1 } else { NOT_INSTALLED };
            (code, message)
        }
        Ok(Reply::Refused(Refusal::NotActive)) => {
            (1, format!("{name} is not active, cannot {word}."))
        }
        Ok(Reply::Refused(Refusal::NotReloadable)) => (
            1,
            format!(
                "Failed to {word} {name}: Job type reload is not \
                 applicable for unit {name}."
            ),
        ),
        Ok(Reply::Refused(Refusal::StartFailed)) => {
            (1, format!("Job for {name} failed; see its log."))
        }
        Ok(Reply::Refused(Refusal::StartedTooOften)) => (
            1,
            format!(
                "Job for {name} failed because start of the service was \
                 attempted too often."
            ),
        ),
        Ok(Reply::Refused(Refusal::NotAllowed(_))) => {
            (NOT_PERMITTED, format!("Failed to {word} {name}: Access denied"))
        }
        other => (1, format!("Failed to {word} {name}: {}", trouble(other))),
    };
    eprintln!("{message}");
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Options {
        let args: Vec<String> =
            line.split_whitespace().map(String::from).collect();
        parse(&args).unwrap()
    }

    #[test]
    fn options_come_in_every_form() {
        let wanted = Options {
            value: true,
            properties: vec!["MainPID".into(), "SubState".into()],
            words: vec!["show".into(), "a.service".into()],
            ..Options::default()
        };
        for line in [
            "show a.service -p MainPID,SubState --value",
            "show -p MainPID -p SubState --value a.service",
            "--value --property=MainPID,SubState show a.service --no-pager",
        ] {
            assert_eq!(options(line), wanted, "{line}");
        }
        assert!(parse(&["--frobnicate".into()]).is_err());
        assert!(parse(&["show".into(), "-p".into()]).is_err());
    }

    #[test]
    fn properties_keep_their_own_order() {
        let view = UnitView { main_pid: 7, ..UnitView::missing("a") };
        let lines = |line: &str| property_lines(&options(line), &view);
        assert_eq!(
            lines("show a -p MainPID,ActiveState"),
            ["ActiveState=inactive", "MainPID=7"]
        );
        assert_eq!(lines("show a -p MainPID --value"), ["7"]);
        assert!(lines("show a -p Nonsense").is_empty());
        assert!(lines("show a").contains(&"Id=a.service".to_owned()));
    }

    #[test]
    fn signals_are_read_by_name_and_number() {
        for text in ["HUP", "SIGHUP", "1"] {
            assert_eq!(signal_number(text), Some(1), "{text}");
        }
        assert_eq!(signal_number("SIGNONSENSE"), None);
        assert_eq!(signal_number("-3"), None);
    }
}
