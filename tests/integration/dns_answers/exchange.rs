// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Questions put to one server, many at a time; answers found by their id.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::questions::{Question, Shape};

/// Datagrams on their way at a time: far below what a socket keeps.
const BATCH: usize = 60;
/// Nothing has come for so long: nothing will. Those who were expected to
/// answer are asked again.
const IDLE: Duration = Duration::from_millis(250);
const ROUNDS: usize = 6;
const LIMIT: Duration = Duration::from_secs(20);

/// The answers, in the order of the questions; `None` for silence.
pub(super) async fn ask(
    at: SocketAddr,
    questions: &[Question],
) -> Vec<Option<Vec<u8>>> {
    let mut answers = HashMap::new();
    by_datagram(at, questions, &mut answers).await;
    by_stream(at, questions, &mut answers).await;
    let ids = 0..u16::try_from(questions.len()).unwrap();
    ids.map(|id| answers.remove(&id)).collect()
}

/// One question by datagram, asked once.
pub(super) async fn ask_once(
    at: SocketAddr,
    question: &Question,
) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(at).await.unwrap();
    socket.send(&question.bytes).await.unwrap();
    let mut buffer = vec![0; 4096];
    let got = timeout(IDLE, socket.recv(&mut buffer)).await;
    let Ok(Ok(len)) = got else {
        // Nobody listens yet.
        tokio::time::sleep(IDLE / 10).await;
        return None;
    };
    buffer.truncate(len);
    Some(buffer)
}

/// Whether silence is the rule.
fn may_be_silent(question: &Question) -> bool {
    question.shape == Shape::Damaged || question.flags & 0x8000 != 0
}

async fn by_datagram(
    at: SocketAddr,
    questions: &[Question],
    answers: &mut HashMap<u16, Vec<u8>>,
) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(at).await.unwrap();
    let datagrams = || questions.iter().enumerate().filter(|(_, q)| !q.stream);
    let (silent, spoken): (Vec<_>, Vec<_>) =
        datagrams().partition(|(_, question)| may_be_silent(question));
    for round in 0..ROUNDS {
        for batch in spoken.chunks(BATCH) {
            exchange(&socket, batch, answers).await;
        }
        // A lost datagram is one chance in many; two are none.
        if round < 2 {
            for batch in silent.chunks(4 * BATCH) {
                exchange(&socket, batch, answers).await;
            }
        }
    }
}

/// Asks those of a batch that have no answer yet.
async fn exchange(
    socket: &UdpSocket,
    batch: &[(usize, &Question)],
    answers: &mut HashMap<u16, Vec<u8>>,
) {
    let mut open = 0;
    for (id, question) in batch {
        let id = u16::try_from(*id).unwrap();
        // Without an id there is nothing to find an answer by.
        if !answers.contains_key(&id) && question.bytes.len() >= 2 {
            socket.send(&question.bytes).await.unwrap();
            open += 1;
        }
    }
    let mut buffer = vec![0; 65_535];
    while open > 0 {
        let Ok(got) = timeout(IDLE, socket.recv(&mut buffer)).await else {
            return;
        };
        let answer = &buffer[..got.unwrap()];
        let id = u16::from_be_bytes(*answer.first_chunk().unwrap());
        if answers.insert(id, answer.to_vec()).is_none() {
            open -= 1;
        }
    }
}

async fn by_stream(
    at: SocketAddr,
    questions: &[Question],
    answers: &mut HashMap<u16, Vec<u8>>,
) {
    let streamed: Vec<&Question> =
        questions.iter().filter(|question| question.stream).collect();
    // Several on their way over one connection (RFC 7766 §6.2.1.1).
    for batch in streamed.chunks(20) {
        let asking = async {
            let mut stream = TcpStream::connect(at).await.unwrap();
            let mut bytes = Vec::new();
            for question in batch {
                let len = u16::try_from(question.bytes.len()).unwrap();
                bytes.extend_from_slice(&len.to_be_bytes());
                bytes.extend_from_slice(&question.bytes);
            }
            stream.write_all(&bytes).await.unwrap();
            for _ in batch {
                let len = stream.read_u16().await.unwrap();
                let mut answer = vec![0; len.into()];
                stream.read_exact(&mut answer).await.unwrap();
                let id = u16::from_be_bytes(*answer.first_chunk().unwrap());
                answers.insert(id, answer);
            }
        };
        let asked = timeout(LIMIT, asking).await;
        asked.unwrap_or_else(|_| panic!("{at} keeps silent by TCP"));
    }
}
