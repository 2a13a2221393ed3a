// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! One unit of the supervisor as a state machine: requests, exits and time
//! come in, effects go out. No process and no clock in here.
//!
//! Follows systemd.service(5) of version 252 for a unit of type `exec` with
//! `KillMode=control-group`, a process group standing for the cgroup.

use std::collections::VecDeque;
use std::time::Instant;

use nix::sys::signal::Signal;

use super::control::{Refusal, UnitView};
use super::spec::{Restart, UnitSpec, bare_unit_name};

/// systemd's code for a program that could not be executed.
const EXIT_EXEC: i32 = 203;

/// What the supervisor is to do in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Start the program, then call `spawned` or `spawn_failed`.
    Spawn,
    /// Signal the main process.
    Signal { pid: i32, signal: Signal },
    /// Signal all of its process group.
    SignalGroup { pid: i32, signal: Signal },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
}

impl Exit {
    /// systemd.service(5), "SuccessExitStatus=": these signals are clean.
    fn is_clean(self) -> bool {
        let polite =
            [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGPIPE];
        match self {
            Self::Code(code) => code == 0,
            Self::Signal(number) => {
                polite.iter().any(|&signal| signal as i32 == number)
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Inactive,
    Failed,
    /// `Spawn` was asked for.
    Starting,
    Running {
        pid: i32,
    },
    Stopping {
        pid: i32,
        kill_at: Instant,
        killed: bool,
        again: bool,
    },
    /// Between a crash and the next start.
    Waiting {
        until: Instant,
    },
}

/// A unit and what became of it.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) spec: UnitSpec,
    pub(crate) enabled: bool,
    state: State,
    starts: VecDeque<Instant>,
    launched: Result<(), Refusal>,
    result: &'static str,
    exec_main_status: i32,
    restarts: u32,
}

impl Unit {
    pub(crate) fn new(spec: UnitSpec) -> Self {
        Self {
            enabled: spec.enabled,
            spec,
            state: State::Inactive,
            starts: VecDeque::new(),
            launched: Ok(()),
            result: "success",
            exec_main_status: 0,
            restarts: 0,
        }
    }

    pub(crate) fn name(&self) -> &str {
        bare_unit_name(&self.spec.name)
    }

    pub(crate) fn main_pid(&self) -> Option<i32> {
        match self.state {
            State::Running { pid } | State::Stopping { pid, .. } => Some(pid),
            _ => None,
        }
    }

    /// Whether no start or stop is under way.
    pub(crate) fn is_settled(&self) -> bool {
        !matches!(self.state, State::Starting | State::Stopping { .. })
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// When `tick` has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until } => Some(until),
            State::Stopping { kill_at, killed: false, .. } => Some(kill_at),
            _ => None,
        }
    }

    pub(crate) fn start(&mut self, now: Instant) -> Vec<Effect> {
        match &mut self.state {
            State::Running { .. } | State::Starting => Vec::new(),
            State::Stopping { again, .. } => {
                *again = true;
                Vec::new()
            }
            State::Inactive | State::Failed | State::Waiting { .. } => {
                self.restarts = 0;
                self.launch(now)
            }
        }
    }

    pub(crate) fn stop(&mut self, now: Instant) -> Vec<Effect> {
        match &mut self.state {
            State::Running { pid } => {
                let pid = *pid;
                self.state = State::Stopping {
                    pid,
                    kill_at: now + self.spec.stop_timeout,
                    killed: false,
                    again: false,
                };
                vec![Effect::SignalGroup { pid, signal: Signal::SIGTERM }]
            }
            State::Stopping { again, .. } => {
                *again = false;
                Vec::new()
            }
            State::Waiting { .. } => {
                self.state = State::Inactive;
                Vec::new()
            }
            State::Inactive | State::Failed | State::Starting => Vec::new(),
        }
    }

    pub(crate) fn restart(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = self.stop(now);
        effects.extend(self.start(now));
        effects
    }

    pub(crate) fn reload(&mut self) -> Result<Vec<Effect>, Refusal> {
        match self.state {
            _ if !self.spec.reloads => Err(Refusal::NotReloadable),
            State::Running { pid } => {
                Ok(vec![Effect::Signal { pid, signal: Signal::SIGHUP }])
            }
            _ => Err(Refusal::NotActive),
        }
    }

    /// Forgets a failure and the starts counted so far.
    pub(crate) fn reset_failed(&mut self) {
        self.starts.clear();
        if self.state == State::Failed {
            self.state = State::Inactive;
            self.result = "success";
        }
    }

    pub(crate) fn spawned(&mut self, pid: i32) {
        self.state = State::Running { pid };
        self.launched = Ok(());
        self.result = "success";
    }

    pub(crate) fn spawn_failed(&mut self, now: Instant) {
        self.launched = Err(Refusal::StartFailed);
        self.ended(now, Exit::Code(EXIT_EXEC));
    }

    /// The main process ended; what is left of its group goes too.
    pub(crate) fn exited(&mut self, now: Instant, exit: Exit) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(pid) = self.main_pid() {
            let signal = Signal::SIGKILL;
            effects.push(Effect::SignalGroup { pid, signal });
        }
        if let State::Stopping { killed, again, .. } = self.state {
            self.note(exit);
            let failed = killed || !exit.is_clean();
            if killed {
                self.result = "timeout";
            }
            self.state = if failed { State::Failed } else { State::Inactive };
            if again {
                effects.extend(self.start(now));
            }
        } else {
            self.ended(now, exit);
        }
        effects
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<Effect> {
        match &mut self.state {
            State::Waiting { until } if *until <= now => {
                self.restarts += 1;
                self.launch(now)
            }
            State::Stopping { pid, kill_at, killed, .. }
                if !*killed && *kill_at <= now =>
            {
                *killed = true;
                let signal = Signal::SIGKILL;
                vec![Effect::SignalGroup { pid: *pid, signal }]
            }
            _ => Vec::new(),
        }
    }

    /// How the last launch went; an early end later is no part of it.
    pub(crate) fn start_outcome(&self) -> Result<(), Refusal> {
        self.launched.clone()
    }

    pub(crate) fn view(&self) -> UnitView {
        let (active_state, sub_state) = match self.state {
            State::Inactive => ("inactive", "dead"),
            State::Failed => ("failed", "failed"),
            State::Starting => ("activating", "start"),
            State::Running { .. } => ("active", "running"),
            State::Stopping { killed: false, .. } => {
                ("deactivating", "stop-sigterm")
            }
            State::Stopping { .. } => ("deactivating", "stop-sigkill"),
            State::Waiting { .. } => ("activating", "auto-restart"),
        };
        UnitView {
            load_state: "loaded".into(),
            active_state: active_state.into(),
            sub_state: sub_state.into(),
            main_pid: self.main_pid().unwrap_or(0),
            result: self.result.into(),
            exec_main_status: self.exec_main_status,
            restarts: self.restarts,
            enabled: self.enabled,
            can_reload: self.spec.reloads,
            ..UnitView::missing(self.name())
        }
    }

    /// Starts unless that happened too often of late.
    fn launch(&mut self, now: Instant) -> Vec<Effect> {
        let interval = self.spec.start_interval;
        self.starts.retain(|&at| now.duration_since(at) < interval);
        if self.starts.len() >= self.spec.start_burst as usize {
            self.state = State::Failed;
            self.launched = Err(Refusal::StartedTooOften);
            self.result = "start-limit-hit";
            return Vec::new();
        }
        self.starts.push_back(now);
        self.state = State::Starting;
        vec![Effect::Spawn]
    }

    /// An end that nobody asked for.
    fn ended(&mut self, now: Instant, exit: Exit) {
        self.note(exit);
        let again = match self.spec.restart {
            Restart::No => false,
            Restart::OnFailure => !exit.is_clean(),
            Restart::Always => true,
        };
        self.state = if again {
            State::Waiting { until: now + self.spec.restart_delay }
        } else if exit.is_clean() {
            State::Inactive
        } else {
            State::Failed
        };
    }

    fn note(&mut self, exit: Exit) {
        let (result, status) = match exit {
            Exit::Code(code) => ("exit-code", code),
            Exit::Signal(signal) => ("signal", signal),
        };
        self.result = if exit.is_clean() { "success" } else { result };
        self.exec_main_status = status;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn running(now: Instant) -> Unit {
        let mut unit = Unit::new(UnitSpec::new("a.service", ["a"]));
        assert_eq!(unit.start(now), [Effect::Spawn]);
        unit.spawned(7);
        unit
    }

    fn state(unit: &Unit) -> (String, String) {
        let view = unit.view();
        (view.active_state, view.sub_state)
    }

    fn group(pid: i32, signal: Signal) -> Effect {
        Effect::SignalGroup { pid, signal }
    }

    #[test]
    fn crash_restarts_after_the_delay() {
        let now = Instant::now();
        let mut unit = running(now);
        let effects = unit.exited(now, Exit::Code(1));
        assert_eq!(effects, [group(7, Signal::SIGKILL)]);
        assert_eq!(state(&unit), ("activating".into(), "auto-restart".into()));
        assert_eq!(unit.tick(now), []);
        let due = unit.deadline().unwrap();
        assert_eq!(due, now + Duration::from_millis(100));
        assert_eq!(unit.tick(due), [Effect::Spawn]);
        unit.spawned(8);
        assert_eq!(unit.view().restarts, 1);
        assert_eq!(unit.main_pid(), Some(8));
    }

    #[test]
    fn crashing_too_often_fails_until_reset() {
        let mut now = Instant::now();
        let mut unit = running(now);
        for _ in 0..5 {
            assert!(unit.view().active_state != "failed");
            unit.exited(now, Exit::Signal(11));
            now = unit.deadline().unwrap();
            unit.tick(now);
            if !unit.is_settled() {
                unit.spawned(7);
            }
        }
        assert_eq!(state(&unit), ("failed".into(), "failed".into()));
        assert_eq!(unit.view().result, "start-limit-hit");
        assert_eq!(unit.start(now), []);
        assert_eq!(unit.start_outcome(), Err(Refusal::StartedTooOften));
        unit.reset_failed();
        assert_eq!(unit.view().active_state, "inactive");
        assert_eq!(unit.start(now), [Effect::Spawn]);
    }

    #[test]
    fn clean_end_is_not_restarted() {
        let now = Instant::now();
        for exit in [Exit::Code(0), Exit::Signal(15)] {
            let mut unit = running(now);
            unit.exited(now, exit);
            assert_eq!(unit.view().active_state, "inactive");
            assert_eq!(unit.deadline(), None);
        }
    }

    #[test]
    fn stop_turns_into_a_kill() {
        let now = Instant::now();
        let mut unit = running(now);
        assert_eq!(unit.stop(now), [group(7, Signal::SIGTERM)]);
        assert!(!unit.is_settled());
        let due = unit.deadline().unwrap();
        assert_eq!(unit.tick(due), [group(7, Signal::SIGKILL)]);
        assert_eq!(unit.tick(due), []);
        unit.exited(due, Exit::Signal(9));
        assert!(unit.is_settled());
        assert_eq!(unit.view().result, "timeout");
    }

    #[test]
    fn restart_starts_once_the_old_one_is_gone() {
        let now = Instant::now();
        let mut unit = running(now);
        assert_eq!(unit.restart(now), [group(7, Signal::SIGTERM)]);
        let effects = unit.exited(now, Exit::Signal(15));
        assert_eq!(effects, [group(7, Signal::SIGKILL), Effect::Spawn]);
        unit.spawned(9);
        assert_eq!(unit.start_outcome(), Ok(()));
        assert_eq!(unit.view().restarts, 0);
    }

    #[test]
    fn stop_during_a_restart_wins() {
        let now = Instant::now();
        let mut unit = running(now);
        unit.restart(now);
        unit.stop(now);
        let effects = unit.exited(now, Exit::Code(0));
        assert_eq!(effects, [group(7, Signal::SIGKILL)]);
        assert_eq!(unit.view().active_state, "inactive");
    }

    #[test]
    fn stop_ends_the_wait_for_a_restart() {
        let now = Instant::now();
        let mut unit = running(now);
        unit.exited(now, Exit::Code(1));
        unit.stop(now);
        assert_eq!(unit.deadline(), None);
        assert_eq!(unit.view().active_state, "inactive");
    }

    #[test]
    fn reload_wants_a_running_unit_that_reloads() {
        let now = Instant::now();
        let mut unit = running(now);
        let signal = Signal::SIGHUP;
        assert_eq!(unit.reload(), Ok(vec![Effect::Signal { pid: 7, signal }]));
        unit.spec.reloads = false;
        assert_eq!(unit.reload(), Err(Refusal::NotReloadable));
        unit.spec.reloads = true;
        unit.exited(now, Exit::Code(0));
        assert_eq!(unit.reload(), Err(Refusal::NotActive));
    }

    #[test]
    fn start_succeeds_even_if_the_end_comes_at_once() {
        let now = Instant::now();
        let mut unit = running(now);
        unit.exited(now, Exit::Code(3));
        assert_eq!(unit.start_outcome(), Ok(()));
    }

    #[test]
    fn program_that_cannot_be_executed_fails_the_start() {
        let now = Instant::now();
        let mut unit = Unit::new(UnitSpec::new("a", ["/missing"]));
        unit.spec.restart = Restart::No;
        unit.start(now);
        unit.spawn_failed(now);
        assert_eq!(unit.start_outcome(), Err(Refusal::StartFailed));
        assert_eq!(unit.view().exec_main_status, EXIT_EXEC);
    }
}
