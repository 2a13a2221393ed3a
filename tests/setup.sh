#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public
# License, v. 2.0. If a copy of the MPL was not distributed with this
# file, You can obtain one at https://mozilla.org/MPL/2.0/.

# Brings a Debian 12 machine to where `make demo`, `make test`, `make test-zfs`,
# `make image`, `make bench-dns`, `make bench-auth`, `make bench-image` or
# `make fuzz` can run.
#
#   setup.sh demo|test|test-zfs|image|bench|bench-auth|bench-image|fuzz
#                                                  as root, or with sudo
#
# Looks first: when all is there, nothing is fetched and nothing is printed.
# No package it installs is left running or enabled as a system service.

set -o errexit -o nounset -o pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# What the demo runs on: Prometheus with promtool, nginx, namespaces and mounts
# (ip, unshare), the questions a person asks (dig, curl), C for ring.
demo_packages=(bind9-dnsutils ca-certificates curl gcc iproute2 libc6-dev
    make mount nginx procps prometheus util-linux)
# What tests and checks add; bind9, knot and nsd are primaries to transfer
# from and to compare with, bind9-dnsutils has nsupdate, too; golang-go and
# musl-tools build programs that resolve names; libfaketime moves clocks.
# systemd-container boots LX images. chromium signs in, slapd and Triton's
# client of UFDS (nodejs) are second opinions on LDAP. Alertmanager's sources
# are compiled for illumos.
test_packages=(bind9 binutils golang-github-prometheus-alertmanager-dev
    golang-go knot libfaketime libxml2-utils
    chromium chromium-driver
    musl-tools nodejs nsd openssh-client openssl
    prometheus-alertmanager shellcheck slapd systemd-container)
# What zone-image starts: git for the version, ssh-keygen for signatures, patch
# before a compiler, pip to bring that, mmdebstrap for LX.
image_packages=(gcc git libc6-dev mmdebstrap openssh-client patch python3-pip)
# The name servers to compare with, and what asks them.
bench_packages=(bind9 dnsperf knot nsd unbound)
# What the virtual machine with the ZFS module is made with and runs on.
machine_packages=(cpio mmdebstrap qemu-system-x86)
# Tools built from the public registry: crate, version.
test_tools=(cargo-deny=0.20.2 cargo-nextest=0.9.151)

say() { echo "setup: $*" >&2; }
die() { say "$*"; exit 1; }

as_root() {
    if [[ $EUID -eq 0 ]]; then "$@"; else sudo -- "$@"; fi
}

# Prints those of the named packages that are not installed.
missing_packages() {
    local package
    for package in "$@"; do
        [[ $(dpkg-query --show --showformat='${db:Status-Status}' \
            "$package" 2>/dev/null) == installed ]] || echo "$package"
    done
}

apt() {
    DEBIAN_FRONTEND=noninteractive apt-get --quiet --quiet --yes \
        --option Dpkg::Use-Pty=0 --option DPkg::Lock::Timeout=120 "$@"
}

# Runs as root: setup.sh install-packages PACKAGE...
#
# policy-rc.d keeps services from being started, ours goes again at the end.
# Enabling is not asked there, so that is undone afterwards, and only for a
# daemon which this run brought in: one that was here before is not ours.
install_packages() {
    local log policy=/usr/sbin/policy-rc.d unit
    log=$(mktemp)
    if [[ ! -e $policy && ! -L $policy ]]; then
        # shellcheck disable=SC2064 # the values of now
        trap "rm -f '$policy' '$log'" EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    else
        # shellcheck disable=SC2064
        trap "rm -f '$log'" EXIT
    fi
    if ! apt install --no-install-recommends "$@" >"$log" 2>&1; then
        cat "$log" >&2
        return 1
    fi
    for unit in knot named nginx nsd prometheus prometheus-alertmanager \
        prometheus-node-exporter slapd unbound
    do
        [[ " $* " == *" ${unit/#named/bind9} "* ]] || continue
        # Both kinds of init: containers often have neither running.
        update-rc.d "$unit" disable >/dev/null 2>&1 || true # no init script
        rm -f "/etc/systemd/system/multi-user.target.wants/$unit.service"
        if [[ -d /run/systemd/system ]]; then
            systemctl daemon-reload
            systemctl stop "$unit.service"
        fi
    done
}

ensure_packages() {
    local -a missing
    mapfile -t missing < <(missing_packages "$@")
    [[ ${#missing[@]} -gt 0 ]] || return 0
    say "installing ${missing[*]}"
    as_root "$PWD/tests/setup.sh" update-lists
    as_root "$PWD/tests/setup.sh" install-packages "${missing[@]}"
}

# The illumos check unpacks packages of its own, without installing them; it
# only wants lists that are not older than the archive.
ensure_illumos() {
    [[ ! -d target/illumos/root ]] || return 0
    as_root "$PWD/tests/setup.sh" update-lists
}

# What receives our send streams; it unpacks packages of its own, too.
ensure_zfs_receive() {
    [[ -d target/zfs/root ]] || as_root "$PWD/tests/setup.sh" update-lists
    tests/tools/zfs-receive-build.sh
}

ensure_machine() {
    [[ ! -e target/zfs-vm/initrd ]] || return 0
    say "making a machine with the ZFS module in target/zfs-vm (some minutes)"
    as_root "$PWD/tests/setup.sh" update-lists
    as_root "$PWD/tests/tools/zfs-vm.sh" build
}

# The client of UFDS that Triton's services use, as an oracle for ours.
ensure_ufds_client() {
    local folder=target/ufds-client
    [[ ! -d $folder/node_modules/ufds ]] || return 0
    [[ -n $(type -P npm) ]] || ensure_packages npm
    say "installing ufds 1.9.1 from npm into $folder"
    mkdir -p "$folder"
    npm install --prefix "$folder" --ignore-scripts --no-audit --no-fund \
        --silent ufds@1.9.1
}

ensure_rust() {
    PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    [[ -n $(type -P cargo) ]] ||
        die "no cargo: install Rust first, see https://rustup.rs"
}

# Unoptimized: they are waited for once and run for seconds.
ensure_tool() {
    local crate=${1%=*} version=${1#*=}
    [[ -z $(type -P "$crate") ]] || return 0
    say "installing $crate $version (some minutes)"
    CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet \
        --locked --debug --target-dir target/tools "$crate@$version"
    rm -rf target/tools
}

case ${1:-} in
demo)
    ensure_rust
    ensure_packages "${demo_packages[@]}"
    ;;
test)
    ensure_rust
    ensure_packages "${demo_packages[@]}" "${test_packages[@]}" \
        "${image_packages[@]}"
    ensure_illumos
    ensure_zfs_receive
    ensure_ufds_client
    for tool in "${test_tools[@]}"; do ensure_tool "$tool"; done
    ;;
test-zfs)
    ensure_rust
    ensure_packages gcc libc6-dev make "${machine_packages[@]}"
    ensure_tool cargo-nextest=0.9.151
    ensure_machine
    ;;
bench)
    ensure_rust
    ensure_packages "${demo_packages[@]}" "${bench_packages[@]}"
    ;;
image)
    ensure_rust
    ensure_packages "${image_packages[@]}"
    ;;
bench-auth)
    ensure_rust
    ensure_packages "${demo_packages[@]}" nginx nodejs wrk
    ensure_ufds_client
    ;;
bench-image)
    ensure_rust
    ensure_packages gcc libc6-dev make pigz tar
    ;;
fuzz)
    ensure_rust
    ensure_packages "${demo_packages[@]}" g++
    ensure_tool cargo-fuzz=0.13.2
    cargo +nightly --version >/dev/null 2>&1 ||
        die "no nightly Rust: rustup toolchain install nightly"
    ;;
update-lists) apt update >/dev/null ;;
install-packages) shift; install_packages "$@" ;;
*)
    echo "usage: setup.sh demo|test|test-zfs|image|bench|bench-auth|bench-image|fuzz" >&2
    exit 64
    ;;
esac
