// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Text for a terminal of 80 columns: tables that fit, paragraphs, and what
//! was found. Names come from other machines, so nothing of theirs steers the
//! terminal.

use std::io::{IsTerminal, Write};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::deploy::status::{Finding, Weight};

/// Columns of a screen.
pub(super) const WIDE: usize = 80;
/// Below this no column is cut.
const NARROW: usize = 6;
/// Between two columns.
const GAP: &str = "  ";

/// Colours, or none.
#[derive(Clone, Copy)]
pub(super) struct Paint(pub(super) bool);

impl Paint {
    pub(super) fn red(self, text: &str) -> String {
        self.paint(text, "31;1")
    }

    pub(super) fn yellow(self, text: &str) -> String {
        self.paint(text, "33")
    }

    pub(super) fn green(self, text: &str) -> String {
        self.paint(text, "32")
    }

    fn paint(self, text: &str, code: &str) -> String {
        match self.0 {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

/// Text of others, made harmless: whatever steers a terminal, or turns the
/// direction of writing, is shown as something unknown.
pub(super) fn harmless(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}')
            || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    let shown = |c: char| if steers(c) { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

/// A cell, and whether it says that something is wrong.
#[derive(Clone, Default)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) wrong: bool,
}

impl Cell {
    pub(super) fn new(text: impl AsRef<str>) -> Self {
        Self { text: harmless(text.as_ref()), wrong: false }
    }

    pub(super) fn wrong(text: impl AsRef<str>) -> Self {
        Self { wrong: true, ..Self::new(text) }
    }
}

/// A line of a table.
pub(super) enum Row {
    /// Aligned with the others.
    Cells(Vec<Cell>),
    /// A heading, or what else is not aligned.
    Line(String),
}

/// Lines with aligned columns, none wider than the screen: the widest columns
/// give way.
pub(super) fn table(out: &mut String, rows: &[Row], paint: Paint) {
    let cells = rows.iter().filter_map(|row| match row {
        Row::Cells(cells) => Some(cells),
        Row::Line(_) => None,
    });
    let mut widths: Vec<usize> = Vec::new();
    for cells in cells {
        widths.resize(widths.len().max(cells.len()), 0);
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.text.width());
        }
    }
    let gaps = GAP.len() * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > WIDE {
        let Some(widest) = widths.iter_mut().max() else { break };
        if *widest <= NARROW {
            break;
        }
        *widest -= 1;
    }
    for row in rows {
        match row {
            Row::Line(line) => out.push_str(&cut(&harmless(line), WIDE)),
            Row::Cells(cells) => {
                let mut line = String::new();
                for (at, (cell, width)) in cells.iter().zip(&widths).enumerate()
                {
                    let text = cut(&cell.text, *width);
                    let pad = " ".repeat(width - text.width());
                    if at > 0 {
                        line.push_str(GAP);
                    }
                    match cell.wrong {
                        true => line.push_str(&paint.red(&text)),
                        false => line.push_str(&text),
                    }
                    line.push_str(&pad);
                }
                out.push_str(line.trim_end());
            }
        }
        out.push('\n');
    }
}

/// Rows whose first column gives way to the others, which are shown whole as
/// long as they fit.
pub(super) fn first_gives_way(rows: &mut [Vec<Cell>]) {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at));
        cells.map(|cell| cell.text.width()).max().unwrap_or(0)
    };
    let others: usize = (1..count).map(|at| GAP.len() + width(at)).sum();
    let room = WIDE.saturating_sub(others).max(NARROW);
    for first in rows.iter_mut().filter_map(|row| row.first_mut()) {
        first.text = cut(&first.text, room);
    }
}

/// Text in so many columns. What is cut is cut in the middle: names of one
/// kind differ at their ends.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let tail = width.saturating_sub(1) / 2;
    let head = width.saturating_sub(1) - tail;
    let take = |chars: &mut dyn Iterator<Item = char>, most: usize| {
        let mut taken: Vec<char> = Vec::new();
        let mut wide = 0;
        for c in chars {
            wide += c.width().unwrap_or(0);
            if wide > most {
                break;
            }
            taken.push(c);
        }
        taken
    };
    let mut cut: String = take(&mut text.chars(), head).iter().collect();
    cut.push('…');
    cut.extend(take(&mut text.chars().rev(), tail).iter().rev());
    cut
}

/// A paragraph, its lines indented; a word that is too long is broken.
pub(super) fn paragraph(out: &mut String, indent: usize, text: &str) {
    hang(out, &" ".repeat(indent), text);
}

/// A paragraph that begins with a head of ours, its other lines as far in.
pub(super) fn hang(out: &mut String, head: &str, text: &str) {
    let indent = head.width();
    let room = WIDE - indent;
    let mut line = String::new();
    let mut begun = false;
    let mut put = |line: &mut String| {
        if !line.is_empty() {
            match begun {
                true => out.push_str(&" ".repeat(indent)),
                false => out.push_str(head),
            }
            begun = true;
            out.push_str(line);
            out.push('\n');
            line.clear();
        }
    };
    for word in harmless(text).split(' ').filter(|word| !word.is_empty()) {
        if !line.is_empty() && line.width() + 1 + word.width() > room {
            put(&mut line);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            if line.width() + c.width().unwrap_or(0) > room {
                put(&mut line);
            }
            line.push(c);
        }
    }
    put(&mut line);
}

/// Says on standard error what went on or wrong: within the screen where
/// somebody looks at it, else on a line of its own, for those who search.
pub(super) fn tell(head: &str, text: &str) {
    let looked_at = std::io::stderr().is_terminal();
    // Who does not read it is no reason to stop.
    let _ = write!(std::io::stderr(), "{}", told(head, text, looked_at));
}

fn told(head: &str, text: &str, looked_at: bool) -> String {
    let mut out = String::new();
    for (nth, line) in text.lines().enumerate() {
        let words = line.trim_start_matches(' ');
        let (own, _) = line.split_at(line.len() - words.len());
        let head = if nth == 0 { head } else { own };
        match looked_at {
            true => hang(&mut out, head, words),
            false => {
                out.push_str(&format!("{head}{}\n", harmless(words)));
            }
        }
    }
    out
}

/// What was found, by weight; `most` findings of each and as many lines of
/// evidence as `evidence`.
pub(super) fn findings(
    out: &mut String,
    found: &[Finding],
    (most, evidence): (usize, usize),
    paint: Paint,
) {
    for (weight, title) in [
        (Weight::Wrong, paint.red("WRONG")),
        (Weight::Unseen, paint.yellow("NOT LOOKED AT")),
        (Weight::Note, "GOOD TO KNOW".to_owned()),
        (Weight::Well, paint.green("WELL")),
    ] {
        let these: Vec<&Finding> =
            found.iter().filter(|one| one.weight == weight).collect();
        if these.is_empty() {
            continue;
        }
        out.push_str(&format!("\n{title}\n"));
        for one in these.iter().take(most) {
            paragraph(out, 2, &format!("{}: {}", one.about, one.says));
            for line in one.evidence.iter().take(evidence) {
                paragraph(out, 6, line);
            }
            if one.evidence.len() > evidence {
                let more = one.evidence.len() - evidence;
                paragraph(out, 6, &format!("and {more} lines more"));
            }
            if let Some(mend) = &one.mend {
                // On one line, however long, so that it can be copied.
                out.push_str(&format!("    # {}\n", harmless(mend)));
            }
        }
        if let Some(more @ 1..) = these.len().checked_sub(most) {
            out.push_str(&format!("  and {more} more; --json has all\n"));
        }
    }
}

/// What a test wants of all that is for a screen.
#[cfg(test)]
pub(super) fn assert_fits(text: &str) {
    assert!(!text.contains(['\x1b', '\u{202e}']), "{text:?}");
    for line in text.lines() {
        assert!(line.width() <= WIDE, "{line}");
    }
}

/// What another machine may call a thing.
#[cfg(test)]
pub(super) const ODD: &str = "プロメテウス-\x1b[2J-\u{202e}us-east.example.com-\
                              1a2b3c4d-überwachung-of-a-name-without-end";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_fits_where_somebody_looks() {
        let long = format!("{ODD} and {ODD}: {}", "words ".repeat(40));
        assert_fits(&told("[1/2] ", &long, true));
        let plain = told("monadm: ", &format!("{long}\n  {ODD}"), false);
        assert_eq!(plain.lines().count(), 2);
        assert!(!plain.contains('\x1b'), "{plain:?}");
        let text = told("monadm: ", "not set up:\n  a: saw b\n", true);
        assert_eq!(text, "monadm: not set up:\n  a: saw b\n");
    }

    #[test]
    fn what_is_cut_keeps_both_ends_and_fits() {
        assert_eq!(cut("prometheus0", 11), "prometheus0");
        assert_eq!(cut("prometheus0", 7), "pro…us0");
        for width in 1..12 {
            for text in ["prometheus0", "プロメテウス0", "héhéhéhéhéhé"]
            {
                assert!(cut(text, width).width() <= width, "{text} {width}");
            }
        }
    }

    #[test]
    fn nothing_steers_the_terminal() {
        let evil = "a\x1b[2Jb\u{202e}c\nd";
        assert_eq!(harmless(evil), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
        let mut out = String::new();
        paragraph(&mut out, 2, evil);
        table(&mut out, &[Row::Line(evil.into())], Paint(false));
        table(&mut out, &[Row::Cells(vec![Cell::new(evil)])], Paint(false));
        let finding = Finding {
            weight: Weight::Note,
            about: evil.into(),
            says: evil.into(),
            evidence: vec![evil.into()],
            mend: Some(evil.into()),
        };
        findings(&mut out, &[finding], (9, 9), Paint(false));
        assert!(!out.contains(['\x1b', '\u{202e}']), "{out:?}");
    }

    #[test]
    fn paragraphs_and_tables_stay_within_the_screen() {
        let mut out = String::new();
        hang(&mut out, "note: ", &"long words ".repeat(20));
        assert!(out.starts_with("note: long"), "{out}");
        assert!(out.contains("\n      long"), "{out}");
        paragraph(&mut out, 6, &"ü".repeat(200));
        paragraph(&mut out, 6, &"プロ メテ ".repeat(40));
        let wide = |n| Cell::new("プロ".repeat(n));
        let rows = [
            Row::Cells(vec![wide(30), wide(3), wide(30)]),
            Row::Line("x".repeat(99)),
        ];
        table(&mut out, &rows, Paint(false));
        assert!(out.lines().count() > 8);
        for line in out.lines() {
            assert!(line.width() <= WIDE, "{line}");
        }
        assert_eq!(out.matches('ü').count(), 200);
    }
}
