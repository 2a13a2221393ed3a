// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Who may see Grafana: the sign-in proxy, `config-agent auth`, a daemon of
//! its own with a user of its own. nginx asks it about each request; it asks
//! UFDS, and says who that is, or no.
//!
//! `credentials`, `dn`, `header`: bytes of others become types. `account`,
//! `attempts`: who may, how often; plain functions over plain data. `keys`,
//! `ended`: cookies. `places`: networks of programs. `trust`, `first_use`,
//! `pool`, `ufds`: UFDS over LDAPS. `people`: what UFDS said a moment ago.
//! `door` decides, `http` and `page` say it, `serve` listens, `metrics` counts.
//!
//! What never changes: a password is sent to UFDS for operators and readers
//! alone, once, by compare; every no is the same no; whoever loses his place
//! in a group is out within a minute; while UFDS is out of order those who are
//! in stay in, and nobody new comes.

mod account;
mod attempts;
mod config;
pub mod credentials;
pub mod dn;
mod door;
mod ended;
mod first_use;
pub mod header;
mod http;
mod keys;
mod metrics;
mod page;
mod people;
mod places;
mod pool;
mod recent;
mod serve;
mod trust;
mod ufds;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::info;

pub use account::{Role, Roles};
pub use config::{AuthConfig, AuthConfigError, Email, UfdsConfig};
pub use keys::KeyError;
pub use trust::{Trust, TrustError, is_pin};
pub use ufds::{UfdsError, login_filter};

use door::{Door, Kept, seconds_now};
use ended::Ended;
use keys::Keys;
use metrics::Metrics;
use people::People;
use places::Places;
use pool::Target;
use trust::Judge;
use ufds::Ufds;

/// Writes a file for its owner alone, whole or not at all.
pub type Write = fn(&Path, &[u8]) -> io::Result<()>;

/// Why the sign-in proxy does not run.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The socket cannot be had.
    #[error("could not listen at {}", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A user who may connect does not exist.
    #[error("peers names {name:?}, wanted a user of this system")]
    Peer {
        /// The name.
        name: String,
    },
    /// No keys for cookies.
    #[error("no keys to sign cookies with")]
    Keys(#[from] KeyError),
    /// Nobody's certificate can be trusted.
    #[error("no trust in UFDS")]
    Trust(#[from] TrustError),
}

/// Answers nginx until `stop`.
pub async fn run(
    config: AuthConfig,
    write: Write,
    stop: CancellationToken,
) -> Result<(), AuthError> {
    let now = seconds_now();
    let state = &config.state;
    let keys = Keys::load(&state.join("keys.json"), write, now)?;
    let ended = Ended::load(&state.join("ended"), write, now);
    let places = Places::load(&state.join("places"), write, now)?;
    let first = state.join("ufds.sha256");
    let UfdsConfig { addresses, trust, .. } = &config.ufds;
    let judge = Judge::new(trust, &first, addresses, write)?;
    let metrics = Arc::new(Metrics::default());
    let target = Target {
        addresses: addresses.clone(),
        bind_dn: config.ufds.bind_dn.clone(),
        password: config.ufds.password.clone(),
    };
    let ufds = Arc::new(Ufds::new(target, judge, Arc::clone(&metrics)));
    let people = Arc::new(People::new(Arc::clone(&ufds), config.roles));
    let peers = serve::peers(&config.peers)?;
    let socket = config.socket.clone();
    let kept = Kept { keys, ended, places };
    let door = Door::new(config, ufds, Arc::clone(&people), metrics, kept)?;
    let listener = serve::bind(&socket)?;
    info!(socket = %socket.display(), "sign-in proxy runs");
    let watched = tokio::spawn(people.watch(stop.child_token()));
    serve::serve(listener, peers, http::routes(door), stop.clone()).await;
    stop.cancel();
    let _ = watched.await;
    Ok(())
}
