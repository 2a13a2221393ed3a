// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Zone files as a start may find them. First byte: 0 to 127 with the checksum
//! that is there, above as if it were right, so that chance gets past it.
//!
//! Nothing may panic, hang or grow without bound; what is taken is within the
//! limits, the same twice, and is written again as it was read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use monitoring_agent::dns::{ZoneLimits, reread};
use monitoring_agent::model::dns::ZoneName;

const LIMITS: ZoneLimits = ZoneLimits { max_records: 1000, max_bytes: 1 << 20 };

fuzz_target!(|input: &[u8]| {
    let Some((first, file)) = input.split_first() else { return };
    let zone = ZoneName::parse("dc1.cns.example").expect("a zone name");
    let checksum = *first < 128;
    let Some(read) = reread(&zone, file, checksum, LIMITS) else { return };
    assert!(read.written, "{read:?}");
    // A byte of the file names no more than itself.
    assert!(read.names <= file.len() && read.records <= file.len());
    assert_eq!(reread(&zone, file, checksum, LIMITS), Some(read));
});
