// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Walks a template's nodes over a context. Borrows both; copies only what is
//! printed.

use std::ops::Range;

use serde_json::Value;

use super::text::Printer;
use super::{
    HoganError, MAX_DEPTH, MAX_MISSING_NAMES, MAX_STEPS, Node, Rendering,
    Template,
};

pub(super) fn render(
    template: &Template,
    context: &Value,
) -> Result<Rendering, HoganError> {
    let mut walk = Walk {
        template,
        scopes: vec![context],
        out: String::with_capacity(template.source.len()),
        steps: 0,
        depth: 0,
        missing: Vec::new(),
    };
    walk.run(0..template.nodes.len())?;
    let missing = walk.missing.into_iter().map(str::to_owned).collect();
    Ok(Rendering { text: walk.out, missing })
}

/// A looked-up value; an array's length is the only one not in the context.
#[derive(Clone, Copy)]
enum Found<'v> {
    Missing,
    Value(&'v Value),
    Length(usize),
}

struct Walk<'t, 'v> {
    template: &'t Template,
    /// Innermost last. A section over an array leaves the array itself here,
    /// and the element on top of it.
    scopes: Vec<&'v Value>,
    out: String,
    steps: usize,
    depth: usize,
    missing: Vec<&'t str>,
}

impl<'t, 'v> Walk<'t, 'v> {
    fn run(&mut self, nodes: Range<usize>) -> Result<(), HoganError> {
        let template = self.template;
        let mut at = nodes.start;
        while at < nodes.end {
            self.step()?;
            let mut next = at + 1;
            match &template.nodes[at] {
                Node::Text(text) => {
                    Printer::raw(&mut self.out).push(template.slice(text))?;
                }
                Node::Variable { name, escaped } => {
                    self.print(template.slice(name), *escaped)?;
                }
                Node::Section { name, end } => {
                    let name = template.slice(name);
                    let body = next..*end as usize;
                    next = body.end;
                    self.section(name, body)?;
                }
                Node::Inverted { name, end } => {
                    let body = next..*end as usize;
                    next = body.end;
                    let found = self.find(template.slice(name))?;
                    if !is_truthy(found) {
                        self.descend(template.slice(name), body)?;
                    }
                }
                Node::Block { name, body, end } => {
                    next = *end as usize;
                    let body = body.start as usize..body.end as usize;
                    self.descend(template.slice(name), body)?;
                }
            }
            at = next;
        }
        Ok(())
    }

    fn print(
        &mut self,
        name: &'t str,
        escaped: bool,
    ) -> Result<(), HoganError> {
        match self.find(name)? {
            Found::Missing => {
                let known = self.missing.contains(&name);
                if !known && self.missing.len() < MAX_MISSING_NAMES {
                    self.missing.push(name);
                }
                Ok(())
            }
            Found::Length(length) => {
                Printer::raw(&mut self.out).push(&length.to_string())
            }
            Found::Value(value) => {
                Printer { out: &mut self.out, escaped }.value(name, value)
            }
        }
    }

    /// An array or object becomes the scope; any other true value repeats the
    /// present one. The scope then on top decides whether to iterate, so a
    /// flag asked inside an array of arrays walks the inner array, as in the
    /// original.
    fn section(
        &mut self,
        name: &'t str,
        body: Range<usize>,
    ) -> Result<(), HoganError> {
        let found = self.find(name)?;
        if !is_truthy(found) {
            return Ok(());
        }
        let scope = match found {
            Found::Value(value) if value.is_array() || value.is_object() => {
                value
            }
            _ => self.scopes.last().expect("the root scope is never popped"),
        };
        self.scopes.push(scope);
        if let Value::Array(elements) = scope {
            for element in elements {
                self.step()?;
                self.scopes.push(element);
                self.descend(name, body.clone())?;
                self.scopes.pop();
            }
        } else {
            self.descend(name, body)?;
        }
        self.scopes.pop();
        Ok(())
    }

    /// Parsing bounds how deep sections nest; blocks can call themselves.
    fn descend(
        &mut self,
        name: &'t str,
        body: Range<usize>,
    ) -> Result<(), HoganError> {
        if self.depth == MAX_DEPTH {
            return Err(HoganError::ValueTooDeep { name: name.to_owned() });
        }
        self.depth += 1;
        self.run(body)?;
        self.depth -= 1;
        Ok(())
    }

    /// Looks up a name: its first part in every scope from the innermost
    /// outwards, the others strictly below what that gave.
    fn find(&mut self, name: &str) -> Result<Found<'v>, HoganError> {
        let Some((first, rest)) = name.split_once('.') else {
            return self.find_first(name);
        };
        if name == "."
            && let [.., Value::Array(_), element] = self.scopes[..]
        {
            return Ok(Found::Value(element));
        }
        let mut found = self.find_first(first)?;
        for key in rest.split('.') {
            self.step()?;
            found = match found {
                Found::Value(scope) => get(scope, key),
                Found::Missing | Found::Length(_) => Found::Missing,
            };
        }
        Ok(found)
    }

    fn find_first(&mut self, key: &str) -> Result<Found<'v>, HoganError> {
        for index in (0..self.scopes.len()).rev() {
            self.step()?;
            let found = get(self.scopes[index], key);
            if !matches!(found, Found::Missing) {
                return Ok(found);
            }
        }
        Ok(Found::Missing)
    }

    fn step(&mut self) -> Result<(), HoganError> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(HoganError::TooManySteps);
        }
        Ok(())
    }
}

fn get<'v>(scope: &'v Value, key: &str) -> Found<'v> {
    let value = match scope {
        Value::Object(map) => map.get(key),
        Value::Array(elements) if key == "length" => {
            return Found::Length(elements.len());
        }
        Value::Array(elements) => {
            array_index(key).and_then(|index| elements.get(index))
        }
        _ => None,
    };
    value.map_or(Found::Missing, Found::Value)
}

/// Reads an array index as JavaScript spells one: decimal, no leading zero.
pub(super) fn array_index(key: &str) -> Option<usize> {
    let digits = !key.is_empty() && key.bytes().all(|b| b.is_ascii_digit());
    if !digits || (key.len() > 1 && key.starts_with('0')) {
        return None;
    }
    // 2^32 - 1 and above are ordinary keys in JavaScript.
    key.parse::<u32>()
        .ok()
        .filter(|index| *index < u32::MAX)
        .and_then(|index| usize::try_from(index).ok())
}

fn is_truthy(found: Found<'_>) -> bool {
    match found {
        Found::Missing => false,
        Found::Length(length) => length != 0,
        Found::Value(value) => match value {
            Value::Null => false,
            Value::Bool(flag) => *flag,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(elements) => !elements.is_empty(),
            Value::Object(_) => true,
        },
    }
}
