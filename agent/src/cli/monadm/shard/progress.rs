// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What has been done of a run: a bar on a terminal, else a line each.

use std::io::{IsTerminal, Write as _};
use std::time::{Duration, Instant};

use crate::cli::monadm::screen::harmless;

/// Of the bar, in characters.
const WIDE: usize = 30;

/// A run of known length, told on standard error.
pub(super) struct Progress {
    total: usize,
    done: usize,
    begun: Instant,
    terminal: bool,
}

impl Progress {
    /// Begins.
    pub(super) fn new(total: usize) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { total, done: 0, begun: Instant::now(), terminal }
    }

    /// One more is done: which, and why not, if it failed.
    pub(super) fn tell(&mut self, what: &str, failed: Option<&str>) {
        self.done += 1;
        let Self { done, total, .. } = *self;
        let what = harmless(what);
        let failed = failed.map(|why| format!(": {}", harmless(why)));
        let line = match (self.terminal, failed) {
            (true, None) => String::new(),
            (true, Some(why)) => format!("\r\x1b[K{what}{why}\n"),
            (false, why) => {
                format!("[{done}/{total}] {what}{}\n", why.unwrap_or_default())
            }
        };
        let bar = match self.terminal {
            true => {
                format!("\r\x1b[K{}", bar(done, total, self.begun.elapsed()))
            }
            false => String::new(),
        };
        let mut stderr = std::io::stderr().lock();
        // Who does not look is no reason to stop.
        let _ = write!(stderr, "{line}{bar}");
        let _ = stderr.flush();
    }

    /// Ends: what comes next has a line of its own.
    pub(super) fn end(self) {
        if self.terminal && self.done > 0 {
            eprintln!();
        }
    }
}

/// `[=====>    ] 12/46 26% 34 s left`: within 80 columns for any total.
fn bar(done: usize, total: usize, elapsed: Duration) -> String {
    let total = total.max(done).max(1);
    let full = WIDE * done / total;
    let head = if done < total { ">" } else { "" };
    let bar = format!("{}{head}", "=".repeat(full));
    let left =
        elapsed.as_secs_f64() / done.max(1) as f64 * (total - done) as f64;
    let percent = 100 * done / total;
    format!(
        "[{bar:WIDE$.WIDE$}] {done}/{total} {percent}% {} left",
        words(left)
    )
}

fn words(seconds: f64) -> String {
    let seconds = seconds.ceil() as u64;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fits_and_knows_how_long() {
        let after = |done, total, seconds| {
            bar(done, total, Duration::from_secs(seconds))
        };
        let start = after(1, 46, 2);
        assert_eq!(start, format!("[{:30}] 1/46 2% 90 s left", ">"), "{start}");
        assert!(after(23, 46, 600).ends_with("] 23/46 50% 10 min left"));
        let whole = after(46, 46, 600);
        assert_eq!(whole, format!("[{}] 46/46 100% 0 s left", "=".repeat(30)));
        assert!(after(1, 1_000_000, 1).ends_with("278 h left"));
        for (done, total) in [(0, 0), (7, 3), (1, usize::MAX / 100)] {
            let bar = after(done, total, 1 << 40);
            assert!(bar.chars().count() < 100, "{bar}");
        }
        assert!(after(999_999, 1_000_000, 1_000_000).len() < 80);
    }
}
