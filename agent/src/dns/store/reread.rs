// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! A zone file out of a string of bytes, read out whole and written again.
//! For the fuzz target, and for a file from the field.

use super::persist::{decode, decode_body, encode};
use super::table::Table;
use super::{ZoneLimits, ZoneVersion};
use crate::dns::serve::answer;
use crate::model::dns::ZoneName;

/// What a zone file came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reread {
    /// Of the zone.
    pub serial: u32,
    /// Names that could be read.
    pub names: usize,
    /// Records that could be made of what lies there.
    pub records: usize,
    /// Sets with a record that could not: its question is a SERVFAIL.
    pub unreadable: usize,
    /// Written again and read again, it is the same zone.
    pub written: bool,
}

/// Reads `bytes` as the file of `zone`: with its checksum at the end, or
/// without and as if it were right. `None` when it would be set aside.
pub fn reread(
    zone: &ZoneName,
    bytes: &[u8],
    checksum: bool,
    limits: ZoneLimits,
) -> Option<Reread> {
    let version = match checksum {
        true => decode(bytes.to_vec(), zone, limits),
        false => decode_body(bytes.to_vec(), zone, limits),
    };
    let version = version.ok()?;
    let serial = version.serial.0;
    let mut reread = Reread { serial, ..Reread::default() };
    for (owner, node) in version.iter() {
        reread.names += 1;
        let name = owner.to_name();
        for set in node.iter() {
            match set.records(&name) {
                Ok(records) => reread.records += records.len(),
                Err(_) => reread.unreadable += 1,
            }
        }
        ask(&version, &name);
    }
    let mut again = Vec::new();
    reread.written = encode(&mut again, zone, &version).is_ok()
        && decode_body(again, zone, limits).is_ok_and(|again| {
            again.table().map(Table::bytes) == version.table().map(Table::bytes)
        });
    Some(reread)
}

/// Asks for a name and for one below it.
fn ask(version: &ZoneVersion, name: &hickory_proto::rr::Name) {
    use hickory_proto::rr::RecordType::{A, ANY, SRV};
    for rtype in [A, ANY, SRV] {
        // That it ends is all that matters here.
        let _ = answer::from_zone(version, name, rtype);
    }
    if let Ok(below) = name.prepend_label("x") {
        let _ = answer::from_zone(version, &below, A);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::secondary::fake::zone_name;

    /// The fuzz target's seed is one that reaches everything.
    #[test]
    fn the_seed_is_a_zone() {
        let seed = include_bytes!("../../../fuzz/seeds/dns_store/zone");
        let limits = ZoneLimits::default();
        let (first, file) = seed.split_first().unwrap();
        assert_eq!(*first, 0);
        let whole = reread(&zone_name(), file, true, limits).unwrap();
        let expected = Reread {
            serial: 404_974_080,
            names: 6,
            records: 7,
            unreadable: 0,
            written: true,
        };
        assert_eq!(whole, expected);
        let (body, _) = file.split_at(file.len() - 32);
        assert_eq!(reread(&zone_name(), body, false, limits), Some(whole));
        assert_eq!(reread(&zone_name(), body, true, limits), None);
    }
}
