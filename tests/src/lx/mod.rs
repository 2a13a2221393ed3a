// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! LX zones with the real systemd as process 1, by systemd-nspawn: what
//! [`crate::zone`] only plays. For the boot itself, from the brand's start to
//! the agent's; all else is tested faster there.
//!
//! The root is an image as zone-image builds it, unpacked anew at each
//! provision. The delegate dataset and what stands for the platform,
//! `/native`, are folders beside it. Everything ends with the value, and with
//! the thread that booted it, however that ends.

mod cgroup;
mod image;
mod native;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::zone::{ExecOutput, Namespace, Network, ZoneError, ZoneSpec};

pub use image::LxImage;

use cgroup::Cgroup;

/// How long systemd may take to end all services.
const SHUTDOWN: Duration = Duration::from_secs(30);
/// How long process 1 may take to appear.
const START: Duration = Duration::from_secs(60);

/// An LX zone; dropping it ends it.
#[derive(Debug)]
pub struct LxZone {
    running: Option<Running>,
    namespace: Namespace,
    spec: ZoneSpec,
    folder: PathBuf,
    _whole: Arc<dyn std::fmt::Debug + Send + Sync>,
}

/// Its processes, by the two that hold them.
#[derive(Debug)]
struct Running {
    nspawn: Child,
    machine: String,
    /// Process 1, as the host sees it.
    leader: Option<Pid>,
    /// nspawn's own lock, which it leaves behind when it is killed.
    lock: PathBuf,
    _cgroup: Cgroup,
}

/// Process 1 of a pid namespace around all of the zone, so that the kernel
/// ends it as one: what nspawn starts outlives an nspawn that is killed. Goes
/// into the groups named before `--`, gives the network namespace a name that
/// only this mount namespace knows, and becomes what comes last.
const ENTER: &str = r#"set -e
while [ "$1" != -- ]; do echo 0 >"$1"; shift; done
touch "$3"; mount --bind "$2" "$3"; mount -t proc proc /proc
shift 3; exec "$@""#;

impl LxZone {
    /// A zone that is not provisioned yet, with an empty delegate dataset.
    ///
    /// Errors: the network, or the folders.
    pub fn create(
        network: &Network,
        spec: ZoneSpec,
    ) -> Result<Self, ZoneError> {
        let namespace = network.attach_zone(&spec.name, spec.ip)?;
        let folder = network.folder().path().join(format!("{}.lx", spec.name));
        native::lay_out(&folder.join("native"), &spec)
            .map_err(|source| failed(&folder, source))?;
        Ok(Self {
            running: None,
            namespace,
            spec,
            folder,
            _whole: network.folder().clone(),
        })
    }

    /// Gives the zone a new root, that of `image`; `/data` stays. A running
    /// zone is shut down first. Boots.
    pub fn provision(&mut self, image: &LxImage) -> Result<(), ZoneError> {
        self.shut_down();
        let root = self.root();
        let laid = remove(&root)
            .and_then(|()| image.unpack(&root))
            .and_then(|()| fs::write(root.join("var/svc/provisioning"), ""));
        laid.map_err(|source| failed(&root, source))?;
        self.boot()
    }

    /// Boots the root as it is. To be called on a thread that lives as long
    /// as the zone is to: when it ends, the kernel ends the zone.
    #[expect(clippy::disallowed_methods, reason = "systemd-nspawn is the zone")]
    pub fn boot(&mut self) -> Result<(), ZoneError> {
        self.shut_down();
        let root = self.root();
        // As the brand's boot script does, each time.
        fs::write(root.join("etc/resolv.conf"), self.spec.resolv_conf())
            .map_err(|source| failed(&root, source))?;
        let start = |source| ZoneError::Start {
            program: "systemd-nspawn".into(),
            source,
        };
        let console = File::create(self.folder.join("console.log"));
        let console = console.map_err(start)?;
        let machine = self.namespace.name().to_owned();
        let cgroup = Cgroup::create(&machine).map_err(start)?;
        let found = fs::metadata(&root).map_err(start)?;
        let lock = format!("inode-{}:{}", found.dev(), found.ino());
        let lock = Path::new("/run/systemd/nspawn/locks").join(lock);
        let net = self.folder.join("net");
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid"])
            .args(["--fork", "--kill-child", "sh", "-c", ENTER, "sh"])
            .args(cgroup.doors())
            .args([Path::new("--"), &self.namespace.path(), &net])
            .args(["systemd-nspawn", "--quiet", "--boot"])
            .args(["--register=no", "--keep-unit"])
            .args(["--resolv-conf=off", "--timezone=off"])
            .args(["--link-journal=no", "--console=pipe"])
            .arg(format!("--machine={machine}"))
            .arg(format!("--hostname={}", self.spec.uuid))
            .arg(format!("--directory={}", root.display()))
            .arg(format!("--network-namespace-path={}", net.display()))
            .arg(format!("--bind={}:/native", self.native().display()));
        let nspawn = command
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stderr(console.try_clone().map_err(start)?)
            .stdout(console)
            .spawn()
            .map_err(start)?;
        // From here on an early return ends it.
        let running = self.running.insert(Running {
            nspawn,
            machine,
            leader: None,
            lock,
            _cgroup: cgroup,
        });
        let deadline = Instant::now() + START;
        while running.leader.is_none() {
            let ended = running.nspawn.try_wait().map_err(start)?.is_some();
            if ended || Instant::now() > deadline {
                let reason = self.console();
                let zone = self.spec.name.clone();
                return Err(ZoneError::Boot { zone, reason });
            }
            thread::sleep(Duration::from_millis(10));
            running.leader = leader(&running.nspawn);
        }
        Ok(())
    }

    /// Has systemd end all services, then the zone. `boot` brings it back.
    pub fn shut_down(&mut self) {
        let Some(running) = &mut self.running else { return };
        if let Some(leader) = running.leader {
            // As systemctl poweroff does: systemd(1), "Signals".
            let _ = kill_realtime(leader, 4);
            let deadline = Instant::now() + SHUTDOWN;
            while let Ok(None) = running.nspawn.try_wait() {
                if Instant::now() > deadline {
                    let zone = &self.spec.name;
                    tracing::warn!(%zone, "zone is cut off, not shut down");
                    break;
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
        self.running = None;
    }

    /// Ends the zone as a power failure would.
    pub fn cut_off(&mut self) {
        self.running = None;
    }

    /// Runs a shell command as root in the zone.
    ///
    /// Errors: the zone does not run, or nsenter does not.
    #[expect(clippy::disallowed_methods, reason = "nsenter is the way in")]
    pub fn sh(&self, script: &str) -> Result<ExecOutput, ZoneError> {
        let running = self.running.as_ref().and_then(|it| it.leader);
        let leader = running.map_or(0, Pid::as_raw).to_string();
        let output = Command::new("timeout")
            .args(["20", "nsenter", "-t", &leader, "-a", "--"])
            .args(["/bin/sh", "-c", script])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .output()
            .map_err(|source| ZoneError::Start {
                program: "nsenter".into(),
                source,
            })?;
        Ok(ExecOutput {
            code: output.status.code(),
            signal: None,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// What the boot wrote to the console.
    pub fn console(&self) -> String {
        fs::read_to_string(self.folder.join("console.log"))
            .unwrap_or_else(|error| error.to_string())
    }

    /// A file of the root, read from outside; empty when there is none.
    pub fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap_or_default()
    }

    /// Host folder of the root.
    pub fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Host folder of the delegate dataset.
    pub fn data(&self) -> PathBuf {
        native::data(&self.native())
    }

    /// The network namespace, for forwarders into the zone.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Process 1 as the host sees it.
    pub fn leader(&self) -> Option<i32> {
        Some(self.running.as_ref()?.leader?.as_raw())
    }

    fn native(&self) -> PathBuf {
        self.folder.join("native")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            let _ = kill(leader, Signal::SIGKILL);
            // nspawn sees to the rest then, and ends.
            let deadline = Instant::now() + START;
            while matches!(self.nspawn.try_wait(), Ok(None))
                && Instant::now() < deadline
            {
                thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = self.nspawn.kill();
        let _ = self.nspawn.wait();
        // It leaves these behind when it is killed.
        let _ = fs::remove_file(&self.lock);
        let propagate = Path::new("/run/systemd/nspawn/propagate");
        let _ = fs::remove_dir(propagate.join(&self.machine));
    }
}

impl Drop for LxZone {
    fn drop(&mut self) {
        self.running = None;
        if let Err(error) = remove(&self.folder) {
            let path = self.folder.display();
            tracing::warn!(%path, %error, "folder not removed");
        }
    }
}

/// The child of nspawn, which is the child of `outer`; there is one once the
/// zone is set up.
fn leader(outer: &Child) -> Option<Pid> {
    let nspawn = first_child(outer.id())?;
    let leader = first_child(nspawn)?;
    // Before that it is a helper of nspawn's.
    let name = fs::read_to_string(format!("/proc/{leader}/comm")).ok()?;
    (name.trim() == "systemd").then(|| Pid::from_raw(leader.cast_signed()))
}

fn first_child(pid: u32) -> Option<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// SIGRTMIN+n, which nix does not name.
#[expect(clippy::disallowed_methods, reason = "the shell knows the signal")]
fn kill_realtime(process: Pid, n: u32) -> io::Result<()> {
    let script = format!("kill -s RTMIN+{n} {process}");
    Command::new("bash").args(["-c", &script]).status().map(drop)
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn failed(path: &Path, source: io::Error) -> ZoneError {
    ZoneError::Folder { path: path.to_owned(), source }
}

/// A folder and its parents, 0755.
fn make(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
}
