#!/bin/sh
# This Source Code Form is subject to the terms of the Mozilla Public
# License, v. 2.0. If a copy of the MPL was not distributed with this
# file, You can obtain one at https://mozilla.org/MPL/2.0/.

# The job of machine.rs, run by BusyBox's sh in the machine of zfs-vm.sh.

set -o errexit -o xtrace

# list DATASET: what the kernel shows of it, as files of /out.
list() {
    (
        cd "/tmp/pool/$1"
        find . -exec stat -c '%f %u %g %h %s %Y %i %n' {} + >"/out/$1.names"
        find . -type f -exec sha256sum {} + >"/out/$1.digests"
        find . -type l -exec stat -c '%N' {} + >"/out/$1.links"
    )
}

# Refuses a pool in which anything is wrong.
scrub() {
    zpool scrub -w pool
    zpool status pool
    zpool status -x pool | grep -q 'is healthy'
}

truncate -s 2G /tmp/disk
zpool create -O mountpoint=/tmp/pool pool /tmp/disk

zfs receive pool/first <image.zfs
zfs list -t all -o name,guid,used,refer,creation
list first
scrub

# What came, sent again and received by the kernel that wrote it.
zfs send pool/first@final >/tmp/again
zfs receive pool/second </tmp/again
list second

# Life after: every form of directory grows and shrinks, files change.
cd /tmp/pool/first
for directory in micro fat long; do
    for name in new-1 new-2 a-new-name-of-more-than-the-forty-nine-bytes-of-micro; do
        echo "$name" >"$directory/$name"
    done
    mv "$directory/new-1" "$directory/renamed"
    rm "$directory/new-2"
    test "$(cat "$directory/renamed")" = new-1
done
rm -r micro
ln -sf elsewhere links/to-1023
echo more >>large
chmod 4700 large
ln large fat/large
cd /
scrub
zfs clone pool/first@final pool/clone
list clone
zfs rollback pool/first@final
rm /out/first.*
list first
scrub

if zfs receive pool/flipped </job/flipped.zfs; then exit 1; fi
if zfs receive pool/cut </job/cut.zfs; then exit 1; fi
echo all is well
