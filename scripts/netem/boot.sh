#!/bin/bash
# Run a command in user-mode-linux: a kernel as a process, with netem, HTB, cgroup version 2 and Open vSwitch.
#   boot.sh SECONDS COMMAND...   (as root; at most so many seconds; the command's exit status is this one's)
# It sees this machine's files and may write to them: what it writes is in memory and gone afterwards. Its network,
# processes and cgroups are its own. Nothing of it outlives this script.
set -euo pipefail
. "$(dirname "$0")/../common.sh"

seconds=$1
shift
[ "$(id -u)" = 0 ] || die "user-mode-linux needs root here, as what runs in it sees all files" "scripts/as_root.sh $0 ..."
command -v linux.uml >/dev/null || die "user-mode-linux is not installed" "apt install user-mode-linux"

# Where its memory is: a file system in memory if there is room, which containers often do not give /dev/shm.
memory_mb=2048
store=$(mktemp -d /tmp/roambed-uml.XXXXXX)
if [ "$(df --output=avail -m /dev/shm 2>/dev/null | tail -n 1)" -gt "$memory_mb" ]; then memory=/dev/shm; else memory=$store; fi
inner=
leave() {
  if [ -n "$inner" ]; then kill -KILL "$inner" 2>/dev/null || true; wait "$inner" 2>/dev/null || true; fi
  rm -rf "$store"
}
trap leave EXIT
trap 'exit 130' INT TERM HUP

# The command line of a kernel has no blanks in its words; a path or a command may.
marker="uml-exit-$RANDOM$RANDOM"
cp "$root_dir/scripts/netem/init.sh" "$store/init"
{
  printf 'marker=%q directory=%q\n' "$marker" "$root_dir"
  printf 'command=('
  printf '%q ' "$@"
  printf ')\n'
} >"$store/settings"
mkfifo "$store/console"

# All of its processes end with the process namespace they are in. It measures time: others on this machine wait.
TMPDIR=$memory timeout --foreground --signal=KILL "$seconds" unshare --pid --fork --kill-child --mount-proc \
  setsid nice -n -20 sh -c 'echo -20 2>/dev/null >/proc/self/autogroup; exec "$@"' uml \
  linux.uml "mem=${memory_mb}M" "uml_dir=$store" rootfstype=hostfs rootflags=/ ro "init=$store/init" \
  con=null con0=null,fd:1 con1=null ssl=null quiet panic=1 >"$store/console" 2>&1 </dev/null &
inner=$!
status=
while IFS= read -r line; do
  line=${line%$'\r'}
  case $line in
    "$marker "*) status=${line#* } ;;
    SELinux:* | mmapper_init* | "Failed to initialize ubd device 0"* | "reboot: System halted") ;; # says every kernel here
    *) printf '%s\n' "$line" ;;
  esac
done <"$store/console"
ended=0
wait "$inner" || ended=$?
inner=
if [ -z "$status" ]; then
  [ "$ended" != 137 ] || die "user-mode-linux was ended after $seconds s" "see its output above; is the machine busy?"
  die "user-mode-linux ended without a result (status $ended)" "see its output above"
fi
exit "$status"
