// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The zone that is asked: something of every shape that a zone can hold.

pub(crate) const ZONE: &str = "battery.example.test";

/// Names below the apex that exist, or lie on an alias; `""` is the apex.
pub(crate) const NAMES: &[&str] = &[
    "",
    "ns1",
    "mail",
    "cmon",
    "Host1",
    "host2",
    "v1.cmon",
    "a.b.c.deep",
    "b.c.deep",
    "c.deep",
    "deep",
    "txt",
    "big",
    "huge",
    "some",
    "many",
    "toomany",
    "_web._tcp",
    "_out._tcp",
    "_many._tcp",
    "_tcp",
    "mx",
    "ptr",
    "caa",
    "naptr",
    "hinfo",
    "sshfp",
    "tlsa",
    "https",
    "unknown",
    "sp\\032ace",
    "dot\\.dot",
    "*.wild",
    "wild",
    "there.wild",
    "z.wild",
    "y.z.wild",
    "*.alias",
    "*.abroad",
    "*.nowhere",
    "sub.*.mid",
    "*.mid",
    "mid",
    "c1",
    "c2",
    "c5",
    "c9",
    "to-none",
    "to-ent",
    "to-wild",
    "to-out",
    "to-local",
    "to-apex",
    "to-big",
    "loop1",
    "loop2",
    "self",
    "long0",
    "long4",
    LONGEST,
];

/// As long as a name may be: 63, 63, 63 and 36 letters before the apex.
const LONGEST: &str = concat!(
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.",
    "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.",
    "ccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc.",
    "dddddddddddddddddddddddddddddddddddddddd",
);

/// Names that delegations and DNAME say something about.
pub(crate) const CUTS: &[&str] =
    &["cut", "ns.cut", "x.cut", "a.b.cut", "moved", "host2.moved", "x.moved"];

pub(crate) fn zone_file() -> String {
    let mut text = format!(
        "$ORIGIN {ZONE}.\n$TTL 300\n\
         @ 600 SOA ns1 host.example.net. 7 3600 600 2592000 30\n"
    );
    let mut add = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    for line in PLAIN {
        add(line);
    }
    add(&format!("{LONGEST} A 10.0.0.63"));
    let filler = "t".repeat(230);
    for n in 0..4 {
        add(&format!("big TXT \"{n}{filler}\""));
    }
    for n in 0..9 {
        add(&format!("huge TXT \"{n}{filler}\" \"{filler}\""));
    }
    for (owner, count) in [("some", 20), ("many", 60), ("toomany", 100)] {
        for n in 0..count {
            add(&format!("{owner} A 10.1.0.{n}"));
        }
    }
    for n in 0..12 {
        add(&format!("_many._tcp SRV 0 10 80{n:02} node{n}"));
        add(&format!("node{n} A 10.2.0.{n}"));
        add(&format!("node{n} AAAA fd00::2:{n}"));
    }
    for n in 1..9 {
        add(&format!("c{n} CNAME c{}", n + 1));
    }
    for n in 0..30 {
        add(&format!("long{n} CNAME long{}", n + 1));
    }
    text
}

const PLAIN: &[&str] = &[
    "@ NS ns1",
    "@ NS ns2.elsewhere.example.",
    "@ MX 10 mail",
    "@ TXT \"the apex\"",
    "@ A 10.0.0.1",
    "ns1 A 10.0.0.53",
    "mail A 10.0.0.25",
    "mail AAAA fd00::25",
    "cmon A 10.0.0.9",
    "cmon A 10.0.0.10",
    "cmon A 10.0.0.11",
    "Host1 A 10.0.1.1",
    "Host1 60 TXT \"Mixed Case\"",
    "host2 A 10.0.1.2",
    "host2 AAAA fd00::1:2",
    "v1.cmon CNAME cmon",
    "a.b.c.deep A 10.0.2.1",
    "txt TXT \"one\" \"two\"",
    "txt TXT \"\"",
    "_web._tcp SRV 0 10 80 host2",
    "_web._tcp SRV 1 10 80 Host1",
    "_out._tcp SRV 0 0 443 www.example.net.",
    "_out._tcp SRV 0 0 443 absent",
    "mx MX 10 mail",
    "mx MX 20 mail.example.net.",
    "ptr PTR host2",
    "caa CAA 0 issue \"ca.example.net\"",
    "naptr NAPTR 10 10 \"s\" \"SIP+D2U\" \"\" _web._tcp",
    "hinfo HINFO \"PC\" \"Unix\"",
    "sshfp SSHFP 1 1 0123456789abcdef0123456789abcdef01234567",
    "tlsa TLSA 3 1 1 \
     0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "https HTTPS 1 . alpn=h2",
    "unknown TYPE65280 \\# 3 010203",
    "sp\\032ace A 10.0.3.1",
    "dot\\.dot A 10.0.3.2",
    "*.wild A 10.0.4.1",
    "*.wild TXT \"wild\"",
    "there.wild TXT \"there\"",
    "y.z.wild A 10.0.4.2",
    "*.alias CNAME host2",
    "*.abroad CNAME www.example.net.",
    "*.nowhere CNAME absent",
    "sub.*.mid A 10.0.4.3",
    "c9 A 10.0.5.9",
    "to-none CNAME absent",
    "to-ent CNAME b.c.deep",
    "to-wild CNAME any.wild",
    "to-out CNAME www.example.net.",
    "to-local CNAME localhost.",
    "to-apex CNAME @",
    "to-big CNAME toomany",
    "loop1 CNAME loop2",
    "loop2 CNAME loop1",
    "self CNAME self",
    "long30 A 10.0.5.30",
    "cut NS ns.cut",
    "ns.cut A 10.0.6.1",
    "moved DNAME deep",
];
