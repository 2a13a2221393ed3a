// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Ten thousand questions, the same for everybody: out of one seed.

use super::zone::{CUTS, NAMES, ZONE};

/// What a question was made as; what may differ depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A name, a type, EDNS perhaps.
    Plain,
    /// Headers that nobody sends.
    Odd,
    /// Bytes that are nearly a query, or none at all.
    Damaged,
}

#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) bytes: Vec<u8>,
    pub(super) shape: Shape,
    /// By TCP.
    pub(super) stream: bool,
    /// The name in lower case, without the last dot.
    pub(super) name: String,
    pub(super) rtype: u16,
    pub(super) class: u16,
    /// The two bytes of flags.
    pub(super) flags: u16,
    /// Version and options of its OPT record.
    pub(super) edns: Option<(u8, bool)>,
}

/// Names outside of the zone.
const OUTSIDE: &[&str] = &[
    "",
    "test",
    "example.test",
    "xbattery.example.test",
    "www.example.net",
    "localhost",
    "a.localhost",
    "1.0.0.127.in-addr.arpa",
    "5.0.0.10.in-addr.arpa",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "foo.invalid",
    "foo.onion",
    "version.bind",
    "version.server",
    "id.server",
];

const TYPES: &[u16] = &[
    1, 1, 1, 1, 1, 1, 28, 28, 28, 33, 33, 16, 16, 5, 2, 6, 15, 12, 255, 255,
    43, 46, 47, 48, 39, 13, 35, 44, 52, 64, 65, 257, 99, 65_280, 65_281,
    65_400, 10, 3, 249, 250, 251, 252, 253, 254, 256, 0, 41,
];

const SIZES: &[u16] = &[0, 100, 511, 512, 513, 1000, 1232, 1400, 4096, 65_535];

pub(super) fn questions(seed: u64, count: u16) -> Vec<Question> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|id| question(id, &mut random)).collect()
}

/// Of the apex's SOA.
pub(super) fn soa() -> Question {
    let mut random = fastrand::Rng::with_seed(0);
    let mut asked = plain(&mut random);
    (asked.name, asked.rtype, asked.stream) = (ZONE.to_owned(), 6, false);
    asked.edns = None;
    asked.bytes = written(&asked, &mut random);
    asked
}

fn question(id: u16, random: &mut fastrand::Rng) -> Question {
    let mut asked = plain(random);
    match random.u8(0..100) {
        0..80 => {}
        80..90 => odd(&mut asked, random),
        _ => asked.shape = Shape::Damaged,
    }
    asked.bytes = written(&asked, random);
    // Transfers are many messages, and what is wrong ends a connection.
    if asked.shape != Shape::Plain || matches!(asked.rtype, 251 | 252) {
        asked.stream = false;
    }
    if asked.shape == Shape::Damaged {
        damage(&mut asked.bytes, random);
    }
    // Answers are told apart by it.
    if let Some(head) = asked.bytes.first_chunk_mut() {
        *head = id.to_be_bytes();
    }
    asked
}

fn plain(random: &mut fastrand::Rng) -> Question {
    let rd = u16::from(random.u8(0..4) > 0) << 8;
    let ad = u16::from(random.u8(0..8) == 0) << 5;
    let cd = u16::from(random.u8(0..8) == 0) << 4;
    let options = random.u8(0..5) == 0;
    let edns = random.bool().then_some((0, options));
    Question {
        bytes: Vec::new(),
        shape: Shape::Plain,
        stream: random.u8(0..8) == 0,
        name: name(random).to_lowercase(),
        rtype: pick(TYPES, random),
        class: 1,
        flags: rd | ad | cd,
        edns,
    }
}

fn pick<T: Copy>(all: &[T], random: &mut fastrand::Rng) -> T {
    all[random.usize(0..all.len())]
}

fn name(random: &mut fastrand::Rng) -> String {
    let below = |label: &str| match label {
        "" => ZONE.to_owned(),
        _ => format!("{label}.{ZONE}"),
    };
    match random.u8(0..100) {
        0..60 => below(pick(NAMES, random)),
        // Beside and below what exists.
        60..72 => {
            let label = pick(
                &["x", "new", "*", "a.b", "ns1", "long1", "_x", "\\000"],
                random,
            );
            let parent = below(pick(NAMES, random));
            let whole = format!("{label}.{parent}");
            if parent.len() < 200 { whole } else { parent }
        }
        72..80 => {
            format!("h{}.{ZONE}", random.u16(..))
        }
        80..88 => below(pick(CUTS, random)),
        _ => pick(OUTSIDE, random).to_owned(),
    }
}

/// Classes, opcodes, flags, versions, counts that nobody sends.
fn odd(asked: &mut Question, random: &mut fastrand::Rng) {
    asked.shape = Shape::Odd;
    match random.u8(0..5) {
        0 => {
            asked.class = pick(&[0, 2, 3, 3, 3, 4, 254, 255, 999], random);
            if asked.class == 3 {
                asked.name = pick(&OUTSIDE[12..], random).to_owned();
                asked.rtype = pick(&[16, 16, 1, 255], random);
            }
        }
        1 => asked.flags |= u16::from(random.u8(1..16)) << 11,
        2 => asked.flags |= random.u16(..) & 0x07df,
        3 => asked.edns = Some((pick(&[1, 2, 100, 255], random), false)),
        _ => asked.flags |= 0x8000,
    }
}

/// The query; names in a random case now and then.
fn written(asked: &Question, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend_from_slice(&asked.flags.to_be_bytes());
    let extra = u8::from(asked.edns.is_some());
    bytes.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, extra]);
    let mixed = random.u8(0..4) == 0;
    for label in labels(&asked.name) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.iter().map(|byte| match mixed && random.bool() {
            true => byte.to_ascii_uppercase(),
            false => byte.to_ascii_lowercase(),
        }));
    }
    bytes.push(0);
    bytes.extend_from_slice(&asked.rtype.to_be_bytes());
    bytes.extend_from_slice(&asked.class.to_be_bytes());
    if let Some((version, options)) = asked.edns {
        let dnssec_ok = if random.u8(0..4) == 0 { 0x80 } else { 0 };
        bytes.extend_from_slice(&[0, 0, 41]);
        bytes.extend_from_slice(&pick(SIZES, random).to_be_bytes());
        bytes.extend_from_slice(&[0, version, dnssec_ok, 0]);
        let options = if options { some_options(random) } else { Vec::new() };
        let len = u16::try_from(options.len()).unwrap();
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(&options);
    }
    bytes
}

/// NSID, a client's subnet, a cookie, padding, and one that nobody knows.
fn some_options(random: &mut fastrand::Rng) -> Vec<u8> {
    let all: [&[u8]; 5] = [
        &[0, 3, 0, 0],
        &[0, 8, 0, 7, 0, 1, 24, 0, 10, 0, 0],
        &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0, 12, 0, 4, 0, 0, 0, 0],
        &[0xfd, 0xe9, 0, 2, 1, 2],
    ];
    let mut bytes = Vec::new();
    for option in all {
        if random.u8(0..3) == 0 {
            bytes.extend_from_slice(option);
        }
    }
    bytes
}

/// `text` as labels, `\DDD` and `\.` undone.
fn labels(text: &str) -> Vec<Vec<u8>> {
    let mut labels = vec![Vec::new()];
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let last = labels.last_mut().unwrap();
        match byte {
            b'.' => labels.push(Vec::new()),
            b'\\' => match bytes.next().unwrap() {
                digit @ b'0'..=b'9' => {
                    let rest = [digit, bytes.next().unwrap()];
                    let last_digit = bytes.next().unwrap();
                    let number = [rest[0], rest[1], last_digit];
                    let number = std::str::from_utf8(&number).unwrap();
                    last.push(number.parse().unwrap());
                }
                other => last.push(other),
            },
            _ => last.push(byte),
        }
    }
    labels.retain(|label| !label.is_empty());
    labels
}

fn damage(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    match random.u8(0..5) {
        0 => bytes.truncate(random.usize(0..bytes.len())),
        1 => bytes.extend((0..random.usize(1..20)).map(|_| random.u8(..))),
        2 => {
            *bytes = (0..random.usize(0..100)).map(|_| random.u8(..)).collect()
        }
        // The counts, most often of the question.
        3 => bytes[4 + random.usize(0..8)] = random.u8(0..3),
        _ => {
            for _ in 0..random.usize(1..4) {
                let at = random.usize(2..bytes.len());
                bytes[at] = random.u8(..);
            }
        }
    }
}
