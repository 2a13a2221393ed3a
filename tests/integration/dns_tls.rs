// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Our name server asks a real BIND by TLS, through a relay that counts the
//! connections and can cut them.

#![expect(clippy::unwrap_used, reason = "helpers of tests unwrap too")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use localdc::loopback::own_port;
use monitoring_agent::dns::{
    DnsConfig, ForwardLimits, NameServer, NamesHandle, TlsUpstream,
    TlsUpstreams, UpstreamState,
};
use monitoring_agent::model::dns::{
    ForwardZone, Routes, UpstreamKind, ZoneName,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa,
    Issuer, KeyPair,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Not below `test`, which is answered locally (RFC 6761).
const ZONE: &str = "tls.example.net";
/// The name in the server's certificate.
const NAME: &str = "dns.example.test";
const LIMIT: Duration = Duration::from_secs(40);

/// BIND with a zone of a hundred names, behind TLS alone.
struct Bind {
    at: SocketAddr,
    /// Who vouches for its certificate, PEM.
    authority: String,
    child: Child,
    _dir: tempfile::TempDir,
}

impl Drop for Bind {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        let _ = kill(pid, Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// Writes `cert.pem` and `key.pem`; returns who signed.
fn certify(dir: &Path) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    std::fs::write(dir.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
    authority
}

fn config(dir: &Path, at: SocketAddr) -> String {
    let (dir, port) = (dir.display(), at.port());
    format!(
        r#"tls ours {{
    cert-file "{dir}/cert.pem";
    key-file "{dir}/key.pem";
}};
options {{
    directory "{dir}";
    pid-file "{dir}/pid";
    session-keyfile "{dir}/session.key";
    lock-file none;
    listen-on port {port} tls ours {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    recursion no;
    dnssec-validation no;
}};
controls {{}};
zone "{ZONE}" {{ type primary; file "zone.db"; }};
"#
    )
}

impl Bind {
    #[expect(clippy::disallowed_methods, reason = "the upstream starts here")]
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = own_port().unwrap();
        let authority = certify(dir.path());
        let mut zone = format!(
            "$ORIGIN {ZONE}.\n$TTL 60\n@ SOA ns.{ZONE}. h.{ZONE}. 1 60 60 \
             3600 60\n@ NS ns\nns A 127.0.0.1\n"
        );
        for n in 0..100 {
            zone.push_str(&format!("n{n} A 10.0.0.{n}\n"));
        }
        // More than a datagram holds, and fewer than BIND takes of a type.
        for n in 0..90 {
            zone.push_str(&format!("large A 10.1.0.{n}\n"));
        }
        std::fs::write(dir.path().join("zone.db"), zone).unwrap();
        let file = dir.path().join("named.conf");
        std::fs::write(&file, config(dir.path(), at)).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let mut child = Command::new("named")
            .args(["-g", "-4", "-n", "1", "-c"])
            .arg(&file)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let begin = Instant::now();
        let log = || std::fs::read_to_string(dir.path().join("log")).unwrap();
        while !log().contains("all zones loaded") {
            let ended = child.try_wait().unwrap();
            if ended.is_some() || begin.elapsed() > LIMIT {
                panic!("named: {ended:?}\n{}", log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { at, authority, child, _dir: dir }
    }
}

/// Passes bytes on, and counts connections.
struct Relay {
    at: SocketAddr,
    opened: Arc<AtomicUsize>,
    cut: Arc<Notify>,
    _task: JoinSet<()>,
}

impl Relay {
    async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (opened, cut) = (Arc::new(AtomicUsize::new(0)), Arc::default());
        let (count, all) = (Arc::clone(&opened), Arc::clone(&cut));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let cut: Arc<Notify> = Arc::clone(&all);
                connections.spawn(async move {
                    let mut far = TcpStream::connect(to).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(
                            &mut near, &mut far) => {}
                        () = cut.notified() => {}
                    }
                });
            }
        });
        Self { at, opened, cut, _task: task }
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }
}

/// Our server, forwarding everything by TLS to `at`.
struct Ours {
    handle: NamesHandle,
    _stop: DropGuard,
    _dir: tempfile::TempDir,
}

impl Ours {
    async fn start(at: SocketAddr, name: &str, authority: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut config = DnsConfig::new(vec![any], dir.path().to_owned());
        // One upstream, on a machine that has much else to do.
        config.forward = ForwardLimits {
            each: Duration::from_secs(10),
            whole: Duration::from_secs(20),
            ..ForwardLimits::default()
        };
        config.forward_tls = TlsUpstreams {
            servers: vec![TlsUpstream {
                address: at.ip(),
                port: at.port(),
                name: name.to_owned(),
            }],
            authorities: Some(authority.as_bytes().to_vec()),
        };
        let routes = Routes {
            secondaries: Vec::new(),
            forwards: vec![ForwardZone {
                suffix: ZoneName::parse(".").unwrap(),
                upstreams: vec![SocketAddr::new(at.ip(), 53)],
                kind: UpstreamKind::Recursive,
                fallback: false,
            }],
        };
        let (_, routes) = watch::channel(Arc::new(routes));
        let server = NameServer::start(config, routes).await.unwrap();
        let handle = server.handle();
        let stop = CancellationToken::new();
        tokio::spawn(server.run(stop.clone()));
        Self { handle, _stop: stop.drop_guard(), _dir: dir }
    }

    async fn knows(&self, n: usize) {
        let found = self.handle.lookup_ipv4(&format!("n{n}.{ZONE}")).await;
        let wanted = Ipv4Addr::new(10, 0, 0, u8::try_from(n).unwrap());
        let found = found.unwrap_or_else(|error| {
            panic!("{error}: {:?}", self.handle.upstreams());
        });
        assert_eq!(found, [wanted]);
    }
}

#[tokio::test]
async fn many_questions_share_a_tls_connection() {
    let bind = Bind::start().await;
    let relay = Relay::start(bind.at).await;
    let ours = Ours::start(relay.at, NAME, &bind.authority).await;
    ours.knows(0).await;
    let asking = (1..60).map(|n| ours.knows(n));
    futures_util::future::join_all(asking).await;
    let large = ours.handle.lookup_ipv4(&format!("large.{ZONE}")).await;
    assert_eq!(large.unwrap().len(), 90);
    // No such name, and a name without an address.
    let no_name = ours.handle.lookup_ipv4(&format!("no.{ZONE}")).await;
    let no_name = no_name.unwrap_err().to_string();
    assert!(no_name.contains("Non-Existent Domain"), "{no_name}");
    let empty = ours.handle.lookup_ipv4(ZONE).await;
    assert!(!format!("{empty:?}").contains("Server Failure"), "{empty:?}");
    assert_eq!(relay.opened(), 1);
    let upstream = ours.handle.upstreams().remove(0);
    assert!(upstream.tls && upstream.alive && upstream.rtt.is_some());
    assert_eq!((upstream.addr, upstream.counts.replies), (relay.at, 63));

    // Cut by the other end: opened again by the next question.
    relay.cut.notify_waiters();
    ours.knows(70).await;
    ours.knows(71).await;
    assert_eq!(relay.opened(), 2);
}

#[tokio::test]
async fn whose_certificate_is_not_right_is_not_asked() {
    let bind = Bind::start().await;
    let other = certify(tempfile::tempdir().unwrap().path());
    for (name, authority) in
        [("other.example.test", &bind.authority), (NAME, &other)]
    {
        let relay = Relay::start(bind.at).await;
        let ours = Ours::start(relay.at, name, authority).await;
        let found = ours.handle.lookup_ipv4(&format!("n1.{ZONE}")).await;
        assert!(found.unwrap_err().to_string().contains("Server Failure"));
        let upstream = ours.handle.upstreams().remove(0);
        assert_eq!(upstream.state, UpstreamState::Open);
        let error = upstream.last_error.unwrap();
        assert!(error.contains("certificate"), "{error}");
    }
}
