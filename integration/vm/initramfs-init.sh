#!/bin/busybox sh
# From the initramfs to the machine's files: read-only below, a file system in memory above.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
stty -F /dev/console -opost 2>/dev/null
echo "l2tpctl-vm: kernel runs"
parameter() { tr ' ' '\n' </proc/cmdline | sed -n "s/^l2tpctl.$1=//p"; }
for module in /modules/*; do insmod "$module"; done
share=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o "$share,ro,cache=loose" machine /lower || exec poweroff -f
mount -t tmpfs -o size=75% upper /upper
mkdir /upper/files /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work root /root || exec poweroff -f
control=$(parameter control)
mkdir -p "/root$control"
mount -t 9p -o "$share" control "/root$control" || exec poweroff -f
writable=$(parameter share)
if [ -n "$writable" ]; then
    mkdir -p "/root$writable"
    mount -t 9p -o "$share" share "/root$writable" || exec poweroff -f
fi
version=$(uname -r)
mkdir -p "/root/lib/modules/$version"
mount --bind "/root$(parameter moduledir)" "/root/lib/modules/$version"
mount --move /dev /root/dev
mount --move /proc /root/proc
exec switch_root /root "$control/init"
