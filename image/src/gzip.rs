// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Gzip on all cores, the same bytes on any number of them.
//!
//! The input is cut into blocks of a fixed length. Each is deflated by itself,
//! with the end of the block before it as dictionary, and ends on a byte, so
//! that all of them in a row are one deflate stream, and the file is one
//! member: every gunzip takes it, also those that stop after the first member.
//! The checksums of the blocks are combined to that of the whole.
//!
//! Nothing else decides what comes out: no time, no name, no count of threads.
//! The compressor (zlib-rs) takes the same decisions on every processor; its
//! version is pinned by Cargo.lock, and another may give other bytes.
//!
//! Memory is some blocks for each thread. Crate `gzp` was considered: those of
//! its backends that take a dictionary are in C.
//!
//! Source: RFC 1951 section 3.2, RFC 1952 section 2.3.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// Bytes deflated at once.
const BLOCK: usize = 1 << 18;
/// How far back deflate looks, bytes.
const WINDOW: usize = 1 << 15;
/// gzip's own default.
const LEVEL: u32 = 6;
/// Blocks that are on their way for each thread.
const DEPTH: usize = 2;
/// Deflate, no flags, no time, no extra flags, Unix.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];

/// What is written here goes compressed to the sink. Call [`Gzip::finish`],
/// or the end is missing.
pub struct Gzip<W> {
    sink: W,
    /// The block being filled, and the one before it.
    block: Vec<u8>,
    before: Arc<Vec<u8>>,
    jobs: SyncSender<Job>,
    /// Of the blocks on their way, in order.
    pending: VecDeque<Receiver<io::Result<Packed>>>,
    pending_max: usize,
    crc: Crc,
    /// Of the input, modulo 2^32 as the trailer has it.
    len: u32,
}

struct Job {
    block: Arc<Vec<u8>>,
    before: Arc<Vec<u8>>,
    is_last: bool,
    reply: SyncSender<io::Result<Packed>>,
}

struct Packed {
    bytes: Vec<u8>,
    crc: Crc,
}

impl<W: Write> Gzip<W> {
    /// Starts `threads` threads and writes the header.
    ///
    /// Errors: no thread, or those of the sink.
    pub fn new(mut sink: W, threads: NonZeroUsize) -> io::Result<Self> {
        let threads = threads.get();
        let (jobs, queue) = sync_channel(DEPTH * threads);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            thread::Builder::new()
                .name("gzip".to_owned())
                .spawn(move || work(&queue))?;
        }
        sink.write_all(&HEADER)?;
        Ok(Self {
            sink,
            block: Vec::with_capacity(BLOCK),
            before: Arc::default(),
            jobs,
            pending: VecDeque::new(),
            pending_max: DEPTH * threads,
            crc: Crc::new(),
            len: 0,
        })
    }

    /// Writes what is left and the trailer; returns the sink, flushed.
    ///
    /// Errors: those of the sink.
    pub fn finish(mut self) -> io::Result<W> {
        self.hand_over(true)?;
        while !self.pending.is_empty() {
            self.take_one()?;
        }
        self.sink.write_all(&self.crc.sum().to_le_bytes())?;
        self.sink.write_all(&self.len.to_le_bytes())?;
        self.sink.flush()?;
        Ok(self.sink)
    }

    /// Gives the block to whichever thread is free.
    fn hand_over(&mut self, is_last: bool) -> io::Result<()> {
        while self.pending.len() >= self.pending_max {
            self.take_one()?;
        }
        let next = Vec::with_capacity(BLOCK);
        let block = Arc::new(std::mem::replace(&mut self.block, next));
        let before = std::mem::replace(&mut self.before, Arc::clone(&block));
        let (reply, answer) = sync_channel(1);
        let job = Job { block, before, is_last, reply };
        self.jobs.send(job).map_err(|_| gone())?;
        self.pending.push_back(answer);
        Ok(())
    }

    /// Waits for the oldest block and writes it.
    fn take_one(&mut self) -> io::Result<()> {
        let Some(answer) = self.pending.pop_front() else { return Ok(()) };
        let packed = answer.recv().map_err(|_| gone())??;
        self.crc.combine(&packed.crc);
        self.sink.write_all(&packed.bytes)
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Only when more comes, so that the last block is known as such.
        if self.block.len() == BLOCK && !bytes.is_empty() {
            self.hand_over(false)?;
        }
        let count = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..count]);
        let added = u32::try_from(count).expect("at most a block");
        self.len = self.len.wrapping_add(added);
        Ok(count)
    }

    /// Does nothing: a block that is not full would change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gone() -> io::Error {
    io::Error::other("a thread of gzip ended early")
}

/// Deflates block after block until nobody sends any more.
fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().map(|queue| queue.recv());
        let Ok(Ok(job)) = job else { return };
        // Whoever waited may have given up.
        let _ = job.reply.send(pack(&job));
    }
}

fn pack(job: &Job) -> io::Result<Packed> {
    let mut crc = Crc::new();
    crc.update(&job.block);
    // A new one each time: after a reset it can give other bytes.
    let mut deflate = Compress::new(Compression::new(LEVEL), false);
    let window = job.before.len().saturating_sub(WINDOW);
    if !job.before.is_empty() {
        deflate.set_dictionary(&job.before[window..])?;
    }
    let flush = match job.is_last {
        true => FlushCompress::Finish,
        false => FlushCompress::Sync,
    };
    let mut bytes = Vec::with_capacity(BLOCK);
    loop {
        let done =
            usize::try_from(deflate.total_in()).expect("at most a block");
        let status =
            deflate.compress_vec(&job.block[done..], &mut bytes, flush)?;
        // A flush is through when it leaves room.
        let through = match job.is_last {
            true => status == Status::StreamEnd,
            false => bytes.len() < bytes.capacity(),
        };
        if through {
            return Ok(Packed { bytes, crc });
        }
        bytes.reserve(BLOCK / 2);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    fn gzip(input: &[u8], threads: usize, piece: usize) -> Vec<u8> {
        let threads = NonZeroUsize::new(threads).unwrap();
        let mut gzip = Gzip::new(Vec::new(), threads).unwrap();
        for piece in input.chunks(piece) {
            gzip.write_all(piece).unwrap();
        }
        gzip.finish().unwrap()
    }

    /// Through a decoder of one member only.
    fn gunzip(gzip: &[u8]) -> Vec<u8> {
        let mut output = Vec::new();
        let mut decoder = GzDecoder::new(gzip);
        decoder.read_to_end(&mut output).unwrap();
        assert!(decoder.into_inner().is_empty(), "one member");
        output
    }

    fn text(len: usize) -> Vec<u8> {
        (0_u32..)
            .flat_map(|n| {
                format!("line {}\n", n.wrapping_mul(2_654_435_761)).into_bytes()
            })
            .take(len)
            .collect()
    }

    #[test]
    fn nothing_is_a_member_too() {
        assert_eq!(gunzip(&gzip(b"", 1, 1)), b"");
    }

    #[test]
    fn the_number_of_threads_and_of_writes_changes_nothing() {
        let input = text(5 * BLOCK + 77);
        let one = gzip(&input, 1, BLOCK);
        assert!(gunzip(&one) == input);
        for (threads, piece) in [(2, 1000), (5, 3 * BLOCK), (16, 65_537)] {
            assert!(gzip(&input, threads, piece) == one, "{threads} threads");
        }
    }

    #[test]
    fn whole_blocks_end_where_the_input_ends() {
        for len in [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK] {
            let input = text(len);
            assert!(gunzip(&gzip(&input, 2, 4096)) == input, "{len}");
        }
    }

    #[test]
    fn a_block_sees_the_end_of_the_one_before() {
        // Noise, twice: found again only through the dictionary.
        let mut noise = vec![0; BLOCK - 20_000];
        ring::rand::SecureRandom::fill(
            &ring::rand::SystemRandom::new(),
            &mut noise,
        )
        .unwrap();
        let tail = noise[noise.len() - 20_000..].to_vec();
        let mut once = noise.clone();
        once.extend(vec![0; 20_000]);
        let alone = gzip(&once, 2, BLOCK).len();
        let twice = [&noise[..], &tail, &tail].concat();
        let both = gzip(&twice, 2, BLOCK).len();
        assert!(both < alone + 2000, "{both}, {alone}");
    }

    #[test]
    fn an_error_of_the_sink_comes_through() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                match bytes.len() {
                    10 => Ok(10),
                    _ => Err(io::ErrorKind::StorageFull.into()),
                }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut gzip = Gzip::new(Full, NonZeroUsize::MIN).unwrap();
        let input = text(20 * BLOCK);
        let error = gzip.write_all(&input).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn what_goes_in_comes_out(
            pieces in prop::collection::vec(
                (any::<u8>(), 0_usize..200_000, any::<bool>()), 0..8,
            ),
            threads in 1_usize..4,
        ) {
            let mut input = Vec::new();
            for (byte, len, is_text) in pieces {
                match is_text {
                    true => input.extend(text(len)),
                    false => input.resize(input.len() + len, byte),
                }
            }
            prop_assert!(gunzip(&gzip(&input, threads, 10_000)) == input);
        }
    }
}
