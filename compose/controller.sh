#!/bin/sh
# What `testbed` means inside the controller's container: what no compose file can say, then the command itself.
set -eu

# Docker mounts /proc/sys read-only, but the network settings of nodes are written there (each write reaches the
# network namespace of its writer only).
[ -w /proc/sys/net ] || mount -o remount,bind,rw /proc/sys

# Where the kernel shares real-time rights out by cgroup (version 1), a container's group has none. Link emulation
# needs some, so this process goes to the group of the machine's own; its other groups stay as they are.
cpu=/sys/fs/cgroup/cpu
if [ -e "$cpu/cpu.rt_runtime_us" ] && ! chrt -f 1 true 2>/dev/null; then
  [ -w "$cpu/cgroup.procs" ] || mount -o remount,bind,rw "$cpu"
  echo $$ >"$cpu/cgroup.procs"
fi

# What is written to the checkout belongs to whom the checkout belongs, as after sudo.
SUDO_UID=$(stat -c %u "$PYTHONPATH") SUDO_GID=$(stat -c %g "$PYTHONPATH")
export SUDO_UID SUDO_GID

# Of cgroup version 2 a container sees its own group as the root of all; those of nodes are beside it.
set -- /opt/controller/bin/python -P -c 'from testbed.cli import main; main()' "$@"
[ ! -e /proc/1/ns/cgroup ] || set -- nsenter --cgroup=/proc/1/ns/cgroup -- "$@"
exec "$@"
