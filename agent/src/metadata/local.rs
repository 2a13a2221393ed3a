// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Config manifests kept in folders of the zone's image:
//! `DIR/sapi_manifests/<any>/{manifest.json,template}`.
//!
//! Whatever cannot be used costs a warning naming its path, and nothing else:
//! the Node agent forgets every local manifest over one stray file, and
//! clears the high bit of all it reads. Text here is UTF-8. Each call reads
//! anew; noticing changes is the caller's part, and so is keeping these
//! blocking reads off an async worker.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::config::SapiManifest;

/// The folder's name within an image's service folder.
const FOLDER: &str = "sapi_manifests";

/// Largest `manifest.json` read, in bytes.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// Largest `template` read, in bytes; `render::hogan` takes no more.
const MAX_TEMPLATE_BYTES: u64 = 16 << 20;

/// Most entries looked at in one folder.
const MAX_ENTRIES: usize = 10_000;

/// The config key `localManifestDirs`: for the one instance of a zone a list,
/// otherwise folders by instance uuid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LocalManifestDirs {
    /// `["/opt/example"]`: for whichever instance is asked for.
    List(Vec<PathBuf>),
    /// `{"<uuid>": ["/opt/example"]}`.
    PerInstance(BTreeMap<String, Vec<PathBuf>>),
}

impl Default for LocalManifestDirs {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl LocalManifestDirs {
    /// The folders of one instance; none, if it is not named.
    pub fn for_instance(&self, uuid: &str) -> &[PathBuf] {
        match self {
            Self::List(dirs) => dirs,
            Self::PerInstance(map) => map.get(uuid).map_or(&[], Vec::as_slice),
        }
    }
}

/// A config manifest from a folder, its template included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalManifest {
    /// What it says; the name in the file counts, not the folder's.
    pub manifest: SapiManifest,
    /// The folder that holds its two files.
    pub dir: PathBuf,
}

/// Something that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalWarning {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it; never its content.
    pub reason: String,
}

impl fmt::Display for LocalWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

/// What the folders gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalManifests {
    /// In the order of the folders, then by entry name.
    pub manifests: Vec<LocalManifest>,
    /// In the same order.
    pub warnings: Vec<LocalWarning>,
}

/// Reads the manifests of all `dirs`. A DIR whose path ends in
/// `sapi_manifests` is the folder itself, else the folder lies in it.
pub fn load_local_manifests(dirs: &[PathBuf]) -> LocalManifests {
    let mut loaded = LocalManifests::default();
    let mut folders: Vec<PathBuf> = Vec::new();
    for dir in dirs {
        let folder = manifest_folder(dir);
        if !folders.contains(&folder) {
            loaded.load_folder(&folder);
            folders.push(folder);
        }
    }
    loaded
}

/// The folder that DIR stands for; also what a watcher must watch.
pub fn manifest_folder(dir: &Path) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    if name.ends_with(FOLDER) { dir.to_owned() } else { dir.join(FOLDER) }
}

impl LocalManifests {
    fn load_folder(&mut self, folder: &Path) {
        let names = match entry_names(folder) {
            Ok(names) => names,
            Err(error) => return self.warn(folder, unreadable(&error)),
        };
        if names.len() > MAX_ENTRIES {
            let reason = format!("only {MAX_ENTRIES} entries are looked at");
            self.warn(folder, reason);
        }
        for name in names.into_iter().take(MAX_ENTRIES) {
            let dir = folder.join(name);
            match load_manifest(&dir) {
                Ok(manifest) => {
                    self.manifests.push(LocalManifest { manifest, dir });
                }
                Err(warning) => self.warnings.push(warning),
            }
        }
    }

    fn warn(&mut self, path: &Path, reason: String) {
        self.warnings.push(LocalWarning { path: path.to_owned(), reason });
    }
}

/// Sorted, so that which of two manifests is first does not depend on the
/// file system. One more than [`MAX_ENTRIES`] at most.
fn entry_names(folder: &Path) -> io::Result<Vec<OsString>> {
    let mut names = fs::read_dir(folder)?
        .take(MAX_ENTRIES + 1)
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

fn load_manifest(dir: &Path) -> Result<SapiManifest, LocalWarning> {
    let warning = |path: &Path, reason: String| LocalWarning {
        path: path.to_owned(),
        reason,
    };
    match fs::metadata(dir) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            let reason = "not a folder with manifest.json and template";
            return Err(warning(dir, reason.to_owned()));
        }
        Err(error) => return Err(warning(dir, unreadable(&error))),
    }
    let file = dir.join("manifest.json");
    let text = read_text(&file, MAX_MANIFEST_BYTES)
        .map_err(|reason| warning(&file, reason))?;
    let mut manifest: Value = serde_json::from_str(&text)
        .map_err(|error| warning(&file, format!("not JSON: {error}")))?;
    let template_file = dir.join("template");
    let template = read_text(&template_file, MAX_TEMPLATE_BYTES)
        .map_err(|reason| warning(&template_file, reason))?;
    if let Value::Object(fields) = &mut manifest {
        fields.insert("template".to_owned(), template.into());
    }
    SapiManifest::from_value(manifest).map_err(|reason| warning(&file, reason))
}

/// Reads a regular file: a FIFO would hold us up for ever.
fn read_text(path: &Path, max_bytes: u64) -> Result<String, String> {
    let found = fs::metadata(path).map_err(|error| unreadable(&error))?;
    if !found.is_file() {
        return Err("not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(max_bytes + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > max_bytes {
        return Err(format!("larger than {max_bytes} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| {
        format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to())
    })
}

fn unreadable(error: &io::Error) -> String {
    format!("cannot be read: {error}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    fn add(folder: &Path, dir: &str, manifest: &str, template: &[u8]) {
        let dir = folder.join(dir);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("manifest.json"), manifest).unwrap();
        fs::write(dir.join("template"), template).unwrap();
    }

    fn demo(name: &str) -> String {
        format!(r#"{{"name":"{name}","path":"/opt/{name}.json"}}"#)
    }

    /// A DIR holding one good manifest `good` in its `sapi_manifests`.
    fn image() -> (TempDir, PathBuf) {
        let root = TempDir::new().unwrap();
        let folder = root.path().join(FOLDER);
        add(&folder, "good", &demo("good"), b"x");
        (root, folder)
    }

    fn load(dir: &Path) -> LocalManifests {
        load_local_manifests(&[dir.to_owned()])
    }

    fn names(loaded: &LocalManifests) -> Vec<&str> {
        loaded.manifests.iter().map(|m| m.manifest.name.as_str()).collect()
    }

    #[test]
    fn dir_may_be_the_folder_itself_or_hold_it() {
        let (root, folder) = image();
        let loaded = load(root.path());
        assert_eq!(names(&loaded), ["good"]);
        assert_eq!(loaded.manifests[0].dir, folder.join("good"));
        assert_eq!(loaded, load(&folder));
        let slash = PathBuf::from(format!("{}/", folder.display()));
        let both = load_local_manifests(&[slash, root.path().to_owned()]);
        assert_eq!(names(&both), ["good"], "the same folder twice");
        assert_eq!(both.warnings, []);
    }

    /// §2.6, W9: the Node agent reads ASCII and makes `naC/ve` of it.
    #[test]
    fn text_is_utf8() {
        let (root, folder) = image();
        let manifest = r#"{"name":"naïve","path":"/opt/é.json"}"#;
        add(&folder, "n", manifest, "naïve {{日本}} 😀".as_bytes());
        let loaded = load(root.path());
        let manifest = &loaded.manifests[1].manifest;
        assert_eq!(manifest.name, "naïve");
        assert_eq!(manifest.path, Path::new("/opt/é.json"));
        assert_eq!(manifest.template, "naïve {{日本}} 😀");
        assert_eq!(loaded.warnings, []);
    }

    /// §2.6, W10: each of these makes the Node agent forget `good` as well.
    #[test]
    fn what_cannot_be_used_costs_one_warning_and_nothing_else() {
        let (root, folder) = image();
        let path = |name: &str| folder.join(name);
        fs::write(path("README"), "hello").unwrap();
        fs::write(path(".good.swp"), "x").unwrap();
        symlink("/nowhere/at/all", path("dangling")).unwrap();
        fs::create_dir(path("empty")).unwrap();
        add(&folder, "broken", "{\"name\":\"secret", b"x");
        add(&folder, "list", "[]", b"x");
        add(&folder, "relative", r#"{"name":"r","path":"etc/r"}"#, b"x");
        add(&folder, "nameless", r#"{"path":"/r"}"#, b"x");
        add(&folder, "latin1", &demo("latin1"), b"na\xefve");
        add(&folder, "no-template", &demo("n"), b"");
        fs::remove_file(path("no-template/template")).unwrap();
        add(&folder, "template-is-a-folder", &demo("n"), b"");
        fs::remove_file(path("template-is-a-folder/template")).unwrap();
        fs::create_dir(path("template-is-a-folder/template")).unwrap();
        add(&folder, "zz-last", &demo("last"), b"x");

        let loaded = load(root.path());
        assert_eq!(names(&loaded), ["good", "last"]);
        let seen: Vec<(&Path, &str)> = loaded
            .warnings
            .iter()
            .map(|w| {
                let path = w.path.strip_prefix(&folder).unwrap();
                (path, w.reason.as_str())
            })
            .collect();
        let gone = "cannot be read: No such file or directory (os error 2)";
        let stray = "not a folder with manifest.json and template";
        assert_eq!(
            seen,
            [
                (".good.swp", stray),
                ("README", stray),
                (
                    "broken/manifest.json",
                    "not JSON: EOF while parsing a string at line 1 column 15"
                ),
                ("dangling", gone),
                ("empty/manifest.json", gone),
                ("latin1/template", "not UTF-8 at byte 2"),
                ("list/manifest.json", "is an array, wanted an object"),
                ("nameless/manifest.json", "name is missing"),
                ("no-template/template", gone),
                ("relative/manifest.json", "path \"etc/r\" is not absolute"),
                ("template-is-a-folder/template", "not a regular file"),
            ]
            .map(|(path, reason)| (Path::new(path), reason))
        );
    }

    #[test]
    fn a_missing_or_unreadable_dir_is_a_warning() {
        let (root, _) = image();
        let missing = root.path().join("nowhere");
        let file = root.path().join("file");
        fs::create_dir(&file).unwrap();
        fs::write(file.join(FOLDER), "not a folder").unwrap();
        let dirs = [missing.clone(), file.clone(), root.path().to_owned()];
        let loaded = load_local_manifests(&dirs);
        assert_eq!(names(&loaded), ["good"]);
        let paths: Vec<_> = loaded.warnings.iter().map(|w| &w.path).collect();
        assert_eq!(paths, [&missing.join(FOLDER), &file.join(FOLDER)]);
        assert!(
            loaded.warnings[0].to_string().ends_with(
                "nowhere/sapi_manifests: cannot be read: No such file or \
                 directory (os error 2)"
            ),
            "{}",
            loaded.warnings[0]
        );
    }

    #[test]
    fn large_files_are_not_read_whole() {
        let (root, folder) = image();
        add(&folder, "big", &demo("big"), b"");
        let template = File::create(folder.join("big/template")).unwrap();
        template.set_len(MAX_TEMPLATE_BYTES + 1).unwrap();
        let loaded = load(root.path());
        assert_eq!(names(&loaded), ["good"]);
        assert_eq!(loaded.warnings[0].reason, "larger than 16777216 bytes");
    }

    /// W17: the Node agent reads templates only at its start.
    #[test]
    fn each_call_reads_anew() {
        let (root, folder) = image();
        assert_eq!(load(root.path()).manifests[0].manifest.template, "x");
        fs::write(folder.join("good/template"), "y").unwrap();
        assert_eq!(load(root.path()).manifests[0].manifest.template, "y");
    }

    #[test]
    fn dirs_are_a_list_or_a_map() {
        let list: LocalManifestDirs = serde_json::from_str("[\"/a\"]").unwrap();
        assert_eq!(list.for_instance("any"), [PathBuf::from("/a")]);
        let map: LocalManifestDirs =
            serde_json::from_str(r#"{"c0": ["/a", "/b"], "c1": []}"#).unwrap();
        let both = [PathBuf::from("/a"), PathBuf::from("/b")];
        assert_eq!(map.for_instance("c0"), both);
        assert!(map.for_instance("c1").is_empty());
        assert!(map.for_instance("c2").is_empty());
        assert!(LocalManifestDirs::default().for_instance("c0").is_empty());
        for wrong in ["\"/a\"", "[1]", r#"{"c0": "/a"}"#] {
            let seen: Result<LocalManifestDirs, _> =
                serde_json::from_str(wrong);
            assert!(seen.is_err(), "{wrong}");
        }
    }
}
