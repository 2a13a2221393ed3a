// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Starts of each server: with an empty folder and a primary, and from what
//! lies on disk.

use anyhow::Result;

use crate::report::{Row, median};
use crate::servers::{From, Kind, Server};
use crate::zone::Zone;
use crate::{Cores, ROUNDS};
use localdc::loopback::own_port;

/// Seconds to the first answer, CPU seconds, MiB resident.
pub(crate) struct Intake {
    pub(crate) wall: Row,
    pub(crate) cpu: Row,
    pub(crate) memory: Row,
}

/// Lets each of `kinds` take the zone in, in turn; ours of the last round
/// stays, ended, with what it has on disk. The primary is gone then.
pub(crate) fn taken_in(
    zone: &Zone,
    cores: Cores,
    kinds: &[Kind],
    rounds: usize,
) -> Result<(Vec<Server>, Intake)> {
    let from = From::File(&zone.file);
    let mut primary = Server::new(Kind::Knot, cores.load, own_port()?, from)?;
    primary.start(zone)?;
    let mut all = vec![Vec::new(); Kind::ALL.len()];
    let mut kept = Vec::new();
    for _ in 0..rounds {
        for kind in kinds {
            let from = From::Primary(primary.at);
            let mut server =
                Server::new(*kind, cores.server, own_port()?, from)?;
            let wall = server.start(zone)?.as_secs_f64();
            let cpu = server.settle()?.as_secs_f64();
            let memory = server.running()?.resident_mib()?;
            all[*kind as usize].push([wall, cpu, memory]);
            server.end();
            if *kind == Kind::Ours {
                kept = vec![server];
            }
        }
    }
    let row = |at: usize| {
        let mut row = Row::default();
        for (place, figures) in row.iter_mut().zip(&all) {
            *place = median(figures.iter().map(|figures| figures[at]));
        }
        row
    };
    Ok((kept, Intake { wall: row(0), cpu: row(1), memory: row(2) }))
}

/// Milliseconds from start to first answer; all servers run afterwards.
/// `servers` has ours, and gets the peers.
pub(crate) fn starts(
    servers: &mut Vec<Server>,
    zone: &Zone,
    cores: Cores,
) -> Result<Row> {
    for kind in [Kind::Knot, Kind::Nsd, Kind::Bind] {
        let from = From::File(&zone.file);
        let at = own_port()?;
        servers.push(Server::new(kind, cores.server, at, from)?);
    }
    let mut row = Row::default();
    for server in servers {
        let mut times = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            times.push(server.start(zone)?.as_secs_f64() * 1e3);
            server.settle()?;
        }
        row[server.kind as usize] = median(times);
    }
    Ok(row)
}
