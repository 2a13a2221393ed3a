// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Programs made up byte by byte, without a section.

use proptest::prelude::*;

use super::*;

/// Where the program says to be loaded.
const BASE: u64 = 0x40_0000;

/// Strings of the dynamic segment, the first empty.
const STRINGS: &[u8] = b"\0libc.so.1\0libevil.so\0/build/lib\0";

/// A program for illumos: linker, and a dynamic segment of these entries.
fn program(linker: bool, dynamic: Option<&[(u32, u64)]>) -> Vec<u8> {
    let interpreter = [ILLUMOS_LINKER.as_bytes(), b"\0"].concat();
    let count = 1 + u16::from(linker) + u16::from(dynamic.is_some());
    let body = 64 + 56 * u64::from(count);
    let strings = body + interpreter.len() as u64;
    let start = (strings + STRINGS.len() as u64).next_multiple_of(8);
    let mut entries = Vec::new();
    for &(tag, value) in dynamic.unwrap_or_default() {
        let value = if tag == elf::DT_STRTAB { BASE + strings } else { value };
        entries.extend_from_slice(&u64::from(tag).to_le_bytes());
        entries.extend_from_slice(&value.to_le_bytes());
    }
    let end = start + entries.len() as u64;
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
    bytes.resize(16, 0);
    let mut half = |value: u16| bytes.extend_from_slice(&value.to_le_bytes());
    half(elf::ET_EXEC);
    half(elf::EM_X86_64);
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    for value in [BASE, 64, 0] {
        bytes.extend_from_slice(&u64::to_le_bytes(value));
    }
    bytes.extend_from_slice(&0_u32.to_le_bytes());
    for value in [64, 56, count, 64, 0, 0] {
        bytes.extend_from_slice(&u16::to_le_bytes(value));
    }
    let mut segment = |kind: u32, at: u64, len: u64| {
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(&4_u32.to_le_bytes());
        for value in [at, BASE + at, BASE + at, len, len, 8] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
    };
    segment(elf::PT_LOAD, 0, end);
    if linker {
        segment(elf::PT_INTERP, body, interpreter.len() as u64);
    }
    if dynamic.is_some() {
        segment(elf::PT_DYNAMIC, start, entries.len() as u64);
    }
    bytes.extend_from_slice(&interpreter);
    bytes.extend_from_slice(STRINGS);
    bytes.resize(usize::try_from(start).unwrap(), 0);
    bytes.extend_from_slice(&entries);
    bytes
}

/// Needs libc and another, and looks in a builder's folder.
fn evil() -> Vec<u8> {
    program(
        true,
        Some(&[
            (elf::DT_NEEDED, 1),
            (elf::DT_NEEDED, 11),
            (elf::DT_RUNPATH, 22),
            (elf::DT_STRTAB, 0),
            (elf::DT_STRSZ, STRINGS.len() as u64),
            (elf::DT_NULL, 0),
            (elf::DT_NEEDED, 22),
        ]),
    )
}

fn checked(data: &[u8]) -> String {
    let path = Path::new("/bin/x");
    let checked = check(data, Brand::JoyentMinimal, path, &|_| false);
    checked.map_or_else(|error| format!("{error:#}"), |_| "fits".into())
}

#[test]
fn what_a_program_needs_is_read_without_sections() {
    let seen = read(&evil()).unwrap();
    assert_eq!(seen.system, System::Illumos);
    assert_eq!(seen.needed, ["libc.so.1", "libevil.so"]);
    assert_eq!(seen.run_path.as_deref(), Some("/build/lib"));
    let said = checked(&evil());
    assert!(said.contains("needs libevil.so"), "{said}");
    assert!(said.contains("run path /build/lib"), "{said}");
}

#[test]
fn a_linker_with_nothing_to_link_is_refused() {
    let said = checked(&program(true, None));
    assert!(said.contains("no dynamic segment"), "{said}");
    let needed = (elf::DT_NEEDED, 1);
    let said = checked(&program(true, Some(&[needed])));
    assert!(said.contains("no strings"), "{said}");
    let strings = (elf::DT_STRTAB, 0);
    let all = [(elf::DT_NEEDED, 999), strings, (elf::DT_STRSZ, 8)];
    let said = checked(&program(true, Some(&all)));
    assert!(said.contains("beyond the strings"), "{said}");
    // Nothing linked: nothing needed.
    assert_eq!(read(&program(false, None)).unwrap().needed, [""; 0]);
}

#[test]
fn this_very_program_is_one_for_linux() {
    let data = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let seen = read(&data).unwrap();
    assert_eq!(seen.system, System::Linux);
    assert!(seen.needed.iter().any(|one| one == "libc.so.6"), "{seen:?}");
}

proptest! {
    #[test]
    fn damaged_headers_never_panic(
        damage in prop::collection::vec((any::<usize>(), any::<u8>()), 1..12),
        cut in any::<usize>(),
    ) {
        let mut bytes = evil();
        for (at, byte) in damage {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let _ = read(&bytes);
        bytes.truncate(cut % bytes.len());
        let _ = read(&bytes);
    }
}
