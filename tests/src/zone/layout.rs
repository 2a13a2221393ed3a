// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The host folders one zone is made in, and their end.

use std::fs;
use std::path::{Path, PathBuf};

use super::root::Places;
use super::{ZoneError, ZoneSpec};

/// The zone's folder below the network's, gone with this value.
#[derive(Debug)]
pub(crate) struct Base(PathBuf);

impl Base {
    /// Errors: also when a living zone of the network has this name.
    pub(crate) fn create(path: PathBuf) -> Result<Self, ZoneError> {
        match fs::create_dir(&path) {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(ZoneError::Folder { path, source }),
        }
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            let path = self.0.display();
            tracing::warn!(%path, %error, "zone's folder not removed");
        }
    }
}

/// Makes the folders inside the zone's.
pub(crate) fn lay_out(
    base: &Base,
    program: &Path,
    spec: &ZoneSpec,
) -> Result<Places, ZoneError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ZoneError::Folder { path, source }
    };
    let base = base.0.canonicalize().map_err(failed(&base.0))?;
    let places = Places {
        root: base.join("root"),
        run: base.join("run"),
        logs: base.join("logs"),
        data: match &spec.data {
            Some(data) => data.canonicalize().map_err(failed(data))?,
            None => base.join("data"),
        },
        program: program.canonicalize().map_err(failed(program))?,
    };
    let exec = places.run.join("exec");
    for path in [&places.root, &places.logs, &places.data, &exec] {
        fs::create_dir_all(path).map_err(failed(path))?;
    }
    Ok(places)
}

/// Empties the zone's root. Its mounts ended with its mount namespace.
pub(crate) fn renew(root: &Path) -> Result<(), ZoneError> {
    let failed = |source| ZoneError::Folder { path: root.to_owned(), source };
    fs::remove_dir_all(root).map_err(failed)?;
    fs::create_dir(root).map_err(failed)
}
