// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Distinguished names, as far as membership needs them: UFDS keeps them as
//! somebody once wrote them, with or without spaces after commas.
//! Source: RFC 4514; contract sheet on UFDS, "Operators".

/// Longest that is read, bytes.
const MOST: usize = 1_024;

/// A distinguished name of single-valued parts: types in lower case, values
/// without escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dn(Vec<(String, String)>);

impl Dn {
    /// `None` for what is no such name.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MOST {
            return None;
        }
        let mut parts = Vec::new();
        let mut rest = text.as_bytes();
        loop {
            let (part, after) = part(rest)?;
            parts.push(part);
            match after {
                Some(after) => rest = after,
                None => return Some(Self(parts)),
            }
        }
    }

    /// The uuid of an account: `uuid=UUID, ou=users, o=smartdc`, and nothing
    /// below or above it.
    pub fn account(&self) -> Option<&str> {
        let [(uuid_type, uuid), (ou, users), (o, smartdc)] = self.0.as_slice()
        else {
            return None;
        };
        let is_account = uuid_type == "uuid"
            && ou == "ou"
            && users.eq_ignore_ascii_case("users")
            && o == "o"
            && smartdc.eq_ignore_ascii_case("smartdc");
        (is_account && !uuid.is_empty()).then_some(uuid)
    }
}

type Part<'a> = ((String, String), Option<&'a [u8]>);

/// One `type=value`, and what follows the comma after it.
fn part(bytes: &[u8]) -> Option<Part<'_>> {
    let equals = bytes.iter().position(|b| *b == b'=')?;
    let kind = std::str::from_utf8(&bytes[..equals]).ok()?.trim_matches(' ');
    let is_kind = !kind.is_empty()
        && kind
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    if !is_kind {
        return None;
    }
    let mut value = Vec::new();
    // Where the last byte stands that is not a space to be trimmed.
    let mut kept = 0;
    let mut at = equals + 1;
    while bytes.get(at) == Some(&b' ') {
        at += 1;
    }
    let mut after = None;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b',' | b';' => {
                after = Some(&bytes[at..]);
                break;
            }
            b'\\' => {
                let (escaped, length) = escape(&bytes[at..])?;
                value.push(escaped);
                kept = value.len();
                at += length;
            }
            // Several in one part, quoted or binary values: none of UFDS.
            b'+' | b'"' | b'<' | b'>' | 0 => return None,
            b'#' if value.is_empty() => return None,
            b' ' => value.push(b' '),
            byte => {
                value.push(*byte);
                kept = value.len();
            }
        }
    }
    value.truncate(kept);
    let value = String::from_utf8(value).ok()?;
    Some(((kind.to_ascii_lowercase(), value), after))
}

/// What follows a backslash: a character as it is, or two hex digits.
fn escape(bytes: &[u8]) -> Option<(u8, usize)> {
    let first = *bytes.first()?;
    if b" \"#+,;<=>\\".contains(&first) {
        return Some((first, 1));
    }
    let pair = std::str::from_utf8(bytes.get(..2)?).ok()?;
    let is_hex = pair.bytes().all(|b| b.is_ascii_hexdigit());
    is_hex.then(|| u8::from_str_radix(pair, 16).ok()).flatten().map(|b| (b, 2))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UUID: &str = "3f0e8a55-1111-4222-8333-944445555666";

    fn account(text: &str) -> Option<String> {
        Dn::parse(text)?.account().map(str::to_owned)
    }

    #[test]
    fn an_account_is_found_however_it_was_written() {
        for text in [
            format!("uuid={UUID}, ou=users, o=smartdc"),
            format!("uuid={UUID},ou=users,o=smartdc"),
            format!("UUID = {UUID} ,  OU=users , O=smartdc "),
            format!("uuid={UUID};ou=Users;o=SmartDC"),
            format!("uuid=\\33{}, ou=users, o=smartdc", &UUID[1..]),
        ] {
            assert_eq!(account(&text).as_deref(), Some(UUID), "{text}");
        }
    }

    #[test]
    fn nobody_else_is_an_account() {
        for text in [
            format!("uuid={UUID}, ou=users, o=smartdc, o=x"),
            format!("uuid=x, uuid={UUID}, ou=users, o=smartdc"),
            format!("uuid={UUID}\\, ou=users, o=smartdc"),
            format!("uuid={UUID}+cn=x, ou=users, o=smartdc"),
            format!("cn={UUID}, ou=users, o=smartdc"),
            format!("uuid={UUID}, ou=groups, o=smartdc"),
            "uuid=, ou=users, o=smartdc".to_owned(),
            "uuid=\\zz, ou=users, o=smartdc".to_owned(),
            "uuid".to_owned(),
            String::new(),
            ",".to_owned(),
            "x".repeat(MOST + 1),
        ] {
            assert_eq!(account(&text), None, "{text}");
        }
        // The store knows uuids in lower case alone.
        let upper = UUID.to_uppercase();
        let text = format!("uuid={upper}, ou=users, o=smartdc");
        assert_ne!(account(&text).as_deref(), Some(UUID));
    }

    proptest! {
        #[test]
        fn escaped_values_come_back(
            value in "[ -~]{1,20}", noise in "\\PC{0,60}",
        ) {
            let _ = Dn::parse(&noise);
            let escaped: String =
                value.bytes().map(|b| format!("\\{b:02x}")).collect();
            let text = format!("uuid={escaped}, ou=users, o=smartdc");
            prop_assert_eq!(account(&text), Some(value));
        }
    }
}
