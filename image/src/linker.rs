// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Where illumos' runtime linker looks for libraries, as `crle -l -s` writes
//! it: crle runs on illumos alone, and programs of the platform in an LX zone
//! have their libraries below `/native`.
//!
//! Source: illumos, usr/src/cmd/sgs/include/rtc.h (Rtc_head, version 4),
//! usr/src/common/sgsrtcid/sgsrtcid.h (Rtc_id), usr/src/cmd/sgs/crle and, for
//! what is read, usr/src/cmd/sgs/rtld/common/config_elf.c. All little-endian.

use serde::Deserialize;

/// Of which programs a configuration is: the linker of one class refuses the
/// other's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Class {
    /// `/var/ld/ld.config`.
    #[serde(rename = "32")]
    Elf32,
    /// `/var/ld/64/ld.config`.
    #[serde(rename = "64")]
    Elf64,
}

const VERSION: u32 = 4;
/// RTC_HDR_64.
const FLAG_64: u32 = 4;
/// RTC_HDR_UPM: `/lib` and `/usr/lib` are not taken for one.
const FLAG_UPM: u32 = 8;

/// The file's bytes: `libraries` is the default path, `trusted` that of
/// programs with privileges.
pub fn config(
    class: Class,
    libraries: &[String],
    trusted: &[String],
) -> Vec<u8> {
    // ELFCLASS, EM_386 or EM_AMD64, flags, and the header's size: the two
    // 64-bit fields begin at a multiple of eight only for amd64.
    let (elf_class, machine, flags, head) = match class {
        Class::Elf32 => (1, 3, FLAG_UPM, 80),
        Class::Elf64 => (2, 62, FLAG_UPM | FLAG_64, 88),
    };
    let (libraries, trusted) = (libraries.join(":"), trusted.join(":"));
    let trusted_at = head + length(&libraries);
    let mut bytes = vec![0o77, b'R', b'L', b'C', elf_class, 1, machine];
    bytes.resize(16, 0);
    // Version, flags, dldump's, application, hash, objects; strings; files,
    // directories; then the paths, each beside one of a.out.
    let words =
        [VERSION, flags, 0, 0, 0, 0, head, 0, 0, head, 0, trusted_at, 0];
    for word in words {
        bytes.extend(word.to_le_bytes());
    }
    // No reserved memory, environment or filters.
    bytes.resize(16 + usize::try_from(head).unwrap_or_default(), 0);
    for text in [libraries, trusted] {
        bytes.extend(text.as_bytes());
        bytes.push(0);
    }
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Of a string with its end; a recipe's are short.
fn length(text: &str) -> u32 {
    u32::try_from(text.len() + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Read as the linker does: offsets count from behind the first 16 bytes.
    fn read(bytes: &[u8], class: u8, machine: u8) -> (u32, String, String) {
        assert_eq!(&bytes[..4], b"?RLC");
        assert_eq!(bytes[4..7], [class, 1, machine]);
        let head = &bytes[16..];
        let word = |nth: usize| {
            let at = nth * 4;
            u32::from_le_bytes(head[at..at + 4].try_into().unwrap())
        };
        assert_eq!(word(0), 4);
        let text = |nth: usize| {
            let text = &head[word(nth) as usize..];
            let end = text.iter().position(|byte| *byte == 0).unwrap();
            String::from_utf8(text[..end].to_vec()).unwrap()
        };
        for nothing in [2, 3, 4, 5, 7, 8, 10, 12, 13, 14, 15, 16, 17, 18, 19] {
            assert_eq!(word(nothing), 0, "word {nothing}");
        }
        (word(1), text(9), text(11))
    }

    #[test]
    fn both_classes_name_their_libraries() {
        let list = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect();
        let libraries: Vec<String> = list(&["/native/lib", "/native/usr/lib"]);
        let trusted: Vec<String> = list(&["/native/lib/secure"]);
        for (class, elf, machine, flags, size) in
            [(Class::Elf32, 1, 3, 8, 80), (Class::Elf64, 2, 62, 12, 88)]
        {
            let bytes = config(class, &libraries, &trusted);
            assert_eq!(
                bytes.len(),
                (16 + size + 28 + 19_usize).div_ceil(4) * 4
            );
            let (seen, default, secure) = read(&bytes, elf, machine);
            assert_eq!(seen, flags);
            assert_eq!(default, "/native/lib:/native/usr/lib");
            assert_eq!(secure, "/native/lib/secure");
        }
    }
}
