// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Long work that lets others go first: where a zone has one core, answers
//! wait for whoever has it, and a time slice is longer than an answer may take.
//!
//! Others may be so many that they would take the core whole (a flood of
//! questions), so a pause is followed by work that lasts a multiple of it.

use std::thread;
use std::time::Instant;

/// Records, names or the like between two looks at the clock: some 100 µs of
/// work.
const STRIDE: u32 = 128;
/// Work after a pause lasts at least so many times the pause.
const WORK_PER_PAUSE: u32 = 8;

/// One piece of work.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    steps: u32,
    /// No pause before this.
    next: Option<Instant>,
}

impl Pace {
    /// One more small step is done; now and then the core is offered.
    pub(crate) fn step(&mut self) {
        self.steps += 1;
        if self.steps >= STRIDE {
            self.steps = 0;
            self.offer();
        }
    }

    /// Some 100 µs of work are done: offers the core to others, unless they
    /// just had it for long.
    pub(crate) fn offer(&mut self) {
        let begin = Instant::now();
        if self.next.is_some_and(|next| begin < next) {
            return;
        }
        thread::yield_now();
        let end = Instant::now();
        self.next = end.checked_add((end - begin) * WORK_PER_PAUSE);
    }
}
