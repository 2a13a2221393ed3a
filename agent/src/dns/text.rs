// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Names and rdata as zone files have them (RFC 1035 §5.1), from their wire
//! form. The types that CNS publishes, and MX, are spelled out; all others
//! take the form that every reader of zone files knows (RFC 3597 §5).

use std::borrow::Cow;
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

const A: u16 = 1;
const NS: u16 = 2;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const PTR: u16 = 12;
const MX: u16 = 15;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const SRV: u16 = 33;

/// A type's mnemonic, or `TYPEn`.
pub(super) fn rtype(number: u16) -> Cow<'static, str> {
    Cow::Borrowed(match number {
        A => "A",
        NS => "NS",
        CNAME => "CNAME",
        SOA => "SOA",
        PTR => "PTR",
        MX => "MX",
        TXT => "TXT",
        AAAA => "AAAA",
        SRV => "SRV",
        _ => return Cow::Owned(format!("TYPE{number}")),
    })
}

/// Writes the name at the front of `wire`, absolute; says what is behind it.
/// `None` when there is none, or a compressed one.
pub(super) fn name<'w>(wire: &'w [u8], out: &mut String) -> Option<&'w [u8]> {
    let (mut rest, mut empty) = (wire, true);
    loop {
        let (len, tail) = rest.split_first()?;
        if *len > 63 {
            return None;
        }
        let (label, tail) = tail.split_at_checked(usize::from(*len))?;
        rest = tail;
        if label.is_empty() {
            if empty {
                out.push('.');
            }
            return Some(rest);
        }
        empty = false;
        for byte in label {
            character(*byte, b" .\"();@$\\", out);
        }
        out.push('.');
    }
}

/// One byte, escaped where it is one of `special` or not printable.
fn character(byte: u8, special: &[u8], out: &mut String) {
    match byte {
        b' ' if !special.contains(&byte) => out.push(' '),
        b'!'..=b'~' => {
            if special.contains(&byte) {
                out.push('\\');
            }
            out.push(char::from(byte));
        }
        _ => {
            let _ = write!(out, "\\{byte:03}");
        }
    }
}

/// Writes rdata; what is not as its type wants it, in the general form.
pub(super) fn rdata(rtype: u16, wire: &[u8], out: &mut String) {
    let before = out.len();
    if known(rtype, wire, out).is_none() {
        out.truncate(before);
        let _ = write!(out, "\\# {}", wire.len());
        for (at, byte) in wire.iter().enumerate() {
            let gap = if at == 0 { " " } else { "" };
            let _ = write!(out, "{gap}{byte:02x}");
        }
    }
}

fn known(rtype: u16, wire: &[u8], out: &mut String) -> Option<()> {
    let rest = match rtype {
        A => {
            let octets: [u8; 4] = wire.try_into().ok()?;
            let _ = write!(out, "{}", Ipv4Addr::from(octets));
            &[]
        }
        AAAA => {
            let octets: [u8; 16] = wire.try_into().ok()?;
            let _ = write!(out, "{}", Ipv6Addr::from(octets));
            &[]
        }
        NS | CNAME | PTR => name(wire, out)?,
        MX => name(numbers(1, wire, out)?, out)?,
        SRV => name(numbers(3, wire, out)?, out)?,
        TXT => strings(wire, out)?,
        SOA => soa(wire, out)?,
        _ => return None,
    };
    rest.is_empty().then_some(())
}

fn numbers<'w>(
    count: usize,
    wire: &'w [u8],
    out: &mut String,
) -> Option<&'w [u8]> {
    let mut rest = wire;
    for _ in 0..count {
        let (number, tail) = rest.split_first_chunk()?;
        let _ = write!(out, "{} ", u16::from_be_bytes(*number));
        rest = tail;
    }
    Some(rest)
}

fn strings<'w>(wire: &'w [u8], out: &mut String) -> Option<&'w [u8]> {
    let mut rest = wire;
    loop {
        let (len, tail) = rest.split_first()?;
        let (text, tail) = tail.split_at_checked(usize::from(*len))?;
        out.push('"');
        for byte in text {
            character(*byte, b"\"\\", out);
        }
        out.push('"');
        if tail.is_empty() {
            return Some(tail);
        }
        out.push(' ');
        rest = tail;
    }
}

fn soa<'w>(wire: &'w [u8], out: &mut String) -> Option<&'w [u8]> {
    let rest = name(wire, out)?;
    out.push(' ');
    let mut rest = name(rest, out)?;
    for _ in 0..5 {
        let (number, tail) = rest.split_first_chunk()?;
        let _ = write!(out, " {}", u32::from_be_bytes(*number));
        rest = tail;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(rtype: u16, wire: &[u8]) -> String {
        let mut out = String::new();
        rdata(rtype, wire, &mut out);
        out
    }

    #[test]
    fn rdata_is_spelled_as_zone_files_do() {
        for (rtype, wire, text) in [
            (A, &[10, 0, 0, 1][..], "10.0.0.1"),
            (AAAA, &[0; 16], "::"),
            (CNAME, b"\x01a\x02bc\0", "a.bc."),
            (NS, b"\0", "."),
            (MX, b"\0\x0a\x01a\0", "10 a."),
            (SRV, b"\0\0\0\x0a\x23\xcb\x01a\0", "0 10 9163 a."),
            (TXT, b"\x02a \x03\"\\\xff\0", r#""a " "\"\\\255" """#),
            (
                SOA,
                b"\x01m\0\x03a.b\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\
                  \0\0\0\x04\0\0\0\x05",
                r"m. a\.b. 1 2 3 4 5",
            ),
            (257, b"\0\x05issue", r"\# 7 00056973737565"),
        ] {
            assert_eq!(said(rtype, wire), text);
        }
    }

    #[test]
    fn what_does_not_fit_its_type_is_told_byte_by_byte() {
        for (rtype, wire, text) in [
            (A, &[10, 0, 0][..], r"\# 3 0a0000"),
            (CNAME, b"\x01a\0\0", r"\# 4 01610000"),
            (CNAME, b"\xc0\x0c", r"\# 2 c00c"),
            (TXT, b"\x05a", r"\# 2 0561"),
            (SRV, b"\0", r"\# 1 00"),
            (SOA, b"", r"\# 0"),
        ] {
            assert_eq!(said(rtype, wire), text);
        }
    }

    #[test]
    fn names_are_escaped() {
        let mut out = String::new();
        let rest = name(b"\x05a b.\x07\x02@;\0rest", &mut out);
        assert_eq!(out, r"a\032b\.\007.\@\;.");
        assert_eq!(rest, Some(&b"rest"[..]));
        assert_eq!(name(b"\x05a", &mut out), None);
    }
}
