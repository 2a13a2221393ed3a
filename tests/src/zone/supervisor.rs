// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Process 1 of a zone at work: runs the units, reaps what ends, answers on
//! the control socket. Decisions about units are made in `units`.
//!
//! One task owns all state and starts all processes, so no child can be
//! reaped between its start and the note about it.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::control::{
    self, ExecRequest, Refusal, Reply, Request, UnitView, Verb,
};
use super::enabled;
use super::launch::{spawn_exec, spawn_unit};
use super::spec::{UnitSpec, ZoneSpec, bare_unit_name};
use super::units::{Effect, Exit, Unit};

/// How long a client may take to state its request.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

const LONGEST_EXEC: Duration = Duration::from_secs(3600);

type Answer = oneshot::Sender<Reply>;

struct Asked {
    request: Request,
    uid: u32,
    answer: Answer,
}

/// A command run once.
struct Job {
    deadline: Instant,
    killed: bool,
    answer: Answer,
}

/// Someone who waits for a unit to settle.
struct Waiter {
    unit: usize,
    wants_start: bool,
    answer: Answer,
}

struct Supervisor {
    zonename: String,
    metadata: BTreeMap<String, String>,
    units: Vec<Unit>,
    jobs: HashMap<i32, Job>,
    waiters: Vec<Waiter>,
    shutdown: Option<Answer>,
}

/// Runs until a shutdown was asked for and is complete. `ready` is called
/// once the control socket answers.
pub(crate) async fn supervise(
    spec: ZoneSpec,
    ready: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let mut ended = signal(SignalKind::child())?;
    let listener = UnixListener::bind(control::SOCKET)?;
    fs::set_permissions(control::SOCKET, Permissions::from_mode(0o666))?;
    let (ask, mut asked) = mpsc::channel(16);
    tokio::spawn(listen(listener, ask));
    let mut supervisor = Supervisor::new(spec);
    supervisor.start_enabled();
    ready()?;
    loop {
        let deadline = supervisor.deadline();
        tokio::select! {
            // Cancel-safe: a request not taken stays in the channel.
            Some(asked) = asked.recv() => supervisor.answer(asked),
            // Cancel-safe: a signal not seen now stays pending.
            _ = ended.recv() => {}
            // Cancel-safe: made anew each time.
            () = tokio::time::sleep_until(deadline.into()) => {}
        }
        supervisor.reap();
        supervisor.tick();
        supervisor.settle();
        if let Some(answer) = supervisor.shutdown_done() {
            let _ = answer.send(Reply::Done);
            // Lets the answer reach the socket.
            tokio::time::sleep(Duration::from_millis(20)).await;
            return Ok(());
        }
    }
}

async fn listen(listener: UnixListener, ask: mpsc::Sender<Asked>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(converse(stream, ask.clone()));
            }
            Err(e) => {
                eprintln!("connection not accepted: {e}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn converse(mut stream: UnixStream, ask: mpsc::Sender<Asked>) {
    let read = control::read_line(&mut stream);
    let Ok(Ok(line)) = tokio::time::timeout(REQUEST_LIMIT, read).await else {
        return;
    };
    let uid = stream.peer_cred().map_or(u32::MAX, |peer| peer.uid());
    let reply = match serde_json::from_str(&line) {
        Ok(request) => {
            let (answer, answered) = oneshot::channel();
            let _ = ask.send(Asked { request, uid, answer }).await;
            answered.await.unwrap_or_else(|_| failed("no answer"))
        }
        Err(e) => failed(e),
    };
    if let Ok(mut line) = serde_json::to_vec(&reply) {
        line.push(b'\n');
        let _ = stream.write_all(&line).await;
    }
}

/// A unit as the last `systemctl enable` or `disable` left it.
fn remembered(spec: UnitSpec) -> Unit {
    let mut unit = Unit::new(spec);
    unit.enabled = enabled::read(unit.name()).unwrap_or(unit.enabled);
    unit
}

fn failed(reason: impl ToString) -> Reply {
    Reply::Refused(Refusal::Failed(reason.to_string()))
}

impl Supervisor {
    fn new(spec: ZoneSpec) -> Self {
        Self {
            metadata: spec.metadata(),
            zonename: spec.uuid,
            units: spec.units.into_iter().map(remembered).collect(),
            jobs: HashMap::new(),
            waiters: Vec::new(),
            shutdown: None,
        }
    }

    fn start_enabled(&mut self) {
        for index in 0..self.units.len() {
            if self.units[index].enabled {
                let effects = self.units[index].start(Instant::now());
                self.carry_out(index, effects);
            }
        }
    }

    fn answer(&mut self, asked: Asked) {
        let Asked { request, uid, answer } = asked;
        let open_to_all = matches!(
            request,
            Request::Show { .. } | Request::List | Request::Zonename
        );
        if uid != 0 && !open_to_all {
            let _ = answer.send(Reply::Refused(Refusal::NotAllowed(uid)));
            return;
        }
        let reply = match request {
            Request::Unit { verb, unit } => {
                return self.change(verb, &unit, answer);
            }
            Request::Exec(exec) => return self.exec(&exec, answer),
            Request::Shutdown => return self.shut_down(answer),
            Request::Kill { unit, signal } => self.kill(&unit, signal),
            Request::Show { unit } => Reply::Unit(self.show(&unit)),
            Request::List => {
                Reply::Units(self.units.iter().map(Unit::view).collect())
            }
            Request::Zonename => Reply::Value(Some(self.zonename.clone())),
            Request::Metadata { key } => {
                Reply::Value(self.metadata.get(&key).cloned())
            }
            Request::SetMetadata { key, value } => {
                match value {
                    Some(value) => self.metadata.insert(key, value),
                    None => self.metadata.remove(&key),
                };
                Reply::Done
            }
            Request::RewriteResolvConf { text } => {
                match fs::write("/etc/resolv.conf", text) {
                    Ok(()) => Reply::Done,
                    Err(e) => failed(e),
                }
            }
        };
        let _ = answer.send(reply);
    }

    fn find(&self, name: &str) -> Option<usize> {
        let name = bare_unit_name(name);
        self.units.iter().position(|unit| unit.name() == name)
    }

    fn show(&self, name: &str) -> UnitView {
        match self.find(name) {
            Some(index) => self.units[index].view(),
            None => UnitView::missing(bare_unit_name(name)),
        }
    }

    fn kill(&self, name: &str, number: i32) -> Reply {
        let Some(index) = self.find(name) else {
            return Reply::Refused(Refusal::NoSuchUnit);
        };
        let Some(pid) = self.units[index].main_pid() else {
            return Reply::Refused(Refusal::NotActive);
        };
        let sent = Signal::try_from(number)
            .and_then(|signal| kill(Pid::from_raw(pid), signal));
        match sent {
            Ok(()) => Reply::Done,
            Err(e) => failed(e),
        }
    }

    /// Answers at once, or when the unit has settled.
    fn change(&mut self, verb: Verb, name: &str, answer: Answer) {
        let Some(index) = self.find(name) else {
            let _ = answer.send(Reply::Refused(Refusal::NoSuchUnit));
            return;
        };
        let now = Instant::now();
        let unit = &mut self.units[index];
        let mut wants_start = false;
        let effects = match verb {
            Verb::Start => {
                wants_start = true;
                Ok(unit.start(now))
            }
            Verb::Stop => Ok(unit.stop(now)),
            Verb::TryRestart if !unit.is_running() => Ok(Vec::new()),
            Verb::Reload => unit.reload(),
            Verb::ReloadOrRestart if unit.is_running() && unit.spec.reloads => {
                unit.reload()
            }
            Verb::Restart | Verb::TryRestart | Verb::ReloadOrRestart => {
                wants_start = true;
                Ok(unit.restart(now))
            }
            Verb::ResetFailed => {
                unit.reset_failed();
                Ok(Vec::new())
            }
            Verb::Enable | Verb::Disable => {
                unit.enabled = verb == Verb::Enable;
                if let Err(e) = enabled::note(unit.name(), unit.enabled) {
                    eprintln!("{} is not kept {verb:?}: {e}", unit.name());
                }
                Ok(Vec::new())
            }
        };
        match effects {
            Ok(effects) => {
                self.carry_out(index, effects);
                self.waiters.push(Waiter { unit: index, wants_start, answer });
            }
            Err(refusal) => {
                let _ = answer.send(Reply::Refused(refusal));
            }
        }
    }

    fn carry_out(&mut self, index: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Signal { pid, signal } => {
                    // Gone already: its exit is on the way.
                    let _ = kill(Pid::from_raw(pid), signal);
                }
                Effect::SignalGroup { pid, signal } => {
                    let _ = killpg(Pid::from_raw(pid), signal);
                }
                Effect::Spawn => {
                    let unit = &mut self.units[index];
                    match spawn_unit(unit) {
                        Ok(pid) => unit.spawned(pid),
                        Err(e) => {
                            eprintln!("{} did not start: {e}", unit.name());
                            unit.spawn_failed(Instant::now());
                        }
                    }
                }
            }
        }
    }

    fn exec(&mut self, exec: &ExecRequest, answer: Answer) {
        match spawn_exec(exec) {
            Ok(pid) => {
                let limit = exec.limit.min(LONGEST_EXEC);
                let deadline = Instant::now() + limit;
                self.jobs.insert(pid, Job { deadline, killed: false, answer });
            }
            Err(e) => {
                let program = exec.argv.first().map_or("", String::as_str);
                let _ = answer.send(failed(format!("{program}: {e}")));
            }
        }
    }

    fn reap(&mut self) {
        loop {
            let any = Pid::from_raw(-1);
            let (pid, exit) = match waitpid(any, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, Exit::Code(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    (pid, Exit::Signal(signal as i32))
                }
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(e) => {
                    eprintln!("could not reap: {e}");
                    return;
                }
            };
            self.ended(pid.as_raw(), exit);
        }
    }

    fn ended(&mut self, pid: i32, exit: Exit) {
        if let Some(job) = self.jobs.remove(&pid) {
            // What the command left behind in its group ends with it.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
            let (code, signal) = match exit {
                Exit::Code(code) => (Some(code), None),
                Exit::Signal(signal) => (None, Some(signal)),
            };
            let too_late = job.killed;
            let _ = job.answer.send(Reply::Exited { code, signal, too_late });
            return;
        }
        let owner = |unit: &Unit| unit.main_pid() == Some(pid);
        if let Some(index) = self.units.iter().position(owner) {
            eprintln!("{} ended: {exit:?}", self.units[index].name());
            let effects = self.units[index].exited(Instant::now(), exit);
            self.carry_out(index, effects);
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        for index in 0..self.units.len() {
            let effects = self.units[index].tick(now);
            self.carry_out(index, effects);
        }
        for (&pid, job) in &mut self.jobs {
            if !job.killed && job.deadline <= now {
                job.killed = true;
                let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }

    /// Answers those whose unit has come to rest.
    fn settle(&mut self) {
        for waiter in std::mem::take(&mut self.waiters) {
            let unit = &self.units[waiter.unit];
            if !unit.is_settled() {
                self.waiters.push(waiter);
                continue;
            }
            let reply = match unit.start_outcome() {
                Err(refusal) if waiter.wants_start => Reply::Refused(refusal),
                _ => Reply::Done,
            };
            let _ = waiter.answer.send(reply);
        }
    }

    fn deadline(&self) -> Instant {
        let units = self.units.iter().filter_map(Unit::deadline);
        let jobs = self.jobs.values().filter(|j| !j.killed).map(|j| j.deadline);
        let far = Instant::now() + Duration::from_secs(3600);
        units.chain(jobs).min().unwrap_or(far)
    }

    fn shut_down(&mut self, answer: Answer) {
        let now = Instant::now();
        for index in 0..self.units.len() {
            let effects = self.units[index].stop(now);
            self.carry_out(index, effects);
        }
        self.shutdown = Some(answer);
    }

    fn shutdown_done(&mut self) -> Option<Answer> {
        let settled = self.units.iter().all(Unit::is_settled);
        self.shutdown.take_if(|_| settled)
    }
}
