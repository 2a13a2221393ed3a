// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A rule's text in the form in which FWAPI writes it back.
//!
//! Source: node-fwrule, docs/rules.md: FROM and TO, an action, a protocol with
//! ports or types. Only this outline is checked.

/// Words that are written in capitals.
const KEYWORDS: &[&str] = &[
    "FROM", "TO", "ALLOW", "BLOCK", "PORT", "PORTS", "OR", "AND", "TYPE",
    "CODE", "PRIORITY",
];

/// `text` with keywords in capitals and tags in quotes; the error says where
/// it is no rule.
pub(super) fn canonical(text: &str) -> Result<String, String> {
    let words = words(text);
    let mut out: Vec<String> = Vec::new();
    for word in words {
        let last = out.last().map(String::as_str);
        let of_tag = last == Some("tag") || last == Some("=");
        let upper = word.to_uppercase();
        out.push(match word.as_str() {
            word if of_tag => format!("\"{}\"", word.trim_matches('"')),
            _ if KEYWORDS.contains(&upper.as_str()) => upper,
            "(" | ")" | "=" => word,
            _ => word.to_lowercase(),
        });
    }
    let at = |word: &str| out.iter().position(|w| w == word);
    let action = at("ALLOW").or(at("BLOCK"));
    let (Some(0), Some(to), Some(action)) = (at("FROM"), at("TO"), action)
    else {
        return Err("Error: expected FROM ... TO ... ALLOW or BLOCK".into());
    };
    if to < 2 || action < to + 2 {
        return Err("Error: a source and a target are required".into());
    }
    match out.get(action + 1).map(String::as_str) {
        Some("tcp" | "udp") if at("PORT").or(at("PORTS")).is_some() => {}
        Some("icmp" | "icmp6") => {}
        Some("tcp" | "udp") => return Err("Error: expected PORT".into()),
        other => {
            let found = other.unwrap_or("the end");
            return Err(format!("Error: expected a protocol, found {found}"));
        }
    }
    let line = out.join(" ");
    Ok(line.replace("( ", "(").replace(" )", ")"))
}

/// Words, quoted or not; brackets and equal signs are words.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                word.push(c);
            }
            c if quoted => word.push(c),
            c if c.is_whitespace() || "()=".contains(c) => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                if !c.is_whitespace() {
                    words.push(c.to_string());
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_written_in_one_way() {
        let given = "from (ip 192.0.2.7 or IP 192.0.2.9) to tag role=acme \
                     allow TCP (port 80 and port 443)";
        assert_eq!(
            canonical(given).unwrap(),
            "FROM (ip 192.0.2.7 OR ip 192.0.2.9) TO tag \"role\" = \"acme\" \
             ALLOW tcp (PORT 80 AND PORT 443)"
        );
        let once = canonical("FROM any TO tag \"a b\" BLOCK icmp TYPE 8");
        assert_eq!(canonical(once.as_ref().unwrap()), once);
        for wrong in [
            "",
            "TO any FROM any ALLOW tcp PORT 1",
            "FROM any TO ALLOW tcp PORT 1",
            "FROM any TO any ALLOW tcp",
            "FROM any TO any ALLOW gre PORT 1",
            "FROM any TO any ALLOW",
        ] {
            assert!(canonical(wrong).is_err(), "{wrong}");
        }
    }
}
