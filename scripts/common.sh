# Shared by the scripts beside it: words for the user, and who the user is. Sourced, not run.

root_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
log="$root_dir/build/setup.log"

say() { printf '%s\n' "$*" >&2; }

# die WHAT REMEDY...: end with what is wrong and what to do about it; exit code 3 is "this machine cannot".
die() {
  local what=$1
  shift
  printf '\nerror: %s\n' "$what" >&2
  for remedy in "$@"; do printf '  do: %s\n' "$remedy" >&2; done
  exit 3
}

# The user who called sudo, when that user may write here; else whoever runs this.
caller_uid=$(id -u) caller_gid=$(id -g)
if [ "$caller_uid" = 0 ] && [ "${SUDO_UID:-0}" != 0 ]; then
  if [ "$(stat -c %u "$root_dir")" = "$SUDO_UID" ]; then caller_uid=$SUDO_UID caller_gid=${SUDO_GID:-$SUDO_UID}; fi
fi

# Run as that user, so that what is written belongs to them.
as_caller() {
  if [ "$caller_uid" = "$(id -u)" ]; then
    "$@"
  else
    local home
    home=$(getent passwd "$caller_uid" | cut -d: -f6)
    HOME=$home setpriv --reuid "$caller_uid" --regid "$caller_gid" --init-groups -- "$@"
  fi
}

# Hand what root made in the checkout, and in that user's cache, to that user.
give_back() {
  local cache place
  if [ "$caller_uid" != "$(id -u)" ]; then
    cache=$(getent passwd "$caller_uid" | cut -d: -f6)/.cache
    for place in "$root_dir" "$cache/roambed"; do
      if [ -d "$place" ]; then find "$place" -xdev -uid 0 -exec chown -h "$caller_uid:$caller_gid" {} +; fi
    done
  fi
}

# torch_wheel PYTHON_TAG: a CPU wheel of torch that is here already, the newest; nothing if there is none.
# (On x86-64 a wheel without +cpu in its name is the CUDA build.)
torch_wheel() {
  local directory machine wheel=
  machine=$(uname -m)
  for directory in ${TORCH_WHEEL_DIR:-${PIP_FIND_LINKS:-} /opt/wheels}; do
    directory=${directory#file://}
    if [ -z "$wheel" ] && [ -d "$directory" ]; then
      wheel=$(find "$directory" -maxdepth 1 -name "torch-*+cpu-$1-$1-*_$machine.whl" | sort -V | tail -n 1)
    fi
  done
  printf '%s' "$wheel"
}

# phase EXPECTED WHAT COMMAND...: run a step with its output in the log, and say how long it took.
phase() {
  local expected=$1 what=$2 began=$SECONDS
  shift 2
  as_caller mkdir -p "$root_dir/build"
  as_caller touch "$log"
  printf '  %-42s (about %s) ... ' "$what" "$expected" >&2
  printf '\n== %s\n' "$what" >>"$log"
  if "$@" >>"$log" 2>&1 </dev/null; then
    printf '%d s\n' $((SECONDS - began)) >&2
  else
    printf 'failed after %d s\n' $((SECONDS - began)) >&2
    awk '/^== /{part = ""; next} {part = part $0 "\n"} END {printf "%s", part}' "$log" | tail -n 15 | sed 's/^/    | /' >&2
    say "    (all of it: $log)"
    return 1
  fi
}
