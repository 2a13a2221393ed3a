// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Memory for a zone in the making: it grows by pieces that stay where they
//! are, and goes back to the system piece by piece while the zone's block is
//! written. So both together never take much more than either.
//!
//! The pieces are mapped, not allocated: an allocator would keep most of them.

use std::io;

use memmap2::MmapMut;

/// Bytes of a piece, a power of two; no entry may be longer.
const PIECE: usize = 1 << 20;

/// Bytes by offset. An entry lies within one piece.
#[derive(Default)]
pub(crate) struct Arena {
    pieces: Vec<Option<MmapMut>>,
    /// Where the next entry goes.
    end: usize,
}

impl Arena {
    /// One of so many zeros.
    pub(crate) fn zeroed(len: usize) -> io::Result<Self> {
        let mut arena = Self::default();
        arena.grow(len.div_ceil(PIECE))?;
        arena.end = len;
        Ok(arena)
    }

    fn grow(&mut self, pieces: usize) -> io::Result<()> {
        while self.pieces.len() < pieces {
            self.pieces.push(Some(MmapMut::map_anon(PIECE)?));
        }
        Ok(())
    }

    /// Bytes from the first entry to the end of the last.
    pub(crate) fn len(&self) -> usize {
        self.end
    }

    /// Appends an entry, given in parts; where it lies.
    ///
    /// Errors: no memory, or too long an entry.
    pub(crate) fn push(&mut self, parts: &[&[u8]]) -> io::Result<usize> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len > PIECE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if self.end % PIECE + len > PIECE {
            // What is left of the piece stays zero, which no entry begins
            // with.
            self.end = self.end.next_multiple_of(PIECE);
        }
        let at = self.end;
        self.grow(at / PIECE + 1)?;
        self.end += len;
        let mut rest = self.get_mut(at, len);
        for part in parts {
            let (head, tail) = rest.split_at_mut(part.len());
            head.copy_from_slice(part);
            rest = tail;
        }
        Ok(at)
    }

    /// From `at` to the end of its piece; nothing where there is none.
    pub(crate) fn rest(&self, at: usize) -> &[u8] {
        let piece = self.pieces.get(at / PIECE).and_then(Option::as_ref);
        piece.and_then(|piece| piece.get(at % PIECE..)).unwrap_or_default()
    }

    /// `len` bytes of one entry; nothing where it is not.
    pub(crate) fn get_mut(&mut self, at: usize, len: usize) -> &mut [u8] {
        let piece = self.pieces.get_mut(at / PIECE).and_then(Option::as_mut);
        let begin = at % PIECE;
        piece
            .and_then(|piece| piece.get_mut(begin..begin + len))
            .unwrap_or_default()
    }

    pub(crate) fn number(&self, at: usize) -> u32 {
        self.rest(at).first_chunk().map_or(0, |n| u32::from_be_bytes(*n))
    }

    pub(crate) fn set_number(&mut self, at: usize, number: u32) {
        if let Some(place) = self.get_mut(at, 4).first_chunk_mut() {
            *place = number.to_be_bytes();
        }
    }

    /// Where the piece after the one that holds `at` begins.
    pub(crate) fn next_piece(at: usize) -> usize {
        (at / PIECE + 1) * PIECE
    }

    /// Gives back all pieces before the one that holds `at`.
    pub(crate) fn free_before(&mut self, at: usize) {
        for piece in self.pieces.iter_mut().take(at / PIECE).rev() {
            if piece.take().is_none() {
                break;
            }
        }
    }
}
