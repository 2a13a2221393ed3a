// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Reads a send stream without ZFS, and says whether a SmartOS of any age
//! should take it as an image: framing, the running checksum, the end, one
//! file system with one snapshot `@final`, no feature that old platforms
//! lack. What the objects mean is left to `zfs receive`.
//!
//! Streams of `zfs send` pass as well as ours. Memory is one block; nothing
//! in a stream, damaged or forged, makes it more.

use std::io::{self, Read};

use super::fletcher::Fletcher4;
use super::record::{
    BLOCK_MAX, CHECKSUM_AT, FIELDS_AT, FILE_SYSTEM, HAS_SPILL, HEADER_LEN,
    MAGIC, SA_SPILL,
};

/// Most bytes of a bonus in an object of one slot.
const BONUS_MAX: usize = 320;
/// BEGIN: header types of a single stream and of one with several snapshots.
const SINGLE: u64 = 1;
/// Number of the master node, and its type.
const MASTER: (u64, u32) = (1, 21);

/// What a stream says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Of the snapshot.
    pub guid: u64,
    /// Of the snapshot that it builds on; none for a full stream.
    pub from_guid: Option<u64>,
    /// When the snapshot was made, seconds since 1970.
    pub created: u64,
    /// File system and snapshot, as they were called where it was made.
    pub name: String,
    /// How many objects it holds.
    pub objects: u64,
    /// Bytes of their data, as written.
    pub data_bytes: u64,
    /// Bytes of the whole.
    pub len: u64,
}

/// Why a stream will not do.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be read.
    #[error("could not read the stream at byte {at}")]
    Read {
        /// Where the record begins.
        at: u64,
        /// Why.
        source: io::Error,
    },
    /// It ends too soon.
    #[error("the stream is cut: it ends within or before the record at {at}")]
    Cut {
        /// Where the record begins.
        at: u64,
    },
    /// Its bytes are not those that were written.
    #[error("the checksum is wrong in the record at byte {at}")]
    Checksum {
        /// Where the record begins.
        at: u64,
    },
    /// It says what no image may say.
    #[error("bad record at byte {at}: {what}")]
    Bad {
        /// Where it begins.
        at: u64,
        /// What is wrong.
        what: String,
    },
}

/// Reads a stream to its end.
///
/// Errors: `VerifyError`, the first thing that is wrong.
pub fn verify(stream: impl Read) -> Result<Verified, VerifyError> {
    let mut reader = Reader::new(stream);
    let mut verified = reader.begin()?;
    let mut object = None;
    let mut master = false;
    loop {
        let header = reader.header()?;
        match header.kind() {
            1 => {
                let declared = header.object().map_err(|e| reader.bad(e))?;
                master |= (declared.number, declared.kind) == MASTER;
                reader.payload(declared.bonus_len.next_multiple_of(8))?;
                verified.objects += 1;
                object = Some(declared);
            }
            3 | 7 => {
                let data = match header.kind() {
                    3 => header.write(object.as_ref()),
                    _ => header.spill(object.as_ref()),
                };
                let data = data.map_err(|what| reader.bad(what))?;
                reader.payload(data)?;
                verified.data_bytes += data as u64;
            }
            // FREEOBJECTS, FREE
            2 | 4 => {}
            5 => break,
            kind => return Err(reader.bad(format!("record type {kind}"))),
        }
        reader.check_guid(&header, verified.guid)?;
    }
    if !master {
        return Err(reader.bad("no master node came before it"));
    }
    verified.len = reader.end(verified.guid)?;
    Ok(verified)
}

/// An object as its record declares it.
struct Declared {
    number: u64,
    kind: u32,
    block_size: u64,
    bonus_len: usize,
    has_spill: bool,
}

struct Header([u8; HEADER_LEN]);

impl Header {
    fn kind(&self) -> u32 {
        u32::from_le_bytes(self.array(0))
    }

    fn u8(&self, offset: usize) -> u8 {
        self.0[FIELDS_AT + offset]
    }

    fn u32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.array(FIELDS_AT + offset))
    }

    fn u64(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.array(FIELDS_AT + offset))
    }

    fn array<const LEN: usize>(&self, at: usize) -> [u8; LEN] {
        let mut array = [0; LEN];
        array.copy_from_slice(&self.0[at..at + LEN]);
        array
    }

    /// Where the guid of the snapshot is: every record but BEGIN repeats it.
    fn guid(&self) -> u64 {
        self.u64(match self.kind() {
            2 | 7 => 16,
            4 => 24,
            _ => 32,
        })
    }

    fn object(&self) -> Result<Declared, String> {
        let block_size = self.u32(16);
        let bonus_len = self.u32(20) as usize;
        if block_size == 0
            || !block_size.is_multiple_of(512)
            || block_size as usize > BLOCK_MAX
        {
            return Err(format!("blocks of {block_size} bytes"));
        }
        if bonus_len > BONUS_MAX || self.u8(26) > 1 {
            return Err(format!("a bonus of {bonus_len} bytes"));
        }
        if self.u32(28) != 0 {
            return Err("a raw bonus".to_owned());
        }
        Ok(Declared {
            number: self.u64(0),
            kind: self.u32(8),
            block_size: block_size.into(),
            bonus_len,
            has_spill: self.u8(27) & HAS_SPILL != 0,
        })
    }

    /// Length of the data.
    fn write(&self, object: Option<&Declared>) -> Result<usize, String> {
        let (number, offset, len) = (self.u64(0), self.u64(16), self.u64(24));
        let Some(object) = object.filter(|object| object.number == number)
        else {
            return Err(format!("data of object {number}, out of turn"));
        };
        if len != object.block_size || self.u8(42) != 0 || self.u64(88) != 0 {
            return Err(format!("data of {len} bytes, not a plain block"));
        }
        if !offset.is_multiple_of(len) || offset.checked_add(len).is_none() {
            return Err(format!("data at {offset}, where no block begins"));
        }
        Ok(len as usize)
    }

    /// Length of the data.
    fn spill(&self, object: Option<&Declared>) -> Result<usize, String> {
        let (number, len) = (self.u64(0), self.u64(8));
        let here = object.filter(|object| object.number == number);
        if !here.is_some_and(|object| object.has_spill) {
            return Err(format!("spill block of object {number}, out of turn"));
        }
        match usize::try_from(len) {
            Ok(len @ 512..=BLOCK_MAX) if len.is_multiple_of(512) => Ok(len),
            _ => Err(format!("spill block of {len} bytes")),
        }
    }
}

struct Reader<R> {
    stream: R,
    sums: Fletcher4,
    /// The sums before the record that was read last.
    before: Fletcher4,
    /// Where that record began, and where the next one does.
    at: u64,
    next: u64,
    block: Vec<u8>,
    last: Header,
}

impl<R: Read> Reader<R> {
    fn new(stream: R) -> Self {
        Self {
            stream,
            sums: Fletcher4::default(),
            before: Fletcher4::default(),
            at: 0,
            next: 0,
            block: vec![0; BLOCK_MAX],
            last: Header([0; HEADER_LEN]),
        }
    }

    fn bad(&self, what: impl Into<String>) -> VerifyError {
        VerifyError::Bad { at: self.at, what: what.into() }
    }

    fn begin(&mut self) -> Result<Verified, VerifyError> {
        let mut header = Header([0; HEADER_LEN]);
        self.read(&mut header.0)?;
        if (header.kind(), header.u64(0)) != (0, MAGIC) {
            return Err(self.bad("it does not begin a send stream"));
        }
        let (version, guid) = (header.u64(8), header.u64(32));
        if version & 3 != SINGLE || header.array(4) != [0; 4] {
            return Err(self.bad("not a plain stream: zfs send -R or -p"));
        }
        if version >> 2 & !SA_SPILL != 0 {
            let features = version >> 2;
            return Err(self.bad(format!("features {features:#x}, not 0x4")));
        }
        if header.u32(24) != FILE_SYSTEM {
            return Err(self.bad("it holds no file system"));
        }
        if guid == 0 {
            return Err(self.bad("the snapshot has no guid"));
        }
        let name: [u8; 256] = header.array(FIELDS_AT + 48);
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        let name = String::from_utf8_lossy(name).into_owned();
        if name.split_once('@').is_none_or(|(_, snapshot)| snapshot != "final")
        {
            return Err(self.bad(format!("snapshot {name}, not @final")));
        }
        let from_guid = Some(header.u64(40)).filter(|&guid| guid != 0);
        let created = header.u64(16);
        let (objects, data_bytes, len) = (0, 0, 0);
        Ok(Verified {
            guid,
            from_guid,
            created,
            name,
            objects,
            data_bytes,
            len,
        })
    }

    /// The next header, its checksum checked.
    fn header(&mut self) -> Result<Header, VerifyError> {
        self.at = self.next;
        let mut header = Header([0; HEADER_LEN]);
        self.fill(&mut header.0)?;
        self.before = self.sums;
        let (fields, checksum) = header.0.split_at(CHECKSUM_AT);
        self.sums.update(fields);
        if checksum != self.sums.to_bytes() {
            return Err(VerifyError::Checksum { at: self.at });
        }
        self.sums.update(checksum);
        self.last = Header(header.0);
        Ok(header)
    }

    fn check_guid(
        &self,
        header: &Header,
        guid: u64,
    ) -> Result<(), VerifyError> {
        if header.guid() == guid {
            return Ok(());
        }
        Err(self.bad(format!("of another snapshot: {}", header.guid())))
    }

    fn payload(&mut self, len: usize) -> Result<(), VerifyError> {
        let mut block = std::mem::take(&mut self.block);
        let read = self.read(&mut block[..len]);
        self.block = block;
        read
    }

    /// After END: its sums, and that nothing follows. Returns the length.
    fn end(&mut self, guid: u64) -> Result<u64, VerifyError> {
        let sums: [u8; 32] = self.last.array(FIELDS_AT);
        if sums != self.before.to_bytes() {
            return Err(VerifyError::Checksum { at: self.at });
        }
        self.check_guid(&self.last, guid)?;
        let (at, len) = (self.at, self.next);
        match self.stream.read(&mut [0]) {
            Ok(0) => Ok(len),
            Ok(_) => Err(self.bad("more follows the end")),
            Err(source) => Err(VerifyError::Read { at, source }),
        }
    }

    /// Bytes that count for the checksum.
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), VerifyError> {
        self.fill(bytes)?;
        self.sums.update(bytes);
        Ok(())
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), VerifyError> {
        let at = self.at;
        self.next += bytes.len() as u64;
        self.stream.read_exact(bytes).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => VerifyError::Cut { at },
            _ => VerifyError::Read { at, source },
        })
    }
}
