# Functions that the scripts share; to be sourced by bash, from the root of the checkout.
# shellcheck shell=bash

say() { printf '%s\n' "$*" >&2; }

# die MESSAGE REMEDY: what is wrong, what to do about it, exit code 3 (this machine cannot).
die() {
  say "error: $1"
  say "  remedy: $2"
  exit 3
}

# phase TEXT EXPECTED: announces a step that takes a while; finished prints how long it took.
phase() {
  phase_started=$SECONDS
  say "==> $1 (expect $2)"
}
finished() { say "    done in $((SECONDS - phase_started)) s"; }

# give_back PATH...: files made under sudo belong to the user who called it.
give_back() {
  if [ "$(id -u)" = 0 ] && [ -n "${SUDO_UID:-}" ]; then
    local path
    for path in "$@"; do
      if [ -e "$path" ]; then chown -Rh "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$path"; fi
    done
  fi
}

# local_torch PYTAG: path of a CPU wheel of torch that this machine holds for a Python (cp311), newest first.
# Looked for in TORCH_WHEEL_DIR, PIP_FIND_LINKS and /opt/wheels.
local_torch() {
  local directory
  for directory in ${TORCH_WHEEL_DIR:-} ${PIP_FIND_LINKS:-} /opt/wheels; do
    directory=${directory#file://}
    if [ -d "$directory" ]; then
      find "$directory" -maxdepth 1 -name "torch-*+cpu-$1-$1-*_$(uname -m).whl" | sort -Vr
    fi
  done | sed -n 1p
}
