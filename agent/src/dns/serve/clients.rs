// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Questions on the general way: so many in all, and so many of one client,
//! so that one that floods us leaves room for the others. A client is a
//! socket: all of them are programs of this zone.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Questions at a time, of all clients.
const IN_FLIGHT: usize = 2048;
/// ... of one.
const OF_ONE: usize = 256;

/// Who has how many questions with us.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    all: usize,
    /// Those with one at least.
    by_client: HashMap<SocketAddr, usize>,
}

/// One question's place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    clients: Arc<Clients>,
    client: SocketAddr,
}

impl Clients {
    /// A place for a question of `client`; `None` when there is none left.
    pub(crate) fn place(self: &Arc<Self>, client: SocketAddr) -> Option<Place> {
        let mut inner = self.lock();
        let has = inner.by_client.get(&client).copied().unwrap_or_default();
        if inner.all >= IN_FLIGHT || has >= OF_ONE {
            return None;
        }
        inner.all += 1;
        inner.by_client.insert(client, has + 1);
        Some(Place { clients: Arc::clone(self), client })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.clients.lock();
        inner.all = inner.all.saturating_sub(1);
        match inner.by_client.get_mut(&self.client) {
            Some(has) if *has > 1 => *has -= 1,
            _ => {
                inner.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn one_client_leaves_room_for_others() {
        let clients = Arc::new(Clients::default());
        let mut places: Vec<Place> =
            std::iter::from_fn(|| clients.place(client(1))).collect();
        assert_eq!(places.len(), OF_ONE);
        assert!(clients.place(client(2)).is_some());
        places.pop();
        assert!(clients.place(client(1)).is_some());
    }

    #[test]
    fn all_together_are_bounded_and_nothing_is_kept() {
        let clients = Arc::new(Clients::default());
        let places: Vec<Place> = (1..u16::MAX)
            .map_while(|port| clients.place(client(port)))
            .collect();
        assert_eq!(places.len(), IN_FLIGHT);
        drop(places);
        let inner = clients.lock();
        assert_eq!((inner.all, inner.by_client.len()), (0, 0));
    }
}
