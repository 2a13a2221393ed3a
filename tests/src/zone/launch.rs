// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Starts processes for the supervisor: their account, environment, process
//! group and files.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{Group, User};

use super::control::ExecRequest;
use super::root::{EXEC_FOLDER, LOG_FOLDER};
use super::spec::ZONE_PATH;
use super::units::Unit;

/// Starts a unit's program; returns its pid.
pub(crate) fn spawn_unit(unit: &Unit) -> io::Result<i32> {
    let spec = &unit.spec;
    let log = Path::new(LOG_FOLDER).join(format!("{}.log", unit.name()));
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    let mut env = spec.env.clone();
    for path in &spec.environment_files {
        match fs::read_to_string(path) {
            Ok(text) => env.extend(variables(&text)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    let mut command = command(&spec.argv, spec.user.as_deref(), &env)?;
    if let Some(name) = &spec.group {
        let group = Group::from_name(name)?
            .ok_or_else(|| io::Error::other(format!("no group {name}")))?;
        command.gid(group.gid.as_raw());
    }
    command
        .current_dir(spec.directory.as_deref().unwrap_or(Path::new("/")))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    Ok(command.spawn()?.id().cast_signed())
}

/// `NAME=value` lines, as far as ours go: no quotes, no continued lines.
fn variables(text: &str) -> impl Iterator<Item = (String, String)> {
    text.lines().filter_map(|line| {
        let (name, value) = line.trim().split_once('=')?;
        let comment = name.starts_with(['#', ';']);
        (!comment).then(|| (name.to_owned(), value.to_owned()))
    })
}

/// Starts a command that runs once; returns its pid.
pub(crate) fn spawn_exec(exec: &ExecRequest) -> io::Result<i32> {
    let file = |end| Path::new(EXEC_FOLDER).join(format!("{}{end}", exec.id));
    let stdin = match File::open(file(".in")) {
        Ok(file) => Stdio::from(file),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Stdio::null(),
        Err(e) => return Err(e),
    };
    let mut command = command(&exec.argv, exec.user.as_deref(), &exec.env)?;
    command
        .current_dir("/")
        .stdin(stdin)
        .stdout(File::create(file(".out"))?)
        .stderr(File::create(file(".err"))?);
    Ok(command.spawn()?.id().cast_signed())
}

/// A command in a process group of its own, as the given account.
#[expect(clippy::disallowed_methods, reason = "the supervisor runs daemons")]
fn command(
    argv: &[String],
    user: Option<&str>,
    env: &BTreeMap<String, String>,
) -> io::Result<Command> {
    let (program, args) = argv
        .split_first()
        .ok_or_else(|| io::Error::other("the argv is empty"))?;
    let name = user.unwrap_or("root");
    let account = User::from_name(name)?
        .ok_or_else(|| io::Error::other(format!("no account {name}")))?;
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .env("PATH", ZONE_PATH)
        .env("HOME", &account.dir)
        .env("USER", name)
        .envs(env)
        .process_group(0);
    if !account.uid.is_root() {
        command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_file_is_lines_of_name_and_value() {
        let text = "# A=1\n\nGOMEMLIMIT=512MiB\n; B=2\nC=a=b\nnothing\n";
        let found: Vec<_> = variables(text).collect();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(found, [pair("GOMEMLIMIT", "512MiB"), pair("C", "a=b")]);
    }
}
