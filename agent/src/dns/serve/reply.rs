// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! An answer written as bytes, record by record, behind what is in the buffer
//! already. Owners are always pointers to where the name stands before.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

use super::plain::{HEAD, Plain};

/// Marks a name that stands elsewhere, and the places it can tell (RFC 1035
/// §4.1.4).
const POINTER: u16 = 0xc000;

/// Where a name stands, in bytes from the message's beginning.
pub(crate) type Place = usize;

/// The question's name.
pub(crate) const ASKED: Place = HEAD;

/// A message in the making.
pub(crate) struct Reply<'o> {
    out: &'o mut Vec<u8>,
    begin: usize,
    limit: usize,
    /// Answers, authorities, additional records.
    counts: [u16; 3],
    opt: Option<[u8; 11]>,
}

/// Sections, as they index the counts.
#[derive(Clone, Copy)]
pub(crate) enum Section {
    Answer,
    Authority,
    Additional,
}

impl<'o> Reply<'o> {
    /// Header and question. `stream`: no limit but that of a message.
    pub(crate) fn begin(
        plain: &Plain<'_>,
        stream: bool,
        out: &'o mut Vec<u8>,
    ) -> Self {
        let begin = out.len();
        let [id_high, id_low, flags_high, flags_low, ..] = *plain.head;
        // QR and AA, RD as asked; RA, CD as asked, the code once it is known.
        let (high, low) = (0x84 | flags_high & 1, 0x80 | flags_low & 0x10);
        let head = [id_high, id_low, high, low, 0, 1, 0, 0, 0, 0, 0, 0];
        out.extend_from_slice(&head);
        out.extend_from_slice(plain.question);
        let (limit, opt) = (plain.limit(stream), plain.opt());
        Self { out, begin, limit, counts: [0; 3], opt }
    }

    /// Adds a record and says where its rdata stands; `None` when that cannot
    /// be written. Sections come in their order.
    pub(crate) fn record(
        &mut self,
        section: Section,
        owner: Place,
        rtype: RecordType,
        ttl: u32,
        rdata: &[u8],
    ) -> Option<Place> {
        let owner = u16::try_from(owner).ok().filter(|at| *at < 1 << 14)?;
        let [o1, o2] = (POINTER | owner).to_be_bytes();
        let [r1, r2] = u16::from(rtype).to_be_bytes();
        let [t1, t2, t3, t4] = ttl.to_be_bytes();
        let [l1, l2] = u16::try_from(rdata.len()).ok()?.to_be_bytes();
        let head = [o1, o2, r1, r2, 0, 1, t1, t2, t3, t4, l1, l2];
        self.out.extend_from_slice(&head);
        let place = self.out.len() - self.begin;
        self.out.extend_from_slice(rdata);
        let count = &mut self.counts[section as usize];
        *count = count.checked_add(1)?;
        Some(place)
    }

    /// Our own OPT, the counts and the code. `None` when it does not fit.
    pub(crate) fn finish(self, rcode: ResponseCode) -> Option<()> {
        let [answers, authorities, mut additionals] = self.counts;
        if let Some(opt) = self.opt {
            self.out.extend_from_slice(&opt);
            additionals = additionals.checked_add(1)?;
        }
        let message = self.out.get_mut(self.begin..)?;
        let len = message.len();
        let head: &mut [u8; HEAD] = message.first_chunk_mut()?;
        head[3] |= rcode.low();
        head[6..8].copy_from_slice(&answers.to_be_bytes());
        head[8..10].copy_from_slice(&authorities.to_be_bytes());
        head[10..].copy_from_slice(&additionals.to_be_bytes());
        (len <= self.limit).then_some(())
    }
}
