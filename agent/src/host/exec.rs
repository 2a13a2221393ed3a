// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Every process we start: no input, a time limit, bounded output, and its
//! whole process group gone when the limit is reached.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::HostError;

/// Bytes kept of each output stream; the rest is read and dropped, so that a
/// talkative command is neither stopped nor stored.
const OUTPUT_KEPT: usize = 64 << 10;

/// How long a stream may stay open after its command ended.
const LINGER: Duration = Duration::from_secs(1);

/// Where programs are looked for after the inherited `PATH`: the images' own,
/// then the platform's. In an LX zone its own come before the platform's:
/// a groupadd of `/native` knows nothing of the zone's files.
const SEARCH_PATH: &str = "/opt/triton/prometheus/bin:\
    /opt/triton/alertmanager/bin:\
    /opt/triton/thanos/bin:/opt/triton/grafana/bin:\
    /usr/sbin:/usr/bin:/sbin:/bin:/native/usr/sbin:/native/usr/bin";

/// A command to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    /// Program and arguments; never a secret, arguments are public.
    pub argv: Vec<String>,
    /// Time limit.
    pub timeout: Duration,
    /// Numeric user and group to run as; `None`: as this program does.
    pub user: Option<(u32, u32)>,
}

impl Exec {
    /// `argv` with a time limit.
    pub fn new<S: AsRef<str>>(argv: &[S], timeout: Duration) -> Self {
        let argv = argv.iter().map(|word| word.as_ref().to_owned()).collect();
        Self { argv, timeout, user: None }
    }

    /// A shell command, as SAPI manifests have it.
    pub fn shell(command: &str, timeout: Duration) -> Self {
        Self::new(&["/bin/sh", "-c", command], timeout)
    }

    fn program(&self) -> String {
        match self.argv.as_slice() {
            [shell, flag, command] if shell == "/bin/sh" && flag == "-c" => {
                format!("`{command}`")
            }
            argv => argv.first().cloned().unwrap_or_default(),
        }
    }
}

/// How a command ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// The status in words.
    pub status: String,
    /// The first 64 KiB of standard output, lossy UTF-8.
    pub stdout: String,
    /// The first 64 KiB of standard error, lossy UTF-8.
    pub stderr: String,
}

impl Finished {
    /// Exit code 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// The failure as an error, with the end of what was printed.
    pub fn into_error(self, exec: &Exec) -> HostError {
        let words = [self.stderr.as_str(), self.stdout.as_str()]
            .iter()
            .flat_map(|text| text.split_whitespace())
            .collect::<Vec<_>>()
            .join(" ");
        let output = match words.char_indices().rev().nth(600) {
            Some((at, _)) => format!("...{}", &words[at..]),
            None => words,
        };
        HostError::Failed {
            program: exec.program(),
            status: self.status,
            output,
        }
    }
}

/// Runs `exec` to its end or to its time limit.
///
/// Cancel-safe: dropping the future kills the child and its group.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where processes are started"
)]
pub async fn run(exec: &Exec) -> Result<Finished, HostError> {
    let start = |source| HostError::Start { program: exec.program(), source };
    let (program, arguments) = exec.argv.split_first().ok_or_else(|| {
        start(std::io::Error::other("the command has no words"))
    })?;
    let path = search_path();
    let mut command = tokio::process::Command::new(find(program, &path));
    if let Some((user, group)) = exec.user {
        command.uid(user).gid(group);
    }
    let mut child = command
        .args(arguments)
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(start)?;
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()));
    let stdout = Output::of(child.stdout.take());
    let stderr = Output::of(child.stderr.take());
    let status = match tokio::time::timeout(exec.timeout, child.wait()).await {
        Ok(status) => {
            // What it left behind is left alive.
            group.0 = None;
            status.map_err(start)?
        }
        Err(_) => {
            drop(group);
            // A child stuck in the kernel is left to it.
            let _ = tokio::time::timeout(LINGER, child.wait()).await;
            return Err(HostError::Timeout {
                program: exec.program(),
                seconds: exec.timeout.as_secs(),
            });
        }
    };
    Ok(Finished {
        code: status.code(),
        status: status.to_string(),
        stdout: stdout.collect().await,
        stderr: stderr.collect().await,
    })
}

/// A process group that goes when dropped: a child's children would live on.
struct Group(Option<i32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
    }
}

/// What a stream gave so far, and the task that reads on.
struct Output {
    kept: Arc<Mutex<Vec<u8>>>,
    reader: tokio::task::JoinHandle<()>,
}

impl Output {
    fn of(stream: Option<impl AsyncRead + Send + Unpin + 'static>) -> Self {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let reader = tokio::spawn(keep(stream, Arc::clone(&kept)));
        Self { kept, reader }
    }

    /// All of it, or what was read until now: a command may leave a daemon
    /// behind that holds the stream open, which gets a moment, not for ever,
    /// and is left alive.
    async fn collect(mut self) -> String {
        if tokio::time::timeout(LINGER, &mut self.reader).await.is_err() {
            // Where this process had to wait itself, what was written long
            // ago is read now.
            let moment = Duration::from_millis(50);
            if tokio::time::timeout(moment, &mut self.reader).await.is_err() {
                self.reader.abort();
            }
        }
        let kept = self.kept.lock().expect("no holder panics");
        String::from_utf8_lossy(&kept).into_owned()
    }
}

/// A program by its name, where those that are run are looked for.
pub fn find_program(name: &str) -> Option<std::path::PathBuf> {
    let found = find(name, &search_path());
    found.is_file().then_some(found)
}

fn search_path() -> String {
    let path = match std::env::var("PATH") {
        Ok(path) if !path.is_empty() => format!("{path}:{SEARCH_PATH}"),
        _ => SEARCH_PATH.to_owned(),
    };
    // The agent is the checker of some files itself.
    let own = std::env::current_exe().ok();
    match own.as_deref().and_then(|own| own.parent()?.to_str()) {
        Some(folder) => format!("{path}:{folder}"),
        None => path,
    }
}

/// The program's full path, looked up along `path`; execvp itself would use
/// the parent's idea of `PATH`.
fn find(program: &str, path: &str) -> std::path::PathBuf {
    if !program.contains('/') {
        for dir in path.split(':').filter(|dir| !dir.is_empty()) {
            let candidate = std::path::Path::new(dir).join(program);
            if candidate.is_file() {
                return candidate;
            }
        }
    }
    program.into()
}

async fn keep(
    stream: Option<impl AsyncRead + Unpin>,
    kept: Arc<Mutex<Vec<u8>>>,
) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; 8 << 10];
    // A read error is the end of the output as well.
    while let Ok(n @ 1..) = stream.read(&mut buffer).await {
        let mut kept = kept.lock().expect("no holder panics");
        let room = OUTPUT_KEPT - kept.len();
        kept.extend_from_slice(&buffer[..n.min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn exit_code_and_output_come_back() {
        let exec = Exec::shell("echo out; echo err >&2; exit 3", LONG);
        let finished = run(&exec).await.unwrap();
        assert_eq!(finished.code, Some(3));
        assert_eq!(finished.stdout, "out\n");
        let error = finished.into_error(&exec).to_string();
        assert!(error.contains("exit status: 3: err out"), "{error}");
    }

    #[tokio::test]
    async fn a_hanging_command_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let pid_file = dir.path().join("pid");
        let command =
            format!("sleep 1000 & echo $! > {}; wait", pid_file.display());
        let exec = Exec::shell(&command, Duration::from_secs(5));
        let error = run(&exec).await.unwrap_err();
        assert!(matches!(error, HostError::Timeout { .. }), "{error}");
        let pid: i32 =
            std::fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
        // The child may still be a zombie of init for a moment, but it no
        // longer sleeps.
        for _ in 0..1000 {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            match stat {
                Ok(stat) if !stat.contains(") Z") => {}
                _ => return,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the child still runs");
    }

    #[tokio::test]
    async fn a_talkative_command_ends_well_and_is_cut() {
        let exec = Exec::shell("yes | head -c 5000000", LONG);
        let finished = run(&exec).await.unwrap();
        assert!(finished.success());
        assert_eq!(finished.stdout.len(), OUTPUT_KEPT);
    }

    #[tokio::test]
    async fn a_daemon_left_behind_does_not_hold_us() {
        let exec = Exec::shell("sleep 20 & echo started", LONG);
        let begin = std::time::Instant::now();
        let finished = run(&exec).await.unwrap();
        assert!(finished.success());
        assert_eq!(finished.stdout, "started\n");
        assert!(begin.elapsed() < Duration::from_secs(15));
    }

    #[test]
    fn a_zones_own_programs_come_before_the_platforms() {
        let at = |folder: &str| {
            SEARCH_PATH.split(':').position(|it| it == folder).unwrap()
        };
        assert!(at("/usr/sbin") < at("/native/usr/sbin"));
        assert!(at("/bin") < at("/native/usr/bin"));
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let exec = Exec::new(&["no-such-program"], LONG);
        let error = run(&exec).await.unwrap_err().to_string();
        assert_eq!(error, "could not start no-such-program");
    }
}
