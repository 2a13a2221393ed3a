// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a program is: looked at before it goes into an image, so that no zone
//! finds out that its daemon is another system's.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use object::Endianness;
use object::elf;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};

use crate::recipe::Brand;

type Header = elf::FileHeader64<Endianness>;

/// The dynamic linker of native 64-bit programs.
const ILLUMOS_LINKER: &str = "/lib/amd64/ld.so.1";
/// The same under the name the illumos linker also writes.
const ILLUMOS_LINKER_LINK: &str = "/usr/lib/amd64/ld.so.1";
/// That of Linux.
const LINUX_LINKER: &str = "/lib64/ld-linux-x86-64.so.2";

/// Libraries that every SmartOS platform has, by name without version.
const ILLUMOS_LIBRARIES: &[&str] = &[
    "libc",
    "libcrypto_extfips",
    "libdl",
    "libdoor",
    "libgcc_s",
    "libkstat",
    "libm",
    "libmd",
    "libnsl",
    "libnvpair",
    "libpthread",
    "libresolv",
    "librt",
    "libscf",
    "libsendfile",
    "libsocket",
    "libssp",
    "libthread",
    "libumem",
    "libuutil",
    "libxnet",
    "libzfs",
];
/// Libraries that a Debian without further packages has.
const LINUX_LIBRARIES: &[&str] = &[
    "ld-linux-x86-64",
    "libc",
    "libdl",
    "libgcc_s",
    "libm",
    "libpthread",
    "libresolv",
    "librt",
    "libstdc++",
];

/// A program as its headers tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Whose system calls it makes.
    pub system: System,
    /// Its dynamic linker; none, where all is linked in.
    pub linker: Option<String>,
    /// Libraries it needs, as it names them.
    pub needed: Vec<String>,
    /// Folders it looks for them in before the system's.
    pub run_path: Option<String>,
}

/// Whose program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// illumos, and Solaris before it.
    Illumos,
    /// Linux.
    Linux,
    /// Its headers do not say.
    Unknown,
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Illumos => "illumos",
            Self::Linux => "Linux",
            Self::Unknown => "an unknown system",
        })
    }
}

/// Whether a file starts as ELF does.
pub fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(&elf::ELFMAG)
}

/// Reads the headers.
///
/// Errors: not ELF of 64 bits for x86-64, or damaged.
pub fn read(data: &[u8]) -> Result<Program> {
    let wanted = "wanted ELF, 64 bits, x86-64";
    if !is_elf(data) {
        bail!("no ELF; {wanted}");
    }
    let class = data.get(4).copied().unwrap_or_default();
    if class != elf::ELFCLASS64 {
        bail!("ELF class {class}; {wanted}");
    }
    let header = Header::parse(data).context(wanted)?;
    let endian = header.endian().context(wanted)?;
    let machine = header.e_machine(endian);
    if machine != elf::EM_X86_64 {
        bail!("ELF machine {machine}; {wanted}");
    }
    let kind = header.e_type(endian);
    if kind != elf::ET_EXEC && kind != elf::ET_DYN {
        bail!("ELF type {kind}; wanted a program or library");
    }
    let mut program = Program {
        system: System::Unknown,
        linker: None,
        needed: Vec::new(),
        run_path: None,
    };
    for segment in header.program_headers(endian, data)? {
        if let Some(linker) = segment.interpreter(endian, data)? {
            program.linker = Some(text(linker));
        }
    }
    dynamic(header, endian, data, &mut program)?;
    program.system = system(header, endian, data, &program)?;
    Ok(program)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What the dynamic linker will do, from the segment that it reads itself:
/// sections are for other tools, and may be absent or tell something else.
///
/// Errors: a linker and nothing for it to read, strings that are nowhere.
fn dynamic(
    header: &Header,
    endian: Endianness,
    data: &[u8],
    program: &mut Program,
) -> Result<()> {
    let segments = header.program_headers(endian, data)?;
    let mut found = None;
    for segment in segments {
        let entries = segment.dynamic(endian, data);
        if let Some(entries) = entries.context("a damaged dynamic segment")? {
            found = Some(entries);
        }
    }
    let Some(entries) = found else {
        if program.linker.is_some() {
            bail!("a dynamic linker and no dynamic segment");
        }
        return Ok(());
    };
    let entries = || {
        let all = entries.iter().map(|one| (one.tag32(endian), one));
        let all = all.take_while(|(tag, _)| *tag != Some(elf::DT_NULL));
        all.filter_map(|(tag, one)| Some((tag?, one.d_val(endian))))
    };
    let value = |wanted| {
        let found = entries().find(|(tag, _)| *tag == wanted);
        found.map(|(_, value)| value)
    };
    let strings = || {
        let start = value(elf::DT_STRTAB)?;
        let length = value(elf::DT_STRSZ)?;
        segments
            .iter()
            .filter(|segment| segment.p_type(endian) == elf::PT_LOAD)
            .find_map(|one| one.data_range(endian, data, start, length).ok()?)
    };
    for (tag, at) in entries() {
        let named = [elf::DT_NEEDED, elf::DT_RPATH, elf::DT_RUNPATH];
        if !named.contains(&tag) {
            continue;
        }
        let strings = strings().context("no strings of the dynamic segment")?;
        let rest = usize::try_from(at).ok().and_then(|at| strings.get(at..));
        let end = rest.and_then(|rest| rest.iter().position(|&b| b == 0));
        let (Some(rest), Some(end)) = (rest, end) else {
            bail!("a name beyond the strings of the dynamic segment");
        };
        let name = text(&rest[..end]);
        match tag {
            elf::DT_NEEDED => program.needed.push(name),
            _ => program.run_path = Some(name),
        }
    }
    Ok(())
}

/// Who may start it. The OS ABI byte tells little: Linux and Go leave it 0, and
/// illumos knows programs by their linker. So in turn: the byte, the linker,
/// notes that only one system's tools write, Go's own record.
fn system(
    header: &Header,
    endian: Endianness,
    data: &[u8],
    program: &Program,
) -> Result<System> {
    match header.e_ident().os_abi {
        elf::ELFOSABI_SOLARIS => return Ok(System::Illumos),
        elf::ELFOSABI_LINUX => return Ok(System::Linux),
        _ => {}
    }
    if let Some(linker) = &program.linker {
        return Ok(match linker.as_str() {
            ILLUMOS_LINKER | ILLUMOS_LINKER_LINK => System::Illumos,
            linker if linker.contains("ld-linux") => System::Linux,
            linker if linker.contains("ld-musl") => System::Linux,
            _ => System::Unknown,
        });
    }
    let sections = header.sections(endian, data)?;
    if sections.section_by_name(endian, b".note.ABI-tag").is_some()
        || sections.section_by_name(endian, b".note.gnu.property").is_some()
    {
        return Ok(System::Linux);
    }
    Ok(match go_system(data) {
        Some("illumos" | "solaris") => System::Illumos,
        Some("linux") => System::Linux,
        _ => System::Unknown,
    })
}

/// `GOOS` of a program's build record, which Go has written since 1.18.
fn go_system(data: &[u8]) -> Option<&str> {
    let mark = b"build\tGOOS=";
    let at = data.windows(mark.len()).position(|part| part == mark)?;
    let rest = &data[at + mark.len()..];
    let end = rest.iter().position(|&byte| byte == b'\n')?;
    std::str::from_utf8(&rest[..end.min(16)]).ok()
}

/// Folders that packages of pkgsrc look for their libraries in.
const RUN_PATHS: &[&str] = &["/opt/local/lib", "/opt/local/gcc13/lib"];

/// Checks that a program fits a brand; `here` tells whether the image has a
/// library.
///
/// Errors: all that is wrong with it, in one line; `path` names it.
pub fn check(
    data: &[u8],
    brand: Brand,
    path: &Path,
    here: &dyn Fn(&str) -> bool,
) -> Result<Program> {
    let shown = path.display();
    let program = read(data).with_context(|| format!("{shown}"))?;
    let (system, linkers, libraries) = match brand {
        Brand::JoyentMinimal => (
            System::Illumos,
            &[ILLUMOS_LINKER, ILLUMOS_LINKER_LINK][..],
            ILLUMOS_LIBRARIES,
        ),
        Brand::Lx => (System::Linux, &[LINUX_LINKER][..], LINUX_LIBRARIES),
    };
    let mut faults = Vec::new();
    if program.system != system {
        let seen = program.system;
        faults.push(format!("a program for {seen}; wanted {system}"));
    }
    if let Some(linker) = &program.linker
        && !linkers.contains(&linker.as_str())
    {
        faults.push(format!("linker {linker}; wanted {}", linkers[0]));
    }
    for needed in &program.needed {
        let name = needed.split(".so").next().unwrap_or(needed);
        if !libraries.contains(&name) && !here(needed) {
            let all = libraries.join(", ");
            faults.push(format!("needs {needed}; wanted only {all}"));
        }
    }
    // A build zone's folders are not the zone's: gcc leaves them behind.
    let own = program.needed.iter().any(|needed| here(needed));
    for folder in program.run_path.iter().flat_map(|all| all.split(':')) {
        if !own || !RUN_PATHS.contains(&folder) {
            faults.push(format!("run path {folder}; wanted none"));
        }
    }
    if faults.is_empty() {
        return Ok(program);
    }
    bail!("{shown} does not fit {brand}: {}", faults.join("; "))
}

#[cfg(test)]
mod tests;
