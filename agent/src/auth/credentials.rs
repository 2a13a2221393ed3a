// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a request brings to say who it is from: the Authorization header and
//! cookies. Bytes of strangers become types here; whatever is odd is nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::model::Secret;

/// Longest login that is looked up, bytes. UFDS wants 32 at most; older
/// accounts were never checked.
const LOGIN_MOST: usize = 128;

/// Longest password, bytes.
const PASSWORD_MOST: usize = 512;

/// Longest header that is read, bytes.
const HEADER_MOST: usize = 4 << 10;

/// A login and a password, neither empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// As it was typed.
    pub login: String,
    /// As it was typed.
    pub password: Secret<String>,
}

impl Credentials {
    /// `None` where nobody can be called that: empty, overlong, with control
    /// characters. UFDS' own grammar is not asked: older accounts break it.
    pub fn new(login: &str, password: &str) -> Option<Self> {
        let fits = |text: &str, most| !text.is_empty() && text.len() <= most;
        let good = fits(login, LOGIN_MOST)
            && !login.chars().any(char::is_control)
            && fits(password, PASSWORD_MOST)
            && !password.contains('\0');
        good.then(|| Self {
            login: login.to_owned(),
            password: Secret::new(password.to_owned()),
        })
    }
}

/// What the Authorization header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorization {
    /// There is none.
    None,
    /// Basic, well formed.
    Basic(Credentials),
    /// A token of a Grafana service account, as it came, scheme included.
    Token(Secret<String>),
    /// Anything else.
    Odd,
}

/// Reads the Authorization headers of a request; more than one is odd.
pub fn authorization(values: &[&[u8]]) -> Authorization {
    let value = match values {
        [] => return Authorization::None,
        [value] if value.len() <= HEADER_MOST => *value,
        _ => return Authorization::Odd,
    };
    let Ok(text) = std::str::from_utf8(value) else {
        return Authorization::Odd;
    };
    let Some((scheme, rest)) = text.trim_matches(' ').split_once(' ') else {
        return Authorization::Odd;
    };
    let rest = rest.trim_matches(' ');
    if scheme.eq_ignore_ascii_case("basic") {
        return basic(rest).map_or(Authorization::Odd, Authorization::Basic);
    }
    if scheme.eq_ignore_ascii_case("bearer") && is_token(rest) {
        return Authorization::Token(Secret::new(format!("Bearer {rest}")));
    }
    Authorization::Odd
}

fn basic(text: &str) -> Option<Credentials> {
    let pair = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
    let (login, password) = pair.split_once(':')?;
    Credentials::new(login, password)
}

/// Assumed: `glsa_`, 32 letters and digits, `_`, a checksum of 8 hex digits,
/// as Grafana has made them since 9.1.
fn is_token(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("glsa_") else { return false };
    let Some((secret, sum)) = rest.split_once('_') else { return false };
    secret.len() == 32
        && secret.bytes().all(|b| b.is_ascii_alphanumeric())
        && sum.len() == 8
        && sum.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The value of cookie `name` in Cookie headers; `None` also when it comes
/// twice: whoever could add one could choose which of them counts.
pub fn cookie<'a>(values: &[&'a [u8]], name: &str) -> Option<&'a str> {
    let mut found = None;
    for value in values {
        for part in value.split(|byte| *byte == b';') {
            let Ok(part) = std::str::from_utf8(part) else { continue };
            let Some((key, value)) = part.trim_matches(' ').split_once('=')
            else {
                continue;
            };
            if key == name && found.replace(value).is_some() {
                return None;
            }
        }
    }
    found
}

/// A path of ours to go to after signing in: `/` for whatever could lead
/// elsewhere.
pub fn local_path(text: &str) -> &str {
    let elsewhere = !text.starts_with('/')
        || text.starts_with("//")
        || text.len() > 2_000
        // Browsers take a backslash for a slash.
        || text.contains('\\')
        || !text.bytes().all(|b| b.is_ascii_graphic())
        || ["/sign-in", "/logout"].iter().any(|own| text.starts_with(own));
    if elsewhere { "/" } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Authorization {
        authorization(&[text.as_bytes()])
    }

    fn header(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[test]
    fn a_pair_is_read_in_every_spelling_of_the_scheme() {
        let pair = Credentials::new("boss", "a:b c").unwrap();
        for scheme in ["Basic", "basic", "BASIC", " Basic "] {
            let text = header("boss:a:b c").replace("Basic", scheme);
            assert_eq!(read(&text), Authorization::Basic(pair.clone()));
        }
        assert_eq!(authorization(&[]), Authorization::None);
    }

    #[test]
    fn what_is_odd_names_nobody() {
        for pair in ["", ":", "a", "a:", ":b", "a\n:b", "a:b\0", "a\0:b"] {
            assert_eq!(read(&header(pair)), Authorization::Odd, "{pair:?}");
        }
        let long = "x".repeat(LOGIN_MOST + 1);
        assert_eq!(read(&header(&format!("{long}:b"))), Authorization::Odd);
        let long = "x".repeat(PASSWORD_MOST + 1);
        assert_eq!(read(&header(&format!("a:{long}"))), Authorization::Odd);
        for text in ["", "Basic", "Basic ", "Basic !", "Digest x", "Basic YQ"] {
            assert_eq!(read(text), Authorization::Odd, "{text:?}");
        }
        let one = header("a:b");
        let twice = authorization(&[one.as_bytes(), one.as_bytes()]);
        assert_eq!(twice, Authorization::Odd);
        assert_eq!(authorization(&[b"Basic \xff"]), Authorization::Odd);
    }

    #[test]
    fn tokens_have_grafanas_form() {
        let good = format!("Bearer glsa_{}_0123abcd", "a1".repeat(16));
        assert_eq!(
            read(&good),
            Authorization::Token(Secret::new(good.clone()))
        );
        for bad in ["Bearer x", "Bearer glsa_a_b", "Bearer eyJ.x.y"] {
            assert_eq!(read(bad), Authorization::Odd, "{bad}");
        }
    }

    #[test]
    fn a_cookie_that_comes_twice_is_none() {
        let get = |text: &'static str| cookie(&[text.as_bytes()], "s");
        assert_eq!(get("a=b; s=1; c"), Some("1"));
        assert_eq!(get("xs=1"), None);
        assert_eq!(get("S=1"), None);
        assert_eq!(get("s=1; s=2"), None);
        assert_eq!(cookie(&[b"s=1", b"s=1"], "s"), None);
        assert_eq!(cookie(&[b"\xff=1; s=1"], "s"), Some("1"));
    }

    #[test]
    fn nobody_is_led_elsewhere() {
        for good in ["/", "/d/x?y=1&z=//a", "/a#b"] {
            assert_eq!(local_path(good), good);
        }
        for bad in [
            "",
            "x",
            "//x",
            "/\\x",
            "\\x",
            "https://x",
            "/a b",
            "/\t/x",
            "/sign-in?to=/",
            "/logout",
            "/\u{e9}",
        ] {
            assert_eq!(local_path(bad), "/", "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_crash_and_what_is_read_was_meant(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            pair in "[ -~]{0,40}",
        ) {
            let _ = authorization(&[&bytes]);
            let _ = cookie(&[&bytes], "s");
            if let Authorization::Basic(read) = read(&header(&pair)) {
                let back = format!("{}:{}", read.login, read.password.expose());
                prop_assert_eq!(back, pair);
                prop_assert!(!read.login.is_empty());
            }
        }
    }
}
