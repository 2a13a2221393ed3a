// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! As much of JSON Schema as applications use for `metadata_schema`: type,
//! enum, properties, required, additionalProperties, items, minimum, maximum,
//! minLength, maxLength. Unknown words are ignored.

use serde_json::{Map, Value};

/// Checks `value`; the error names the property and what is wrong.
pub(super) fn check(schema: &Value, value: &Value) -> Result<(), String> {
    check_at(schema, value, "metadata")
}

fn check_at(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let Some(schema) = schema.as_object() else { return Ok(()) };
    if let Some(wanted) = schema.get("type")
        && !type_fits(wanted, value)
    {
        return Err(format!("property {at}: not of type {wanted}"));
    }
    if let Some(Value::Array(choices)) = schema.get("enum")
        && !choices.contains(value)
    {
        return Err(format!("property {at}: not one of the allowed values"));
    }
    bounds(schema, value, at)?;
    match value {
        Value::Object(map) => object(schema, map, at),
        Value::Array(list) => {
            let Some(items) = schema.get("items") else { return Ok(()) };
            list.iter().enumerate().try_for_each(|(i, v)| {
                check_at(items, v, &format!("{at}[{i}]"))
            })
        }
        _ => Ok(()),
    }
}

fn object(
    schema: &Map<String, Value>,
    map: &Map<String, Value>,
    at: &str,
) -> Result<(), String> {
    if let Some(Value::Array(required)) = schema.get("required") {
        let missing = required
            .iter()
            .filter_map(Value::as_str)
            .find(|key| !map.contains_key(*key));
        if let Some(key) = missing {
            return Err(format!("property {at}.{key}: is required"));
        }
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let others = schema.get("additionalProperties");
    for (key, value) in map {
        let at = format!("{at}.{key}");
        match properties.and_then(|p| p.get(key)) {
            Some(schema) => check_at(schema, value, &at)?,
            None if others == Some(&Value::Bool(false)) => {
                return Err(format!("property {at}: is not allowed"));
            }
            None => {}
        }
    }
    Ok(())
}

fn bounds(
    schema: &Map<String, Value>,
    value: &Value,
    at: &str,
) -> Result<(), String> {
    let limit = |word| schema.get(word).and_then(Value::as_f64);
    let (size, low, high) = match value {
        Value::Number(number) => {
            (number.as_f64(), limit("minimum"), limit("maximum"))
        }
        Value::String(text) => {
            let length = text.encode_utf16().count() as f64;
            (Some(length), limit("minLength"), limit("maxLength"))
        }
        _ => return Ok(()),
    };
    let size = size.unwrap_or(0.0);
    if low.is_some_and(|low| size < low) {
        return Err(format!("property {at}: is too small"));
    }
    if high.is_some_and(|high| size > high) {
        return Err(format!("property {at}: is too large"));
    }
    Ok(())
}

fn type_fits(wanted: &Value, value: &Value) -> bool {
    match wanted {
        Value::Array(any) => any.iter().any(|one| type_fits(one, value)),
        Value::String(name) => match name.as_str() {
            "string" => value.is_string(),
            "number" => value.is_number(),
            "integer" => value.as_f64().is_some_and(|n| n.fract() == 0.0),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            _ => true,
        },
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_message_names_the_property() {
        let schema = json!({
            "type": "object",
            "required": ["a"],
            "properties": {
                "a": {"type": "string", "minLength": 1},
                "b": {"type": "array", "items": {"enum": [1, 2]}},
            },
        });
        assert_eq!(
            check(&schema, &json!({"a": "x", "b": [1], "c": 3})),
            Ok(())
        );
        let refused = |value| check(&schema, &value).unwrap_err();
        assert!(refused(json!({})).contains("metadata.a: is required"));
        assert!(refused(json!({"a": 5})).contains("metadata.a: not of type"));
        assert!(refused(json!({"a": ""})).contains("metadata.a: is too small"));
        assert!(
            refused(json!({"a": "x", "b": [1, 3]})).contains("metadata.b[1]")
        );
    }
}
