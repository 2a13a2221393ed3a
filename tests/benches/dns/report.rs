// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Figures of each server, and how they are printed.

use localdc::measure::bar;

use crate::servers::Kind;
use crate::{ROUNDS, SMALL};

/// A figure of each server, in the order of `Kind::ALL`; not measured: none.
pub(crate) type Row = [Option<f64>; Kind::ALL.len()];

/// What is printed at the end.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<(&'static str, Row)>,
    bars: Vec<(&'static str, f64, f64)>,
}

impl Report {
    pub(crate) fn row(&mut self, name: &'static str, row: Row) {
        self.rows.push((name, row));
    }

    pub(crate) fn bar(&mut self, name: &'static str, value: f64, limit: f64) {
        self.bars.push((name, value, limit));
    }

    pub(crate) fn print(&self) {
        println!("dns: {SMALL} records unless said; medians of {ROUNDS}\n");
        let heads = ["ours", "Knot", "NSD", "BIND"];
        print!("{:38}", "");
        heads.iter().for_each(|head| print!("{head:>10}"));
        println!();
        for (name, row) in &self.rows {
            print!("{name:38}");
            for figure in row {
                match figure {
                    Some(figure) if *figure >= 1e3 => print!("{figure:>10.0}"),
                    Some(figure) => print!("{figure:>10.2}"),
                    None => print!("{:>10}", "-"),
                }
            }
            println!();
        }
        println!();
        for (name, value, limit) in &self.bars {
            bar(name, *value, *limit);
        }
    }
}

pub(crate) fn ours(row: &Row) -> f64 {
    row[Kind::Ours as usize].unwrap_or(f64::NAN)
}

/// Ours by the best of `against`.
pub(crate) fn ratio(row: &Row, against: &[Kind]) -> f64 {
    let best = against
        .iter()
        .filter_map(|kind| row[*kind as usize])
        .fold(f64::INFINITY, f64::min);
    ours(row) / best
}

pub(crate) fn median(figures: impl IntoIterator<Item = f64>) -> Option<f64> {
    quantile(figures, 0.5)
}

/// The figure that `share` of all are below; 1.0 is the largest.
pub(crate) fn quantile(
    figures: impl IntoIterator<Item = f64>,
    share: f64,
) -> Option<f64> {
    let mut all: Vec<f64> = figures.into_iter().collect();
    all.sort_unstable_by(f64::total_cmp);
    let at = (all.len() as f64 * share) as usize;
    all.get(at.min(all.len().saturating_sub(1))).copied()
}
