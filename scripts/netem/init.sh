#!/bin/bash
# The first process in user-mode-linux (boot.sh): this machine's root, read-only, under a layer in memory.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
. "$(dirname "$0")/settings"

fail() {
  echo "error: user-mode-linux: $*"
  dmesg 2>/dev/null | tail -n 5
  finish 3
}

# There is no telling the host but by the console.
finish() {
  echo "$marker $1"
  sync
  python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321FEDC)'
}

kernel=$(uname -r)
modules=/usr/lib/uml/modules/$kernel
mount -t proc proc /proc || fail "no /proc"
mount -t tmpfs -o size=75% tmpfs /mnt || fail "no tmpfs"
mkdir /mnt/upper /mnt/work /mnt/root
insmod "$modules/kernel/fs/overlayfs/overlay.ko" || fail "no overlayfs"
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root || fail "the layer in memory cannot be made"
cd /mnt/root || fail "no root"
mount -t proc proc proc && mount -t sysfs sys sys && mount -t devtmpfs dev dev || fail "no /proc, /sys or /dev"
mkdir -p dev/pts dev/shm
mount -t devpts devpts dev/pts
mount -t tmpfs tmpfs dev/shm
mount -t tmpfs tmpfs run
mount -t cgroup2 cgroup2 sys/fs/cgroup || fail "no cgroups of version 2"
mkdir -p lib/modules && ln -sfn "$modules" "lib/modules/$kernel"
ln -sfn /proc/self/fd dev/fd

cd / || fail "no /"
chroot /mnt/root /bin/bash -c '
  ip link set lo up
  for module in sch_netem sch_htb sch_tbf tun veth bridge ipv6 openvswitch; do modprobe -q "$module"; done
  cd "$1" && shift && "$@" </dev/null' init "$directory" "${command[@]}"
finish $?
