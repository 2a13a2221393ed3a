// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! tera as we use it: strict, with one filter of our own, and errors on one
//! line.

use tera::{Context, Kwargs, State, Tera, Value};

pub(super) fn holds(
    when: Option<&str>,
    context: &Context,
) -> Result<bool, String> {
    let Some(when) = when else { return Ok(true) };
    let text = format!("{{% if {when} %}}yes{{% endif %}}");
    let mut tera = engine();
    tera.add_raw_template("when", &text).map_err(|e| tera_reason(&e))?;
    let said = tera.render("when", context).map_err(|e| tera_reason(&e))?;
    Ok(said == "yes")
}

/// Renders a tera template over any JSON object.
///
/// Errors: line and cause.
pub fn tera_text(
    name: &str,
    text: &str,
    over: &serde_json::Value,
) -> Result<String, String> {
    let context = Context::from_serialize(over).map_err(|e| tera_reason(&e))?;
    tera_in(name, text, &context)
}

pub(super) fn tera_in(
    name: &str,
    text: &str,
    context: &Context,
) -> Result<String, String> {
    let mut tera = engine();
    tera.add_raw_template(name, text).map_err(|e| tera_reason(&e))?;
    tera.render(name, context).map_err(|e| tera_reason(&e))
}

/// Renders a one-line template, such as a target path.
pub(super) fn line(text: &str, context: &Context) -> Result<String, String> {
    if !text.contains("{{") && !text.contains("{%") {
        return Ok(text.to_owned());
    }
    let mut tera = engine();
    tera.add_raw_template("line", text).map_err(|e| tera_reason(&e))?;
    tera.render("line", context).map_err(|e| tera_reason(&e))
}

/// tera with our filters and no HTML escaping: what we write is YAML and
/// flags.
fn engine() -> Tera {
    let mut tera = Tera::new();
    tera.autoescape_on(Vec::<&str>::new());
    tera.register_filter("yaml", yaml);
    tera
}

/// A value as one YAML scalar or flow collection. JSON is YAML, and its
/// quoting leaves no room for a value that breaks out of its place.
///
/// Nearly: YAML 1.1 refuses some characters that JSON lets pass, and takes
/// others for line breaks. They only occur in strings, where both know the
/// same escape.
fn yaml(value: &Value, _: Kwargs, _: &State) -> tera::TeraResult<String> {
    let json = serde_json::to_string(value).map_err(tera::Error::message)?;
    let mut yaml = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                yaml.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            other => yaml.push(other),
        }
    }
    Ok(yaml)
}

/// tera's report without its drawing of the source, on one line.
pub(super) fn tera_reason(error: &tera::Error) -> String {
    use std::error::Error;
    let mut reason = match error.kind() {
        tera::ErrorKind::SyntaxError(report)
        | tera::ErrorKind::RenderingError(report) => {
            format!("line {}: {}", report.span().start_line, report.message())
        }
        _ => error.to_string(),
    };
    let mut source = error.source();
    while let Some(cause) = source {
        reason.push_str(": ");
        reason.push_str(&cause.to_string());
        source = cause.source();
    }
    reason.split_whitespace().collect::<Vec<_>>().join(" ")
}
