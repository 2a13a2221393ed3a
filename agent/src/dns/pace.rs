// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Long work that lets others go first: where a zone has one core, answers
//! wait for whoever has it, and a time slice is longer than an answer may take.

use std::thread;

/// Records, names or the like between two pauses: some 100 µs of work.
const STRIDE: u32 = 128;

/// Counts the steps of one piece of work.
#[derive(Debug, Default)]
pub(crate) struct Pace(u32);

impl Pace {
    /// One more step is done; now and then the core is offered to others.
    pub(crate) fn step(&mut self) {
        self.0 += 1;
        if self.0 >= STRIDE {
            self.0 = 0;
            thread::yield_now();
        }
    }
}
