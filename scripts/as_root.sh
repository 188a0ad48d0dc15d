#!/bin/bash
# Run a command as root, by sudo where need be; what it leaves in the checkout then belongs to whoever called.
set -euo pipefail
. "$(dirname "$0")/common.sh"

if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || die "this needs root, and sudo is not installed" "run it as root: su -c '$*'"
  exec sudo -E "$root_dir/scripts/as_root.sh" "$@"
fi
trap give_back EXIT
# Ctrl-C is for the command, which ends in its own time.
trap : INT
"$@"
