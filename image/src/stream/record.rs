// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Framing of a send stream: records of 312 bytes, some with a payload, and
//! the checksum that runs through all of them. What they say about objects is
//! left to the callers.
//!
//! Source: OpenZFS `include/sys/zfs_ioctl.h` (dmu_replay_record_t) and
//! `module/zfs/dmu_send.c`.

use std::io::{self, Write};
use std::num::NonZeroU64;

use super::fletcher::Fletcher4;

/// Length of a header, bytes.
pub(super) const HEADER_LEN: usize = 312;
/// Where in it the running checksum is.
pub(super) const CHECKSUM_AT: usize = HEADER_LEN - 32;
/// Where the fields of each type begin: offsets below count from here.
pub(super) const FIELDS_AT: usize = 8;
/// BEGIN's first field; tells the byte order, too.
pub(super) const MAGIC: u64 = 0x2_F5BA_CBAC;
/// Longest block, bytes, that a receiver takes without LARGE_BLOCKS.
pub(super) const BLOCK_MAX: usize = 1 << 17;
/// Feature flag of a stream with spill blocks.
pub(super) const SA_SPILL: u64 = 4;
/// BEGIN's flags FREERECORDS and SPILL_BLOCK.
const BEGIN_FLAGS: u32 = 0xc;
/// `type` of a file system in BEGIN.
pub(super) const FILE_SYSTEM: u32 = 2;
/// OBJECT's flag for an object with a spill block.
pub(super) const HAS_SPILL: u8 = 4;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum RecordType {
    Begin = 0,
    Object = 1,
    Write = 3,
    End = 5,
    Spill = 7,
}

/// An object as its record declares it.
pub(super) struct ObjectRecord<'a> {
    pub(super) number: u64,
    /// DMU_OT_*.
    pub(super) kind: u32,
    /// Bytes, a multiple of 512.
    pub(super) block_size: u32,
    /// Type (DMU_OT_*) and bytes of the bonus; 0 and none without.
    pub(super) bonus: (u32, &'a [u8]),
    pub(super) has_spill: bool,
}

/// Writes records one after the other; sums and counts.
pub(super) struct Records<W> {
    sink: W,
    sums: Fletcher4,
    toguid: NonZeroU64,
    written: u64,
}

struct Header([u8; HEADER_LEN]);

impl Header {
    fn new(kind: RecordType) -> Self {
        let mut header = Self([0; HEADER_LEN]);
        header.0[..4].copy_from_slice(&(kind as u32).to_le_bytes());
        header
    }

    fn with(mut self, offset: usize, bytes: &[u8]) -> Self {
        let start = FIELDS_AT + offset;
        self.0[start..start + bytes.len()].copy_from_slice(bytes);
        self
    }

    fn u8(self, offset: usize, value: u8) -> Self {
        self.with(offset, &[value])
    }

    fn u32(self, offset: usize, value: u32) -> Self {
        self.with(offset, &value.to_le_bytes())
    }

    fn u64(self, offset: usize, value: u64) -> Self {
        self.with(offset, &value.to_le_bytes())
    }
}

impl<W: Write> Records<W> {
    /// Starts a full stream: writes BEGIN.
    ///
    /// `created` is in seconds since 1970, `toname` like `image@final` and
    /// shorter than 256 bytes.
    pub(super) fn begin(
        sink: W,
        toguid: NonZeroU64,
        created: u64,
        toname: &str,
    ) -> io::Result<Self> {
        let sums = Fletcher4::default();
        let mut records = Self { sink, sums, toguid, written: 0 };
        let header = Header::new(RecordType::Begin)
            .u64(0, MAGIC)
            .u64(8, SA_SPILL << 2 | 1)
            .u64(16, created)
            .u32(24, FILE_SYSTEM)
            .u32(28, BEGIN_FLAGS)
            .u64(32, toguid.get())
            .with(48, toname.as_bytes());
        records.sums.update(&header.0);
        records.put(&header.0)?;
        Ok(records)
    }

    /// Declares an object.
    pub(super) fn object(&mut self, object: &ObjectRecord) -> io::Result<()> {
        let (kind, bonus) = object.bonus;
        let len = u32::try_from(bonus.len()).expect("at most 320 bytes");
        let header = Header::new(RecordType::Object)
            .u64(0, object.number)
            .u32(8, object.kind)
            .u32(12, kind)
            .u32(16, object.block_size)
            .u32(20, len)
            .u8(26, 1)
            .u8(27, if object.has_spill { HAS_SPILL } else { 0 })
            .u64(32, self.toguid.get());
        let mut bonus = bonus.to_vec();
        bonus.resize(bonus.len().next_multiple_of(8), 0);
        self.record(header, &bonus)
    }

    /// One whole block of an object of type `kind`.
    pub(super) fn write(
        &mut self,
        object: u64,
        kind: u32,
        offset: u64,
        block: &[u8],
    ) -> io::Result<()> {
        let header = Header::new(RecordType::Write)
            .u64(0, object)
            .u32(8, kind)
            .u64(16, offset)
            .u64(24, block.len() as u64)
            .u64(32, self.toguid.get());
        self.record(header, block)
    }

    /// The spill block of an object: a multiple of 512 bytes.
    pub(super) fn spill(
        &mut self,
        object: u64,
        block: &[u8],
    ) -> io::Result<()> {
        let header = Header::new(RecordType::Spill)
            .u64(0, object)
            .u64(8, block.len() as u64)
            .u64(16, self.toguid.get());
        self.record(header, block)
    }

    /// Writes END and flushes; returns the length of the whole in bytes.
    pub(super) fn end(mut self) -> io::Result<u64> {
        let header = Header::new(RecordType::End)
            .with(0, &self.sums.to_bytes())
            .u64(32, self.toguid.get());
        self.record(header, &[])?;
        self.sink.flush()?;
        Ok(self.written)
    }

    fn record(&mut self, mut header: Header, payload: &[u8]) -> io::Result<()> {
        let (fields, checksum) = header.0.split_at_mut(CHECKSUM_AT);
        self.sums.update(fields);
        checksum.copy_from_slice(&self.sums.to_bytes());
        self.sums.update(checksum);
        self.sums.update(payload);
        self.put(&header.0)?;
        self.put(payload)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.sink.write_all(bytes)
    }
}
