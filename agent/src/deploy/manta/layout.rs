// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! manta-adm's configuration file: server, service, (shard,) image, count.
//! Pure.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::SHARDED;

/// The key for the only server there is.
const ANY: &str = "<any>";

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// The only one there is: `<any>`, of labs.
    Any,
    /// This one.
    Uuid(Uuid),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str(ANY),
            Self::Uuid(uuid) => uuid.fmt(f),
        }
    }
}

/// What zones are alike by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Where they are.
    pub server: Server,
    /// Of which service.
    pub service: String,
    /// Of which shard of it, where it has shards.
    pub shard: Option<String>,
    /// On which image.
    pub image: Uuid,
}

/// How many zones there are, or are to be. What is absent is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    counts: BTreeMap<Place, u64>,
}

impl Layout {
    /// Reads a configuration file.
    ///
    /// Errors: everything that is wrong with it, a line each.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let root: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| {
                vec![format!("it is no JSON object of servers: {error}")]
            })?;
        let mut layout = Self::default();
        let mut faults = Vec::new();
        for (name, services) in &root {
            let server = match (name.as_str(), name.parse()) {
                (ANY, _) => Server::Any,
                (_, Ok(uuid)) => Server::Uuid(uuid),
                (_, Err(_)) => {
                    let wanted = "wanted a server's uuid, or \"<any>\" alone";
                    faults.push(format!("server {name:?}: {wanted}"));
                    continue;
                }
            };
            let at = format!("server {name}");
            let Some(services) = object(services, &at, &mut faults) else {
                continue;
            };
            for (service, rest) in services {
                layout.read(server, service, rest, &mut faults);
            }
        }
        if root.contains_key(ANY) && root.len() > 1 {
            let wanted = "wanted it alone, or servers by uuid";
            faults.push(format!("{ANY}: saw {} servers, {wanted}", root.len()));
        }
        if faults.is_empty() { Ok(layout) } else { Err(faults) }
    }

    fn read(
        &mut self,
        server: Server,
        service: &str,
        rest: &Value,
        faults: &mut Vec<String>,
    ) {
        let at = format!("server {server}, {service}");
        let Some(rest) = object(rest, &at, faults) else { return };
        if !SHARDED.contains(&service) {
            return self.images(server, service, None, rest, faults);
        }
        for (shard, images) in rest {
            let at = format!("{at}, shard {shard}");
            if let Some(images) = object(images, &at, faults) {
                self.images(server, service, Some(shard), images, faults);
            }
        }
    }

    fn images(
        &mut self,
        server: Server,
        service: &str,
        shard: Option<&String>,
        images: &Map<String, Value>,
        faults: &mut Vec<String>,
    ) {
        for (image, count) in images {
            let at = format!("server {server}, {service}, image {image}");
            let Ok(image) = image.parse() else {
                faults.push(format!("{at}: wanted an image's uuid"));
                continue;
            };
            // More zones than a server ever had are a slip of the pen.
            let Some(count) = count.as_u64().filter(|count| *count <= 10_000)
            else {
                faults.push(format!("{at}: saw {count}, wanted a count"));
                continue;
            };
            let (service, shard) = (service.to_owned(), shard.cloned());
            self.add(Place { server, service, shard, image }, count);
        }
    }

    /// More zones there.
    pub fn add(&mut self, place: Place, count: u64) {
        if count > 0 {
            *self.counts.entry(place).or_default() += count;
        }
    }

    /// Zones of this kind.
    pub fn count(&self, place: &Place) -> u64 {
        self.counts.get(place).copied().unwrap_or(0)
    }

    /// All places that have zones.
    pub fn iter(&self) -> impl Iterator<Item = (&Place, u64)> {
        self.counts.iter().map(|(place, count)| (place, *count))
    }

    /// Zones of a service, everywhere.
    pub fn of(&self, service: &str) -> u64 {
        let all = self.iter().filter(|(place, _)| place.service == service);
        all.map(|(_, count)| count).sum()
    }

    /// Servers that have zones.
    pub fn servers(&self) -> Vec<Server> {
        let mut servers: Vec<_> =
            self.counts.keys().map(|place| place.server).collect();
        servers.dedup();
        servers
    }

    /// Those for which `keep` holds.
    #[must_use]
    pub fn only(mut self, keep: impl Fn(&Place) -> bool) -> Self {
        self.counts.retain(|place, _| keep(place));
        self
    }

    /// With `<any>` meaning this server.
    #[must_use]
    pub fn at(self, server: Uuid) -> Self {
        let mut at = Self::default();
        for (place, count) in self.counts {
            let server = match place.server {
                Server::Any => Server::Uuid(server),
                named => named,
            };
            at.add(Place { server, ..place }, count);
        }
        at
    }

    /// As manta-adm reads it.
    pub fn json(&self) -> Value {
        let mut root = json!({});
        for (place, count) in self.iter() {
            let service =
                &mut root[place.server.to_string()][place.service.as_str()];
            let images = match &place.shard {
                Some(shard) => &mut service[shard.as_str()],
                None => service,
            };
            images[place.image.to_string()] = json!(count);
        }
        root
    }
}

fn object<'a>(
    value: &'a Value,
    at: &str,
    faults: &mut Vec<String>,
) -> Option<&'a Map<String, Value>> {
    let object = value.as_object();
    if object.is_none() {
        faults.push(format!("{at}: saw {value}, wanted an object"));
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "c0ffee00-0000-4000-8000-000000000001";
    const IMAGE: &str = "11111111-aaaa-4bbb-8ccc-000000000001";

    #[test]
    fn shards_are_a_level_of_their_own() {
        let file = json!({SERVER: {
            "moray": {"1": {IMAGE: 2}, "2": {IMAGE: 0}},
            "nameservice": {IMAGE: 1},
        }});
        let layout = Layout::parse(&file.to_string()).unwrap();
        assert_eq!((layout.of("moray"), layout.of("nameservice")), (2, 1));
        // What is none need not be said.
        let wanted = json!({SERVER: {
            "moray": {"1": {IMAGE: 2}}, "nameservice": {IMAGE: 1}}});
        assert_eq!(layout.json(), wanted);
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let file = json!({
            "<any>": {"prometheus": {"x": 1, IMAGE: -1}},
            SERVER: {"moray": {IMAGE: 1}, "nameservice": 7},
            "headnode": {},
        });
        let faults = Layout::parse(&file.to_string()).unwrap_err();
        let wanted = [
            "server <any>, prometheus, image x: wanted an image's uuid",
            &format!("server <any>, prometheus, image {IMAGE}: saw -1"),
            &format!("server {SERVER}, moray, shard {IMAGE}: saw 1"),
            &format!("server {SERVER}, nameservice: saw 7"),
            "server \"headnode\": wanted a server's uuid",
            "<any>: saw 3 servers",
        ];
        assert_eq!(faults.len(), wanted.len(), "{faults:?}");
        for (fault, wanted) in faults.iter().zip(wanted) {
            assert!(fault.starts_with(wanted), "{fault}, not {wanted}");
        }
        assert_eq!(Layout::parse("[]").unwrap_err().len(), 1);
    }
}
