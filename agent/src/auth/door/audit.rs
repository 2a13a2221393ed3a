// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The audit of what UFDS was not asked about. Such requests come by the
//! thousand: the same from the same address is said once a minute.
//!
//! What was typed where the login goes may be a password, and is told by a
//! digest; lines about a password that was judged carry it too.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::{Door, Origin, lock};
use crate::auth::credentials::Credentials;
use crate::auth::keys::hex;
use crate::model::Secret;

/// How long the same is not said again.
const SAID: Duration = Duration::from_secs(60);

impl Door {
    /// What tells one login from another in the log.
    pub(super) fn login_digest(&self, from: &Credentials) -> String {
        self.short(from.login.as_bytes())
    }

    /// A service account's token goes on to Grafana, which judges it.
    pub(in crate::auth) fn tell_token(
        &self,
        token: &Secret<String>,
        origin: &Origin,
    ) {
        // Exposed to a digest that cannot be turned back.
        let digest = self.short(token.expose().as_bytes());
        if self.is_news("token", &digest, origin) {
            let (address, req_id) = (origin.address, &origin.req_id);
            info!(%address, %req_id, token = %digest, "token passed on");
        }
    }

    /// What came in place of a login and a password is `what`, and no good.
    pub(in crate::auth) fn tell_odd(
        &self,
        what: &'static str,
        origin: &Origin,
    ) {
        if self.is_news("odd", what, origin) {
            let (address, req_id) = (origin.address, &origin.req_id);
            warn!(%address, %req_id, what, "odd credentials refused");
        }
    }

    /// A page of another site used somebody's session.
    pub(in crate::auth) fn tell_foreign(&self, origin: &Origin) {
        if self.is_news("foreign", "", origin) {
            let (address, req_id) = (origin.address, &origin.req_id);
            warn!(%address, %req_id, "session used from another site, refused");
        }
    }

    /// A login and a password were not judged: `why`.
    pub(super) fn tell_unjudged(
        &self,
        why: &'static str,
        from: &Credentials,
        origin: &Origin,
    ) {
        let login_digest = self.login_digest(from);
        if self.is_news(why, &login_digest, origin) {
            let (address, req_id) = (origin.address, &origin.req_id);
            warn!(%login_digest, %address, %req_id, "{why}");
        }
    }

    fn short(&self, of: &[u8]) -> String {
        hex(&self.digest_of(&[of])[..8])
    }

    fn is_news(&self, kind: &str, what: &str, origin: &Origin) -> bool {
        let address = origin.address.to_string();
        let parts = [kind, what, &address].map(str::as_bytes);
        let (key, now) = (self.digest_of(&parts), Instant::now());
        let mut said = lock(&self.said);
        let news = said.get(&key, now).is_none();
        if news {
            said.insert(key, (), now + SAID, now);
        }
        news
    }
}
