// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! RRsets as they lie in memory and on disk: one after another, each its type,
//! its TTL, and its rdata in wire form.
//!
//! | bytes | what |
//! |---|---|
//! | 2 | type |
//! | 4 | TTL |
//! | 4 | length of what follows |
//! | ... | rdata, each with a length of two bytes before it |
//!
//! Sets are sorted by type, the rdata of a set by its bytes, without doubles:
//! so equal content is equal bytes.

use hickory_proto::ProtoError;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecoder, Restrict};

/// Bytes before the rdata of a set.
pub(crate) const SET_HEAD: usize = 10;

/// The RRsets at one name; none at an empty non-terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Node<'z>(pub(crate) &'z [u8]);

impl<'z> Node<'z> {
    /// The sets, by type. Bytes that are none end them.
    pub(crate) fn iter(self) -> impl Iterator<Item = RrSet<'z>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (rtype, tail) = rest.split_first_chunk()?;
            let (ttl, tail) = tail.split_first_chunk()?;
            let (len, tail) = tail.split_first_chunk()?;
            let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
            let (packed, tail) = tail.split_at_checked(len)?;
            rest = tail;
            Some(RrSet {
                rtype: RecordType::from(u16::from_be_bytes(*rtype)),
                ttl: u32::from_be_bytes(*ttl),
                packed,
            })
        })
    }

    /// The set of one type.
    pub(crate) fn set(self, rtype: RecordType) -> Option<RrSet<'z>> {
        self.iter().find(|set| set.rtype == rtype)
    }

    /// Whether the zone ends here: at another NS (RFC 1034 §4.2), or at a
    /// DNAME (RFC 6672), which the apex may have, too.
    pub(crate) fn is_cut(self, is_apex: bool) -> bool {
        self.iter().any(|set| match set.rtype {
            RecordType::NS => !is_apex,
            rtype => rtype == RecordType::DNAME,
        })
    }

    /// Records of all sets.
    pub(crate) fn records(self) -> usize {
        self.iter().map(|set| set.rdata().count()).sum()
    }
}

/// All records of one owner and type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RrSet<'z> {
    /// The one type.
    pub(crate) rtype: RecordType,
    /// The one TTL, in seconds: the smallest seen (RFC 2181 §5.2).
    pub(crate) ttl: u32,
    packed: &'z [u8],
}

impl<'z> RrSet<'z> {
    /// The rdata in wire form, one by one.
    pub(crate) fn rdata(self) -> impl Iterator<Item = &'z [u8]> {
        let mut rest = self.packed;
        std::iter::from_fn(move || {
            let (len, tail) = rest.split_first_chunk()?;
            let len = usize::from(u16::from_be_bytes(*len));
            let (rdata, tail) = tail.split_at_checked(len)?;
            rest = tail;
            Some(rdata)
        })
    }

    /// The set as records of `owner`, whose spelling is kept.
    pub(crate) fn records(
        self,
        owner: &Name,
    ) -> Result<Vec<Record>, ProtoError> {
        self.rdata()
            .map(|rdata| {
                let len = u16::try_from(rdata.len()).unwrap_or(u16::MAX);
                let data = RData::read(
                    &mut BinDecoder::new(rdata),
                    self.rtype,
                    Restrict::new(len),
                )?;
                Ok(Record::from_rdata(owner.clone(), self.ttl, data))
            })
            .collect()
    }
}

/// A record still to be put into a set: type, TTL, rdata of 65,535 bytes at
/// most.
pub(crate) type Loose<'a> = (u16, u32, &'a [u8]);

/// Writes the records of one name as sets; sorts them. CNS sends both out of
/// order (its hash order) and twice. Says how many records are left.
pub(crate) fn write_sets(loose: &mut [Loose<'_>], out: &mut Vec<u8>) -> usize {
    loose.sort_unstable_by(|a, b| (a.0, a.2).cmp(&(b.0, b.2)));
    let mut records = 0;
    for set in loose.chunk_by(|a, b| a.0 == b.0) {
        let ttl = set.iter().map(|record| record.1).min().unwrap_or(0);
        out.extend_from_slice(&set[0].0.to_be_bytes());
        out.extend_from_slice(&ttl.to_be_bytes());
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        for same in set.chunk_by(|a, b| a.2 == b.2) {
            let rdata = same[0].2;
            let len = u16::try_from(rdata.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(&rdata[..usize::from(len)]);
            records += 1;
        }
        let len = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
        out[at..at + 4].copy_from_slice(&len.to_be_bytes());
    }
    records
}
