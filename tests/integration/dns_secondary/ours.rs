// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Our name server, in this process, following one zone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use monitoring_agent::dns::{
    DnsConfig, DnsCounters, NameServer, NamesHandle, RefreshPolicy,
    TransferLimits, ZoneRecord, ZoneStatus,
};
use monitoring_agent::model::dns::{Routes, SecondaryZone, ZoneName};
use monitoring_agent::model::primary::Primary;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Anything that must come does so within this time.
pub(crate) const LIMIT: Duration = Duration::from_secs(40);

pub(crate) struct Ours {
    /// Where it answers, UDP and TCP.
    pub(crate) at: SocketAddr,
    pub(crate) notify: SocketAddr,
    pub(crate) handle: NamesHandle,
    zone: ZoneName,
    routes: watch::Sender<Arc<Routes>>,
    _dir: tempfile::TempDir,
    _stop: DropGuard,
}

/// Times short enough for a test; what is believed as by default.
pub(crate) fn policy() -> RefreshPolicy {
    RefreshPolicy {
        interval_min: Duration::from_millis(50),
        interval_max: Duration::from_secs(3600),
        probe_limit: Duration::from_millis(1500),
        notify_gap: Duration::from_millis(20),
        // Zones here come and go as chance will have it.
        shrink_percent: 0,
        ..RefreshPolicy::default()
    }
}

impl Ours {
    pub(crate) async fn start(zone: &str, policy: RefreshPolicy) -> Self {
        Self::start_at(zone, policy, "127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn start_at(
        zone: &str,
        policy: RefreshPolicy,
        at: SocketAddr,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let config = DnsConfig {
            notify_listen: Some(any),
            refresh: policy,
            transfer: TransferLimits {
                whole: Duration::from_secs(20),
                idle: Duration::from_secs(2),
            },
            ..DnsConfig::new(vec![at], dir.path().to_owned())
        };
        let routes = watch::Sender::new(Arc::new(Routes::default()));
        let server =
            NameServer::start(config, routes.subscribe()).await.unwrap();
        let notify = server.notify_addr().unwrap();
        let handle = server.handle();
        let at = server.local_addrs()[0];
        let stop = CancellationToken::new();
        tokio::spawn(server.run(stop.clone()));
        Self {
            at,
            notify,
            handle,
            zone: ZoneName::parse(zone).unwrap(),
            routes,
            _dir: dir,
            _stop: stop.drop_guard(),
        }
    }

    /// From now on, and at once, the zone comes from these.
    pub(crate) fn follow(&self, primaries: Vec<Primary>) {
        let name = self.zone.clone();
        let secondaries = vec![SecondaryZone { name, primaries }];
        self.route(Routes { secondaries, forwards: Vec::new() });
    }

    /// From now on, and at once, this is the way of names.
    pub(crate) fn route(&self, routes: Routes) {
        self.routes.send_replace(Arc::new(routes));
    }

    pub(crate) fn status(&self) -> Option<ZoneStatus> {
        self.handle.zones().into_iter().next()
    }

    pub(crate) fn serial(&self) -> Option<u32> {
        self.status()?.serial.map(|serial| serial.0)
    }

    pub(crate) fn counters(&self) -> DnsCounters {
        self.handle.counters()
    }

    /// Our records in the form of `real::axfr`.
    pub(crate) fn records(&self) -> Vec<String> {
        let records = self.handle.records(&self.zone).unwrap_or_default();
        records.iter().map(line).collect()
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
        if tokio::time::timeout(LIMIT, waiting).await.is_err() {
            panic!("{what}: {:?} {:?}", self.status(), self.counters());
        }
    }

    pub(crate) async fn until_serial(&self, serial: u32) {
        let what = format!("serial {serial}");
        self.until(&what, |ours| ours.serial() == Some(serial)).await;
    }
}

/// `owner ttl type hex`.
fn line(record: &ZoneRecord) -> String {
    let hex: String =
        record.rdata.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} {} {} {hex}", record.owner, record.ttl, record.rtype)
}

/// Equal but for order, which is told in a readable way when not so.
pub(crate) fn assert_same(ours: &[String], theirs: &[String]) {
    let lacks = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|line| !those.contains(line)).cloned().collect()
    };
    let (more, less) = (lacks(ours, theirs), lacks(theirs, ours));
    assert!(
        more.is_empty() && less.is_empty(),
        "only ours: {more:#?}\nonly theirs: {less:#?}"
    );
    assert_eq!(ours.len(), theirs.len(), "a record twice");
}
