// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The file to be: what is there, with zones of ours as they were asked for.
//! Pure.
//!
//! Absence means removal, so everything that is there stays in it, unless its
//! removal was asked for by name.

use uuid::Uuid;

use super::{Layout, Place, Server, changes};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// A service of ours.
    pub service: String,
    /// How many zones it is to have at least. Those that it has beyond are
    /// kept.
    pub replicas: u64,
    /// Image of new ones; and of all, with `everywhere`.
    pub image: Uuid,
    /// Those that are there get it too.
    pub everywhere: bool,
    /// Servers for new ones, in order of preference.
    pub servers: Vec<Uuid>,
    /// Services that are left out: their zones will be destroyed.
    pub remove: Vec<String>,
}

/// The file to be. `base` is an operator's own file; without it, what is
/// deployed.
///
/// Errors: what is in the way, a line each; also zones that `base` does not
/// have, whose removal was not asked for.
pub fn generate(
    deployed: &Layout,
    base: Option<&Layout>,
    asked: &Request,
) -> Result<Layout, Vec<String>> {
    let removed = |service: &String| asked.remove.contains(service);
    let kept = base.unwrap_or(deployed).clone();
    let lab = kept.servers().contains(&Server::Any);
    let mut layout = kept.only(|place| !removed(&place.service));
    let mut faults = Vec::new();
    if !removed(&asked.service) {
        if asked.everywhere {
            layout = moved(&layout, &asked.service, asked.image);
        }
        fill(&mut layout, lab, asked, &mut faults);
    }
    if lab {
        // The file speaks of the only server; more than one it cannot mean.
        let servers = deployed.servers();
        match &servers[..] {
            [] => {}
            [Server::Uuid(only)] => {
                lost(deployed, &layout.clone().at(*only), asked, &mut faults);
            }
            _ => faults.push(format!(
                "<any>: saw zones on {} servers, wanted servers by uuid",
                servers.len()
            )),
        }
    } else {
        lost(deployed, &layout, asked, &mut faults);
    }
    if faults.is_empty() { Ok(layout) } else { Err(faults) }
}

/// Adds zones until there are as many as asked for.
fn fill(
    layout: &mut Layout,
    lab: bool,
    asked: &Request,
    faults: &mut Vec<String>,
) {
    let missing = asked.replicas.saturating_sub(layout.of(&asked.service));
    for _ in 0..missing {
        let server = match lab {
            true => Some(Server::Any),
            false => next(layout, asked),
        };
        let Some(server) = server else {
            faults.push(format!(
                "{}: saw no server for {missing} zones, wanted one",
                asked.service
            ));
            return;
        };
        let (service, image) = (asked.service.clone(), asked.image);
        let place = Place { server, service, shard: None, image };
        layout.add(place, 1);
    }
}

/// All zones of a service on this image.
fn moved(layout: &Layout, service: &str, image: Uuid) -> Layout {
    let mut moved = Layout::default();
    for (place, count) in layout.iter() {
        let mut place = place.clone();
        if place.service == service {
            place.image = image;
        }
        moved.add(place, count);
    }
    moved
}

/// The server with the fewest zones of the service, in order of preference:
/// two of a pair are on different ones if there are two.
fn next(layout: &Layout, asked: &Request) -> Option<Server> {
    let load = |server: &Server| {
        let on = layout.iter().filter(|(place, _)| {
            place.server == *server && place.service == asked.service
        });
        on.map(|(_, count)| count).sum::<u64>()
    };
    asked.servers.iter().copied().map(Server::Uuid).min_by_key(load)
}

/// What would be destroyed unasked.
fn lost(
    deployed: &Layout,
    wanted: &Layout,
    asked: &Request,
    faults: &mut Vec<String>,
) {
    let all = changes(deployed, wanted);
    let unasked = all.iter().filter(|change| {
        change.is_removal() && !asked.remove.contains(&change.place().service)
    });
    faults.extend(unasked.map(|change| {
        let service = &change.place().service;
        format!("it would {change}; --remove {service} if that is right")
    }));
}
