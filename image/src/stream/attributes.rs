// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! System attributes: what ZFS keeps about a file beside its data, packed
//! into the bonus of its object. The trivial ACL that belongs to a mode is
//! among them: illumos checks access by it, not by the mode.
//!
//! Source: OpenZFS `module/zfs/sa.c`, `include/sys/zfs_sa.h`; for the ACL
//! `module/zcommon` (acl_trivial_access_masks).

/// Most bytes of a bonus.
const BONUS_MAX: usize = 320;
const SA_MAGIC: u32 = 0x2f_505a;

/// File type bits of a mode.
pub(super) const DIRECTORY: u64 = 0o040_000;
pub(super) const FILE: u64 = 0o100_000;
pub(super) const SYMLINK: u64 = 0o120_000;

/// Name, number in this stream, length (0: variable), byte order rule.
pub(super) const REGISTRY: [(&str, u16, u64, u64); 20] = [
    ("ZPL_ATIME", 0, 16, 0),
    ("ZPL_MTIME", 1, 16, 0),
    ("ZPL_CTIME", 2, 16, 0),
    ("ZPL_CRTIME", 3, 16, 0),
    ("ZPL_GEN", 4, 8, 0),
    ("ZPL_MODE", 5, 8, 0),
    ("ZPL_SIZE", 6, 8, 0),
    ("ZPL_PARENT", 7, 8, 0),
    ("ZPL_LINKS", 8, 8, 0),
    ("ZPL_XATTR", 9, 8, 0),
    ("ZPL_RDEV", 10, 8, 0),
    ("ZPL_FLAGS", 11, 8, 0),
    ("ZPL_UID", 12, 8, 0),
    ("ZPL_GID", 13, 8, 0),
    ("ZPL_PAD", 14, 32, 0),
    ("ZPL_ZNODE_ACL", 15, 88, 3),
    ("ZPL_DACL_COUNT", 16, 8, 0),
    ("ZPL_SYMLINK", 17, 0, 3),
    ("ZPL_SCANSTAMP", 18, 32, 3),
    ("ZPL_DACL_ACES", 19, 0, 4),
];

/// Files, directories, links with their target in the spill block.
const PLAIN: u16 = 2;
/// Links with their target in the bonus.
const SHORT_LINK: u16 = 3;
/// The spill block of a link.
const SPILLED_LINK: u16 = 5;

/// Which attributes, in which order; a layout's number is its name.
pub(super) const LAYOUTS: [(u16, &[u16]); 3] = [
    (PLAIN, &[5, 6, 4, 12, 13, 7, 11, 0, 1, 2, 3, 8, 16, 19]),
    (SHORT_LINK, &[5, 6, 4, 12, 13, 7, 11, 0, 1, 2, 3, 8, 16, 19, 17]),
    (SPILLED_LINK, &[17]),
];

/// What the attributes of an object say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes<'a> {
    /// File type and permissions.
    pub(super) mode: u64,
    /// Bytes; of a directory names and two; of a link its target's bytes.
    pub(super) size: u64,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Object of the directory.
    pub(super) parent: u64,
    pub(super) links: u64,
    /// Seconds since 1970; stands for all four times.
    pub(super) mtime: u64,
    /// Of a symbolic link.
    pub(super) target: Option<&'a [u8]>,
}

/// Attributes in the form an object carries them.
pub(super) struct Packed {
    pub(super) bonus: Vec<u8>,
    /// The spill block, when the bonus has no room for a link's target.
    pub(super) spill: Option<Vec<u8>>,
}

impl Attributes<'_> {
    /// Packs the attributes.
    pub(super) fn pack(&self) -> Packed {
        let aces = trivial_acl(self.mode);
        let mut values = self.fixed(aces.len() as u64);
        for ace in &aces {
            values.extend_from_slice(&ace.to_bytes());
        }
        let acl_len = aces.len() * 8;
        let Some(target) = self.target else {
            let bonus = block(PLAIN, &[acl_len], &values);
            return Packed { bonus, spill: None };
        };
        let mut short = values.clone();
        short.extend_from_slice(target);
        let short = block(SHORT_LINK, &[acl_len, target.len()], &short);
        if short.len() <= BONUS_MAX {
            return Packed { bonus: short, spill: None };
        }
        let mut spill = block(SPILLED_LINK, &[target.len()], target);
        spill.resize(spill.len().next_multiple_of(512), 0);
        let bonus = block(PLAIN, &[acl_len], &values);
        Packed { bonus, spill: Some(spill) }
    }

    /// The attributes of fixed length, in the order of `PLAIN`.
    fn fixed(&self, aces: u64) -> Vec<u8> {
        let generation = 1;
        let time = [self.mtime, 0];
        let numbers = [
            self.mode,
            self.size,
            generation,
            self.uid.into(),
            self.gid.into(),
            self.parent,
            flags(self.mode),
        ];
        let times = [time; 4];
        numbers
            .iter()
            .chain(times.as_flattened())
            .chain(&[self.links, aces])
            .flat_map(|number| number.to_le_bytes())
            .collect()
    }
}

/// An SA block: header, lengths of the variable attributes, values.
fn block(layout: u16, lengths: &[usize], values: &[u8]) -> Vec<u8> {
    let header_len = (6 + 2 * lengths.len()).next_multiple_of(8);
    let eighths = u16::try_from(header_len / 8).expect("two at most");
    let mut block = SA_MAGIC.to_le_bytes().to_vec();
    block.extend_from_slice(&(layout | eighths << 10).to_le_bytes());
    for len in lengths {
        let len = u16::try_from(*len).expect("a target is below 1,024 bytes");
        block.extend_from_slice(&len.to_le_bytes());
    }
    block.resize(header_len, 0);
    block.extend_from_slice(values);
    block.resize(block.len().next_multiple_of(8), 0);
    block
}

fn is_directory(mode: u64) -> bool {
    mode & 0o170_000 == DIRECTORY
}

/// ZPL_FLAGS: archive and modified as the module sets them, trivial ACL,
/// whether it has inheritable entries, whether nobody is denied execution.
fn flags(mode: u64) -> u64 {
    let acl_of_directory = if is_directory(mode) { 0x40 } else { 0 };
    let all_execute = if mode & 0o111 == 0o111 { 0x100 } else { 0 };
    0x408_0000_0000 | 0x4 | acl_of_directory | all_execute
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ace {
    kind: u16,
    who: u16,
    mask: u32,
}

impl Ace {
    fn to_bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..2].copy_from_slice(&self.kind.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.who.to_le_bytes());
        bytes[4..].copy_from_slice(&self.mask.to_le_bytes());
        bytes
    }
}

/// The ACL that says just what the mode says.
fn trivial_acl(mode: u64) -> Vec<Ace> {
    const ALLOW: u16 = 0;
    const DENY: u16 = 1;
    const OWNER: u16 = 0x1000;
    const GROUP: u16 = 0x2040;
    const EVERYONE: u16 = 0x4000;
    /// Every class may read attributes and the ACL; the owner may set them.
    const ALWAYS: u32 = 0x12_0088;
    const OWNER_ALWAYS: u32 = 0x1e_0198;

    let write = if is_directory(mode) { 0x46 } else { 0x06 };
    let mask = |bits: u64| {
        let chosen = |bit, mask| if bits & bit != 0 { mask } else { 0 };
        chosen(4, 0x01) | chosen(2, write) | chosen(1, 0x20)
    };
    let (owner, group, other) = (mode >> 6 & 7, mode >> 3 & 7, mode & 7);
    // What a class must get, or not get, before a later entry says otherwise.
    let before = [
        Ace { kind: ALLOW, who: OWNER, mask: mask(owner & !group & other) },
        Ace { kind: DENY, who: OWNER, mask: mask(!owner & (group | other)) },
        Ace { kind: DENY, who: GROUP, mask: mask(!group & other) },
    ];
    let always = [
        Ace { kind: ALLOW, who: OWNER, mask: OWNER_ALWAYS | mask(owner) },
        Ace { kind: ALLOW, who: GROUP, mask: ALWAYS | mask(group) },
        Ace { kind: ALLOW, who: EVERYONE, mask: ALWAYS | mask(other) },
    ];
    let before = before.into_iter().filter(|ace| ace.mask != 0);
    before.chain(always).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(target: &[u8]) -> Packed {
        Attributes {
            mode: SYMLINK | 0o777,
            size: target.len() as u64,
            uid: 0,
            gid: 0,
            parent: 6,
            links: 1,
            mtime: 0,
            target: Some(target),
        }
        .pack()
    }

    /// What a class may do by the ACL alone, by NFSv4's rule: the first
    /// entry that names a bit decides it.
    fn judge(acl: &[Ace], who: u16, mask: u32) -> bool {
        let mut open = mask;
        for ace in acl {
            let applies = ace.who == who || ace.who == 0x4000;
            if !applies || ace.mask & open == 0 {
                continue;
            }
            if ace.kind == 1 {
                return false;
            }
            open &= !ace.mask;
        }
        open == 0
    }

    #[test]
    fn the_acl_says_what_the_mode_says_for_every_mode() {
        for mode in 0..0o1000_u64 {
            for kind in [FILE, DIRECTORY] {
                let write = if kind == DIRECTORY { 0x46 } else { 0x06 };
                let acl = trivial_acl(kind | mode);
                for (class, who) in [(6, 0x1000), (3, 0x2040), (0, 0x4000)] {
                    for (bit, mask) in [(4, 1), (2, write), (1, 0x20)] {
                        assert_eq!(
                            judge(&acl, who, mask),
                            mode >> class & bit != 0,
                            "{mode:o} {who:x} {mask:x}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_acl_of_0644_is_the_three_usual_entries() {
        let acl = trivial_acl(FILE | 0o644);
        let masks: Vec<u32> = acl.iter().map(|ace| ace.mask).collect();
        assert_eq!(masks, [0x1e_019f, 0x12_0089, 0x12_0089]);
    }

    #[test]
    fn a_target_of_144_bytes_is_the_last_in_the_bonus() {
        let packed = link(&[b't'; 144]);
        assert_eq!((packed.bonus.len(), packed.spill), (320, None));
        let packed = link(&[b't'; 145]);
        assert!(packed.bonus.len() <= 192, "the rest is the spill's pointer");
        let spill = packed.spill.unwrap();
        assert_eq!(spill.len(), 512);
        assert_eq!(spill[..8], [0x5a, 0x50, 0x2f, 0, 5, 4, 145, 0]);
        assert_eq!(spill[8..153], [b't'; 145]);
        assert_eq!(link(&[b't'; 1023]).spill.unwrap().len(), 1536);
    }

    #[test]
    fn a_bonus_holds_each_attribute_in_its_place() {
        let attributes = Attributes {
            mode: FILE | 0o4755,
            size: 77,
            uid: 3,
            gid: 4,
            parent: 5,
            links: 2,
            mtime: 99,
            target: None,
        };
        let Packed { bonus, .. } = attributes.pack();
        let number = |at: usize| {
            u64::from_le_bytes(bonus[at..at + 8].try_into().unwrap())
        };
        assert_eq!(bonus.len(), 8 + 136 + 24);
        let numbers: Vec<u64> = (0..7).map(|n| number(8 + 8 * n)).collect();
        assert_eq!(numbers, [0o104_755, 77, 1, 3, 4, 5, 0x408_0000_0104]);
        let times: Vec<u64> = (0..8).map(|n| number(64 + 8 * n)).collect();
        assert_eq!(times, [99, 0, 99, 0, 99, 0, 99, 0]);
        assert_eq!((number(128), number(136)), (2, 3));
    }
}
