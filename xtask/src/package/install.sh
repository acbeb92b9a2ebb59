#!/bin/sh
# What an administrator does with the package, in a Debian that has nothing else. $1 is the version to expect.
set -eux

apt-get install --yes --no-install-recommends /hearth.deb
hearth --version | grep -F "$1"
hearth up --print-config > /dev/null
systemd-analyze verify --man=no /usr/lib/systemd/system/hearth.service
systemctl enable hearth
test -L /etc/systemd/system/multi-user.target.wants/hearth.service

# What the administrator wrote outlives an upgrade.
echo '# mine' >> /etc/hearth/hearth.toml
apt-get install --yes --no-install-recommends --reinstall /hearth.deb
grep -x '# mine' /etc/hearth/hearth.toml

# And a removal; a purge takes everything.
mkdir -p /var/lib/hearth/machines
apt-get remove --yes hearth
test ! -e /usr/bin/hearth
grep -x '# mine' /etc/hearth/hearth.toml
apt-get purge --yes hearth
test ! -e /etc/hearth
test ! -e /var/lib/hearth
test ! -e /usr/lib/hearth
test ! -e /etc/systemd/system/multi-user.target.wants/hearth.service
