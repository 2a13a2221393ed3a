// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! The tag that puts an instance onto a shard: `triton.cmon.groups`, a list of
//! names. It belongs to its user as well: names that are not ours stay, in
//! their order.
//!
//! VMAPI refuses a tag that breaks these rules, so none is made here.
//!
//! Source: node-triton-tags `lib/triton-tags.js` and `cmon-groups-tag.pegjs`.

use std::fmt;

/// The tag's key.
pub const KEY: &str = "triton.cmon.groups";

/// Most names in a tag, and most characters of a name.
const LIMIT: usize = 100;

/// A shard's name, which is its group in the tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardName(Box<str>);

impl ShardName {
    /// Takes a name.
    ///
    /// Errors: it is not 1 to 100 characters of `A-Z a-z 0-9 _ -`.
    pub fn parse(name: &str) -> Result<Self, TagProblem> {
        check(name)?;
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ShardName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is wrong with a tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagProblem {
    /// A name VMAPI would refuse.
    #[error(
        "{KEY}: saw {name:?}, wanted names of 1 to {LIMIT} characters of \
         A-Z a-z 0-9 _ -, separated by commas alone"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A name twice.
    #[error("{KEY}: saw {name} twice, wanted each name once")]
    Twice {
        /// The name.
        name: String,
    },
    /// More names than VMAPI takes.
    #[error("{KEY}: saw {names} names, wanted {LIMIT} at most")]
    Many {
        /// How many.
        names: usize,
    },
    /// A shard that would not be known as ours afterwards.
    #[error("{KEY}: saw {name}, wanted a shard whose name begins {prefix:?}")]
    NotOurs {
        /// The shard.
        name: ShardName,
        /// What all names of ours begin with.
        prefix: String,
    },
    /// A prefix that would make everything ours.
    #[error("{KEY}: saw an empty prefix, wanted what shard names begin with")]
    NoPrefix,
}

/// What to do with an instance's tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// It is right as it is.
    Unchanged,
    /// Write this value, other keys left alone (`POST /vms/UUID/tags`).
    Write(String),
    /// Nothing is left: an empty list is no valid value
    /// (`DELETE /vms/UUID/tags/KEY`).
    Delete,
}

/// The names of ours in a tag: those that begin with `prefix`. None, on no
/// shard; more than one, scraped as often.
pub fn ours<'a>(
    tag: Option<&'a str>,
    prefix: &str,
) -> impl Iterator<Item = &'a str> {
    let names = tag.into_iter().flat_map(|tag| tag.split(','));
    names.filter(move |name| !prefix.is_empty() && name.starts_with(prefix))
}

/// How a tag comes to name `shard` and no other of ours, or none of ours.
///
/// The name takes the place of the first of ours, or the end.
///
/// Errors: every fault of the tag as it is, since VMAPI would refuse it again;
/// or of the tag as it would be.
pub fn edit(
    tag: Option<&str>,
    prefix: &str,
    shard: Option<&ShardName>,
) -> Result<Edit, Vec<TagProblem>> {
    let mut problems = Vec::new();
    if prefix.is_empty() {
        problems.push(TagProblem::NoPrefix);
    }
    if let Some(name) = shard.filter(|name| !name.0.starts_with(prefix)) {
        let (name, prefix) = (name.clone(), prefix.to_owned());
        problems.push(TagProblem::NotOurs { name, prefix });
    }
    let names: Vec<&str> =
        tag.map(|tag| tag.split(',').collect()).unwrap_or_default();
    for (n, &name) in names.iter().enumerate() {
        problems.extend(check(name).err());
        // Told at the second, once.
        if names[..n].iter().filter(|&&other| other == name).count() == 1 {
            problems.push(TagProblem::Twice { name: name.to_owned() });
        }
    }
    let is_ours = |name: &&str| name.starts_with(prefix);
    let mut wanted = shard.map(ShardName::as_str);
    let mut after: Vec<&str> = Vec::new();
    for name in names {
        match is_ours(&name) {
            true => after.extend(wanted.take()),
            false => after.push(name),
        }
    }
    after.extend(wanted);
    if after.len() > LIMIT {
        problems.push(TagProblem::Many { names: after.len() });
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let after = after.join(",");
    Ok(match tag {
        _ if tag.unwrap_or_default() == after => Edit::Unchanged,
        _ if after.is_empty() => Edit::Delete,
        _ => Edit::Write(after),
    })
}

fn check(name: &str) -> Result<(), TagProblem> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if (1..=LIMIT).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(());
    }
    Err(TagProblem::Name { name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(name: &str) -> ShardName {
        ShardName::parse(name).unwrap()
    }

    #[test]
    fn foreign_groups_stay_in_their_order() {
        let to = |tag: Option<&str>| {
            edit(tag, "shard-", Some(&shard("shard-2"))).unwrap()
        };
        let write = |text: &str| Edit::Write(text.to_owned());
        assert_eq!(to(None), write("shard-2"));
        assert_eq!(to(Some("b,a")), write("b,a,shard-2"));
        assert_eq!(to(Some("b,shard-1,a")), write("b,shard-2,a"));
        let both = "shard-1,x,shard-2";
        assert_eq!(to(Some(both)), write("shard-2,x"));
        assert_eq!(to(Some("b,shard-2,a")), Edit::Unchanged);
        assert_eq!(ours(Some(both), "shard-").count(), 2);
        // Not ours, although it looks alike.
        assert_eq!(to(Some("shard")), write("shard,shard-2"));
        assert_eq!(ours(Some("shard,Shard-1"), "shard-").count(), 0);
    }

    #[test]
    fn nothing_of_ours_leaves_no_empty_tag() {
        let off = |tag: Option<&str>| edit(tag, "shard-", None).unwrap();
        assert_eq!(off(None), Edit::Unchanged);
        assert_eq!(off(Some("a,b")), Edit::Unchanged);
        assert_eq!(off(Some("shard-1")), Edit::Delete);
        assert_eq!(off(Some("shard-1,a")), Edit::Write("a".to_owned()));
    }

    #[test]
    fn every_fault_is_told_together() {
        let to = |tag: &str, prefix: &str| {
            let faults = edit(Some(tag), prefix, Some(&shard("shard-2")));
            let faults: Vec<String> =
                faults.unwrap_err().iter().map(ToString::to_string).collect();
            faults.join("\n")
        };
        insta::assert_snapshot!(to("a b,,a.c,x,x,x", "other-"), @r#"
        triton.cmon.groups: saw shard-2, wanted a shard whose name begins "other-"
        triton.cmon.groups: saw "a b", wanted names of 1 to 100 characters of A-Z a-z 0-9 _ -, separated by commas alone
        triton.cmon.groups: saw "", wanted names of 1 to 100 characters of A-Z a-z 0-9 _ -, separated by commas alone
        triton.cmon.groups: saw "a.c", wanted names of 1 to 100 characters of A-Z a-z 0-9 _ -, separated by commas alone
        triton.cmon.groups: saw x twice, wanted each name once
        "#);
        insta::assert_snapshot!(to("", ""), @r#"
        triton.cmon.groups: saw an empty prefix, wanted what shard names begin with
        triton.cmon.groups: saw "", wanted names of 1 to 100 characters of A-Z a-z 0-9 _ -, separated by commas alone
        "#);
        let full: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        insta::assert_snapshot!(to(&full.join(","), "shard-"), @"triton.cmon.groups: saw 101 names, wanted 100 at most");
        // A shard of ours gives its place to another.
        let full = format!("{},shard-1", full[1..].join(","));
        assert!(edit(Some(&full), "shard-", Some(&shard("shard-2"))).is_ok());
        let long = "x".repeat(100);
        assert!(ShardName::parse(&long).is_ok());
        assert!(ShardName::parse(&format!("{long}x")).is_err());
    }
}
