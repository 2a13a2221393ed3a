// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Networks apart, and the ways in.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use localdc::zone::{Forward, Network, Zone, ZoneError};

use super::{LIMIT, ZONE_IP, eventually, program, spec};

const DC_IP: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 2);

/// Serves `text` to everyone who connects, until the process ends.
fn greet(listener: TcpListener, text: &'static str) {
    listener.set_nonblocking(false).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let _ = client.and_then(|mut c| c.write_all(text.as_bytes()));
        }
    });
}

#[tokio::test]
async fn networks_side_by_side_do_not_meet() {
    let at = SocketAddr::from((DC_IP, 7000));
    let public = SocketAddr::from(([8, 8, 8, 8], 7000));
    let mut pairs = Vec::new();
    for text in ["first", "second"] {
        let network = Network::create("pair").unwrap();
        network.add_address(DC_IP).unwrap();
        network.add_address([8, 8, 8, 8].into()).unwrap();
        greet(network.dc().bind_tcp(at).unwrap(), text);
        greet(network.dc().bind_tcp(public).unwrap(), text);
        let zone = Zone::boot(program(), &network, spec()).await.unwrap();
        pairs.push((network, zone, text));
    }
    for (_, zone, text) in &pairs {
        for ip in ["10.88.0.2", "8.8.8.8"] {
            let read = format!("cat < /dev/tcp/{ip}/7000");
            let read = zone.exec(["bash", "-c", &read], LIMIT).await.unwrap();
            assert_eq!(read.stdout, *text, "{read:?}");
        }
    }
    let (network, zone, _) = &pairs[0];
    network.remove_address([8, 8, 8, 8].into()).unwrap();
    let gone = "cat < /dev/tcp/8.8.8.8/7000";
    let soon = Duration::from_millis(500);
    let gone = zone.exec(["bash", "-c", gone], soon).await;
    assert!(matches!(gone, Err(ZoneError::TooLate { .. })), "{gone:?}");
    // Here, outside of both, the address is not ours.
    let here = TcpListener::bind((DC_IP, 0));
    assert!(here.is_err(), "the address leaked: {here:?}");
}

#[tokio::test]
async fn runtime_in_the_dc_reaches_zones() {
    let network = Network::create("runtime").unwrap();
    let zone = Zone::boot(program(), &network, spec()).await.unwrap();
    let at = SocketAddr::from((ZONE_IP, 9090));
    greet(zone.namespace().bind_tcp(at).unwrap(), "from the zone");
    let runtime = network.dc().runtime().unwrap();
    let read = runtime.spawn(async move {
        let stream = tokio::net::TcpStream::connect(at).await.unwrap();
        let mut stream = stream.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    assert_eq!(read.await.unwrap(), "from the zone");
    runtime.shutdown_background();
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarder_leads_into_a_zone() {
    let network = Network::create("forward").unwrap();
    let zone = Zone::boot(program(), &network, spec()).await.unwrap();
    let inside = SocketAddr::from(([127, 0, 0, 1], 9191));
    greet(zone.namespace().bind_tcp(inside).unwrap(), "status");
    let outside = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let forward = Forward::start(outside, zone.namespace(), inside).unwrap();
    let at = forward.local_addr();
    let read = move || {
        let mut stream = TcpStream::connect_timeout(&at, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut text = String::new();
        stream.read_to_string(&mut text).map(|_| text)
    };
    for _ in 0..3 {
        let text = tokio::task::spawn_blocking(read).await.unwrap();
        assert_eq!(text.unwrap(), "status");
    }
    drop(forward);
    eventually("a closed port", async || read().err().map(|_| ())).await;
}
