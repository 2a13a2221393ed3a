#!/bin/bash
# This Source Code Form is subject to the terms of the Mozilla Public
# License, v. 2.0. If a copy of the MPL was not distributed with this
# file, You can obtain one at https://mozilla.org/MPL/2.0/.

# A machine in QEMU whose kernel has the real ZFS module, made of Debian 12
# packages under target/zfs-vm. It has no network and no disk but two: one with
# the files of a job, one for what the job leaves.
#
#   zfs-vm.sh build          once, as root; does nothing when it is there
#   zfs-vm.sh run JOB OUT    runs JOB/job.sh in the machine, in a copy of
#                            folder JOB; what it puts in /out comes to OUT
#
# run exits as job.sh does. OUT/log has what it printed, OUT/console the
# machine's own words. No hardware help is used, so it runs wherever QEMU does.

set -o errexit -o errtrace -o nounset -o pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/tools/mirrors.sh
readonly work=$PWD/target/zfs-vm
readonly suite=bookworm
readonly memory_mib=3072 out_mib=1024 limit_seconds=900

# DKMS builds the module for every kernel whose headers it finds.
bootstrap() {
    rm -rf "$work/root.new"
    sources | LC_ALL=C mmdebstrap --mode=root --variant=minbase --quiet \
        --aptopt='APT::Install-Recommends "false"' \
        --include=linux-image-cloud-amd64,linux-headers-cloud-amd64 \
        --include=zfs-dkms,zfsutils-linux,kmod,busybox-static \
        "$suite" "$work/root.new" -
    mv "$work/root.new" "$work/root"
}

in_root() {
    chroot "$work/root" "$@"
}

# Modules in the order in which they load, and that order as a list.
copy_modules() {
    local kernel=$1 to=$2 module path
    for module in virtio_pci virtio_blk zfs; do
        in_root modprobe --set-version "$kernel" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' |
        while read -r path; do
            cp "$work/root$path" "$to/modules/"
            basename "$path" >>"$to/modules/order"
        done
}

# A program and every library that it loads; libgcc_s comes in at run time.
copy_programs() {
    local to=$1 path
    for path in zpool zfs; do
        in_root sh -c "command -v $path; ldd \$(command -v $path)"
    done | grep --only-matching '/[^ ]*' | sort --unique |
        while read -r path; do
            install -D "$work/root$path" "$to$path"
        done
    for path in "$work"/root/{,usr/}lib/*/libgcc_s.so.1; do
        [[ ! -e $path ]] || install -D "$path" "$to${path#"$work/root"}"
    done
    install -D "$work/root/bin/busybox" "$to/bin/busybox"
    mkdir -p "$to/usr/share"
    cp -r "$work/root/usr/share/zfs" "$to/usr/share/"
    ln -s /proc/self/mounts "$to/etc/mtab"
}

write_init() {
    cat >"$1" <<'INIT'
#!/bin/busybox sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o size=90% tmp /tmp
while read -r module; do
    insmod "/modules/$module" || echo "no module $module"
done </modules/order
# A broken promise of ZFS ends the machine; it would wait for ever.
echo 1 >/sys/module/spl/parameters/spl_panic_halt
mkdir -p /etc/zfs /job /out
tar -x -f /dev/vda -C /job
(cd /job && sh job.sh >/out/log 2>&1; echo $? >/out/status)
tar -c -f /dev/vdb -C /out .
sync
reboot -f
INIT
    chmod 755 "$1"
}

build() {
    [[ ! -e $work/initrd ]] || return 0
    mkdir -p "$work"
    [[ -d $work/root ]] || bootstrap
    local kernel tree=$work/tree
    kernel=$(basename "$(dirname "$(dirname "$(dirname \
        "$(find "$work/root/lib/modules" -path '*/dkms/zfs.ko*')")")")")
    rm -rf "$tree"
    mkdir -p "$tree"/{bin,dev,etc,modules,proc,sys,tmp}
    copy_modules "$kernel" "$tree"
    copy_programs "$tree"
    write_init "$tree/init"
    (cd "$tree" && find . | cpio --create --format newc --quiet) |
        gzip -1 >"$work/initrd.new"
    cp "$work/root/boot/vmlinuz-$kernel" "$work/vmlinuz"
    rm -rf "$tree"
    mv "$work/initrd.new" "$work/initrd"
}

run() {
    local job=$1 out=$2
    scratch=$(mktemp --directory) # not local: the trap outlives us
    trap 'rm -rf "$scratch"' EXIT
    tar --create --file "$scratch/in" --directory "$job" .
    truncate --size "${out_mib}M" "$scratch/out"
    mkdir -p "$out"
    timeout "$limit_seconds" qemu-system-x86_64 -accel tcg -cpu max -smp 2 \
        -m "$memory_mib" -nodefaults -no-reboot -display none \
        -serial "file:$out/console" \
        -kernel "$work/vmlinuz" -initrd "$work/initrd" \
        -append 'console=ttyS0 quiet panic=-1 mitigations=off' \
        -drive "file=$scratch/in,format=raw,if=virtio,readonly=on" \
        -drive "file=$scratch/out,format=raw,if=virtio" </dev/null
    tar --extract --file "$scratch/out" --directory "$out"
    return "$(cat "$out/status")"
}

case ${1:-} in
build) build ;;
run) run "${2:?folder of the job}" "${3:?folder for its output}" ;;
*) echo "usage: zfs-vm.sh build | run JOB OUT" >&2; exit 64 ;;
esac
