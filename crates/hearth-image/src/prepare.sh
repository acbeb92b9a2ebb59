# The steps of preparing bases, each a call of its own: sh prepare.sh STEP.
#
# Runs in a mount and PID namespace of its own, so that whatever is mounted here is gone with the last process. The
# working directory is the one where trees and disks are made; a step's result appears by rename. What is not
# mmdebstrap's runs in a chroot of the builder tree, so that the host's versions of these tools do not matter.
set -eu

SUITE=bookworm

# debootstrap TARGET OPTION...; further apt sources come in "$SOURCES", one a line.
debootstrap() {
    target=$1
    shift
    set -f
    IFS='
'
    # shellcheck disable=SC2086
    mmdebstrap --mode=root --variant=minbase "$@" "$SUITE" "$target.unfinished" $SOURCES
    unset IFS
    set +f
    # What mmdebstrap takes over from the host, and traces of the installation.
    rm -f "$target.unfinished/etc/resolv.conf" "$target.unfinished/etc/hostname" \
        "$target.unfinished"/var/log/*.log "$target.unfinished"/var/log/apt/* \
        "$target.unfinished/var/cache/ldconfig/aux-cache"
    mv "$target.unfinished" "$target"
}

# Enters the builder tree as a container would: its root has to be a mount of its own.
enter() {
    mkdir -p root
    mount --bind builder root
    mount -t proc proc root/proc
    mount -t sysfs sys root/sys
    mount --rbind /dev root/dev
    mount -t tmpfs tmpfs root/run
    mount -t tmpfs tmpfs root/tmp
}

in_builder() {
    chroot root /usr/bin/env HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

case $1 in
builder)
    debootstrap builder \
        --include=buildah,crun,e2fsprogs,erofs-utils,ca-certificates \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*'
    ;;
debian)
    debootstrap debian --include=ca-certificates
    # As Docker's image of Debian has it: services are not started, packages are neither kept nor synced one by one.
    printf '#!/bin/sh\nexit 101\n' > debian/usr/sbin/policy-rc.d
    chmod 0755 debian/usr/sbin/policy-rc.d
    echo 'force-unsafe-io' > debian/etc/dpkg/dpkg.cfg.d/docker-apt-speedup
    echo 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };' \
        > debian/etc/apt/apt.conf.d/docker-clean
    ;;
store)
    enter
    mkdir -p store.unfinished root/var/lib/containers/storage
    mount --bind store.unfinished root/var/lib/containers/storage
    mount --bind debian root/mnt
    cat /etc/resolv.conf > root/etc/resolv.conf
    cat > root/etc/containers/storage.conf <<-END
		[storage]
		driver = "overlay"
		runroot = "/run/containers/storage"
		graphroot = "/var/lib/containers/storage"
		[storage.options.overlay]
		mountopt = "nodev"
	END
    cat > root/tmp/images.sh <<-'END'
		set -eu
		path=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
		debian=$(buildah from scratch)
		buildah add --quiet "$debian" /mnt /
		buildah config --env "$path" --cmd bash "$debian"
		buildah commit --quiet --rm "$debian" hearth/debian:12
		python=$(buildah from hearth/debian:12)
		buildah run --isolation chroot "$python" -- sh -euc '
		    export DEBIAN_FRONTEND=noninteractive
		    apt-get update
		    apt-get install -y --no-install-recommends python3 python3-pip python3-venv
		    ln -s python3 /usr/bin/python
		    # An image is the environment of its application alone (PEP 668 speaks of this case).
		    rm -f /usr/lib/python3*/EXTERNALLY-MANAGED
		    rm -rf /var/lib/apt/lists/* /var/log/*.log /var/log/apt/* /var/cache/ldconfig/aux-cache'
		buildah config --cmd python3 "$python"
		buildah commit --quiet --rm "$python" hearth/python:3.11
		data=$(buildah from hearth/python:3.11)
		buildah run --isolation chroot "$data" -- sh -euc '
		    export DEBIAN_FRONTEND=noninteractive
		    apt-get update
		    apt-get install -y --no-install-recommends python3-numpy python3-pandas python3-matplotlib
		    rm -rf /var/lib/apt/lists/* /var/log/*.log /var/log/apt/* /var/cache/ldconfig/aux-cache'
		buildah commit --quiet --rm "$data" hearth/python-data:3.11
	END
    in_builder sh /tmp/images.sh
    # Says how overlay is mounted where the store was made.
    rm -f store.unfinished/overlay/.has-mount-program
    umount root/var/lib/containers/storage
    mv store.unfinished store
    ;;
pack)
    rm -f builder/etc/resolv.conf
    mkdir -p disks builder/mnt/disks builder/mnt/tree
    enter
    mount --bind disks root/mnt/disks
    for tree in builder store; do
        mount --bind "$tree" root/mnt/tree
        # Its progress is a line for every file.
        in_builder mkfs.erofs -d0 "/mnt/disks/$tree.erofs" /mnt/tree > /dev/null
        umount root/mnt/tree
    done
    # Without a journal: the disk of a microVM that was killed is never mounted again, and that of one that was
    # suspended belongs to the memory beside it. Tables are zero, so the file is nothing but holes around a few blocks.
    truncate -s "$SCRATCH_BYTES" disks/scratch.ext4
    in_builder mke2fs -q -F -t ext4 -m 0 -i 32768 -O '^has_journal' \
        -E lazy_itable_init=0,nodiscard /mnt/disks/scratch.ext4
    ;;
*)
    echo "no step $1" >&2
    exit 2
    ;;
esac
