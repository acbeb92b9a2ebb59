# Inside the builder microVM, beside its agent, run by busybox: sh guest.sh STEP [ARGUMENT...].
#
#     /b/builder        builder disk, read-only
#     /b/store          store disk, read-only: buildah's additional image store
#     /b/work           work disk: context, Dockerfile, own image store, temporary files, the layer disk
#     /b/work/containers   own image store; on the cache disk, if there is one
#     /b/root           overlay of builder disk and work disk: where buildah runs
set -eu
export PATH=/bin

disk() {
    for block in /sys/block/vd*; do
        if [ "$(cat "$block/serial")" = "$1" ]; then
            echo "/dev/${block##*/}"
            return
        fi
    done
    echo "the machine has no disk $1" >&2
    return 1
}

# From here on the kernel kills a build that takes too much instead of the agent. What a RUN starts is in a group
# beside this one, and both are in the group that has the limits: a group with limits for its children has no
# processes of its own (cgroup-v2, "No Internal Process Constraint").
join_group() {
    echo $$ > /sys/fs/cgroup/build/steps/cgroup.procs
}

in_root() {
    exec chroot /b/root /usr/bin/env -i HOME=/root TMPDIR=/work/tmp BUILDAH_ISOLATION=oci \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# The images in the builder's own store, one a line.
image_ids() {
    index=/b/work/containers/overlay-images/images.json
    [ ! -f "$index" ] || grep -o '"id":"[0-9a-f]*"' "$index" | sort
}

step=$1
shift
case $step in
# Mounts everything, and unpacks the context from standard input.
context)
    /bin/busybox --install -s /bin
    mkdir -p /b/builder /b/store /b/work /b/root
    mount -t erofs -o ro "$(disk builder)" /b/builder
    mount -t erofs -o ro "$(disk store)" /b/store
    # A disk for one build: nothing on it has to survive anything.
    mount -t ext4 -o noatime,nobarrier "$(disk work)" /b/work
    cd /b/work
    mkdir upper overlay containers tmp context
    chmod 1777 tmp
    # Layers of earlier builds, by code of the same account.
    if cache=$(disk cache 2> /dev/null); then
        mount -t ext4 -o noatime,nobarrier "$cache" /b/work/containers
        image_ids > images-before
    fi
    mount -t overlay -o lowerdir=/b/builder,upperdir=/b/work/upper,workdir=/b/work/overlay overlay /b/root
    cd /b/root
    mkdir -p store work
    mount -o bind /b/store store
    mount -o rbind /b/work work
    mount -t proc proc proc
    mount -o rbind /sys sys
    mount -o rbind /dev dev
    mount -t tmpfs -o mode=0755 tmpfs run
    mkdir -p dev/shm
    cat > etc/containers/storage.conf <<-END
		[storage]
		driver = "overlay"
		runroot = "/run/containers/storage"
		graphroot = "/work/containers"
		[storage.options]
		additionalimagestores = ["/store"]
		[storage.options.overlay]
		mountopt = "nodev"
	END
    hostname builder
    echo '127.0.0.1 localhost builder' > etc/hosts
    ip link set lo up 2> /dev/null || ifconfig lo 127.0.0.1 up || true

    for controller in memory pids; do
        echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control || true
    done
    mkdir -p /sys/fs/cgroup/build/steps
    total_kib=$(awk '/^MemTotal:/ { print $2 }' /proc/meminfo)
    # The rest is for the agent and the kernel.
    echo $(((total_kib - 96 * 1024) * 1024)) > /sys/fs/cgroup/build/memory.max || true
    echo 4096 > /sys/fs/cgroup/build/pids.max || true
    exec tar -x -f - -C /b/work/context
    ;;
# Unpacks what is to be known of registries, from standard input, and takes over the name server.
settings)
    if [ -f /etc/resolv.conf ]; then
        cat /etc/resolv.conf > /b/root/etc/resolv.conf
    fi
    exec tar -x -f - -C /b/root
    ;;
# missing PATH...: the first of these that the context does not have.
missing)
    for path in "$@"; do
        if [ ! -e "/b/work/context/$path" ] && [ ! -L "/b/work/context/$path" ]; then
            echo "$path"
            exit
        fi
    done
    ;;
build)
    join_group
    ignore=/work/context/Dockerfile.dockerignore
    [ ! -f "/b$ignore" ] || set -- "$@" --ignorefile "$ignore"
    in_root buildah bud "$@" --iidfile /work/image-id --file /work/Dockerfile /work/context
    ;;
# index PATH: an index of a store, or nothing when it was never written.
index)
    [ -f "$1" ] || exit 0
    exec cat "$1"
    ;;
image-id)
    exec cat /b/work/image-id
    ;;
# config STORE ID: configuration of an image in /b/work/containers or /b/store.
config)
    exec cat "$1/overlay-images/$2/=$(printf 'sha256:%s' "$2" | base64 -w 0)"
    ;;
# pack LAYER...: one directory each, l0 the first, on one disk; answers its size in bytes.
pack)
    join_group
    index=0
    for layer in "$@"; do
        mkdir -p "/b/root/run/layers/l$index"
        mount -o bind "/b/work/containers/overlay/$layer/diff" "/b/root/run/layers/l$index"
        index=$((index + 1))
    done
    chroot /b/root /usr/bin/mkfs.erofs -d0 /work/layer.erofs /run/layers > /dev/null
    stat -c %s /b/work/layer.erofs
    ;;
# Makes the disk of layers fit for later builds; answers "same" when nothing was added to it.
keep)
    # What a RUN left running.
    echo 1 > /sys/fs/cgroup/build/cgroup.kill
    if [ "$(image_ids)" = "$(cat /b/work/images-before)" ]; then
        echo same
        exit
    fi
    # An image that was pulled is asked for again next time, as far as that build's egress leads; and no other name
    # matches it by its end.
    index=/b/work/containers/overlay-images/images.json
    [ ! -f "$index" ] || sed -i 's/"names":\[[^]]*\]/"names":[]/g' "$index"
    cache=$(disk cache)
    mount -o remount,barrier "$cache" /b/work/containers
    sync
    mount -o remount,ro "$cache" /b/work/containers
    echo changed
    ;;
# What takes how much of the disks, in KiB.
usage)
    for part in 'containers layers' 'context the content of the zip' 'tmp temporary files' 'upper files of the builder' \
        'layer.erofs the packed layers'; do
        [ ! -e "/b/work/${part%% *}" ] || echo "$(du -skx "/b/work/${part%% *}" | cut -f 1) ${part#* }"
    done
    df -k /b/work | awk 'END { print $2, "of a disk of" }'
    ;;
export)
    exec cat /b/work/layer.erofs
    ;;
*)
    echo "no step $step" >&2
    exit 2
    ;;
esac
