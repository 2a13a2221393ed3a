// This Source Code Form is subject to the terms of the Mozilla Public
// License, v. 2.0. If a copy of the MPL was not distributed with this
// file, You can obtain one at https://mozilla.org/MPL/2.0/.

//! What the platform puts into an LX zone below `/native`, as scripts over
//! folders: metadata, the zone's name, and ZFS with one delegate dataset.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::make;
use crate::zone::ZoneSpec;

/// Exit codes as of the mdata-client manual.
const MDATA_GET: &str = r#"#!/bin/sh
[ $# = 1 ] || { echo "Usage: mdata-get <keyname>" >&2; exit 3; }
[ -e "/native/mdata/$1" ] || { echo "No metadata for '$1'" >&2; exit 1; }
cat "/native/mdata/$1"
echo
"#;

const ZONENAME: &str = "#!/bin/sh\ncat /native/mdata/sdc:uuid\necho\n";

/// The dataset keeps its mountpoint, as ZFS does; being mounted is the zone's.
const ZFS: &str = r#"#!/bin/sh
dataset=zones/$(cat /native/mdata/sdc:uuid)/data
pool=/native/pool
echo "$*" >>/native/zfs.log
fail() { echo "cannot $1" >&2; exit 1; }
mounted() { mountpoint -q "$(cat $pool/mountpoint)"; }
value() {
    case $1 in
    mountpoint) cat $pool/mountpoint; echo ;;
    mounted) if mounted; then echo yes; else echo no; fi ;;
    *) fail "get '$1': no such property" ;;
    esac
}
case "$1 $2 $3" in
"get -Hpo value")
    [ "$5" = "$dataset" ] || fail "open '$5': dataset does not exist"
    for property in $(echo "$4" | tr , ' '); do value "$property"; done ;;
"set mountpoint="*" $dataset")
    if mounted; then umount "$(cat $pool/mountpoint)"; fi
    printf %s "${2#mountpoint=}" >$pool/mountpoint ;;
"mount -a ")
    mounted && exit 0
    to=$(cat $pool/mountpoint)
    mkdir -p "$to"
    [ -z "$(ls -A "$to")" ] || fail "mount '$to': directory is not empty"
    mount --bind $pool/data "$to" ;;
*) echo "unknown: zfs $*" >&2; exit 2 ;;
esac
"#;

/// Lays `/native` out in `folder`, the dataset empty and never mounted.
pub(super) fn lay_out(folder: &Path, spec: &ZoneSpec) -> io::Result<()> {
    let bin = folder.join("usr/sbin");
    for path in [&bin, &data(folder), &folder.join("mdata")] {
        make(path)?;
    }
    let home = format!("/zones/{}/data", spec.uuid);
    fs::write(folder.join("pool/mountpoint"), home)?;
    for (key, value) in spec.metadata() {
        fs::write(folder.join("mdata").join(key), value)?;
    }
    for (name, text) in
        [("mdata-get", MDATA_GET), ("zonename", ZONENAME), ("zfs", ZFS)]
    {
        let path = bin.join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// The delegate dataset's content.
pub(super) fn data(folder: &Path) -> PathBuf {
    folder.join("pool/data")
}
