# Makes this process the first one of a computer: its own processes, cgroups and files, the last of which are those of the machine below a layer
# in memory. The network is the caller's. $1: a directory for the layer, $2: the cgroup of all that the computer runs.
set -e
mount --make-rprivate /
echo 0 >"$2/cgroup.procs"
exec unshare --cgroup sh -ec '
umask 022
mount -t tmpfs layer "$1"
mkdir "$1/files" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/files,workdir=$1/work" root "$1/root"
cd "$1/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,rw proc/sys/net
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 dev dev
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
mknod -m 600 dev/ppp c 108 0
ln -s null dev/console
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,mode=620,ptmxmode=666 devpts dev/pts
mount -t tmpfs shm dev/shm
mount -t tmpfs -o mode=755 run run
mount -t tmpfs tmp tmp
units=lib/systemd/system
mkdir run/units
for unit in basic.target sysinit.target local-fs.target multi-user.target network.target slices.target sockets.target paths.target timers.target \
    shutdown.target umount.target final.target poweroff.target systemd-poweroff.service \
    systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket; do
    cp "$units/$unit" run/units
done
mount -t tmpfs units "$units"
mv run/units/* "$units"
rmdir run/units
mkdir "$units/sockets.target.wants"
ln -s ../systemd-journald.socket ../systemd-journald-dev-log.socket "$units/sockets.target.wants"
for dir in etc/systemd/system lib/systemd/system-generators lib/systemd/system-environment-generators; do
    [ ! -d "$dir" ] || mount -t tmpfs none "$dir"
done
mkdir -p etc/systemd/system usr/local/bin etc/l2tpctl
echo localhost >etc/hostname # a name that resolves without a name server: pppd looks it up
pivot_root . mnt
cd /
umount -l mnt
export container=other PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec /lib/systemd/systemd --unit=multi-user.target --log-target=journal-or-kmsg --show-status=no
' sh "$1"
