#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public
# License, v. 2.0. If a copy of the MPL was not distributed with this
# file, You can obtain one at https://mozilla.org/MPL/2.0/.

# Builds target/zfs/zfs-receive from zfs-receive.c on Debian 12.
#
# OpenZFS in user space comes from Debian's component contrib, which a machine
# seldom has among its sources. So apt works here with sources, lists and
# archives of its own under target/zfs: the mirrors that the machine has
# configured for Debian itself, with contrib added. Nothing is installed, the
# system's sources stay as they are, root is not needed.

set -o errexit -o errtrace -o nounset -o pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/tools/mirrors.sh
readonly work=$PWD/target/zfs
readonly source=tests/tools/zfs-receive.c

# zfs-dkms for the headers that libzfslinux-dev leaves out.
readonly packages=(libzfslinux-dev libzpool5linux libzfs4linux libnvpair3linux
    zfs-dkms)

apt() {
    apt-get --quiet --quiet \
        --option Dir::Etc::SourceList="$work/apt/sources.list" \
        --option Dir::Etc::SourceParts=/dev/null \
        --option Dir::State::Lists="$work/apt/lists" \
        --option Dir::Cache="$work/apt/cache" \
        --option APT::Sandbox::User="$(id --user --name)" "$@"
}

unpack() {
    rm -rf "$work/apt" "$work/root.new" "$work/root"
    mkdir -p "$work"/apt/{lists,cache/archives,debs}/partial "$work/root.new"
    sources >"$work/apt/sources.list"
    [[ -s $work/apt/sources.list ]] || return 1
    apt update
    (cd "$work/apt/debs" && apt download "${packages[@]}")
    local deb
    for deb in "$work"/apt/debs/*.deb; do
        dpkg-deb --extract "$deb" "$work/root.new"
    done
    rm -rf "$work/apt"
    mv "$work/root.new" "$work/root" # whole or not at all
}

if [[ ! -d $work/root ]]; then
    echo "zfs-receive-build: unpacking OpenZFS in ${work#"$PWD"/}" >&2
    trap 'echo "zfs-receive-build: needs Debian 12 and fresh package lists" >&2' ERR
    unpack
    trap - ERR
fi

if [[ ! $work/zfs-receive -nt $source ]]; then
    libraries=$work/root/lib/$(gcc -dumpmachine)
    headers=$(echo "$work"/root/usr/src/zfs-*/include)
    # --disable-new-dtags: the path then serves libraries of libraries, too.
    # The headers are the kernel's as much as ours: their warnings say nothing.
    gcc -std=gnu11 -O2 -g -w -include stdint.h \
        -D_GNU_SOURCE -D_LARGEFILE64_SOURCE \
        -I"$work/root/usr/include/libzfs" -I"$work/root/usr/include/libspl" \
        -idirafter "$headers" -idirafter "$headers/os/linux/zfs" \
        "$source" -o "$work/zfs-receive.new" -L"$libraries" \
        -l:libzpool.so.5 -l:libnvpair.so.3 -lpthread \
        -Wl,-rpath-link,"$libraries" -Wl,--disable-new-dtags \
        -Wl,-rpath,"\$ORIGIN/root/lib/${libraries##*/}"
    mv "$work/zfs-receive.new" "$work/zfs-receive"
fi
