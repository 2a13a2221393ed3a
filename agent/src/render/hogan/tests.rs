// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! `vectors.jsonl` over `context.json` were printed by the original engine:
//! `t` template, `out` its output, `err` the error it must give.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{HoganError, MAX_DEPTH, MAX_MISSING_NAMES, Template};

fn render(template: &str, context: &Value) -> Result<String, HoganError> {
    Template::parse(template)?.render(context)
}

fn check(template: &str, context: &Value, expected: &str) {
    assert_eq!(
        render(template, context).as_deref(),
        Ok(expected),
        "template {template:?}"
    );
}

#[test]
fn prints_what_the_original_prints() {
    let context: Value =
        serde_json::from_str(include_str!("context.json")).unwrap();
    let vectors = include_str!("vectors.jsonl");
    let mut count = 0;
    for line in vectors.lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        let template = vector["t"].as_str().unwrap();
        let seen = render(template, &context);
        match vector["err"].as_str() {
            None => assert_eq!(seen.unwrap(), vector["out"], "{line}"),
            Some(expected) => {
                let message = seen.unwrap_err().to_string();
                assert!(message.starts_with(expected), "{line}: {message}");
            }
        }
        count += 1;
    }
    assert_eq!(count, 66);
}

/// Further corners, printed by the original engine as well.
#[test]
fn prints_the_odd_corners_too() {
    let context = json!({
        "s": "x", "t": true, "sp": "a b", "": "empty key", "deep": [[1, 2], [3]],
        "a": ["p", "q"], "o": {"b": 1, "10": "x", "2": {"a": null}, "a": []},
        "ctl": "\u{1}\u{8}\u{c}\n\"\\/\u{7f}\u{2028}é",
        "two": [{"n": [1, null, {"z": 1}]}],
    });
    for (template, expected) in [
        // The third brace's place is swallowed, whatever stands there.
        ("{{{s}} b", "xb"),
        ("{{{s}}\nb", "xb"),
        ("{{{s}}é|", "x|"),
        // Only `}}` has a third brace; other delimiters lose the `}`.
        ("{{=<% %>=}}<%{s}%>|<%{ s }%>", "x|"),
        ("{{=| |=}}|s||#t|y|/t|", "xy"),
        ("{{=<% x %>=}}<%s%>", "x"),
        ("{{= =}}{{s}} %", "{{s}} %"),
        ("{{=}}=s=", "x"),
        // Blanks around a delimiter change: the second stays.
        ("  {{=<% %>=}}  \nx", "  x"),
        ("a\n{{=<% %>=}}\nx", "a\nx"),
        // Unterminated tags.
        ("a {{#s", "a s"),
        ("a\n  {{  ", "a\n  "),
        ("a {{ s } b\nc", "a  s } b\nc"),
        ("x{{", "x"),
        ("x{{!", "x"),
        // Blocks: the last body of a name, and none inside another block.
        ("{{$b}}1{{/b}}{{$b}}2{{/b}}", "22"),
        ("{{$b}}1{{$c}}2{{/c}}{{/b}}", "1"),
        ("{{$b}}[{{$c}}2{{/c}}]{{/b}}{{$c}}3{{/c}}", "[3]3"),
        ("{{#t}}{{$b}}{{s}}{{/b}}{{/t}}", "x"),
        ("a{{<p}}x{{$b}}1{{/b}}\n{{/p}}b{{$b}}2{{/b}}", "ab2"),
        // Scopes.
        ("{{}}|{{&}}", "empty key|empty key"),
        ("{{#a}}{{length}}{{0}} {{/a}}", "2p 2p "),
        ("{{#deep}}{{.}};{{/deep}}", "1,2;3;"),
        ("{{#deep}}{{#.}}{{.}}{{/.}};{{/deep}}", "12;3;"),
        ("{{#deep}}{{#t}}[{{.}}]{{/t}}{{/deep}}", "[1][2][3]"),
        ("{{#a.length}}y{{/a.length}}", "y"),
        ("{{a.00}}|{{a.-0}}|{{a.2}}|{{a.1.x}}", "|||"),
        ("{{s.length}}", ""),
        ("{{{two.0.n}}}|{{{two}}}", "1,,[object Object]|[object Object]"),
        // JSON: keys that read as indexes first; control characters.
        ("{{{o}}}", "{\"2\":{\"a\":null},\"10\":\"x\",\"b\":1,\"a\":[]}"),
        ("{{{sp}}}{{ sp}}", "a ba b"),
        ("{{\u{a0}\u{feff}s\u{2029}}}", "x"),
        ("{{\u{85}s}}", ""),
    ] {
        check(template, &context, expected);
    }
    let wrapped = json!({"w": {"k": context["ctl"]}});
    check(
        "{{{w}}}",
        &wrapped,
        "{\"k\":\"\\u0001\\b\\f\\n\\\"\\\\/\u{7f}\u{2028}é\"}",
    );
}

#[test]
fn numbers_print_as_in_javascript() {
    for (json, expected) in [
        ("1.0", "1"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("-1.50", "-1.5"),
        ("9007199254740992", "9007199254740992"),
        ("9007199254740993", "9007199254740992"),
        ("12345678901234567890", "12345678901234567000"),
        ("-9223372036854775808", "-9223372036854776000"),
        ("18446744073709551615", "18446744073709552000"),
        ("100000000000000000000", "100000000000000000000"),
        ("1e21", "1e+21"),
        ("-1.25e22", "-1.25e+22"),
        ("123456789012345678901234567890", "1.2345678901234568e+29"),
        ("0.1", "0.1"),
        ("0.000001", "0.000001"),
        ("0.0000012", "0.0000012"),
        ("1e-7", "1e-7"),
        ("-1.5e-9", "-1.5e-9"),
        ("5e-324", "5e-324"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("1234.5678", "1234.5678"),
        // Two shortest forms are as near: JavaScript takes the even one.
        ("873540064795921.25", "873540064795921.2"),
    ] {
        let number: Value = serde_json::from_str(json).unwrap();
        check("{{n}}", &json!({"n": number}), expected);
    }
}

/// A null kills the Node agent, and with it the files of every instance; here
/// it is an error of this one template, which names the key.
#[test]
fn null_fails_by_name_and_not_by_panic() {
    let context = json!({"db": {"password": null}, "list": [{"v": null}]});
    for (template, name) in [
        ("{{db.password}}", "db.password"),
        ("{{{ db.password }}}", "db.password"),
        ("{{&db.password}}", "db.password"),
        ("{{#list}}{{v}}{{/list}}", "v"),
        ("{{#db}}{{password}}{{/db}}", "password"),
    ] {
        let error = render(template, &context).unwrap_err();
        assert_eq!(error, HoganError::NullValue { name: name.into() });
        assert_eq!(
            error.to_string(),
            format!("null value for variable {name}")
        );
    }
    check("{{^db.password}}none{{/db.password}}", &context, "none");
    check("{{db.password.x}}", &context, "");
    check("{{{db}}}", &context, r#"{"password":null}"#);
    check("[{{#xs}}{{.}}{{/xs}}]", &json!({"xs": []}), "[]");
}

#[test]
fn errors_name_the_tag_and_the_line() {
    for (template, expected) in [
        ("a\n{{#s}}\n{{/t}}", "Nesting error: s vs. t (line 3)"),
        (
            "\n\n{{#s}}{{^t}}x{{/t}}",
            "missing closing tag: s (opened in line 3)",
        ),
        ("x\n{{/s}}", "Closing tag without opener: /s (line 2)"),
        ("{{<p}}{{s}}{{/p}}", "illegal content in a < tag (line 1)"),
        ("{{<p}}{{! no }}{{/p}}", "illegal content in a < tag (line 1)"),
        ("{{<p}}{{#s}}{{/s}}{{/p}}", "illegal content in a < tag (line 1)"),
        ("a\n{{=<% %>", "unterminated delimiter change (line 2)"),
    ] {
        let error = Template::parse(template).map(drop).unwrap_err();
        assert_eq!(error.to_string(), expected, "{template}");
    }
    let long = format!("{{{{#{}", "secret ".repeat(1000) + "}}");
    let error = Template::parse(&long).map(drop).unwrap_err();
    assert!(error.to_string().len() < 200);
}

/// Missing keys print as nothing, since shipped templates rely on it, but
/// they are named; the Node agent says nothing.
#[test]
fn missing_variables_are_named() {
    let template = Template::parse(
        "{{a}}{{b}}{{o.x.y}}{{b}}{{#c}}{{d}}{{/c}}{{^c}}{{e}}{{/c}}",
    )
    .unwrap();
    let seen = template.render_reporting(&json!({"a": "1", "o": {}})).unwrap();
    assert_eq!(seen.text, "1");
    assert_eq!(seen.missing, ["b", "o.x.y", "e"]);

    let many: String = (0..500).map(|n| format!("{{{{k{n}}}}}")).collect();
    let many = Template::parse(&many).unwrap();
    let seen = many.render_reporting(&json!({})).unwrap();
    assert_eq!(seen.missing.len(), MAX_MISSING_NAMES);
}

#[test]
fn output_and_work_and_depth_are_bounded() {
    let hundred: Vec<u32> = (0..100).collect();
    let context = json!({"a": hundred, "s": "x".repeat(1000)});
    let nested = |inner: &str| {
        let depth = 10;
        "{{#a}}".repeat(depth) + inner + &"{{/a}}".repeat(depth)
    };
    let start = Instant::now();
    let empty = render(&nested(""), &context);
    assert_eq!(empty, Err(HoganError::TooManySteps));
    let full = render(&nested("{{s}}"), &context);
    assert_eq!(full, Err(HoganError::OutputTooLarge));
    assert!(start.elapsed() < Duration::from_secs(20));

    let deep = |depth| "{{#a}}".repeat(depth) + &"{{/a}}".repeat(depth);
    let error = Template::parse(&deep(MAX_DEPTH + 1)).map(drop);
    assert_eq!(error, Err(HoganError::TooDeep { line: 1 }));
    check(&deep(MAX_DEPTH), &json!({"a": 1}), "");

    let endless = "{{$b}}x{{$b}}{{/b}}{{/b}}";
    let error = render(endless, &context).unwrap_err();
    assert_eq!(error, HoganError::ValueTooDeep { name: "b".into() });

    let mut tower = json!([]);
    for _ in 0..=MAX_DEPTH {
        tower = json!([tower]);
    }
    let tower = json!({"t": tower, "o": {"t": tower}});
    let error = render("{{{t}}}", &tower).unwrap_err();
    assert_eq!(error, HoganError::ValueTooDeep { name: "t".into() });
    let error = render("{{{o}}}", &tower).unwrap_err();
    assert_eq!(error, HoganError::ValueTooDeep { name: "o".into() });
}

#[test]
fn one_parse_serves_many_renderings() {
    let template = Template::parse("{{#z}}{{h}}:{{p}} {{/z}}").unwrap();
    let first = json!({"z": [{"h": "a", "p": 1}]});
    let second = json!({"z": [{"h": "b", "p": 2}, {"h": "c", "p": 3}]});
    assert_eq!(template.render(&first).unwrap(), "a:1 ");
    assert_eq!(template.render(&second).unwrap(), "b:2 c:3 ");
    assert_eq!(template.render(&first).unwrap(), "a:1 ");
}

fn tagged_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("{{".to_owned()),
        Just("}}".to_owned()),
        Just("{{{".to_owned()),
        Just("{{=".to_owned()),
        Just("=}}".to_owned()),
        Just("\n".to_owned()),
        "[#^/$<>!&={}. ab0é\r-]{0,4}",
        "\\{\\{[#^/$<]?[abo.]{0,3}\\}\\}",
        ".{0,3}",
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|v| v.concat())
}

proptest! {
    #[test]
    fn any_text_is_an_error_or_an_output(
        template in prop_oneof![tagged_text(), any::<String>()],
    ) {
        let context = json!({
            "a": [{"b": 1}, [2, [3]], "x"], "b": {"a": 0, "o": "é"},
            "o": "v", "": 1, "0": [], "ab": null,
        });
        if let Ok(parsed) = Template::parse(&template) {
            let first = parsed.render(&context);
            prop_assert_eq!(first, parsed.render(&context));
        }
    }

    #[test]
    fn text_without_tags_comes_out_unchanged(text in any::<String>()) {
        prop_assume!(!text.contains("{{"));
        prop_assert_eq!(render(&text, &json!({})), Ok(text));
    }

    #[test]
    fn strings_survive_raw_and_escaping_is_undone_by_five_rules(
        value in any::<String>(),
    ) {
        let context = json!({"v": value});
        prop_assert_eq!(&render("{{{v}}}", &context).unwrap(), &value);
        let unescaped = render("{{v}}", &context)
            .unwrap()
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&#39;", "'")
            .replace("&amp;", "&");
        prop_assert_eq!(unescaped, value);
    }

    #[test]
    fn objects_print_as_json_that_reads_back(
        key in any::<String>(),
        text in any::<String>(),
        number in any::<i32>(),
    ) {
        let object = json!({key: [text, number, null, {"k": text}]});
        let printed = render("{{{o}}}", &json!({"o": object})).unwrap();
        let read: Value = serde_json::from_str(&printed).unwrap();
        prop_assert_eq!(read, object);
    }
}
