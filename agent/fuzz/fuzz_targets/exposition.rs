// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What a zone answers when it is asked for metrics: any bytes at all, from
//! the parser to what is made of them. Nothing may panic; an error names a
//! line that is there.

#![no_main]

use libfuzzer_sys::fuzz_target;
use monitoring_agent::deploy::exposition::Samples;
use monitoring_agent::deploy::status::judge::ills;
use monitoring_agent::deploy::status::zone::{read, read_uploads};

fuzz_target!(|text: &str| {
    match Samples::parse(text) {
        Ok(samples) => {
            let agent = read(&samples);
            assert_eq!(agent, read(&samples));
            ills(&agent);
            read_uploads(&samples);
        }
        Err(error) => {
            let line = text.split('\n').nth(error.line - 1);
            assert!(line.is_some_and(|line| line.contains(&error.seen)));
        }
    }
});
