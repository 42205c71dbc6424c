#!/bin/bash
# Installs the programs that the tests and the demo use, where they are missing. Only Debian and its relatives are served; elsewhere the
# missing programs are named.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin

missing=()
need() { # need PACKAGE PROGRAM-OR-FILE...
    local package=$1 program
    shift
    for program; do
        case $program in
        /*) compgen -G "$program" >/dev/null || { missing+=("$package"); return; } ;;
        *) command -v "$program" >/dev/null || { missing+=("$package"); return; } ;;
        esac
    done
}

need gcc cc
need libc6-dev /usr/include/stdio.h
need iproute2 ip ss
need nftables nft
need procps sysctl
need kmod modprobe depmod
need ppp pppd '/usr/lib/pppd/*/pppol2tp.so' '/usr/lib/pppd/*/radius.so'
need strongswan-starter /usr/lib/ipsec/starter /usr/lib/ipsec/stroke
need strongswan-charon /usr/lib/ipsec/charon
need libstrongswan-standard-plugins /usr/lib/ipsec/plugins/libstrongswan-openssl.so
need xl2tpd xl2tpd
need iperf3 iperf3
need tcpdump tcpdump
need strace strace
need busybox-static busybox
need util-linux nsenter unshare
need systemd /lib/systemd/systemd systemctl journalctl

# A kernel of our own is only needed where the machine's cannot do it and no user-mode kernel is named.
needs_qemu() {
    case ${L2TPCTL_TEST_KERNEL:-} in
    qemu) return 0 ;;
    host) return 1 ;;
    ?*) return 1 ;;
    esac
    modprobe -q l2tp_ppp 2>/dev/null && modprobe -q esp4 2>/dev/null && return 1
    return 0
}
if needs_qemu; then
    need qemu-system-x86 qemu-system-x86_64
    need xz-utils xz
fi

[ ${#missing[@]} -eq 0 ] && { needs_qemu || exit 0; }
if ! command -v apt-get >/dev/null; then
    echo "Please install: ${missing[*]:-}" >&2
    exit $((${#missing[@]} > 0))
fi
if [ "$(id -u)" != 0 ]; then
    [ ${#missing[@]} -eq 0 ] && exit 0
    echo "Missing packages: ${missing[*]}. Run 'make deps' as root." >&2
    exit 1
fi

# qemu's kernel is downloaded by apt later, which needs apt's lists too.
if [ ${#missing[@]} -eq 0 ] && apt-cache show linux-image-amd64 >/dev/null 2>&1; then
    exit 0
fi

export DEBIAN_FRONTEND=noninteractive
# The packages bring services; the tests start their own, and this machine does not want any.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
    trap 'rm -f $policy' EXIT
fi
install() {
    apt-get -qq update && { [ ${#missing[@]} -eq 0 ] || apt-get -qq -y install --no-install-recommends "${missing[@]}" >/dev/null; }
}
echo "# apt: update, then install ${missing[*]:-nothing}"
install || { echo "# apt failed, once more"; install; }
