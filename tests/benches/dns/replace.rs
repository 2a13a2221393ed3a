// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Questions at a steady rate while the whole zone is replaced: another
//! primary takes the first one's place, with the same names and a later
//! serial, every address another, and no history, so that all is transferred.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::Cores;
use crate::probe::{Probe, notify};
use crate::report::quantile;
use crate::servers::{From, Kind, LIMIT, Server};
use crate::zone::Zone;
use localdc::loopback::own_port;

/// Questions a tick; together 20,000 a second.
const TICK: Duration = Duration::from_millis(1);
const A_TICK: usize = 20;
/// Before the change and after it.
const AROUND: Duration = Duration::from_secs(2);
/// After this an answer is as good as lost.
const LOST: Duration = Duration::from_secs(1);
/// Ids; a question's place among those under way.
const IDS: usize = 1 << 16;

/// What the asker saw, and what it took.
pub(crate) struct Replaced {
    /// Milliseconds, of a thousand answers the slowest but one.
    pub(crate) p999: f64,
    /// The same before anything was replaced: what this machine lets one see.
    pub(crate) at_rest: f64,
    /// Milliseconds.
    pub(crate) worst: f64,
    pub(crate) lost: f64,
    /// From NOTIFY to the new answers, seconds.
    pub(crate) wall: f64,
    /// The most memory it had, by what it had before.
    pub(crate) peak: f64,
}

/// Lets `kind` hold `old`, and then replaces it by `new`.
pub(crate) fn measure(
    kind: Kind,
    old: &Zone,
    new: &Zone,
    queries: &[Vec<u8>],
    cores: Cores,
) -> Result<Replaced> {
    let at = own_port()?;
    let mut primary = primary(old, cores, at)?;
    let from = From::Primary(at);
    let mut server = Server::new(kind, cores.server, own_port()?, from)?;
    server.start(old)?;
    server.settle()?;
    primary.end();
    let _primary = self::primary(new, cores, at)?;
    let probe = Probe::new(server.at, &new.probe)?;
    let before = probe.address().context("no answer")?;
    let memory = server.running()?.resident_mib()?;
    let asking = Asking::new(server.at, cores.load)?;
    let seen = thread::scope(|scope| -> Result<Seen> {
        let sender = scope.spawn(|| asking.send(queries));
        let receiver = scope.spawn(|| asking.receive());
        let waiting = wait(&server, &probe, before, &asking);
        asking.stop.store(true, Ordering::Relaxed);
        let unsent = sender.join().ok().context("the asker fell over")??;
        let times = receiver.join().ok().context("the asker fell over")??;
        let (told, took) = waiting?;
        Ok(Seen { times, unsent, told, wall: took.as_secs_f64() })
    })?;
    let peak = server.running()?.peak_mib()? / memory;
    let under_way =
        asking.sent.iter().filter(|at| at.load(Ordering::Relaxed) != 0);
    let lost = under_way.count()
        + asking.overdue.load(Ordering::Relaxed) as usize
        + seen.unsent;
    let of = |rests: bool, share| {
        let times = seen.times.iter().filter(|t| (t.0 < seen.told) == rests);
        quantile(times.map(|(_, took)| *took), share).context("no answers")
    };
    Ok(Replaced {
        p999: of(false, 0.999)?,
        at_rest: of(true, 0.999)?,
        worst: of(false, 1.0)?,
        lost: lost as f64,
        wall: seen.wall,
        peak,
    })
}

/// It shares the asker's core and must not keep it waiting.
fn primary(
    zone: &Zone,
    cores: Cores,
    at: std::net::SocketAddr,
) -> Result<Server> {
    let from = From::File(&zone.file);
    let mut primary = Server::new(Kind::Knot, cores.load, at, from)?.nice();
    primary.start(zone)?;
    primary.settle()?;
    Ok(primary)
}

/// Tells the secondary and waits until it has the new zone: when it was told,
/// and how long it took.
fn wait(
    server: &Server,
    probe: &Probe,
    old: Ipv4Addr,
    asking: &Asking,
) -> Result<(u64, Duration)> {
    sleep(AROUND);
    let (told, begin) = (asking.now(), Instant::now());
    notify(server.at)?;
    while probe.address().is_none_or(|address| address == old) {
        let took = begin.elapsed();
        ensure!(took < LIMIT, "{:?} stays as it was", server.kind);
        sleep(TICK * 10);
    }
    let took = begin.elapsed();
    // What it still writes to disk belongs to it.
    sleep(AROUND);
    Ok((told, took))
}

struct Seen {
    times: Vec<Time>,
    unsent: usize,
    /// When the secondary was told, nanoseconds.
    told: u64,
    /// Seconds until it had the zone.
    wall: f64,
}

/// When a question was sent, in nanoseconds; milliseconds to its answer.
type Time = (u64, f64);

struct Asking {
    socket: UdpSocket,
    core: usize,
    begin: Instant,
    /// By id: when it was sent, in nanoseconds; 0 when not under way.
    sent: Vec<AtomicU64>,
    overdue: AtomicU64,
    stop: AtomicBool,
}

impl Asking {
    fn new(to: std::net::SocketAddr, core: usize) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(LOST))?;
        Ok(Self {
            socket,
            core,
            begin: Instant::now(),
            sent: (0..IDS).map(|_| AtomicU64::new(0)).collect(),
            overdue: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        })
    }

    fn pin(&self) -> Result<()> {
        let mut cores = CpuSet::new();
        cores.set(self.core)?;
        // This thread alone.
        Ok(sched_setaffinity(Pid::from_raw(0), &cores)?)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Sends until it is stopped; how many could not be sent.
    fn send(&self, queries: &[Vec<u8>]) -> Result<usize> {
        self.pin()?;
        let (mut unsent, mut next) = (0, Instant::now());
        let mut query = Vec::new();
        let mut all = queries.iter().cycle();
        for id in (0..IDS).cycle().step_by(A_TICK) {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            for id in (id..id + A_TICK).map(|id| id % IDS) {
                query.clone_from(all.next().context("no questions")?);
                let wire = u16::try_from(id)?.to_be_bytes();
                query[..2].copy_from_slice(&wire);
                if self.sent[id].swap(self.now(), Ordering::Relaxed) != 0 {
                    self.overdue.fetch_add(1, Ordering::Relaxed);
                }
                if self.socket.send(&query).is_err() {
                    self.sent[id].store(0, Ordering::Relaxed);
                    unsent += 1;
                }
            }
            next += TICK;
            sleep(next.saturating_duration_since(Instant::now()));
        }
        Ok(unsent)
    }

    /// Receives until nothing comes any more.
    fn receive(&self) -> Result<Vec<Time>> {
        self.pin()?;
        let mut times = Vec::new();
        let mut reply = [0; 2048];
        loop {
            let Ok(length) = self.socket.recv(&mut reply) else {
                if self.stop.load(Ordering::Relaxed) {
                    return Ok(times);
                }
                continue;
            };
            let id = usize::from(u16::from_be_bytes([reply[0], reply[1]]));
            let sent = self.sent[id].swap(0, Ordering::Relaxed);
            ensure!(length >= 12 && sent != 0, "an answer to no question");
            times.push((sent, (self.now() - sent) as f64 / 1e6));
        }
    }
}
