// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The template language of SAPI's config manifests, byte for byte as the
//! Node config-agent's engine (Joyent's fork of hogan.js 3.0.2) prints it.
//!
//! A mustache dialect with habits that shipped templates rely on: five
//! characters are escaped and no more (keys survive double braces), objects
//! print as JSON, arrays as comma-joined text, numbers as JavaScript prints
//! them, and a line holding nothing but sections and blanks vanishes.
//!
//! Where ours differs, on purpose:
//! - a null printed as a variable is an error naming the variable, and costs
//!   only this template (the Node agent dies of it);
//! - a delimiter change that never closes is an error (theirs rereads the
//!   template, for ever or wrongly);
//! - names of JavaScript's own methods (`{{toString}}`) are missing keys;
//! - depth, work and output are bounded, see the constants here.
//!
//! `parse` finds the nodes, `render` walks them over a context, `text` knows
//! how JavaScript prints. Which templates to render, and with what context,
//! is `metadata::resolve`'s part.

mod parse;
mod render;
mod text;

use std::ops::Range;

use serde_json::Value;

/// Longest template accepted, in bytes.
pub const MAX_TEMPLATE_BYTES: usize = 16 << 20;

/// Sections within sections; also calls of blocks by blocks, and arrays or
/// objects within a printed value (JSON from SAPI nests at most 128 deep).
pub const MAX_DEPTH: usize = 256;

/// Largest file one template may render to, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 16 << 20;

/// Work one rendering may cost: nodes walked plus scopes looked into. Only
/// nested loops over long arrays come near it; they take about a tenth of a
/// second to be refused.
pub const MAX_STEPS: usize = 5_000_000;

/// Most names kept by [`Rendering::missing`].
pub const MAX_MISSING_NAMES: usize = 64;

/// Why a template cannot be parsed or rendered. Names only keys and tags,
/// never a value from the metadata.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoganError {
    /// A section was closed under another name.
    #[error("Nesting error: {open} vs. {close} (line {line})")]
    Nesting {
        /// The section that is open.
        open: String,
        /// The name in the closing tag.
        close: String,
        /// Line of the closing tag, from 1.
        line: usize,
    },
    /// A section is open at the end of the template.
    #[error("missing closing tag: {open} (opened in line {line})")]
    Unclosed {
        /// The innermost open section.
        open: String,
        /// Line of its opening tag, from 1.
        line: usize,
    },
    /// A closing tag outside of any section.
    #[error("Closing tag without opener: /{close} (line {line})")]
    Unopened {
        /// The name in the closing tag.
        close: String,
        /// Its line, from 1.
        line: usize,
    },
    /// Something other than text and `{{$blocks}}` inside `{{<parent}}`.
    #[error("illegal content in a < tag (line {line})")]
    IllegalInParent {
        /// Its line, from 1.
        line: usize,
    },
    /// `{{=` without the `=` and delimiter that end it.
    #[error("unterminated delimiter change (line {line})")]
    UnterminatedDelimiters {
        /// Its line, from 1.
        line: usize,
    },
    /// Sections nested beyond [`MAX_DEPTH`].
    #[error("sections nested more than {MAX_DEPTH} deep (line {line})")]
    TooDeep {
        /// The line that went too far, from 1.
        line: usize,
    },
    /// Beyond [`MAX_TEMPLATE_BYTES`].
    #[error("template of {size} bytes, at most {MAX_TEMPLATE_BYTES} accepted")]
    TemplateTooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// A variable whose value is null was to be printed.
    #[error("null value for variable {name}")]
    NullValue {
        /// The name as the template spells it.
        name: String,
    },
    /// A printed value, or blocks within themselves, beyond [`MAX_DEPTH`].
    #[error("{name} is nested more than {MAX_DEPTH} deep")]
    ValueTooDeep {
        /// The variable or block.
        name: String,
    },
    /// Beyond [`MAX_OUTPUT_BYTES`].
    #[error("output of more than {MAX_OUTPUT_BYTES} bytes")]
    OutputTooLarge,
    /// Beyond [`MAX_STEPS`].
    #[error("nested loops of more than {MAX_STEPS} steps")]
    TooManySteps,
}

/// A parsed template: its text once, and a flat list of nodes over it. Does
/// not borrow from the source, so it can be kept between passes.
pub struct Template {
    source: Box<str>,
    nodes: Vec<Node>,
}

/// What a rendering gave, and what it could not find.
#[derive(PartialEq, Eq)]
pub struct Rendering {
    /// The file's text.
    pub text: String,
    /// Variables that were printed as nothing because no such key exists, as
    /// the template spells them, each once, in the order met; at most
    /// [`MAX_MISSING_NAMES`]. Keys only tested by a section are not among
    /// them: templates do so to give defaults.
    pub missing: Vec<String>,
}

impl Template {
    /// Parses a template.
    ///
    /// Errors: tags that do not nest, and the bounds above. An unterminated
    /// `{{tag` is no error, it prints as the bare name.
    pub fn parse(source: &str) -> Result<Self, HoganError> {
        parse::parse(source)
    }

    /// Renders over `context`, an object as a rule. Missing keys print as
    /// nothing.
    ///
    /// Errors: a null printed as a variable, and the bounds above.
    pub fn render(&self, context: &Value) -> Result<String, HoganError> {
        self.render_reporting(context).map(|rendering| rendering.text)
    }

    /// Renders like [`Template::render`] and names the missing variables,
    /// since shipped templates depend on their printing as nothing and an
    /// operator still wants to see a misspelt key.
    pub fn render_reporting(
        &self,
        context: &Value,
    ) -> Result<Rendering, HoganError> {
        render::render(self, context)
    }

    fn slice(&self, range: &Range<u32>) -> &str {
        slice(&self.source, range)
    }
}

/// Text and names are byte ranges of the source. Children follow their
/// section directly; `end` is the index just past the last of them.
enum Node {
    Text(Range<u32>),
    Variable {
        name: Range<u32>,
        escaped: bool,
    },
    Section {
        name: Range<u32>,
        end: u32,
    },
    Inverted {
        name: Range<u32>,
        end: u32,
    },
    /// `body` are the nodes that this name stands for: where a name is given
    /// several times the last body serves all of them.
    Block {
        name: Range<u32>,
        body: Range<u32>,
        end: u32,
    },
}

fn slice<'s>(source: &'s str, range: &Range<u32>) -> &'s str {
    &source[range.start as usize..range.end as usize]
}

#[cfg(test)]
mod tests;
