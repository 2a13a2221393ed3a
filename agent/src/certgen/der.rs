// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Just enough DER (X.690) to take key containers apart and to build them.
//! Certificates are left to x509-parser and rcgen.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const CONTEXT_0: u8 = 0xa0;
pub(super) const CONTEXT_1: u8 = 0xa1;

/// Reads elements one after the other; never past its bytes.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Content of the next element if it has this tag.
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&found, rest) = self.0.split_first()?;
        if found != tag {
            return None;
        }
        let (&first, mut rest) = rest.split_first()?;
        let len = if first < 0x80 {
            usize::from(first)
        } else {
            // Four length bytes are more than any key needs.
            let count = usize::from(first & 0x7f);
            if !(1..=4).contains(&count) {
                return None;
            }
            let (bytes, tail) = rest.split_at_checked(count)?;
            rest = tail;
            bytes.iter().fold(0, |len, b| (len << 8) | usize::from(*b))
        };
        let (content, tail) = rest.split_at_checked(len)?;
        self.0 = tail;
        Some(content)
    }

    /// Magnitude of the next element, a non-negative INTEGER.
    pub(super) fn unsigned(&mut self) -> Option<&'a [u8]> {
        let content = self.take(INTEGER)?;
        if content.first()? & 0x80 != 0 {
            return None;
        }
        Some(without_zeros(content))
    }
}

/// One element around the joined parts.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    if let Ok(short) = u8::try_from(len)
        && short < 0x80
    {
        out.push(short);
    } else {
        let bytes = len.to_be_bytes();
        let bytes = without_zeros(&bytes);
        let count = u8::try_from(bytes.len()).expect("a usize is 8 bytes");
        out.push(0x80 | count);
        out.extend_from_slice(bytes);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// INTEGER of an unsigned big-endian number.
pub(super) fn integer(magnitude: &[u8]) -> Vec<u8> {
    element(INTEGER, &[&signed(magnitude)])
}

/// Shortest two's complement of an unsigned number; at least one byte.
pub(super) fn signed(magnitude: &[u8]) -> Vec<u8> {
    let magnitude = without_zeros(magnitude);
    let mut out = Vec::with_capacity(magnitude.len() + 1);
    if magnitude.first().is_none_or(|byte| byte & 0x80 != 0) {
        out.push(0);
    }
    out.extend_from_slice(magnitude);
    out
}

pub(super) fn without_zeros(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| *byte != 0);
    &bytes[start.unwrap_or(bytes.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_at_every_length_form() {
        for len in [0, 1, 127, 128, 255, 256, 65_536] {
            let content = vec![7; len];
            let bytes = element(OCTET_STRING, &[&content]);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.take(OCTET_STRING), Some(&content[..]));
            assert_eq!(reader.take(OCTET_STRING), None);
        }
    }

    #[test]
    fn integers_keep_their_sign_and_lose_needless_zeros() {
        assert_eq!(integer(&[]), [2, 1, 0]);
        assert_eq!(integer(&[0, 0, 5]), [2, 1, 5]);
        assert_eq!(integer(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(Reader::new(&[2, 2, 0, 0x80]).unsigned(), Some(&[0x80][..]));
        assert_eq!(Reader::new(&[2, 1, 0x80]).unsigned(), None);
    }

    #[test]
    fn refuses_lengths_beyond_the_end() {
        for bytes in [&[4, 2, 0][..], &[4, 0x80], &[4, 0x84, 255, 255, 255]] {
            assert_eq!(Reader::new(bytes).take(OCTET_STRING), None);
        }
    }
}
