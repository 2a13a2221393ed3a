// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Header values for Grafana: quoted-printable, as `headers_encoded` wants
//! them. So whatever UFDS holds becomes printable ASCII without line breaks.
//! Source: RFC 2045 section 6.7; contract sheet on Grafana, `[auth.proxy]`.

use std::fmt::Write as _;

/// `text`, cut to `most` characters before it is encoded.
pub fn encoded(text: &str, most: usize) -> String {
    let text = text.trim();
    let end = text.char_indices().nth(most).map_or(text.len(), |(at, _)| at);
    let text = text[..end].trim_end();
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' | b'@' | b'.' | b'_' | b'-' | b'+' | b'\'' => {
                out.push(char::from(byte));
            }
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            byte => {
                let _ = write!(out, "={byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_outside_ascii_are_encoded() {
        assert_eq!(encoded("Zoë", 200), "Zo=C3=AB");
        assert_eq!(encoded(" a=b ", 200), "a=3Db");
        assert_eq!(encoded("ab\r\nX-Role: x", 200), "ab=0D=0AX-Role=3A x");
        assert_eq!(encoded("ëëë", 2), "=C3=AB=C3=AB");
        assert_eq!(encoded("op_1.x@dc-1", 200), "op_1.x@dc-1");
    }

    proptest! {
        #[test]
        fn nothing_breaks_a_header(text in "\\PC{0,50}|[\\x00-\\xff]{0,50}") {
            let out = encoded(&text, 40);
            prop_assert!(out.bytes().all(|b| (b' '..=b'~').contains(&b)));
            prop_assert_eq!(out.trim(), &out);
            let mut bytes = Vec::new();
            let mut rest = out.as_bytes();
            while let Some((first, after)) = rest.split_first() {
                rest = after;
                if *first != b'=' { bytes.push(*first); continue; }
                let pair = std::str::from_utf8(&rest[..2]).unwrap();
                bytes.push(u8::from_str_radix(pair, 16).unwrap());
                rest = &rest[2..];
            }
            let back = String::from_utf8(bytes).unwrap();
            let wanted: String = text.trim().chars().take(40).collect();
            prop_assert_eq!(back, wanted.trim_end());
        }
    }
}
