// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Known secondaries (the look after a transfer, NOTIFY) and the REST API.

use super::*;

const PEER: &str = "127.0.0.2";

/// A CNS that looks at a secondary's UDP socket, as fast as it can.
async fn with_secondary(notify_timeout: Duration) -> (Rig, UdpSocket) {
    let secondary = UdpSocket::bind((PEER, 0)).await.unwrap();
    let port = secondary.local_addr().unwrap().port();
    let rig = Rig::start_with(|config| {
        config.allow_transfer = vec![PEER.parse().unwrap()];
        config.peers = PeerConfig {
            port,
            delay: Duration::from_millis(5),
            timeout: LIMIT,
            notify_interval: Duration::from_millis(200),
            notify_timeout,
            forgive_after: Duration::from_secs(300),
        };
    })
    .await;
    (rig, secondary)
}

async fn transfer(rig: &Rig) {
    let mut client = Client::connect(rig.at, PEER).await;
    client.send(&query(ZONE, RecordType::AXFR)).await;
    client.transfer().await.unwrap();
}

async fn receive(socket: &UdpSocket) -> (Message, SocketAddr) {
    let mut bytes = [0; 1500];
    let got = timeout(LIMIT, socket.recv_from(&mut bytes)).await;
    let (length, from) = got.expect("nothing comes").unwrap();
    (Message::from_vec(&bytes[..length]).unwrap(), from)
}

/// The next query; a NOTIFY may come at any time and is passed over.
async fn receive_query(socket: &UdpSocket) -> (Message, SocketAddr) {
    loop {
        let received = receive(socket).await;
        if received.0.metadata.op_code == OpCode::Query {
            return received;
        }
    }
}

/// Answers the look at the SOA with `serial`.
async fn show_soa(rig: &Rig, socket: &UdpSocket, serial: u32) {
    let (asked, from) = receive_query(socket).await;
    assert_eq!(asked.queries[0].query_type, RecordType::SOA);
    assert_eq!(asked.edns.as_ref().unwrap().max_payload(), 1200);
    assert_ne!(from.port(), rig.at.port(), "a random port");
    let mut reply = crate::dns_server::answer_to(&asked, 1232);
    reply.answers.push(rig.cns.state().view_for(ZONE).unwrap().soa(serial));
    socket.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
}

/// Refuses the two probes in class CH and answers the last one.
async fn show_version(socket: &UdpSocket) {
    for name in ["version.server.", "version.bind."] {
        let (asked, from) = receive_query(socket).await;
        assert_eq!(asked.queries[0].name.to_ascii(), name);
        assert_eq!(u16::from(asked.queries[0].query_class), 3, "CH");
        let refused =
            crate::dns_server::error_to(&asked, ResponseCode::Refused);
        socket.send_to(&refused.to_vec().unwrap(), from).await.unwrap();
    }
    let (asked, from) = receive_query(socket).await;
    let mut reply = crate::dns_server::answer_to(&asked, 1232);
    let text = hickory_proto::rr::rdata::TXT::new(vec!["ours 1".to_owned()]);
    let name = asked.queries[0].name.clone();
    reply.answers.push(Record::from_rdata(name, 0, RData::TXT(text)));
    socket.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let wait = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, wait).await.expect(what);
}

fn peer(rig: &Rig) -> Option<peers::Peer> {
    rig.cns.state().peers.0.get(&PEER.parse().unwrap()).cloned()
}

#[tokio::test]
async fn a_secondary_that_answers_is_known_and_notified() {
    let (rig, secondary) = with_secondary(LIMIT).await;
    transfer(&rig).await;
    // Not installed yet: recorded with the lower serial, looked at again.
    show_soa(&rig, &secondary, START_SERIAL - 5).await;
    show_soa(&rig, &secondary, START_SERIAL).await;
    show_version(&secondary).await;
    until("recorded", || peer(&rig).is_some_and(|p| p.version.is_some())).await;
    let known = peer(&rig).unwrap();
    assert_eq!(known.serials[ZONE], START_SERIAL);
    assert_eq!(known.version.as_deref(), Some("ours 1"));
    assert_eq!(known.counters.goodxfer, 1);

    let sent = rig.cns.counters().notify_sent;
    rig.change(10, "changed");
    let (notify, from) = receive(&secondary).await;
    assert_eq!(notify.metadata.op_code, OpCode::Notify);
    assert_eq!(notify.queries[0].query_type, RecordType::SOA);
    assert!(!notify.metadata.authoritative && notify.answers.is_empty());
    assert_eq!(from, rig.at, "from the server's own port");
    let reply = crate::dns_server::answer_to(&notify, 1232);
    secondary.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
    until("answered", || rig.cns.counters().notify_answered > 0).await;
    assert!(peer(&rig).unwrap().using_notify);
    // It keeps coming: only a transfer changes the recorded serial.
    receive(&secondary).await;
    assert!(rig.cns.counters().notify_sent >= sent + 2);
    // And its history is kept for it.
    for n in 0..4 {
        rig.change(10, &format!("more{n}"));
    }
    receive(&secondary).await;
    receive(&secondary).await;
    assert_eq!(serials(&rig.ixfr(START_SERIAL).await).len(), 12);
}

#[tokio::test]
async fn a_silent_secondary_and_one_on_loopback_are_not_known() {
    let (rig, secondary) = with_secondary(LIMIT).await;
    rig.cns.reconfigure(|config| {
        config.peers.timeout = Duration::from_millis(20);
    });
    rig.axfr().await;
    transfer(&rig).await;
    receive(&secondary).await;
    // A second transfer is looked at after the first look has ended.
    until("looked", || rig.cns.counters().peer_checks == 1).await;
    transfer(&rig).await;
    receive(&secondary).await;
    assert!(peer(&rig).is_none());
    assert_eq!(rig.cns.counters().peer_checks, 2, "none for 127.0.0.1");
}

#[tokio::test]
async fn five_failures_end_notify_until_forgiven() {
    let (rig, secondary) = with_secondary(Duration::from_millis(10)).await;
    transfer(&rig).await;
    show_soa(&rig, &secondary, START_SERIAL).await;
    show_version(&secondary).await;
    until("recorded", || peer(&rig).is_some()).await;
    rig.change(10, "changed");
    for _ in 0..5 {
        let (notify, _) = receive(&secondary).await;
        assert_eq!(notify.metadata.op_code, OpCode::Notify);
    }
    let mut bytes = [0; 1500];
    let silence = Duration::from_secs(1);
    let more = timeout(silence, secondary.recv(&mut bytes)).await;
    assert!(more.is_err(), "left alone for five intervals");
    rig.cns.reconfigure(|config| {
        config.peers.forgive_after = Duration::ZERO;
    });
    let more = timeout(silence, secondary.recv(&mut bytes)).await;
    assert!(more.is_err(), "the last confirmed transfer is too old");
    transfer(&rig).await;
    let serial = rig.cns.serial(ZONE).unwrap();
    show_soa(&rig, &secondary, serial).await;
    show_version(&secondary).await;
    rig.change(10, "again");
    let (notify, _) = receive(&secondary).await;
    assert_eq!(notify.metadata.op_code, OpCode::Notify);
}

async fn rest(rig: &Rig) -> (String, DropGuard) {
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    tokio::spawn(rig.cns.clone().serve_rest(listener, stop.clone()));
    (url, stop.drop_guard())
}

async fn get(url: &str) -> (u16, Value) {
    let reply = reqwest::get(url).await.unwrap();
    let status = reply.status().as_u16();
    let body = reply.text().await.unwrap();
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn rest_tells_zones_peers_and_vms() {
    let (rig, secondary) = with_secondary(LIMIT).await;
    let (url, _stop) = rest(&rig).await;
    assert_eq!(get(&format!("{url}/ping")).await.0, 200);
    let zones = json!([
        {"name": "1.9.10.in-addr.arpa", "serial": START_SERIAL},
        {"name": ZONE, "serial": START_SERIAL},
    ]);
    assert_eq!(get(&format!("{url}/zones")).await, (200, zones));
    let allowed = json!([{"address": PEER, "mask": 32}]);
    assert_eq!(get(&format!("{url}/allowed-peers")).await, (200, allowed));

    let one = format!("{url}/peer/{PEER}");
    assert_eq!(get(&one).await.0, 404);
    transfer(&rig).await;
    show_soa(&rig, &secondary, START_SERIAL).await;
    show_version(&secondary).await;
    until("recorded", || peer(&rig).is_some_and(|p| p.version.is_some())).await;
    let (status, body) = get(&one).await;
    assert_eq!((status, &body["serials"][ZONE]), (200, &START_SERIAL.into()));
    assert_eq!(body["counters"]["axfr"], 1);
    assert_eq!(get(&format!("{url}/peers")).await.1, json!([body]));
    let client = reqwest::Client::new();
    let forgotten = client.delete(&one).send().await.unwrap();
    assert_eq!(forgotten.status().as_u16(), 200);
    assert_eq!(get(&one).await.0, 404);

    let (status, body) = get(&format!("{url}/vm/{}", uuid(3))).await;
    assert_eq!(status, 200);
    let name = format!("web.svc.{USER}.{ZONE}");
    assert!(body["names"].as_array().unwrap().contains(&name.into()));
    assert_eq!(body["last_visit"], START * 1000);
    assert_eq!(get(&format!("{url}/vm/nobody")).await.0, 404);
}

#[tokio::test]
async fn rest_names_suffixes_and_dies_of_a_bad_body() {
    let rig = Rig::start().await;
    let (url, _stop) = rest(&rig).await;
    let url = format!("{url}/suffixes-for-vm");
    let client = reqwest::Client::new();
    let post = |body: Value| client.post(&url).json(&body).send();
    let good = json!({"owner_uuid": USER, "networks": ["a", "b"]});
    let body: Value = post(good).await.unwrap().json().await.unwrap();
    let suffixes =
        [format!("svc.{USER}.{ZONE}"), format!("inst.{USER}.{ZONE}")];
    assert_eq!(body, json!({"suffixes": suffixes}));
    let nobody = json!({"owner_uuid": "nobody", "networks": []});
    assert_eq!(post(nobody).await.unwrap().status().as_u16(), 500);
    assert!(!rig.cns.crashed());
    let cut = async { post(json!({"owner_uuid": USER})).await?.text().await };
    assert!(cut.await.is_err(), "no whole answer");
    assert!(rig.cns.crashed());
    let soa = query(ZONE, RecordType::SOA);
    assert!(is_silent(rig.at, &soa).await, "DNS is gone too");
}
