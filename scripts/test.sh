#!/bin/bash
# Every test: those that need neither root nor containers side by side, a process a core; then the others, one by one,
# as what they measure must not be disturbed.
set -muo pipefail # -m: tests get Ctrl-C as they would alone
. "$(dirname "$0")/common.sh"
cd "$root_dir"
readonly plain='not root and not docker'
pytest() { .venv/bin/python -m pytest "$@"; }

mkdir -p build
parts=$(nproc) pids=()
for ((part = 1; part <= parts; part++)); do
  pytest -m "$plain" --part "$part/$parts" --junit-xml="build/junit-$part.xml" >"build/tests-$part.log" 2>&1 &
  pids+=($!)
done
trap 'kill "${pids[@]}" 2>/dev/null' EXIT
failed=0
for ((part = 1; part <= parts; part++)); do
  wait "${pids[part - 1]}" || failed=1
  cat "build/tests-$part.log"
done
pids=()
pytest -m "not ($plain)" --junit-xml=build/junit.xml || failed=1
exit "$failed"
