# Run by the agent (PID 1) of the emulated host with busybox, after its file systems are mounted and its
# modules loaded: what only the emulated host needs.
/bin/busybox --install -s /bin
echo '127.0.0.1 localhost' > /etc/hosts
echo 'root:x:0:0:root:/root:/bin/sh' > /etc/passwd
echo 'root:x:0:' > /etc/group
hostname hearth-emulated
mkdir -p /data
mount -t ext4 -o noatime,discard /dev/vda /data
