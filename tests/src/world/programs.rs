// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Where the programs and files are that a zone's image would hold.

use std::path::{Path, PathBuf};

use zone_image::built;

use super::WorldError;

/// Host paths of what the zone shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    /// This crate's program, which plays process 1.
    pub localdc: PathBuf,
    /// The agent under test.
    pub config_agent: PathBuf,
    /// The operator's tool.
    pub monadm: PathBuf,
    /// `templates/` of the repository.
    pub templates: PathBuf,
    /// The daemon.
    pub prometheus: PathBuf,
    /// Its checker.
    pub promtool: PathBuf,
    /// Alertmanager and its checker, where Debian's package is installed.
    pub alertmanager: Option<(PathBuf, PathBuf)>,
}

impl Programs {
    /// The agent beside `localdc` (one `target` folder), Prometheus where
    /// Debian has it.
    ///
    /// Errors: `Missing`; `Stale` when the agent is older than its source.
    pub fn beside(localdc: &Path) -> Result<Self, WorldError> {
        let folder = localdc.parent().unwrap_or(Path::new("."));
        let found = Self::in_folder(localdc, folder)?;
        check_age(&found.config_agent)?;
        Ok(found)
    }

    /// The agent in `folder`, of whatever age.
    pub fn in_folder(
        localdc: &Path,
        folder: &Path,
    ) -> Result<Self, WorldError> {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let build = "run cargo build --workspace";
        let install = "run tests/setup.sh demo";
        let must = |path: PathBuf, advice| {
            path.canonicalize()
                .map_err(|_| WorldError::Missing { path, advice })
        };
        Ok(Self {
            localdc: must(localdc.to_owned(), build)?,
            config_agent: must(folder.join("config-agent"), build)?,
            monadm: must(folder.join("monadm"), build)?,
            templates: must(
                repository.join("templates"),
                "the repository has moved since the build",
            )?,
            prometheus: must("/usr/bin/prometheus".into(), install)?,
            promtool: must("/usr/bin/promtool".into(), install)?,
            // The demo does without.
            alertmanager: must(
                "/usr/bin/prometheus-alertmanager".into(),
                install,
            )
            .and_then(|it| Ok((it, must("/usr/bin/amtool".into(), install)?)))
            .ok(),
        })
    }
}

/// A test of yesterday's agent proves nothing.
fn check_age(binary: &Path) -> Result<(), WorldError> {
    match built::newer_source(binary, &[]) {
        None => Ok(()),
        Some(source_file) => {
            let binary = binary.to_owned();
            Err(WorldError::Stale { binary, source_file })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn an_agent_older_than_its_source_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (binary, source) =
            (folder.path().join("agent"), folder.path().join("lib.rs"));
        fs::write(&binary, "").unwrap();
        check_age(&binary).unwrap();
        let list = format!("{}: {}\n", binary.display(), source.display());
        fs::write(folder.path().join("agent.d"), list).unwrap();
        check_age(&binary).unwrap();
        let file = fs::File::create(&source).unwrap();
        let later = SystemTime::now() + Duration::from_secs(100);
        file.set_modified(later).unwrap();
        let error = check_age(&binary).unwrap_err().to_string();
        assert!(error.contains("lib.rs: run cargo build"), "{error}");
    }

    #[test]
    fn what_is_missing_is_named_with_advice() {
        let folder = tempfile::tempdir().unwrap();
        let error = Programs::in_folder(Path::new("/bin/sh"), folder.path());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("config-agent is missing: run"), "{error}");
    }
}
