// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Template text becomes nodes: first tokens, line by line, so that lines of
//! tags alone can vanish, then the nesting.
//!
//! The corners that look like slips are the original's, which shipped
//! templates may have come to lean on; each says so.

use std::collections::HashMap;
use std::ops::Range;

use super::{HoganError, MAX_DEPTH, MAX_TEMPLATE_BYTES, Node, Template, slice};

pub(super) fn parse(source: &str) -> Result<Template, HoganError> {
    if source.len() > MAX_TEMPLATE_BYTES {
        return Err(HoganError::TemplateTooLarge { size: source.len() });
    }
    let nodes = nest(source, &scan(source)?)?;
    Ok(Template { source: source.into(), nodes })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Newline,
    Variable,
    Raw,
    Section,
    Inverted,
    Parent,
    Block,
    Close,
    /// A comment or a partial: prints nothing, but counts for its line.
    Silent,
}

impl Kind {
    fn may_stand_in_parent(self) -> bool {
        matches!(self, Self::Text | Self::Newline | Self::Block | Self::Close)
    }
}

/// `range` is the text, or the trimmed name within a tag.
struct Token {
    kind: Kind,
    range: Range<u32>,
}

fn scan(source: &str) -> Result<Vec<Token>, HoganError> {
    let mut scanner = Scanner {
        source,
        open: "{{",
        close: "}}",
        tokens: Vec::new(),
        line_start: 0,
        line_has_tag: false,
    };
    let mut at = 0;
    while let Some(event) = scanner.next_event(at) {
        match event {
            Event::Newline(newline) => {
                scanner.push_text(at..newline);
                scanner.finish_line(Some(newline));
                at = newline + 1;
            }
            Event::Tag(tag) => {
                scanner.push_text(at..tag);
                scanner.line_has_tag = true;
                at = scanner.read_tag(tag)?;
            }
        }
    }
    scanner.push_text(at..source.len());
    scanner.finish_line(None);
    Ok(scanner.tokens)
}

enum Event {
    Newline(usize),
    Tag(usize),
}

struct Scanner<'s> {
    source: &'s str,
    /// The delimiters of the moment. Both are empty after `{{= =}}`, and
    /// then no tag opens any more.
    open: &'s str,
    close: &'s str,
    tokens: Vec<Token>,
    /// The first token of the present line.
    line_start: usize,
    line_has_tag: bool,
}

impl<'s> Scanner<'s> {
    fn next_event(&self, from: usize) -> Option<Event> {
        let bytes = self.source.as_bytes();
        let first = self.open.bytes().next();
        for (offset, byte) in bytes[from..].iter().enumerate() {
            let at = from + offset;
            if Some(*byte) == first
                && bytes[at..].starts_with(self.open.as_bytes())
            {
                return Some(Event::Tag(at));
            }
            if *byte == b'\n' {
                return Some(Event::Newline(at));
            }
        }
        None
    }

    /// Reads the tag whose opening delimiter stands at `at` and returns where
    /// text goes on.
    fn read_tag(&mut self, at: usize) -> Result<usize, HoganError> {
        let inside = at + self.open.len();
        let kind = match self.source.as_bytes().get(inside) {
            Some(b'=') => return self.change_delimiters(at),
            Some(b'#') => Kind::Section,
            Some(b'^') => Kind::Inverted,
            Some(b'<') => Kind::Parent,
            Some(b'$') => Kind::Block,
            Some(b'/') => Kind::Close,
            Some(b'!' | b'>') => Kind::Silent,
            Some(b'{' | b'&') => Kind::Raw,
            _ => Kind::Variable,
        };
        let triple = self.source[inside..].starts_with('{');
        let start = inside + usize::from(kind != Kind::Variable);
        let Some(length) = self.source[start..].find(self.close) else {
            // Unterminated: what follows is text, line breaks included, and
            // the line it began on ends with the template.
            self.push_text(start..self.source.len());
            return Ok(self.source.len());
        };
        let end = start + length;
        let mut name = trim(self.source, start..end);
        let mut next = end + self.close.len();
        if triple && self.close == "}}" {
            // The third brace; whatever stands in its place is swallowed.
            let third = self.source[next..].chars().next();
            next += third.map_or(0, char::len_utf8);
        } else if triple && self.source[name.clone()].ends_with('}') {
            name.end -= 1;
        }
        self.tokens.push(Token { kind, range: range(name) });
        Ok(next)
    }

    /// Handles `{{=<% %>=}}`: the first and last of the words between the
    /// equals signs.
    fn change_delimiters(&mut self, at: usize) -> Result<usize, HoganError> {
        // The search begins at the last character of the delimiter itself,
        // so that one ending in `=` is mistaken for the tag's sign.
        let last = self.open.chars().next_back().map_or(0, char::len_utf8);
        let from = at + self.open.len() - last;
        let ending = format!("={}", self.close);
        let end = self.source[from..].find(&ending);
        let start = self.source[from..].find('=');
        let (Some(end), Some(start)) = (end, start) else {
            let line = line_of(self.source, at);
            return Err(HoganError::UnterminatedDelimiters { line });
        };
        let (start, end) = (from + start + 1, from + end);
        // `{{=}}` has one sign for both and makes it the delimiter.
        let words = trim(self.source, start.min(end)..start.max(end));
        let words = &self.source[words];
        self.open = words.split(' ').next().unwrap_or_default();
        self.close = words.rsplit(' ').next().unwrap_or_default();
        Ok(end + ending.len())
    }

    fn push_text(&mut self, text: Range<usize>) {
        if !text.is_empty() {
            self.tokens.push(Token { kind: Kind::Text, range: range(text) });
        }
    }

    /// Drops the blanks and the line break of a line that holds only blanks
    /// and tags that print nothing themselves.
    fn finish_line(&mut self, newline: Option<usize>) {
        let vanishes = self.line_has_tag
            && self.tokens[self.line_start..].iter().all(|token| {
                match token.kind {
                    Kind::Variable | Kind::Raw => false,
                    Kind::Text => is_blank(slice(self.source, &token.range)),
                    _ => true,
                }
            });
        if vanishes {
            self.drop_blanks();
        } else if let Some(at) = newline {
            self.tokens
                .push(Token { kind: Kind::Newline, range: range(at..at + 1) });
        }
        self.line_start = self.tokens.len();
        self.line_has_tag = false;
    }

    /// Drops the texts of the present line. Of two in a row, as a delimiter
    /// change leaves them, the second stays: the original steps over it.
    fn drop_blanks(&mut self) {
        let (mut read, mut write) = (self.line_start, self.line_start);
        while read < self.tokens.len() {
            if self.tokens[read].kind == Kind::Text {
                read += 1;
            }
            if read < self.tokens.len() {
                self.tokens.swap(write, read);
                write += 1;
                read += 1;
            }
        }
        self.tokens.truncate(write);
    }
}

/// A tag that waits for its `{{/name}}`.
struct Open {
    kind: Kind,
    name: Range<u32>,
    node: usize,
}

struct Nest<'s> {
    source: &'s str,
    nodes: Vec<Node>,
    stack: Vec<Open>,
    blocks: HashMap<&'s str, Range<u32>>,
}

fn nest(source: &str, tokens: &[Token]) -> Result<Vec<Node>, HoganError> {
    let (nodes, stack) = (Vec::new(), Vec::new());
    let mut nest = Nest { source, nodes, stack, blocks: HashMap::new() };
    for token in tokens {
        nest.take(token)?;
    }
    if let Some(open) = nest.stack.pop() {
        let line = line_of(source, open.name.start as usize);
        let open = quote(source, &open.name);
        return Err(HoganError::Unclosed { open, line });
    }
    resolve_blocks(source, &mut nest.nodes, &nest.blocks);
    Ok(nest.nodes)
}

impl Nest<'_> {
    fn take(&mut self, token: &Token) -> Result<(), HoganError> {
        let Token { kind, range: name } = token;
        let outer = self.stack.last().map(|open| open.kind);
        if outer == Some(Kind::Parent) && !kind.may_stand_in_parent() {
            return Err(HoganError::IllegalInParent { line: self.line(name) });
        }
        match kind {
            Kind::Text | Kind::Newline => self.push_text(name),
            Kind::Silent => {}
            Kind::Variable | Kind::Raw => {
                let escaped = *kind == Kind::Variable;
                let name = name.clone();
                self.nodes.push(Node::Variable { name, escaped });
            }
            Kind::Section | Kind::Inverted | Kind::Block | Kind::Parent => {
                self.open(*kind, name)?;
            }
            Kind::Close => self.close(name)?,
        }
        Ok(())
    }

    /// Joins text that is contiguous in the source. Tags lie between what
    /// belongs to different sections, so no join crosses one.
    fn push_text(&mut self, text: &Range<u32>) {
        match self.nodes.last_mut() {
            Some(Node::Text(last)) if last.end == text.start => {
                last.end = text.end;
            }
            _ => self.nodes.push(Node::Text(text.clone())),
        }
    }

    fn open(
        &mut self,
        kind: Kind,
        name: &Range<u32>,
    ) -> Result<(), HoganError> {
        if self.stack.len() == MAX_DEPTH {
            return Err(HoganError::TooDeep { line: self.line(name) });
        }
        let node = self.nodes.len();
        self.stack.push(Open { kind, name: name.clone(), node });
        let name = name.clone();
        self.nodes.push(match kind {
            Kind::Section => Node::Section { name, end: 0 },
            Kind::Inverted => Node::Inverted { name, end: 0 },
            _ => Node::Block { name, body: 0..0, end: 0 },
        });
        Ok(())
    }

    fn close(&mut self, name: &Range<u32>) -> Result<(), HoganError> {
        let source = self.source;
        let Some(open) = self.stack.pop() else {
            let (close, line) = (quote(source, name), self.line(name));
            return Err(HoganError::Unopened { close, line });
        };
        if slice(source, &open.name) != slice(source, name) {
            return Err(HoganError::Nesting {
                open: quote(source, &open.name),
                close: quote(source, name),
                line: self.line(name),
            });
        }
        if open.kind == Kind::Parent {
            // Prints nothing, as there are no partials.
            self.nodes.truncate(open.node);
            return Ok(());
        }
        let after = index(self.nodes.len());
        match &mut self.nodes[open.node] {
            Node::Section { end, .. }
            | Node::Inverted { end, .. }
            | Node::Block { end, .. } => *end = after,
            Node::Text(_) | Node::Variable { .. } => {}
        }
        let is_inner = |o: &Open| matches!(o.kind, Kind::Block | Kind::Parent);
        if open.kind == Kind::Block && !self.stack.iter().any(is_inner) {
            let body = index(open.node) + 1..after;
            self.blocks.insert(slice(source, &open.name), body);
        }
        Ok(())
    }

    fn line(&self, at: &Range<u32>) -> usize {
        line_of(self.source, at.start as usize)
    }
}

/// Points each block at the last body of its name outside of other blocks.
/// A name known only inside another block has none and prints nothing.
fn resolve_blocks(
    source: &str,
    nodes: &mut [Node],
    blocks: &HashMap<&str, Range<u32>>,
) {
    for node in nodes {
        if let Node::Block { name, body, .. } = node
            && let Some(found) = blocks.get(slice(source, name))
        {
            *body = found.clone();
        }
    }
}

/// What JavaScript calls white space; `char::is_whitespace` has U+0085 and
/// lacks U+FEFF.
fn is_js_space(c: char) -> bool {
    c == '\u{feff}' || (c.is_whitespace() && c != '\u{85}')
}

fn is_blank(text: &str) -> bool {
    text.chars().all(is_js_space)
}

fn trim(source: &str, within: Range<usize>) -> Range<usize> {
    let text = source[within.clone()].trim_end_matches(is_js_space);
    let end = within.start + text.len();
    end - text.trim_start_matches(is_js_space).len()..end
}

/// A tag's name for an error, shortened: an unclosed tag may swallow pages.
fn quote(source: &str, name: &Range<u32>) -> String {
    slice(source, name).chars().take(80).collect()
}

fn line_of(source: &str, at: usize) -> usize {
    1 + source.as_bytes()[..at].iter().filter(|b| **b == b'\n').count()
}

/// Offsets fit: the template was measured first, and it has no more nodes
/// than bytes.
fn index(at: usize) -> u32 {
    u32::try_from(at).expect("a template is smaller than 4 GiB")
}

fn range(within: Range<usize>) -> Range<u32> {
    index(within.start)..index(within.end)
}
