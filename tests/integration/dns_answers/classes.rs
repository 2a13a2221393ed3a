// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! Why our answers may differ from those of BIND, Knot and NSD: every class of
//! difference, whom it is towards, and the reason. `differences.md` is this
//! table for people; `UPDATE_DIFFERENCES=1` writes it anew.

use localdc::name_server::Kind;

use super::questions::{Question, Shape};
use super::seen::{Aspect, Seen};
use super::zone::ZONE;

/// A difference that is meant.
pub(super) struct Class {
    /// Its name in the table.
    pub(super) name: &'static str,
    /// Towards whom it occurs.
    pub(super) who: &'static [Kind],
    /// In what.
    pub(super) aspects: &'static [Aspect],
    /// What is asked, what differs and why we do as we do.
    pub(super) why: &'static str,
    /// Whether this question and these two answers are of the class.
    pub(super) applies: fn(&Compared<'_>) -> bool,
}

/// Two answers to one question.
pub(super) struct Compared<'a> {
    pub(super) asked: &'a Question,
    pub(super) ours: Option<&'a Seen>,
    pub(super) theirs: Option<&'a Seen>,
}

use Aspect::{
    Additionals, Answers, AuthenticData, Authoritative, Authorities,
    CheckingDisabled, Edns, Question as Echo, Rcode, RecursionAvailable,
    RecursionDesired, Silence, Truncated,
};
use Kind::{Bind, Knot, Nsd};

/// What an answer says, its flags towards the asker aside.
const CONTENT_AND_EDNS: &[Aspect] = &[
    Rcode,
    Authoritative,
    Truncated,
    Echo,
    Answers,
    Authorities,
    Additionals,
    Edns,
];
/// The same without EDNS, which stands last.
const CONTENT: &[Aspect] =
    CONTENT_AND_EDNS.split_at(CONTENT_AND_EDNS.len() - 1).0;

pub(super) const CLASSES: &[Class] = &[
    Class {
        name: "recursion available",
        who: &Kind::ALL,
        aspects: &[RecursionAvailable],
        why: "RA is always set: a stub takes an answer without it and without \
              AA for a lame one and asks the next server.",
        applies: |c| c.flag(3, false),
    },
    Class {
        name: "checking disabled",
        who: &[Knot, Nsd],
        aspects: &[CheckingDisabled],
        why: "CD comes back as it was sent (RFC 4035 §3.2.2), as from BIND.",
        applies: |c| c.asked.flags & 0x10 != 0 && c.flag(5, false),
    },
    Class {
        name: "names that stay here",
        who: &Kind::ALL,
        aspects: &[Rcode, Authoritative, Answers, Authorities],
        why: "localhost, the private reverse zones and names that mean \"no \
              such thing\" are answered (RFC 6303, 6761, 7686), also behind \
              an alias; the others serve the one zone.",
        applies: |c| match relative(c) {
            None => is_local(&c.asked.name),
            Some(name) => name == "to-local",
        },
    },
    Class {
        name: "addresses that were not asked for",
        who: &Kind::ALL,
        aspects: &[Additionals],
        why: "Addresses of targets go with SRV alone, all or none of them; \
              others add those of MX and NS, and as many as fit.",
        applies: |c| {
            let ours_are_theirs = |ours: &Seen, theirs: &Seen| {
                ours.additionals.is_subset(&theirs.additionals)
            };
            c.asked.rtype == 33 || c.both(ours_are_theirs)
        },
    },
    Class {
        name: "the zone's own NS",
        who: &[Bind, Nsd],
        aspects: &[Authorities],
        why: "The apex's NS go with positive answers elsewhere; no stub reads \
              them.",
        applies: |c| {
            c.both(|ours, theirs| {
                let mut records = theirs.authorities.iter();
                ours.authorities.is_empty()
                    && records.all(|record| record.contains(" in ns "))
            })
        },
    },
    Class {
        name: "what is left of a truncated answer",
        who: &Kind::ALL,
        aspects: &[Answers, Authorities, Additionals],
        why: "With TC set, how many records go along is anybody's choice \
              (RFC 2181 §9); all of them come by TCP.",
        applies: |c| c.both(|ours, theirs| ours.flags[1] && theirs.flags[1]),
    },
    Class {
        name: "the longest names",
        who: &[Bind, Knot],
        aspects: &[Truncated, Answers, AuthenticData],
        why: "Whether a name of 255 bytes is written once or twice decides \
              whether the answer fits 512.",
        applies: |c| c.asked.name.len() > 240,
    },
    Class {
        name: "aliases without end",
        who: &Kind::ALL,
        aspects: &[Rcode, Truncated, Answers, Authorities, Additionals],
        why: "After a dozen aliases, or in a loop, we answer what was found \
              so far. BIND calls it SERVFAIL, NSD follows more, Knot fewer.",
        applies: |c| {
            is(c, &["loop1", "loop2", "self", "long0", "long1", "long4"])
        },
    },
    Class {
        name: "more than five aliases",
        who: &[Knot],
        aspects: &[Answers, Authorities],
        why: "Knot stops after five and leaves the rest to a resolver; behind \
              us there is none.",
        applies: |c| is(c, &["c1", "c2"]) && c.fewer_answers(),
    },
    Class {
        name: "signatures of an alias",
        who: &[Bind, Knot],
        aspects: &[Rcode, Answers, Authorities, Additionals],
        why: "RRSIG and NSEC may lie beside a CNAME (RFC 4034), so BIND and \
              Knot do not follow it for these. Our zones are unsigned; we \
              follow it for every type but its own.",
        applies: |c| matches!(c.asked.rtype, 46 | 47) && c.fewer_answers(),
    },
    Class {
        name: "no SOA there",
        who: &[Bind],
        aspects: &[Authorities],
        why: "BIND lets nobody keep that a name without SOA does not exist: \
              TTL 0.",
        applies: |c| c.asked.rtype == 6,
    },
    Class {
        name: "ANY below a DNAME",
        who: &[Kind::Knot, Kind::Nsd],
        aspects: &[Rcode],
        why: "The alias made of the DNAME is a set, and one is answer enough, \
              as from BIND; others follow it.",
        applies: |c| c.asked.rtype == 255 && below(c, "moved"),
    },
    Class {
        name: "ANY",
        who: &Kind::ALL,
        aspects: &[Truncated, Answers, Authorities, Additionals],
        why: "One set is answer enough (RFC 8482 §4.1).",
        applies: |c| c.asked.rtype == 255,
    },
    Class {
        name: "transfers",
        who: &Kind::ALL,
        aspects: &[Rcode, Echo, Edns],
        why: "REFUSED, by datagram and for names that are no zone, too: \
              nobody transfers from us. NSD finds a fault in an IXFR \
              without SOA, and sends a header alone.",
        applies: |c| matches!(c.asked.rtype, 251 | 252),
    },
    Class {
        name: "types that no record has",
        who: &Kind::ALL,
        aspects: &[
            Rcode,
            Authoritative,
            Truncated,
            Answers,
            Authorities,
            Additionals,
        ],
        why: "TKEY, TSIG, MAILA, MAILB and type 0 are types without records \
              here; others refuse some of them. OPT is a format error, as \
              from BIND.",
        applies: |c| matches!(c.asked.rtype, 0 | 41 | 249 | 250 | 253 | 254),
    },
    Class {
        name: "other classes",
        who: &Kind::ALL,
        aspects: CONTENT,
        why: "There is IN, and CHAOS for the version: the rest is NOTIMP. \
              Others say REFUSED or FORMERR, or take ANY for IN.",
        applies: |c| !matches!(c.asked.class, 1 | 3),
    },
    Class {
        name: "CHAOS",
        who: &Kind::ALL,
        aspects: &[
            Silence,
            Rcode,
            Authoritative,
            Answers,
            Authorities,
            Additionals,
        ],
        why: "Each names itself; our version.bind and version.server are how \
              CNS lists its secondaries. BIND limits the rate.",
        applies: |c| c.asked.class == 3,
    },
    Class {
        name: "other opcodes",
        who: &Kind::ALL,
        aspects: &[Rcode, RecursionDesired, CheckingDisabled, Echo, Edns],
        why: "NOTIMP to all but QUERY and NOTIFY, with question and flags as \
              they came; others leave some of these out.",
        applies: |c| c.asked.flags & 0x7800 != 0,
    },
    Class {
        name: "reserved flags",
        who: &[Nsd],
        aspects: CONTENT_AND_EDNS,
        why: "Flags that mean nothing in a question are overlooked (RFC 1035 \
              §4.1.1), as by BIND and Knot.",
        applies: |c| c.asked.flags & 0x06cf != 0,
    },
    Class {
        name: "unknown version of EDNS",
        who: &[Nsd],
        aspects: &[Edns],
        why: "BADVERS tells the version that is known (RFC 6891 §6.1.3): 0.",
        applies: |c| c.asked.edns.is_some_and(|(version, _)| version > 0),
    },
    Class {
        name: "damage",
        who: &Kind::ALL,
        aspects: &[
            Silence,
            Rcode,
            Authoritative,
            Truncated,
            RecursionDesired,
            RecursionAvailable,
            AuthenticData,
            CheckingDisabled,
            Echo,
            Answers,
            Authorities,
            Additionals,
            Edns,
        ],
        why: "Bytes that are no query: FORMERR where there is a header, \
              silence where not; what lies behind a whole query is \
              overlooked. How much damage is seen differs.",
        applies: |c| c.asked.shape == Shape::Damaged,
    },
];

impl Compared<'_> {
    fn both(&self, holds: impl Fn(&Seen, &Seen) -> bool) -> bool {
        match (self.ours, self.theirs) {
            (Some(ours), Some(theirs)) => holds(ours, theirs),
            _ => false,
        }
    }

    /// Set in our answer; as given in theirs.
    fn flag(&self, number: usize, theirs_is: bool) -> bool {
        self.both(|ours, theirs| {
            ours.flags[number] && theirs.flags[number] == theirs_is
        })
    }

    /// Theirs are some of ours.
    fn fewer_answers(&self) -> bool {
        self.both(|ours, theirs| theirs.answers.is_subset(&ours.answers))
    }
}

/// The name asked for, without the zone's.
fn relative<'a>(compared: &Compared<'a>) -> Option<&'a str> {
    compared.asked.name.strip_suffix(ZONE)?.strip_suffix('.')
}

fn is(compared: &Compared<'_>, names: &[&str]) -> bool {
    relative(compared).is_some_and(|name| names.contains(&name))
}

fn below(compared: &Compared<'_>, top: &str) -> bool {
    let head = relative(compared).and_then(|name| name.strip_suffix(top));
    head.is_some_and(|head| head.is_empty() || head.ends_with('.'))
}

fn is_local(name: &str) -> bool {
    // The apex itself is below `test`.
    let tops =
        ["localhost", "in-addr.arpa", "ip6.arpa", "invalid", "onion", "test"];
    name != ZONE
        && tops.iter().any(|top| {
            let head = name.strip_suffix(top);
            head.is_some_and(|head| head.is_empty() || head.ends_with('.'))
        })
}

/// The table for people.
fn table() -> String {
    let mut text = "# How our answers differ from those of BIND, Knot and NSD\n\
        \n\
        Out of ten thousand questions of every shape to each, serving the same\n\
        zone. Written by the test beside this file, which fails on any\n\
        difference that is not in here: `UPDATE_DIFFERENCES=1 cargo test -p\n\
        localdc table_for_people`.\n\
        \n\
        | what | towards | in | why |\n|---|---|---|---|\n"
        .to_owned();
    for class in CLASSES {
        let who: Vec<String> =
            class.who.iter().map(|kind| format!("{kind:?}")).collect();
        let who = match class.who.len() {
            3 => "all".to_owned(),
            _ => who.join(", "),
        };
        let aspects: Vec<String> =
            class.aspects.iter().map(|aspect| format!("{aspect:?}")).collect();
        let aspects = match class.aspects.len() {
            13 => "everything".to_owned(),
            _ => aspects.join(", "),
        };
        text.push_str(&format!(
            "| {} | {who} | {aspects} | {} |\n",
            class.name, class.why
        ));
    }
    text
}

#[test]
fn the_table_for_people_is_this_one() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/integration/dns_answers/differences.md"
    );
    if std::env::var_os("UPDATE_DIFFERENCES").is_some() {
        std::fs::write(path, table()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), table());
}
