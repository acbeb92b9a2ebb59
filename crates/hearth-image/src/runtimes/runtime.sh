# Builds the root of one runtime: sh runtime.sh, in an empty working directory with the files of its recipe.
#
# Runs in a mount and PID namespace of its own, so that whatever is mounted here is gone with the last process. The
# results are `tree`, by rename, and `tmp.ext4`, an empty file system for /tmp.
#
# SUITE     Debian's release
# PACKAGES  packages of the runtime, comma separated
# TOOLS     packages that are needed to build it and removed again, separated by spaces
# KIND      python, node or provided
# SOURCES   apt sources instead of Debian's own, one a line
set -eu

tree=tree.unfinished

set -f
IFS='
'
# shellcheck disable=SC2086
mmdebstrap --mode=root --variant=minbase --include="$PACKAGES,locales,e2fsprogs" \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$SUITE" "$tree" $SOURCES
unset IFS
set +f

# Enters the tree as a container would, with this host's way to the network.
mkdir -p root
mount --bind "$tree" root
mount -t proc proc root/proc
mount -t sysfs sys root/sys
mount --rbind /dev root/dev
mount -t tmpfs tmpfs root/tmp
cat /etc/resolv.conf > root/etc/resolv.conf
# Registries may be reached through a proxy that this host trusts.
if [ -s /etc/ssl/certs/ca-certificates.crt ]; then
    cp /etc/ssl/certs/ca-certificates.crt root/tmp/certificates.crt
    certificates=/tmp/certificates.crt
else
    certificates=
fi
in_tree() {
    # The names of this host's certificates mean nothing there.
    chroot root /usr/bin/env -u REQUESTS_CA_BUNDLE -u CURL_CA_BUNDLE -u SSL_CERT_FILE -u SSL_CERT_DIR HOME=/tmp LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

if [ -n "$TOOLS" ]; then
    in_tree apt-get update
    # shellcheck disable=SC2086
    in_tree apt-get install -y --no-install-recommends $TOOLS
fi

# What a function finds, whatever its runtime. The user is that of AWS.
in_tree localedef -i en_US -f UTF-8 --no-archive en_US.UTF-8
mkdir -p root/var/task root/opt root/var/runtime root/var/lang/bin root/var/lang/lib
in_tree groupadd --gid 990 sbx_user1051
in_tree useradd --uid 993 --gid 990 --home-dir /home/sbx_user1051 --no-create-home --shell /sbin/nologin sbx_user1051

python() {
    interpreter=/usr/bin/$(basename "$(readlink -f root/usr/bin/python3)")
    for name in python3 python "$(basename "$interpreter")"; do
        ln -s "$interpreter" "root/var/lang/bin/$name"
    done
    cp requirements.txt root/tmp/
    pip=$(cd root && ls usr/share/python-wheels/pip-*.whl)
    in_tree PYTHONPATH="/$pip" PIP_INDEX_URL="${PIP_INDEX_URL:-}" PIP_CERT="$certificates" \
        "$interpreter" -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
        --no-compile --no-deps --only-binary=:all: --require-hashes --target /var/runtime -r /tmp/requirements.txt
    # The root is read-only and its files have another time later: what is compiled now is never compiled again.
    find root/usr/lib root/var/runtime -name __pycache__ -prune -exec rm -rf '{}' +
    in_tree "$interpreter" -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        "/usr/lib/$(basename "$interpreter")" /usr/lib/python3 /var/runtime
    install -m 0755 bootstrap root/var/runtime/bootstrap
    install -m 0644 bootstrap.py root/var/runtime/bootstrap.py
}

case $KIND in
python) python ;;
provided) ;;
*)
    echo "no kind $KIND" >&2
    exit 2
    ;;
esac

# An empty file system for /tmp: small, and made larger in the guest to what the function may have. Without a journal,
# because nobody mounts it a second time.
truncate -s "$TMP_BYTES" tmp.ext4.unfinished
touch root/tmp/tmp.ext4
mount --bind tmp.ext4.unfinished root/tmp/tmp.ext4
in_tree mke2fs -q -F -t ext4 -b 4096 -m 0 -i 65536 -O '^has_journal' \
    -E lazy_itable_init=0,nodiscard,root_owner=0:0 /tmp/tmp.ext4
umount root/tmp/tmp.ext4

if [ -n "$TOOLS" ]; then
    # shellcheck disable=SC2086
    in_tree apt-get purge -y --autoremove $TOOLS
fi
in_tree dpkg-query -W -f '${Package} ${Version}\n' > packages.txt
umount -R root

rm -rf "$tree"/var/lib/apt/lists/* "$tree"/var/cache/apt/* "$tree"/var/log/* "$tree"/var/cache/debconf/* \
    "$tree"/var/lib/dpkg/*-old "$tree"/var/cache/ldconfig/aux-cache "$tree"/usr/share/i18n "$tree"/etc/*- \
    "$tree"/run/* "$tree"/tmp/*
# Each environment has its own of these, mounted over them.
rm -f "$tree"/etc/resolv.conf
for name in hostname hosts resolv.conf machine-id; do
    : > "$tree/etc/$name"
done
mv tmp.ext4.unfinished tmp.ext4
mv "$tree" tree
