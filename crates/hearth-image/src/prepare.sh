# The steps of preparing bases, each a call of its own: sh prepare.sh STEP.
#
# Runs in a mount and PID namespace of its own, so that whatever is mounted here is gone with the last process. The
# working directory is the one where trees and disks are made; a step's result appears by rename. What is not
# mmdebstrap's runs in a chroot of the builder tree, so that the host's versions of these tools do not matter.
set -eu

# Of the base images.
SUITE=bookworm

# Of the builder: the first Debian whose buildah knows heredocs and keeps what is written below a VOLUME.
BUILDER_SUITE=trixie

# debootstrap TARGET SUITE OPTION...; further apt sources come in "$SOURCES", one a line, and are meant for the suite
# of the base images.
debootstrap() {
    target=$1
    suite=$2
    shift 2
    sources=$(printf '%s' "$SOURCES" | sed "s/\\b$SUITE\\b/$suite/g")
    set -f
    IFS='
'
    # shellcheck disable=SC2086
    mmdebstrap --mode=root --variant=minbase "$@" "$suite" "$target.unfinished" $sources
    unset IFS
    set +f
    # What mmdebstrap takes over from the host, and traces of the installation.
    rm -f "$target.unfinished/etc/resolv.conf" "$target.unfinished/etc/hostname" \
        "$target.unfinished"/var/log/*.log "$target.unfinished"/var/log/apt/* \
        "$target.unfinished/var/cache/ldconfig/aux-cache"
    mv "$target.unfinished" "$target"
}

# Has a tree trust the operator's certificates too, if there are some.
trust() {
    [ -s certificates.pem ] || return 0
    mkdir -p "$1/usr/local/share/ca-certificates"
    cp certificates/*.crt "$1/usr/local/share/ca-certificates/"
    chroot "$1" update-ca-certificates
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
    # netavark: buildah starts no build without it, also where every RUN has the network of the builder.
    debootstrap builder "$BUILDER_SUITE" \
        --include=buildah,crun,netavark,e2fsprogs,erofs-utils,ca-certificates \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*'
    ;;
debian)
    rm -rf debian.made debian.made.unfinished
    debootstrap debian.made "$SUITE" --include=ca-certificates
    trust debian.made
    # OpenSSL takes every random byte from the kernel, which knows of clones (openssl/random.rs).
    install -D -m 0644 hearth-random.so debian.made/usr/lib/hearth/openssl-random.so
    sed -i -e 's/^openssl_conf = openssl_init$/&\nnodejs_conf = openssl_init/' \
        -e 's/^\[openssl_init\]$/&\nproviders = hearth_providers\nrandom = hearth_random/' debian.made/etc/ssl/openssl.cnf
    cat >> debian.made/etc/ssl/openssl.cnf <<-END

		# Random bytes come from the kernel, so that they differ in each clone of a snapshot.
		[hearth_providers]
		default = hearth_default
		hearth = hearth_provider
		[hearth_default]
		activate = 1
		[hearth_provider]
		module = /usr/lib/hearth/openssl-random.so
		activate = 1
		[hearth_random]
		random = HEARTH-RANDOM
	END
    # A later OpenSSL may read its file otherwise. It fails where it finds no generator of that name.
    chroot debian.made openssl rand 16 > /dev/null
    chroot debian.made openssl list -providers | grep -q hearth
    # As Docker's image of Debian has it: services are not started, packages are neither kept nor synced one by one.
    printf '#!/bin/sh\nexit 101\n' > debian.made/usr/sbin/policy-rc.d
    chmod 0755 debian.made/usr/sbin/policy-rc.d
    echo 'force-unsafe-io' > debian.made/etc/dpkg/dpkg.cfg.d/docker-apt-speedup
    echo 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };' \
        > debian.made/etc/apt/apt.conf.d/docker-clean
    mv debian.made debian
    ;;
store)
    trust builder
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
    # buildah raises these limits, which a container that prepares bases may not.
    limit=$(ulimit -Hn)
    cat > root/etc/containers/containers.conf <<-END
		[containers]
		default_ulimits = ["nofile=$limit:$limit", "nproc=$limit:$limit"]
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
    rm -f store.unfinished/overlay/.has-mount-program root/etc/containers/containers.conf
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
    blank() {
        truncate -s "$2" "disks/$1"
        in_builder mke2fs -q -F -t ext4 -m 0 -i "$3" -O '^has_journal' -E lazy_itable_init=0,nodiscard "/mnt/disks/$1"
    }
    blank work.ext4 "$WORK_BYTES" 65536
    blank scratch.ext4 "$SCRATCH_BYTES" 32768
    ;;
*)
    echo "no step $1" >&2
    exit 2
    ;;
esac
