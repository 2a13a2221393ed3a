// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! For tests: a whole server on loopback, and what it is given to serve.

use std::path::Path;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, Record, RecordType};
use tokio::task::JoinHandle;

use super::*;
use crate::dns::secondary::fake::{
    FakePrimary, FakeServer, record, reply, zone_name,
};
use crate::model::dns::{ForwardZone, SecondaryZone, UpstreamKind, ZoneName};

pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) handle: NamesHandle,
    pub(crate) routes: watch::Sender<Arc<Routes>>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), DnsError>>,
}

impl Running {
    pub(crate) async fn start(dir: &Path, routes: Routes) -> Self {
        let any = "127.0.0.1:0".parse().unwrap();
        let mut config = DnsConfig::new(vec![any], dir.to_owned());
        config.refresh.interval_min = Duration::from_millis(50);
        config.refresh.interval_max = Duration::from_millis(50);
        config.refresh.notify_gap = Duration::from_millis(1);
        config.refresh.probe_limit = Duration::from_secs(3);
        config.forward.each = Duration::from_secs(3);
        config.forward.whole = Duration::from_secs(10);
        Self::start_with(config, routes).await
    }

    pub(crate) async fn start_with(config: DnsConfig, routes: Routes) -> Self {
        let (sender, receiver) = watch::channel(Arc::new(routes));
        let server = NameServer::start(config, receiver).await.unwrap();
        let addr = server.local_addrs()[0];
        let handle = server.handle();
        let stop = CancellationToken::new();
        let task = tokio::spawn(server.run(stop.clone()));
        Self { addr, handle, routes: sender, stop, task }
    }

    pub(crate) async fn ask(&self, name: Name, rtype: RecordType) -> Message {
        self.send(&exchange::query(name, rtype)).await
    }

    pub(crate) async fn send(&self, message: &Message) -> Message {
        exchange::ask(self.addr, None, message, Duration::from_secs(20))
            .await
            .unwrap()
    }

    /// One datagram there and back, TC or not.
    pub(crate) async fn send_udp(&self, message: &Message) -> (Message, usize) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(self.addr).await.unwrap();
        socket.send(&message.to_vec().unwrap()).await.unwrap();
        let mut buffer = vec![0; 65_535];
        let receiving = socket.recv(&mut buffer);
        let len =
            timeout(Duration::from_secs(20), receiving).await.unwrap().unwrap();
        (Message::from_vec(&buffer[..len]).unwrap(), len)
    }

    pub(crate) async fn until(
        &self,
        what: &str,
        mut holds: impl FnMut(&Self) -> bool,
    ) {
        let waiting = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(60), waiting).await.expect(what);
    }

    pub(crate) fn serial(&self) -> Option<u32> {
        self.handle.zones().first()?.serial.map(|serial| serial.0)
    }

    pub(crate) async fn end(self) {
        self.stop.cancel();
        let ended = timeout(Duration::from_secs(60), self.task).await;
        ended.unwrap().unwrap().unwrap();
    }
}

pub(crate) fn replicate(primaries: &[SocketAddr]) -> Routes {
    Routes {
        secondaries: vec![SecondaryZone {
            name: zone_name(),
            primaries: primaries.iter().copied().map(Into::into).collect(),
        }],
        forwards: Vec::new(),
    }
}

pub(crate) fn forward(
    suffix: &str,
    to: SocketAddr,
    kind: UpstreamKind,
) -> ForwardZone {
    ForwardZone {
        suffix: ZoneName::parse(suffix).unwrap(),
        upstreams: vec![to],
        kind,
        fallback: false,
    }
}

pub(crate) fn zone() -> Vec<Record> {
    vec![
        record("cmon", 30, "A 10.0.0.9"),
        record("v1.cmon", 30, "CNAME cmon"),
        record("v2.cmon", 30, "CNAME host.dc1.example."),
        record("v3.cmon", 30, "CNAME gone"),
        record("loop1", 30, "CNAME loop2"),
        record("loop2", 30, "CNAME loop1"),
        record("a.inst.o", 30, "A 10.0.0.1"),
        record("s.svc.o", 30, "SRV 0 10 9163 a.inst.o"),
    ]
}

/// Answers A of `host.dc1.example` only, as binder would.
pub(crate) async fn binder() -> FakeServer {
    FakeServer::start(|query, _| {
        let asked = &query.queries[0];
        let known = Name::from_ascii("host.dc1.example.").unwrap();
        if !asked.name().eq_case(&known) {
            return reply(query, ResponseCode::Refused).into();
        }
        let mut answer = reply(query, ResponseCode::NoError);
        let mut record = record("x", 60, "A 10.0.0.77");
        record.name = known;
        answer.add_answer(record);
        answer.into()
    })
    .await
}

/// A server that has the zone and forwards dc1.example; its upstreams.
pub(crate) async fn with_binder(
    dir: &Path,
) -> (Running, FakePrimary, FakeServer) {
    let primary = FakePrimary::start(7, &zone()).await;
    let binder = binder().await;
    let mut routes = replicate(&[primary.addr]);
    let kind = UpstreamKind::Binder;
    routes.forwards.push(forward("dc1.example", binder.addr, kind));
    let server = Running::start(dir, routes).await;
    server.until("the zone", |s| s.serial() == Some(7)).await;
    (server, primary, binder)
}
