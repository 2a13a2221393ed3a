// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Looks at the zone: what the image brought, what has been done already.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{
    Brand, Dataset, Facts, HOMES, Home, SetupError, Zone, is_complete,
};
use crate::host::{Exec, Host, SETUP_LEAST, Space, space};

/// What a question to a tool of the platform may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Root's crontab.
const CRONTAB: &str = "var/spool/cron/crontabs/root";

/// Registrar's own service file.
const REGISTRAR: &str = "opt/smartdc/registrar/smf/manifests/registrar.xml";

/// The amon agent's own set-up.
const AMON: &str = "opt/amon-agent/pkg/postinstall.sh";

/// Looks at the zone; its files lie below `root`. Changes nothing.
///
/// Errors: `WrongImage`, `NoSpace`, `NoDataset`, or what could not be looked at.
pub async fn look(
    host: &dyn Host,
    root: &Path,
    zone: Zone,
) -> Result<Facts, SetupError> {
    let homes = homes(root, zone.brand)?;
    let role = zone.role;
    if !homes.iter().any(|home| home.name == role.to_string()) {
        return Err(SetupError::WrongImage { role });
    }
    let complete = is_complete(root);
    if !complete {
        room(space(root))?;
    }
    let dataset = dataset(host, &zone.uuid).await?;
    let (mut users, mut groups) = (BTreeSet::new(), BTreeSet::new());
    for file in homes.iter().flat_map(|home| &home.services) {
        let text = read(&below(root, file))?;
        accounts(zone.brand, &text, "user", &mut users);
        accounts(zone.brand, &text, "group", &mut groups);
    }
    users.retain(|name| !is_user(name));
    groups.retain(|name| !is_group(name));
    let crontab = match zone.brand {
        Brand::Lx => Some(String::new()),
        Brand::JoyentMinimal => crontab(host, root).await,
    };
    Ok(Facts {
        dataset,
        homes,
        users,
        groups,
        registrar: zone.brand == Brand::JoyentMinimal
            && root.join(REGISTRAR).exists(),
        amon: zone.brand == Brand::JoyentMinimal && root.join(AMON).exists(),
        crontab,
        complete,
        zone,
    })
}

/// An absolute path of the zone, below `root`.
pub(super) fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn homes(root: &Path, brand: Brand) -> Result<Vec<Home>, SetupError> {
    let folder = root.join(HOMES);
    let suffix = match brand {
        Brand::JoyentMinimal => "xml",
        Brand::Lx => "service",
    };
    let mut homes = Vec::new();
    for name in names(&folder)? {
        let smf = folder.join(&name).join("smf");
        let services = match smf.is_dir() {
            true => names(&smf)?,
            false => Vec::new(),
        };
        let services = services
            .iter()
            .filter(|file| {
                Path::new(file).extension().is_some_and(|it| it == suffix)
            })
            .map(|file| {
                Path::new("/").join(HOMES).join(&name).join("smf").join(file)
            })
            .collect();
        homes.push(Home { name, services });
    }
    Ok(homes)
}

/// Entries of a folder, sorted; folders only make sense to the caller.
fn names(folder: &Path) -> Result<Vec<String>, SetupError> {
    let listed = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    };
    listed()
        .map_err(|source| SetupError::Look { path: folder.to_owned(), source })
}

fn read(path: &Path) -> Result<String, SetupError> {
    fs::read_to_string(path)
        .map_err(|source| SetupError::Look { path: path.to_owned(), source })
}

/// The accounts that a service file names: `User=x`, or `user="x"`.
fn accounts(
    brand: Brand,
    text: &str,
    kind: &str,
    found: &mut BTreeSet<String>,
) {
    let names: Vec<&str> = match brand {
        Brand::Lx => {
            let capital = if kind == "user" { "User=" } else { "Group=" };
            text.lines().filter_map(|it| it.strip_prefix(capital)).collect()
        }
        Brand::JoyentMinimal => {
            let credentials = text.split("<method_credential").skip(1);
            let mark = format!("{kind}=\"");
            credentials
                .filter_map(|it| it.split('>').next()?.split_once(&mark))
                .filter_map(|(_, rest)| rest.split('"').next())
                .collect()
        }
    };
    found.extend(names.into_iter().map(str::trim).map(str::to_owned));
}

/// One that cannot be looked up is taken for there: making it anew would not
/// help.
fn is_user(name: &str) -> bool {
    !matches!(nix::unistd::User::from_name(name), Ok(None))
}

fn is_group(name: &str) -> bool {
    !matches!(nix::unistd::Group::from_name(name), Ok(None))
}

async fn dataset(host: &dyn Host, uuid: &str) -> Result<Dataset, SetupError> {
    let name = format!("zones/{uuid}/data");
    let argv = ["zfs", "get", "-Hpo", "value", "mountpoint,mounted", &name];
    let exec = Exec::new(&argv, LIMIT);
    let finished = host.run(&exec).await.map_err(SetupError::Ask)?;
    if !finished.success() {
        let absent = finished.stderr.contains("does not exist");
        let source = finished.into_error(&exec);
        if !absent {
            return Err(SetupError::Ask(source));
        }
        return Err(SetupError::NoDataset { name, source });
    }
    let mut lines = finished.stdout.lines().map(str::trim);
    let mountpoint = lines.next().unwrap_or_default().to_owned();
    let mounted = lines.next() == Some("yes");
    Ok(Dataset { name, mountpoint, mounted })
}

/// Root's crontab; a zone without one has an empty one. crontab says the same
/// of a file that is missing and of one it cannot read: the folder knows.
async fn crontab(host: &dyn Host, root: &Path) -> Option<String> {
    let exec = Exec::new(&["crontab", "-l"], LIMIT);
    match host.run(&exec).await {
        Ok(finished) if finished.success() => Some(finished.stdout),
        _ => match fs::symlink_metadata(root.join(CRONTAB)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Some(String::new())
            }
            _ => None,
        },
    }
}

/// Whether a set-up has room to write.
fn room(space: Option<Space>) -> Result<(), SetupError> {
    match space {
        Some(Space { size, available }) if available < SETUP_LEAST => {
            let least = SETUP_LEAST;
            Err(SetupError::NoSpace { available, size, least })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_quota_is_said_with_figures_and_a_remedy() {
        let full = Space { size: 10 << 30, available: 3 << 20 };
        let said = room(Some(full)).unwrap_err().to_string();
        assert!(said.contains("3 MiB free of 10240 MiB"), "{said}");
        assert!(said.contains("wants 64 MiB; give it more"), "{said}");
        assert!(room(Some(Space { available: SETUP_LEAST, ..full })).is_ok());
        assert!(room(None).is_ok());
    }
}
