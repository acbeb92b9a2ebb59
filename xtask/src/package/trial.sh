#!/bin/sh
# What an administrator does with the package on a machine whose KVM runs guests, up to and after an upgrade. The package, the
# guest's kernel and the base images lie there already; there is no network.
set -eux
export HOME=/root DEBIAN_FRONTEND=noninteractive

wait_for_service() {
    for _ in $(seq 120); do
        ! hearth status || return 0
        sleep 1
    done
    journalctl --unit hearth --lines 50 --no-pager
    return 1
}

# `set -e` overlooks what `!` negates.
no() {
    if "$@"; then return 1; fi
}

# Counts requests, in its memory. It has no hook that tells when it listens, and a snapshot may be older than that.
answers() {
    for _ in $(seq 120); do
        ! answer=$(hearth curl --fail "$1" /) || break
        sleep 1
    done
    echo "$answer" | tee /dev/stderr | grep -F "\"count\": $2,"
}

# Nothing of a microVM may be seen from outside.
nothing_is_left() {
    no pidof hearth-vmm
    test -z "$(ip netns)"
    test -z "$(find /sys/fs/cgroup -type d -name '*microvm*')"
    no grep -F /hearth/ /proc/mounts
}

apt-get -qq install --yes --no-install-recommends /hearth.deb
hearth doctor | tee /dev/stderr | grep -E '^ok +kvm'
systemctl enable --now hearth
wait_for_service

hearth image build /hello
microvm=$(hearth run hello --wait)
answers "$microvm" 1
hearth suspend "$microvm"
hearth resume "$microvm"
answers "$microvm" 2

# MicroVMs outlive the service and an upgrade.
vmm=$(pidof hearth-vmm)
service=$(systemctl show --property MainPID --value hearth)
apt-get -qq install --yes --no-install-recommends --reinstall /hearth.deb
wait_for_service
test "$(systemctl show --property MainPID --value hearth)" != "$service"
test "$(pidof hearth-vmm)" = "$vmm"
answers "$microvm" 3

hearth rm "$microvm"
nothing_is_left

# Whoever purges the package may have forgotten about microVMs.
hearth run hello --wait
apt-get -qq purge --yes hearth
no pidof hearth
test -z "$(nft list tables)"
test ! -e /var/lib/hearth
nothing_is_left
