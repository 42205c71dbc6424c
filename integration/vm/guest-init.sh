#!/bin/sh
# Process 1 of a guest, on the machine's own files. What must not be written there gets a file system of its own.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LC_ALL=C
mountpoint -q /proc || mount -t proc proc /proc
mountpoint -q /sys || mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/netns /run/ppp-files
mount --bind /run/ppp-files /etc/ppp 2>/dev/null
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
[ -e /dev/ppp ] || mknod /dev/ppp c 108 0
ip link set lo up
hostname localhost # a name that resolves without a name server: pppd looks it up
export TMPDIR=/dev/shm
control=$(tr ' ' '\n' </proc/cmdline | sed -n 's/^l2tpctl.control=//p')
for module in $(tr ' ' '\n' </proc/cmdline | sed -n 's/^l2tpctl.modules=//p' | tr , ' '); do modprobe -q "$module"; done
echo "l2tpctl-vm: up"
sh "$control/command" </dev/null 2>&1
echo $? >"$control/status"
sync
echo "l2tpctl-vm: down"
. "$control/off"
