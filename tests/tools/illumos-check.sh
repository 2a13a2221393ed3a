#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public
# License, v. 2.0. If a copy of the MPL was not distributed with this
# file, You can obtain one at https://mozilla.org/MPL/2.0/.

# Type-checks the programs for x86_64-unknown-illumos on Debian 12: all of the
# workspace but tests/, whose zones are Linux's.
#
#   illumos-check.sh [CARGO CHECK ARGUMENTS]     (default: both)
#
# Debian ships the source of Rust's standard library (rust-web-src) beside a
# compiler of the same age (the one we need is among the security updates); with
# both, cargo builds the illumos library itself.
# The packages are unpacked under target/illumos: nothing is installed, root is
# not needed. There is no illumos C compiler here, so C inside a dependency is
# compiled with the host's headers: good enough to check types, never to link.

set -o errexit -o errtrace -o nounset -o pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
readonly work=$PWD/target/illumos
readonly target=x86_64-unknown-illumos

# What apt would install for these three is what this machine lacks.
unpack_tools() {
    local packages
    packages=$(apt-get --simulate --no-install-recommends install \
        rustc-web cargo-web rust-web-src | awk '$1 == "Inst" { print $2 }')
    rm -rf "$work/debs" "$work/root.new" "$work/root"
    mkdir -p "$work/debs" "$work/root.new"
    # shellcheck disable=SC2086 # one word a package
    (cd "$work/debs" && apt-get --quiet --quiet \
        --option APT::Sandbox::User=root download $packages)
    local deb
    for deb in "$work"/debs/*.deb; do
        dpkg-deb --extract "$deb" "$work/root.new"
    done
    rm -rf "$work/debs"
    mv "$work/root.new" "$work/root" # whole or not at all
}

if [[ ! -d $work/root ]]; then
    echo "illumos-check: unpacking Debian's Rust in ${work#"$PWD"/}" >&2
    trap 'echo "illumos-check: needs Debian 12 with its security updates, and fresh package lists" >&2' ERR
    unpack_tools
    trap - ERR
fi

# Debian's compiler and cargo, by path: rustup and rust-toolchain.toml have no
# say. RUSTC_BOOTSTRAP lets a stable cargo take -Zbuild-std.
# Some packages still have their libraries in /lib, which is /usr/lib only once
# they are installed.
libraries=$(gcc -dumpmachine)
libraries=$work/root/usr/lib/$libraries:$work/root/lib/$libraries
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export RUSTC=$work/root/usr/bin/rustc RUSTC_BOOTSTRAP=1
export CC_x86_64_unknown_illumos=gcc AR_x86_64_unknown_illumos=ar
export CARGO_TARGET_DIR=$work/build
unset RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER

[[ $# -gt 0 ]] || set -- -p monitoring-agent -p zone-image
exec "$work/root/usr/bin/cargo" check --locked --lib --bins \
    -Zbuild-std=std,panic_abort --target "$target" "$@"
