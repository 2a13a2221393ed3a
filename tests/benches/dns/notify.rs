// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! From NOTIFY to the new answer, one record of many changed: a real Knot is
//! everyone's primary and is told of the change by a dynamic update; when it
//! has it, each secondary is told in turn and asked until it knows.

use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::Cores;
use crate::probe::{Probe, notify, update};
use crate::report::{Row, quantile};
use crate::servers::{From, Kind, LIMIT, Server};
use crate::zone::Zone;
use localdc::loopback::own_port;

const KINDS: [Kind; 3] = [Kind::Ours, Kind::Knot, Kind::Bind];
const CHANGES: u8 = 60;
/// After each server's turn, so that what it still has to do (write the zone
/// to disk, say) is not in the next one's way. All turns of a change take
/// longer than any of them makes a second NOTIFY wait.
const PAUSE: Duration = Duration::from_millis(400);
/// Between two questions.
const STEP: Duration = Duration::from_micros(50);

/// Milliseconds: the median and the 95th of a hundred.
pub(crate) struct Latency {
    pub(crate) p50: Row,
    pub(crate) p95: Row,
}

pub(crate) fn measure(zone: &Zone, cores: Cores) -> Result<Latency> {
    let mut primary = Server::updated(cores.load, own_port()?, &zone.file)?;
    primary.start(zone)?;
    let mut secondaries = Vec::new();
    for kind in KINDS {
        let from = From::Primary(primary.at);
        let mut server = Server::new(kind, cores.server, own_port()?, from)?;
        server.start(zone)?;
        server.settle()?;
        secondaries.push(server);
    }
    let mut times = vec![Vec::new(); Kind::ALL.len()];
    for change in 0..CHANGES {
        let address = Ipv4Addr::new(192, 0, 2, change);
        update(primary.at, &zone.probe, address)?;
        for server in &secondaries {
            let took = told(server, zone, address)?;
            times[server.kind as usize].push(took.as_secs_f64() * 1e3);
            sleep(PAUSE);
        }
    }
    let row = |share| {
        let mut row = Row::default();
        for (place, times) in row.iter_mut().zip(&times) {
            *place = quantile(times.iter().copied(), share);
        }
        row
    };
    Ok(Latency { p50: row(0.5), p95: row(0.95) })
}

/// Tells one secondary; the time until it answers with `address`.
fn told(server: &Server, zone: &Zone, address: Ipv4Addr) -> Result<Duration> {
    let probe = Probe::new(server.at, &zone.probe)?;
    let begin = Instant::now();
    notify(server.at)?;
    while probe.address() != Some(address) {
        let took = begin.elapsed();
        ensure!(took < LIMIT, "{:?} heard nothing", server.kind);
        sleep(STEP);
    }
    Ok(begin.elapsed())
}
