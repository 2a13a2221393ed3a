// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Fletcher-4, the checksum that runs through a send stream: four sums over
//! little-endian 32-bit words, each the running sum of the one before.
//!
//! By the definition every sum waits for the one before it. So blocks are
//! added in four lanes, each with every fourth word, and folded afterwards.
//! With r words to come (itself counted), a word weighs 1 in a, r in b,
//! r(r+1)/2 in c, r(r+1)(r+2)/6 in d. In lane j, with s words of the lane to
//! come, r = 4s - j; put in and sorted by the lane's own weights, that gives
//! the factors in `fold`. A property test holds it against the definition.

const LANES: usize = 4;
/// Words that are added at once: so few that no product of `skip` overflows.
const BATCH_WORDS: usize = 1 << 16;

/// The four sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fletcher4 {
    a: u64,
    b: u64,
    c: u64,
    d: u64,
}

impl Fletcher4 {
    /// Adds bytes; their number is a multiple of four.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        debug_assert_eq!(bytes.len() % 4, 0, "whole words");
        for batch in bytes.chunks(BATCH_WORDS * 4) {
            let (rows, rest) = batch.as_chunks::<{ LANES * 4 }>();
            self.skip(rows.len() * LANES);
            self.fold(&lanes(rows));
            for word in rest.as_chunks::<4>().0 {
                self.add(u32::from_le_bytes(*word));
            }
        }
    }

    /// As a record carries it: 32 bytes.
    pub(super) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (place, sum) in bytes
            .as_chunks_mut::<8>()
            .0
            .iter_mut()
            .zip([self.a, self.b, self.c, self.d])
        {
            *place = sum.to_le_bytes();
        }
        bytes
    }

    /// The definition.
    fn add(&mut self, word: u32) {
        self.a = self.a.wrapping_add(u64::from(word));
        self.b = self.b.wrapping_add(self.a);
        self.c = self.c.wrapping_add(self.b);
        self.d = self.d.wrapping_add(self.c);
    }

    /// As `words` zeros would leave it.
    fn skip(&mut self, words: usize) {
        let n = words as u64;
        let second = n * (n + 1) / 2;
        let third = n * (n + 1) * (n + 2) / 6;
        let Self { a, b, c, .. } = *self;
        let times = u64::wrapping_mul;
        self.b = self.b.wrapping_add(times(n, a));
        self.c =
            self.c.wrapping_add(times(n, b)).wrapping_add(times(second, a));
        self.d = self
            .d
            .wrapping_add(times(n, c))
            .wrapping_add(times(second, b))
            .wrapping_add(times(third, a));
    }

    /// Adds the sums of lanes that started at zero.
    fn fold(&mut self, lanes: &[[u64; LANES]; 4]) {
        let [a, b, c, d] = lanes;
        let times =
            |sum: u64, factor: i64| sum.wrapping_mul(factor.cast_unsigned());
        for (lane, j) in (0..LANES).zip(0_i64..) {
            let (a, b, c, d) = (a[lane], b[lane], c[lane], d[lane]);
            self.a = self.a.wrapping_add(a);
            self.b = self.b.wrapping_add(times(b, 4)).wrapping_sub(times(a, j));
            self.c = self
                .c
                .wrapping_add(times(c, 16))
                .wrapping_sub(times(b, 6 + 4 * j))
                .wrapping_add(times(a, j * (j - 1) / 2));
            self.d = self
                .d
                .wrapping_add(times(d, 64))
                .wrapping_sub(times(c, 48 + 16 * j))
                .wrapping_add(times(b, 4 + 4 * j + 2 * j * j))
                .wrapping_sub(times(a, j * (j - 1) * (j - 2) / 6));
        }
    }
}

/// The sums of each lane by itself: a, b, c, d.
fn lanes(rows: &[[u8; LANES * 4]]) -> [[u64; LANES]; 4] {
    let (mut a, mut b, mut c, mut d) =
        ([0_u64; LANES], [0_u64; LANES], [0_u64; LANES], [0_u64; LANES]);
    for row in rows {
        let words = row.as_chunks::<4>().0;
        for lane in 0..LANES {
            let word = u64::from(u32::from_le_bytes(words[lane]));
            a[lane] = a[lane].wrapping_add(word);
            b[lane] = b[lane].wrapping_add(a[lane]);
            c[lane] = c[lane].wrapping_add(b[lane]);
            d[lane] = d[lane].wrapping_add(c[lane]);
        }
    }
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(state: Fletcher4, bytes: &[u8]) -> Fletcher4 {
        let mut state = state;
        for word in bytes.as_chunks::<4>().0 {
            state.add(u32::from_le_bytes(*word));
        }
        state
    }

    #[test]
    fn a_few_words_add_up_by_hand() {
        let mut sums = Fletcher4::default();
        sums.update(&[1, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(sums, Fletcher4 { a: 3, b: 4, c: 5, d: 6 });
    }

    #[test]
    fn many_large_words_wrap_like_the_definition() {
        let start = Fletcher4 { a: 1 << 63, b: u64::MAX, c: 7, d: 1 };
        let bytes = vec![0xff; BATCH_WORDS * 8 + 12];
        let mut sums = start;
        sums.update(&bytes);
        assert_eq!(sums, plain(start, &bytes));
    }

    proptest! {
        #[test]
        fn lanes_give_what_the_definition_gives(
            (a, b, c, d) in any::<(u64, u64, u64, u64)>(),
            words in prop::collection::vec(any::<u32>(), 0..300),
            cut in 0_usize..300,
        ) {
            let bytes: Vec<u8> =
                words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let start = Fletcher4 { a, b, c, d };
            let (first, second) = bytes.split_at(cut.min(words.len()) * 4);
            let mut sums = start;
            sums.update(first);
            sums.update(second);
            prop_assert_eq!(sums, plain(start, &bytes));
        }
    }
}
