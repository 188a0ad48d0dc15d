#!/bin/bash
# Run the tests that need netem: here if this kernel has it, else in user-mode-linux, which is installed if missing.
#   test_netem.sh [PYTEST ARGUMENTS...]
set -euo pipefail
. "$(dirname "$0")/common.sh"
cd "$root_dir"
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
readonly seconds=500 # of which a quiet machine takes a third

install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" \
    || { apt-get update -q && apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=120 "$@"; }
}

if unshare --net tc qdisc add dev lo root netem delay 1ms 2>/dev/null; then
  say "This kernel ($(uname -r)) has netem: its tests run here."
  exec scripts/netem/tests.sh here "$@"
fi

missing=()
command -v linux.uml >/dev/null || missing+=(user-mode-linux)
command -v insmod >/dev/null || missing+=(kmod)
if [ "${#missing[@]}" != 0 ]; then
  command -v apt-get >/dev/null || die "this kernel has no netem, and user-mode-linux cannot be installed for you" \
    "modprobe sch_netem; or install what these Debian packages hold: ${missing[*]}"
  phase "10 s" "Debian packages: ${missing[*]}" install_packages "${missing[@]}" \
    || die "user-mode-linux could not be installed" "install these packages yourself: ${missing[*]}"
fi
say "This kernel ($(uname -r)) has no netem: its tests run in user-mode-linux."
exec scripts/netem/boot.sh "$seconds" scripts/netem/tests.sh uml "$@"
