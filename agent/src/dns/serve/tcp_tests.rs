// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Connections as clients make them, good and bad.

use std::collections::BTreeSet;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::dns::exchange;
use crate::dns::secondary::fake::name;
use crate::dns::serve::fast::tests::front;
use crate::dns::serve::tcp::{MAX_CONNECTIONS, Streams};

/// What cannot take this long hangs.
const LIMIT: Duration = Duration::from_secs(20);
/// More than any test takes, where patience is not what it is about.
const PATIENT: Duration = Duration::from_secs(60);
const IMPATIENT: Duration = Duration::from_millis(150);

struct Running {
    addr: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
    /// Never answers.
    _black_hole: UdpSocket,
}

impl Running {
    async fn start(patience: Duration) -> Self {
        let black_hole = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let front = front(&[black_hole.local_addr().unwrap()]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let streams = Streams::new(listener, Arc::new(front), patience);
        let task = tokio::spawn(streams.run(stop.clone()));
        Self { addr, stop, task, _black_hole: black_hole }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// Still answers, to somebody else.
    async fn is_well(&self) {
        let answered = async {
            loop {
                let mut other = self.connect().await;
                let asked = framed(7, &name("cmon"));
                // On a busy machine its patience may be over by then.
                if other.write_all(&asked).await.is_ok()
                    && let Some(answer) = receive(&mut other).await
                {
                    return answer;
                }
            }
        };
        let answer = timeout(LIMIT, answered).await.unwrap();
        assert_eq!(answer.metadata.id, 7);
    }

    async fn end(self) {
        self.stop.cancel();
        timeout(LIMIT, self.task).await.unwrap().unwrap();
    }
}

fn framed(id: u16, name: &Name) -> Vec<u8> {
    let mut message = exchange::query(name.clone(), RecordType::A);
    message.metadata.id = id;
    let bytes = message.to_vec().unwrap();
    let len = u16::try_from(bytes.len()).unwrap();
    [&len.to_be_bytes()[..], &bytes].concat()
}

/// The next answer; `None` when the other side has closed.
async fn receive(stream: &mut TcpStream) -> Option<Message> {
    let receiving = async {
        let len = stream.read_u16().await.ok()?;
        let mut bytes = vec![0; len.into()];
        stream.read_exact(&mut bytes).await.ok()?;
        Some(Message::from_vec(&bytes).unwrap())
    };
    timeout(LIMIT, receiving).await.unwrap()
}

async fn is_closed(stream: &mut TcpStream) {
    assert!(receive(stream).await.is_none());
}

#[tokio::test]
async fn questions_sent_together_are_all_answered() {
    let server = Running::start(PATIENT).await;
    let mut stream = server.connect().await;
    let asked: Vec<u8> =
        (0..3000).flat_map(|id| framed(id, &name("cmon"))).collect();
    let (mut reader, mut writer) = stream.split();
    let reading = async {
        let mut ids = BTreeSet::new();
        while ids.len() < 3000 {
            let len = reader.read_u16().await.unwrap();
            let mut bytes = vec![0; len.into()];
            reader.read_exact(&mut bytes).await.unwrap();
            let answer = Message::from_vec(&bytes).unwrap();
            assert_eq!(answer.answers.len(), 1);
            ids.insert(answer.metadata.id);
        }
    };
    let both = async { tokio::join!(writer.write_all(&asked), reading).0 };
    timeout(LIMIT, both).await.unwrap().unwrap();
    server.end().await;
}

/// The client that a primary keeps waiting for one name gets others at once.
#[tokio::test]
async fn a_slow_answer_holds_up_no_other() {
    let server = Running::start(PATIENT).await;
    let mut stream = server.connect().await;
    let slow = Name::from_ascii("x.slow.example.").unwrap();
    let both = [framed(1, &slow), framed(2, &name("cmon"))].concat();
    stream.write_all(&both).await.unwrap();
    let first = receive(&mut stream).await.unwrap();
    let second = receive(&mut stream).await.unwrap();
    assert_eq!((first.metadata.id, second.metadata.id), (2, 1));
    assert_eq!(second.metadata.response_code, ResponseCode::ServFail);
    server.end().await;
}

/// Byte by byte, and with the end of one message in the middle of a segment.
#[tokio::test]
async fn messages_may_come_in_pieces() {
    let server = Running::start(PATIENT).await;
    let mut stream = server.connect().await;
    stream.set_nodelay(true).unwrap();
    let both = [framed(1, &name("cmon")), framed(2, &name("some"))].concat();
    for piece in both.chunks(1).take(20).chain([&both[20..60], &both[60..]]) {
        stream.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    for id in [1, 2] {
        assert_eq!(receive(&mut stream).await.unwrap().metadata.id, id);
    }
    server.end().await;
}

#[tokio::test]
async fn lengths_that_no_message_has_end_the_connection() {
    let server = Running::start(PATIENT).await;
    for len in [0_u16, 11, 4097, u16::MAX] {
        let mut stream = server.connect().await;
        let bytes = [&framed(1, &name("cmon"))[..], &len.to_be_bytes()];
        stream.write_all(&bytes.concat()).await.unwrap();
        // What came before it is answered.
        assert_eq!(receive(&mut stream).await.unwrap().metadata.id, 1);
        is_closed(&mut stream).await;
    }
    server.is_well().await;
    server.end().await;
}

#[tokio::test]
async fn what_is_no_question_is_told_so() {
    let server = Running::start(PATIENT).await;
    let mut stream = server.connect().await;
    let mut response = framed(3, &name("cmon"));
    response[4] |= 0x80;
    let torn = [&[0, 13, 0, 9, 0, 0, 0, 1][..], &[0; 6], &[9]].concat();
    let all = [response, torn, framed(4, &name("cmon"))].concat();
    stream.write_all(&all).await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = receive(&mut stream).await.unwrap();
    assert_eq!(answer.metadata.id, 9);
    assert_eq!(answer.metadata.response_code, ResponseCode::FormErr);
    assert_eq!(receive(&mut stream).await.unwrap().metadata.id, 4);
    // Nothing for the response: answers to answers never end.
    is_closed(&mut stream).await;
    server.end().await;
}

#[tokio::test]
async fn silence_ends_a_connection() {
    let server = Running::start(IMPATIENT).await;
    let half = framed(1, &name("cmon"));
    for sent in [&[][..], &half[..1], &half[..20]] {
        let mut stream = server.connect().await;
        stream.write_all(sent).await.unwrap();
        is_closed(&mut stream).await;
    }
    server.end().await;
}

/// Each byte in time, the message not.
#[tokio::test]
async fn a_message_must_come_to_an_end() {
    let server = Running::start(IMPATIENT).await;
    let mut stream = server.connect().await;
    let dripping = async {
        for byte in framed(1, &name("cmon")) {
            tokio::time::sleep(IMPATIENT / 3).await;
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
        }
        is_closed(&mut stream).await;
    };
    timeout(LIMIT, dripping).await.unwrap();
    server.end().await;
}

#[tokio::test]
async fn who_takes_no_answers_is_let_go() {
    let server = Running::start(IMPATIENT).await;
    let mut stream = server.connect().await;
    // The answer has 2 KiB: 120 addresses.
    let asked: Vec<u8> =
        (0..1000).flat_map(|id| framed(id, &name("many"))).collect();
    let asking = async {
        // More than the buffers of both sides hold.
        for _ in 0..1000 {
            if stream.write_all(&asked).await.is_err() {
                return;
            }
        }
        panic!("it was read from without end");
    };
    timeout(LIMIT, asking).await.unwrap();
    server.is_well().await;
    server.end().await;
}

#[tokio::test]
async fn clients_may_vanish() {
    let server = Running::start(PATIENT).await;
    for name in [name("many"), Name::from_ascii("x.slow.example.").unwrap()] {
        let mut stream = server.connect().await;
        stream.write_all(&framed(1, &name)).await.unwrap();
        stream.set_zero_linger().unwrap();
        drop(stream);
    }
    server.is_well().await;
    server.end().await;
}

#[tokio::test]
async fn a_client_that_has_no_more_to_ask_gets_its_answers() {
    let server = Running::start(PATIENT).await;
    let mut stream = server.connect().await;
    let slow = Name::from_ascii("x.slow.example.").unwrap();
    let all: Vec<u8> = (0..40).flat_map(|id| framed(id, &slow)).collect();
    stream.write_all(&all).await.unwrap();
    stream.shutdown().await.unwrap();
    for _ in 0..40 {
        assert!(receive(&mut stream).await.is_some());
    }
    is_closed(&mut stream).await;
    server.end().await;
}

#[tokio::test]
async fn what_is_owed_is_paid_before_the_end() {
    let server = Running::start(PATIENT).await;
    let mut stream = server.connect().await;
    let slow = Name::from_ascii("x.slow.example.").unwrap();
    let both = [framed(1, &slow), framed(2, &name("cmon"))].concat();
    stream.write_all(&both).await.unwrap();
    assert_eq!(receive(&mut stream).await.unwrap().metadata.id, 2);
    let answering = async {
        assert_eq!(receive(&mut stream).await.unwrap().metadata.id, 1);
        is_closed(&mut stream).await;
    };
    tokio::join!(server.end(), answering);
}

#[tokio::test]
async fn connections_are_counted() {
    let server = Running::start(PATIENT).await;
    let mut streams = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut stream = server.connect().await;
        stream.write_all(&framed(1, &name("cmon"))).await.unwrap();
        assert!(receive(&mut stream).await.is_some());
        streams.push(stream);
    }
    let mut late = server.connect().await;
    is_closed(&mut late).await;
    // One goes, one may come; when, is up to the system.
    streams.pop();
    let coming = async {
        loop {
            let mut stream = server.connect().await;
            let sent = stream.write_all(&framed(2, &name("cmon"))).await;
            if sent.is_ok() && receive(&mut stream).await.is_some() {
                return;
            }
        }
    };
    timeout(LIMIT, coming).await.unwrap();
    server.end().await;
}
