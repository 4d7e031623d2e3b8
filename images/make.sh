#!/bin/bash
# Builds real container-host roots from Debian packages, as test images for `./x bench`.
#
#   images/make.sh [TREE...]      default: old middle new; a tree that is there already is kept
#
#     old      the release suite alone: a host that has missed the security archive
#     middle   with updates and security, but openssl and libssl3 still from the release suite
#     new      with updates and security
#
# old -> new is a routine refresh (kernel, perl, libraries), middle -> new a hotfix of one library.
# Output: target/images/TREE.erofs (uncompressed, 4 KiB blocks) and TREE.packages (exact versions).
# Same packages give the same bytes: every time stamp, UUID and order is fixed. The archive moves on,
# so next month's images differ; figures are therefore only compared within one run of the bench.
#
# Needs root (package scripts run in a chroot), mmdebstrap, erofs-utils, debian-archive-keyring and a
# Debian archive: that of this machine's apt, or DEBIAN_MIRROR and DEBIAN_SECURITY_MIRROR.
set -euo pipefail
export LC_ALL=C TZ=UTC
# 2024-01-01, and a UUID of our own: constants, so that an image depends on its packages alone.
export SOURCE_DATE_EPOCH=1704067200
uuid=0d9a5c0e-2f4b-4f0a-8d55-7477696e726f
suite=bookworm
out=${OUT:-$(cd "$(dirname "$0")/.." && pwd)/target/images}

# What a container host carries: init, container runtime, its network tools, ssh, verity and disk tools.
packages=(
    linux-image-cloud-amd64 systemd systemd-sysv udev dbus systemd-timesyncd kmod
    containerd runc iproute2 iptables nftables conntrack socat ethtool
    openssh-server ca-certificates cryptsetup-bin e2fsprogs curl
)

fail() { printf 'images/make.sh: %s\n' "$*" >&2; exit 1; }

# uri_of ARCHIVE: where this machine's apt gets it from.
uri_of() { apt-get indextargets --format '$(REPO_URI)' | sed -n "\\,/$1/*\$,{s,/*\$,,p;q}"; }

sources() { # sources TREE
    printf 'deb %s %s main\n' "$mirror" "$suite"
    [ "$1" = old ] || printf 'deb %s %s-updates main\ndeb %s %s-security main\n' \
        "$mirror" "$suite" "$security" "$suite"
}

# Whatever differs from run to run or from host to host, and what an immutable root has no use for.
clean() { # clean FOLDER
    cd "$1"
    rm -rf boot/initrd.img* initrd.img* initrd.img.old vmlinuz.old \
        var/cache/apt var/cache/debconf/*-old var/cache/ldconfig var/lib/apt/lists var/log/* \
        var/lib/dpkg/*-old var/lib/dpkg/lock* var/lib/initramfs-tools var/lib/dbus/machine-id \
        var/lib/systemd/random-seed var/lib/systemd/catalog/database \
        etc/apt/preferences.d/hold-openssl etc/apt/apt.conf.d/99mmdebstrap \
        etc/dpkg/dpkg.cfg.d/99mmdebstrap etc/hostname etc/resolv.conf etc/*- etc/ssh/ssh_host_* \
        usr/share/doc usr/share/info usr/share/locale usr/share/man \
        dev/* run/* tmp/* var/tmp/*
    : >etc/machine-id
}

build() { # build TREE
    local tree=$1 root hold=true
    root=$(mktemp -d "$out/.$tree.XXXXXX")
    # shellcheck disable=SC2064  # the folder of this tree, now
    trap "rm -rf --one-file-system '$root'" EXIT
    chmod 0755 "$root"
    if [ "$tree" = middle ]; then
        hold='mkdir -p "$1/etc/apt/preferences.d" && printf "%s\n" "Package: openssl libssl3" \
            "Pin: release l=Debian-Security" "Pin-Priority: -1" >"$1/etc/apt/preferences.d/hold-openssl"'
    fi
    sources "$tree" | mmdebstrap --quiet --mode=root --format=directory --variant=essential \
        --include="$(IFS=,; printf %s "${packages[*]}")" \
        --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
        --setup-hook="$hold" \
        --customize-hook="chroot \"\$1\" dpkg-query -W >'$out/$tree.packages.new'" \
        "$suite" "$root" -
    (clean "$root")
    rm -f "$out/$tree.erofs.new"
    mkfs.erofs --quiet -T"$SOURCE_DATE_EPOCH" -U"$uuid" "$out/$tree.erofs.new" "$root"
    # Named last, so that a tree that is there is whole.
    mv "$out/$tree.packages.new" "$out/$tree.packages"
    mv "$out/$tree.erofs.new" "$out/$tree.erofs"
    rm -rf --one-file-system "$root"
    trap - EXIT
}

[ "$(id -u)" = 0 ] || fail 'needs root: package scripts run in a chroot'
for tool in mmdebstrap mkfs.erofs; do
    command -v "$tool" >/dev/null || fail "needs $tool (./x bench installs it)"
done
mirror=${DEBIAN_MIRROR:-$(uri_of debian)}
security=${DEBIAN_SECURITY_MIRROR:-$(uri_of debian-security)}
[ -n "$mirror" ] && [ -n "$security" ] ||
    fail "apt names no Debian archive here: set DEBIAN_MIRROR and DEBIAN_SECURITY_MIRROR"
mkdir -p "$out"
[ $# -gt 0 ] || set -- old middle new
for tree; do
    case $tree in old | middle | new) ;; *) fail "unknown tree '$tree' (old, middle, new)" ;; esac
    if [ -s "$out/$tree.erofs" ]; then
        printf 'kept    %s\n' "$tree.erofs"
    else
        build "$tree"
        printf 'built   %s, %s bytes, %s packages\n' "$tree.erofs" \
            "$(stat -c %s "$out/$tree.erofs")" "$(wc -l <"$out/$tree.packages")"
    fi
done
