#!/bin/bash
# Run a command as root, by sudo where need be; what it leaves in the checkout then belongs to whoever called.
set -euo pipefail
. "$(dirname "$0")/common.sh"

if [ "$(id -u)" != 0 ]; then
  # Made by the user, lest root makes it: the reference times of this machine are kept below it.
  mkdir -p "$HOME/.cache"
  command -v sudo >/dev/null || die "this needs root, and sudo is not installed" "run it as root: su -c '$*'"
  exec sudo -E "$root_dir/scripts/as_root.sh" "$@"
fi
# Nothing of root's in the home directory.
export MPLCONFIGDIR=${MPLCONFIGDIR:-$root_dir/build/matplotlib}
trap give_back EXIT
# Ctrl-C is for the command, which ends in its own time.
trap : INT
"$@"
