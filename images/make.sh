#!/bin/bash
# Builds real container-host roots from Debian packages, as test images for `./x bench`.
#
#   images/make.sh [IMAGE...]     default: old middle new; an image that is there already is kept
#   images/make.sh --pairs        every image that `./x bench payload` measures
#
# An IMAGE is a tree, or a tree with another format behind a dot: new, new.ext4, new.lz4.
#
#     old           the release suite alone: a host that has missed the security archive
#     middle        with updates and security, but openssl and libssl3 still from the release suite
#     new           with updates and security
#     week          as new, but what one week (20 to 24 October 2026) brought still from the release suite
#     go-after      as new, with snapd: Go programs of 60 MB in all, as large as a kubelet
#     go-before     as go-after, but containerd one rebuild behind, and snapd two: those of the security suite,
#                   where go-after has the release's
#     next          the next release of the distribution
#     old-unpacked, new-unpacked   as old and new, with the kernel stored unpacked
#
# old -> new is a routine refresh (kernel, perl, libraries), middle -> new a hotfix of one library.
# Output: target/images/TREE.erofs (uncompressed, 4 KiB blocks), TREE.lz4.erofs, TREE.ext4 (1 GiB), and
# TREE.packages (exact versions). Same packages give the same bytes: every time stamp, UUID and order is
# fixed. The archive moves on, so next month's images differ; figures are therefore only compared within
# one run of the bench.
#
# Needs root (package scripts run in a chroot), mmdebstrap, erofs-utils, e2fsprogs, lz4, the archive's keys
# (debian-archive-keyring) and a Debian archive: that of this machine's apt, or DEBIAN_MIRROR and
# DEBIAN_SECURITY_MIRROR. OUT names another folder.
set -euo pipefail
export LC_ALL=C TZ=UTC
# 2024-01-01, and a UUID of our own: constants, so that an image depends on its packages alone.
export SOURCE_DATE_EPOCH=1704067200
uuid=0d9a5c0e-2f4b-4f0a-8d55-7477696e726f
out=${OUT:-$(cd "$(dirname "$0")/.." && pwd)/target/images}
pairs=(old middle new week go-before go-after next old-unpacked new-unpacked old.ext4 middle.ext4 new.ext4 next.ext4
    old.lz4 new.lz4)

# What a container host carries: init, container runtime, its network tools, ssh, verity and disk tools.
packages=(
    linux-image-cloud-amd64 systemd systemd-sysv udev dbus systemd-timesyncd kmod
    containerd runc iproute2 iptables nftables conntrack socat ethtool
    openssh-server ca-certificates cryptsetup-bin e2fsprogs curl
)

fail() { printf 'images/make.sh: %s\n' "$*" >&2; exit 1; }

# uri_of ARCHIVE: where this machine's apt gets it from.
uri_of() { apt-get indextargets --format '$(REPO_URI)' | sed -n "\\,/$1/*\$,{s,/*\$,,p;q}"; }

suite_of() { [ "$1" = next ] && echo trixie || echo bookworm; }

sources() { # sources TREE
    local suite
    suite=$(suite_of "$1")
    printf 'deb %s %s main\n' "$mirror" "$suite"
    [ "$1" = old ] || printf 'deb %s %s-updates main\ndeb %s %s-security main\n' \
        "$mirror" "$suite" "$security" "$suite"
}

# held TREE: an apt preference that keeps a tree's packages out of one archive.
held() {
    local names archive
    case $1 in
        middle) names='openssl libssl3' archive=Debian-Security ;;
        week) names='openssl libssl3 ca-certificates libexpat1 libbrotli1 libsasl2-2 libsasl2-modules-db'
            archive=Debian-Security ;;
        go-before) names='containerd snapd' archive=Debian ;;
        *) return 0 ;;
    esac
    printf 'Package: %s\nPin: release l=%s\nPin-Priority: -1\n' "$names" "$archive"
}

more() { case $1 in go-before | go-after) echo ,snapd ;; esac; } # more TREE: packages that only it has

# Whatever differs from run to run or from host to host, and what an immutable root has no use for.
clean() { # clean FOLDER
    cd "$1"
    rm -rf boot/initrd.img* initrd.img* initrd.img.old vmlinuz.old \
        var/cache/apt var/cache/debconf/*-old var/cache/ldconfig var/lib/apt/lists var/log/* \
        var/lib/dpkg/*-old var/lib/dpkg/lock* var/lib/initramfs-tools var/lib/dbus/machine-id \
        var/lib/systemd/random-seed var/lib/systemd/catalog/database \
        etc/apt/preferences.d/bench etc/apt/apt.conf.d/99mmdebstrap \
        etc/dpkg/dpkg.cfg.d/99mmdebstrap etc/hostname etc/resolv.conf etc/*- etc/ssh/ssh_host_* \
        usr/share/doc usr/share/info usr/share/locale usr/share/man \
        dev/* run/* tmp/* var/tmp/*
    : >etc/machine-id
}

# Folders of a run that failed go with it.
work=
trap '[ -z "$work" ] || rm -rf --one-file-system "$work"' EXIT
scratch() { work=$(mktemp -d "$out/.$1.XXXXXX"); chmod 0755 "$work"; }
drop() { rm -rf --one-file-system "$work"; work=; }

pack() { # pack FOLDER FILE [OPTION...]: an EROFS image, named last, so that one that is there is whole
    local folder=$1 file=$2
    shift 2
    rm -f "$file.new"
    mkfs.erofs --quiet "$@" -T"$SOURCE_DATE_EPOCH" -U"$uuid" "$file.new" "$folder"
    mv "$file.new" "$file"
}

build() { # build TREE: from packages
    local tree=$1
    scratch "$tree"
    held "$tree" >"$out/.$tree.held"
    sources "$tree" | mmdebstrap --quiet --mode=root --format=directory --variant=essential \
        --include="$(IFS=,; printf %s "${packages[*]}")$(more "$tree")" \
        --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
        --setup-hook="mkdir -p \"\$1/etc/apt/preferences.d\" && cp '$out/.$tree.held' \"\$1/etc/apt/preferences.d/bench\"" \
        --customize-hook="chroot \"\$1\" dpkg-query -W >'$out/$tree.packages.new'" \
        "$(suite_of "$tree")" "$work" -
    rm "$out/.$tree.held"
    (clean "$work")
    mv "$out/$tree.packages.new" "$out/$tree.packages"
    pack "$work" "$out/$tree.erofs"
    drop
}

number() { od -An -t"u$3" -j"$2" -N"$3" "$1" | tr -d ' '; } # number FILE OFFSET BYTES

# unpack_kernel FILE: puts the vmlinux in the place of its compressed form (Linux x86 boot protocol:
# setup_sects at 0x1f1, payload_offset at 0x248, payload_length at 0x24c). It is what a delta would see of a
# kernel that is stored unpacked; nothing boots this file.
unpack_kernel() {
    local file=$1 start length
    start=$((($(number "$file" 497 1) + 1) * 512 + $(number "$file" 584 4)))
    # The last four bytes say how long the kernel is once unpacked.
    length=$(($(number "$file" 588 4) - 4))
    head -c $((start + length)) "$file" | tail -c "$length" >"$work.payload"
    [ "$(number "$work.payload" 0 4)" = 407642370 ] || fail "the kernel in $file is not packed with LZ4"
    { head -c "$start" "$file"; lz4 -d -q -c "$work.payload"; tail -c +$((start + length + 1)) "$file"; } >"$work.kernel"
    rm "$work.payload"
    mv "$work.kernel" "$file"
}

extract() { # extract TREE: its files, into $work
    [ -s "$out/$1.erofs" ] || image "$1"
    scratch "$1"
    fsck.erofs --extract="$work" --overwrite "$out/$1.erofs" >/dev/null
}

unpacked() { # unpacked TREE
    local kernel
    extract "$1"
    for kernel in "$work"/boot/vmlinuz-*; do
        unpack_kernel "$kernel"
        touch -d "@$SOURCE_DATE_EPOCH" "$kernel"
    done
    pack "$work" "$out/$1-unpacked.erofs"
    drop
}

# 1 GiB whatever the tree: a slot is a fixed partition. mke2fs copies access and change times of the files
# that it is given, which are those of their extraction; both are set afterwards.
ext4() { # ext4 TREE
    local file=$out/$1.ext4 last inode
    extract "$1"
    rm -f "$file.new"
    E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH mke2fs -q -t ext4 -d "$work" -b 4096 -m 0 -L root -U "$uuid" \
        -E "hash_seed=$uuid,lazy_itable_init=0,root_owner=0:0" -O ^has_journal,^metadata_csum_seed \
        "$file.new" 1G
    last=$(dumpe2fs -h "$file.new" 2>/dev/null |
        awk '/^Inode count/ { all = $3 } /^Free inodes/ { free = $3 } END { print all - free }')
    for inode in 2 $(seq 11 "$last"); do
        printf 'set_inode_field <%s> %s\n' "$inode" "atime @$SOURCE_DATE_EPOCH" \
            "$inode" "ctime @$SOURCE_DATE_EPOCH" "$inode" 'atime_extra 0' "$inode" 'ctime_extra 0'
    done >"$work.debugfs"
    E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH debugfs -w -f "$work.debugfs" "$file.new" >/dev/null 2>&1
    rm "$work.debugfs"
    mv "$file.new" "$file"
    drop
}

image() { # image IMAGE: makes it where it is not there
    local name=$1 tree=${1%%.*} file
    case $name in
        *.ext4) file=$out/$name ;;
        *.lz4) file=$out/$name.erofs ;;
        *) file=$out/$name.erofs ;;
    esac
    if [ -s "$file" ]; then
        printf 'kept    %s\n' "${file##*/}"
        return
    fi
    case $name in
        old.ext4 | middle.ext4 | new.ext4 | next.ext4) ext4 "$tree" ;;
        old.lz4 | new.lz4) extract "$tree"; pack "$work" "$file" -zlz4hc,12; drop ;;
        old-unpacked | new-unpacked) unpacked "${tree%-unpacked}" ;;
        old | middle | new | week | go-before | go-after | next) build "$tree" ;;
        *) fail "unknown image '$name'; known are: ${pairs[*]}" ;;
    esac
    printf 'built   %s, %s bytes\n' "${file##*/}" "$(stat -c %s "$file")"
}

[ "$(id -u)" = 0 ] || fail 'needs root: package scripts run in a chroot'
for tool in mmdebstrap mkfs.erofs fsck.erofs mke2fs debugfs lz4; do
    command -v "$tool" >/dev/null || fail "needs $tool (./x bench installs it)"
done
mirror=${DEBIAN_MIRROR:-$(uri_of debian)}
security=${DEBIAN_SECURITY_MIRROR:-$(uri_of debian-security)}
[ -n "$mirror" ] && [ -n "$security" ] ||
    fail "apt names no Debian archive here: set DEBIAN_MIRROR and DEBIAN_SECURITY_MIRROR"
mkdir -p "$out"
[ $# -gt 0 ] || set -- old middle new
[ "$1" != --pairs ] || set -- "${pairs[@]}"
for name; do image "$name"; done
