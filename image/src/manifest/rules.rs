// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The rules of image manifests, field by field.

use std::fmt::Display;
use std::path::Path;

use serde_json::{Map, Value};

use crate::problem::Problems;

/// Every field there is; any other is refused by servers and imgadm.
const FIELDS: &[&str] = &[
    "v",
    "uuid",
    "urn",
    "owner",
    "name",
    "version",
    "description",
    "homepage",
    "eula",
    "disabled",
    "activated",
    "published_at",
    "state",
    "public",
    "type",
    "os",
    "origin",
    "error",
    "files",
    "icon",
    "acl",
    "requirements",
    "users",
    "billing_tags",
    "traits",
    "tags",
    "generate_passwords",
    "inherited_directories",
    "nic_driver",
    "disk_driver",
    "cpu_type",
    "image_size",
    "channels",
];
/// What `imgadm install` wants.
const REQUIRED: &[&str] = &["v", "uuid", "name", "version", "type", "os"];
const STATES: &[&str] =
    &["active", "unactivated", "disabled", "creating", "failed"];
const TYPES: &[&str] =
    &["zone-dataset", "lx-dataset", "zvol", "lxd", "docker", "other"];
const SYSTEMS: &[&str] =
    &["smartos", "linux", "windows", "bsd", "illumos", "other"];
const COMPRESSIONS: &[&str] = &["gzip", "bzip2", "xz", "none"];
const BRANDS: &[&str] =
    &["joyent", "joyent-minimal", "lx", "kvm", "bhyve", "builder"];
const BOOTROMS: &[&str] = &["bios", "uefi"];
/// Of virtual machines alone, and there required.
const ZVOL_ONLY: &[&str] =
    &["nic_driver", "disk_driver", "cpu_type", "image_size"];

/// Largest file a server takes, bytes.
const FILE_MAX: u64 = 20 << 30;
/// Most that tags may be, serialized, bytes.
const TAGS_MAX: usize = 100 << 10;
/// Longest description, bytes: what documents say; code takes more.
const DESCRIPTION_MAX: usize = 512;
/// Longest version, bytes: likewise.
pub(crate) const VERSION_MAX: usize = 128;
/// Longest name, bytes: likewise.
pub(crate) const NAME_MAX: usize = 512;

/// Adds all that is wrong to `problems`.
pub(super) fn check(manifest: &Value, path: &Path, problems: &mut Problems) {
    let Some(object) = manifest.as_object() else {
        problems.add(path, "manifest", short(manifest), "an object");
        return;
    };
    let mut judge = Judge { object, path, problems };
    judge.known_fields();
    judge.plain();
    judge.files();
    judge.requirements();
    judge.lists();
    judge.tags();
    judge.by_type();
}

struct Judge<'a> {
    object: &'a Map<String, Value>,
    path: &'a Path,
    problems: &'a mut Problems,
}

impl Judge<'_> {
    fn fault(&mut self, key: impl Display, seen: &Value, wanted: impl Display) {
        self.problems.add(self.path, key, short(seen), wanted);
    }

    fn known_fields(&mut self) {
        let object = self.object;
        for (key, value) in object {
            if !FIELDS.contains(&key.as_str()) {
                let wanted = "no such field; what is ours stands in tags";
                self.fault(key, value, wanted);
            }
        }
        for key in REQUIRED {
            if !object.contains_key(*key) {
                self.problems.add(self.path, key, "absent", "a value");
            }
        }
    }

    /// A field that is there and is not as `good` wants it.
    fn field(
        &mut self,
        key: &str,
        wanted: impl Display,
        good: impl Fn(&Value) -> bool,
    ) {
        if let Some(value) = self.object.get(key)
            && !good(value)
        {
            self.fault(key, value, wanted);
        }
    }

    fn plain(&mut self) {
        self.field("v", "2", |v| {
            v.as_f64() == Some(2.0) || v.as_str() == Some("2")
        });
        for key in ["uuid", "owner", "origin"] {
            self.field(key, "a lower-case uuid", |v| text(v, is_uuid));
        }
        let plain = |more: &'static str, max: usize| {
            move |v: &Value| {
                text(v, |text| {
                    let fits =
                        |c: char| c.is_ascii_alphanumeric() || more.contains(c);
                    !text.is_empty()
                        && text.len() <= max
                        && text.chars().all(fits)
                })
            }
        };
        let wanted = "letters, digits and . _ / - or blank, 512 at most";
        self.field("name", wanted, plain("._/ -", NAME_MAX));
        let wanted = "letters, digits and . _ / + -, 128 at most";
        self.field("version", wanted, plain("._/+-", VERSION_MAX));
        let wanted = "512 bytes at most";
        self.field("description", wanted, |v| {
            text(v, |text| text.len() <= DESCRIPTION_MAX)
        });
        for key in ["homepage", "eula"] {
            self.field(key, "an http or https URL", |v| text(v, is_url));
        }
        for key in
            ["disabled", "activated", "public", "icon", "generate_passwords"]
        {
            self.field(key, "true or false", Value::is_boolean);
        }
        let wanted = "YYYY-MM-DDTHH:MM:SSZ, or with .mmm";
        self.field("published_at", wanted, |v| text(v, is_time));
        for (key, all) in [("state", STATES), ("type", TYPES), ("os", SYSTEMS)]
        {
            let wanted = format!("one of {}", all.join(", "));
            self.field(key, wanted, |v| text(v, |text| all.contains(&text)));
        }
    }

    fn files(&mut self) {
        let kind = self.object.get("type").and_then(Value::as_str);
        let most = if kind == Some("lxd") { 2 } else { 1 };
        let Some(files) = self.object.get("files") else { return };
        let Some(list) = files.as_array().filter(|list| list.len() <= most)
        else {
            self.fault("files", files, format!("an array of {most} at most"));
            return;
        };
        for (nth, file) in list.iter().enumerate() {
            self.file(nth, file);
        }
    }

    fn file(&mut self, nth: usize, file: &Value) {
        let get = |key: &str| file.get(key).unwrap_or(&Value::Null);
        let key = |name: &str| format!("files[{nth}].{name}");
        let sha1 = get("sha1");
        if !text(sha1, |text| is_hex(text, 40)) {
            self.fault(key("sha1"), sha1, "40 lower-case hex digits");
        }
        let size = get("size");
        if !size.as_u64().is_some_and(|size| (1..=FILE_MAX).contains(&size)) {
            self.fault(key("size"), size, "bytes, 1 to 20 GiB");
        }
        let compression = get("compression");
        if !text(compression, |text| COMPRESSIONS.contains(&text)) {
            let wanted = format!("one of {}", COMPRESSIONS.join(", "));
            self.fault(key("compression"), compression, wanted);
        }
        let guid = get("dataset_guid");
        let is_guid = |text: &str| text.parse::<u64>().is_ok();
        if !guid.is_null() && !text(guid, is_guid) {
            self.fault(key("dataset_guid"), guid, "a number in quotes");
        }
    }

    fn requirements(&mut self) {
        let Some(all) = self.object.get("requirements") else { return };
        let Some(all) = all.as_object() else {
            self.fault("requirements", all, "an object");
            return;
        };
        for (key, value) in all {
            let good = match key.as_str() {
                "networks" => is_networks(value),
                "brand" => text(value, |text| BRANDS.contains(&text)),
                "ssh_key" => value.is_boolean(),
                "min_ram" | "max_ram" => value.is_u64(),
                "min_platform" | "max_platform" => is_platforms(value),
                "bootrom" => {
                    let brand = all.get("brand").and_then(Value::as_str);
                    brand == Some("bhyve")
                        && text(value, |text| BOOTROMS.contains(&text))
                }
                _ => false,
            };
            if !good {
                let key = format!("requirements.{key}");
                self.fault(&key, value, wanted_requirement(&key));
            }
        }
        let ram = |key: &str| all.get(key).and_then(Value::as_u64);
        if let (Some(min), Some(max)) = (ram("min_ram"), ram("max_ram"))
            && min > max
        {
            let seen = Value::from(min);
            let wanted = format!("max_ram, {max}, at most");
            self.fault("requirements.min_ram", &seen, wanted);
        }
    }

    fn lists(&mut self) {
        self.field("acl", "an array of uuids", |v| {
            each(v, |one| text(one, is_uuid))
        });
        self.field("users", "an array of {\"name\": ..}", |v| {
            each(v, |one| {
                one.as_object().is_some_and(|user| {
                    user.len() == 1
                        && user.get("name").is_some_and(Value::is_string)
                })
            })
        });
        let wanted = "an array of strings, 128 bytes each at most";
        self.field("billing_tags", wanted, |v| {
            each(v, |one| text(one, |text| text.len() <= 128))
        });
        self.field("traits", "strings, booleans or arrays by name", |v| {
            let plain =
                |v: &Value| v.is_string() || v.is_boolean() || v.is_array();
            v.as_object().is_some_and(|all| all.values().all(plain))
        });
        let wanted = "an array of absolute paths";
        self.field("inherited_directories", wanted, |v| {
            each(v, |one| text(one, |text| text.starts_with('/')))
        });
        self.field("channels", "an array of names", |v| {
            each(v, |one| one.is_string())
        });
    }

    /// Stricter than servers, who take any value: documents promise no more.
    fn tags(&mut self) {
        let Some(tags) = self.object.get("tags") else { return };
        let Some(all) = tags.as_object() else {
            self.fault("tags", tags, "an object");
            return;
        };
        for (key, value) in all {
            let docker = key.starts_with("docker:");
            if !docker
                && (value.is_object() || value.is_array() || value.is_null())
            {
                let wanted = "a string, number or boolean";
                self.fault(format!("tags.{key}"), value, wanted);
            }
        }
        let length = tags.to_string().len();
        if length > TAGS_MAX {
            let seen = Value::from(format!("{length} bytes"));
            self.fault("tags", &seen, "100 KiB at most");
        }
    }

    fn by_type(&mut self) {
        let kind = self.object.get("type").and_then(Value::as_str);
        for key in ZVOL_ONLY {
            let value = self.object.get(*key);
            match (kind == Some("zvol"), value) {
                (true, None) => {
                    self.problems.add(
                        self.path,
                        key,
                        "absent",
                        "of a zvol, a value",
                    );
                }
                (false, Some(value)) if !is_falsy(value) => {
                    self.fault(key, value, "none: of a zvol alone");
                }
                _ => {}
            }
        }
        if kind != Some("zone-dataset")
            && let Some(value) = self.object.get("inherited_directories")
        {
            let wanted = "none: of a zone-dataset alone";
            self.fault("inherited_directories", value, wanted);
        }
    }
}

fn wanted_requirement(key: &str) -> String {
    match key {
        "requirements.networks" => {
            "an array of {\"name\": .., \"description\": ..}".into()
        }
        "requirements.brand" => format!("one of {}", BRANDS.join(", ")),
        "requirements.ssh_key" => "true or false".into(),
        "requirements.min_ram" | "requirements.max_ram" => "MiB".into(),
        "requirements.min_platform" | "requirements.max_platform" => {
            "{\"7.0\": \"YYYYMMDDTHHMMSSZ\"}".into()
        }
        "requirements.bootrom" => "bios or uefi, with brand bhyve".into(),
        _ => "networks, brand, ssh_key, min_ram, max_ram, min_platform, \
              max_platform or bootrom"
            .into(),
    }
}

fn text(value: &Value, good: impl Fn(&str) -> bool) -> bool {
    value.as_str().is_some_and(good)
}

fn each(value: &Value, good: impl Fn(&Value) -> bool) -> bool {
    value.as_array().is_some_and(|list| list.iter().all(good))
}

fn is_falsy(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Bool(false))
        || value.as_u64() == Some(0)
        || value.as_str() == Some("")
}

fn is_hex(text: &str, length: usize) -> bool {
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == length && text.bytes().all(hex)
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    parts.len() == 5
        && parts
            .iter()
            .zip([8, 4, 4, 4, 12])
            .all(|(part, length)| is_hex(part, length))
}

fn is_url(text: &str) -> bool {
    (text.starts_with("https://") || text.starts_with("http://"))
        && text.len() <= 1024
        && !text.contains(char::is_whitespace)
}

/// `9` stands for any digit, all else for itself.
fn shaped(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(byte, wanted)| match wanted {
            b'9' => byte.is_ascii_digit(),
            wanted => byte == wanted,
        })
}

fn is_time(text: &str) -> bool {
    shaped(text, "9999-99-99T99:99:99Z")
        || shaped(text, "9999-99-99T99:99:99.999Z")
}

/// The time in a platform's name.
pub(crate) fn is_platform(text: &str) -> bool {
    shaped(text, "99999999T999999Z")
}

fn is_platforms(value: &Value) -> bool {
    let stamp = |v: &Value| text(v, is_platform);
    let map = value.as_object().filter(|map| !map.is_empty());
    map.is_some_and(|map| map.values().all(stamp))
}

fn is_networks(value: &Value) -> bool {
    each(value, |network| {
        network.as_object().is_some_and(|network| {
            let has = |key| network.get(key).is_some_and(Value::is_string);
            network.len() == 2 && has("name") && has("description")
        })
    })
}

/// A value as a message shows it.
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}
