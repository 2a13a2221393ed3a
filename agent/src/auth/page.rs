// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The page on which people sign in, and the one on which they sign out. It
//! needs no script and nothing from elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;

const STYLE: &str = "\
:root{color-scheme:light dark}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:flex;align-items:center;\
justify-content:center;font:1rem/1.5 system-ui,sans-serif;\
background:#f4f5f5;color:#1f2328}\
main{width:min(22rem,100%);padding:1.5rem}\
h1{font-size:1.25rem;margin:0 0 1rem;overflow-wrap:anywhere}\
label{display:block;margin:.75rem 0 .25rem}\
input,button{width:100%;font:inherit;padding:.6rem .7rem;\
border:1px solid #8c959f;border-radius:.4rem;background:#fff;color:inherit}\
button{margin-top:1.25rem;border-color:#1f60c4;background:#1f60c4;\
color:#fff;cursor:pointer}\
input:focus-visible,button:focus-visible{outline:3px solid #6e9fff}\
p[role]{margin:0 0 .5rem;padding:.6rem .7rem;border-left:4px solid #c4162a;\
background:#fbe9ea;color:#1f2328}\
@media(prefers-color-scheme:dark){body{background:#111217;color:#ccccdc}\
input{background:#181b1f;border-color:#5a5f6b}}";

/// What a page is made of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Page<'a> {
    /// What is signed in to.
    pub(super) title: &'a str,
    /// What went wrong, or happened.
    pub(super) notice: Option<&'a str>,
    /// What was typed before, so that it need not be typed again.
    pub(super) login: &'a str,
    /// Where to go then: a path of ours.
    pub(super) to: &'a str,
}

impl Page<'_> {
    /// The form to sign in.
    pub(super) fn sign_in(&self) -> String {
        let login = escaped(self.login);
        let to = escaped(self.to);
        // The field that is still empty.
        let [first, second] = match login.is_empty() {
            true => [" autofocus", ""],
            false => ["", " autofocus"],
        };
        self.html(
            "Sign in",
            &format!(
                "<form method=\"post\" action=\"/sign-in\">\n\
                 <input type=\"hidden\" name=\"to\" value=\"{to}\">\n\
                 <label for=\"login\">Login</label>\n\
                 <input id=\"login\" name=\"login\" value=\"{login}\" \
                 autocomplete=\"username\" autocapitalize=\"none\" \
                 spellcheck=\"false\" maxlength=\"128\" required{first}>\n\
                 <label for=\"password\">Password</label>\n\
                 <input id=\"password\" name=\"password\" type=\"password\" \
                 autocomplete=\"current-password\" maxlength=\"512\" \
                 required{second}>\n\
                 <button type=\"submit\">Sign in</button>\n</form>"
            ),
        )
    }

    /// The question whether to sign out.
    pub(super) fn sign_out(&self) -> String {
        self.html(
            "Sign out",
            "<form method=\"post\" action=\"/logout\">\n\
             <button type=\"submit\">Sign out</button>\n</form>",
        )
    }

    fn html(&self, what: &str, body: &str) -> String {
        let title = escaped(self.title);
        let notice = match self.notice {
            Some(text) => {
                format!("<p role=\"alert\">{}</p>\n", escaped(text))
            }
            None => String::new(),
        };
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n\
             <meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n\
             <meta name=\"robots\" content=\"noindex\">\n\
             <title>{what} · {title}</title>\n<style>{STYLE}</style>\n\
             </head>\n<body>\n<main>\n<h1>{title}</h1>\n{notice}{body}\n\
             </main>\n</body>\n</html>\n"
        )
    }
}

/// What the page may do: its own style, its own form, in no frame.
pub(super) fn policy() -> String {
    let style = digest::digest(&digest::SHA256, STYLE.as_bytes());
    let style = STANDARD.encode(style.as_ref());
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'"
    )
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_say_stays_text() {
        let bad = "\"><script>x</script>'&";
        let page = Page { title: bad, notice: Some(bad), login: bad, to: bad };
        for html in [page.sign_in(), page.sign_out()] {
            assert!(!html.contains("<script"), "{html}");
            assert!(!html.contains("\"><s"), "{html}");
        }
    }

    #[test]
    fn the_page_is_reviewed() {
        let page = Page {
            title: "Grafana of dc1",
            notice: Some("Login or password is wrong."),
            login: "",
            to: "/d/x",
        };
        insta::assert_snapshot!(page.sign_in().replace(STYLE, "..."));
    }
}
