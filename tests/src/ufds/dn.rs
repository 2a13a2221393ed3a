// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Distinguished names as the directory takes them: types in any case, spaces
//! around commas or none; values as they are.

/// The parts, types in lower case; `None` for what is no such name.
pub(super) fn parts(text: &str) -> Option<Vec<(String, String)>> {
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    let parts = text.split(',').map(|part| {
        let (kind, value) = part.split_once('=')?;
        let (kind, value) = (kind.trim().to_ascii_lowercase(), value.trim());
        (!kind.is_empty() && !value.is_empty())
            .then(|| (kind, value.to_owned()))
    });
    parts.collect()
}

/// As answers have it: a space after each comma.
pub(super) fn written(text: &str) -> Option<String> {
    let parts = parts(text)?;
    let parts = parts.iter().map(|(kind, value)| format!("{kind}={value}"));
    Some(parts.collect::<Vec<_>>().join(", "))
}

/// Levels that `dn` lies below `base`; both as `written`.
pub(super) fn depth(dn: &str, base: &str) -> Option<usize> {
    if dn == base {
        return Some(0);
    }
    if base.is_empty() {
        return Some(dn.split(", ").count());
    }
    let rest = dn.strip_suffix(base)?.strip_suffix(", ")?;
    Some(rest.split(", ").count())
}
