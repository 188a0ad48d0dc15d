#!/bin/bash
# What test_netem.sh runs, where netem is: the tests that both kinds of links share, and a container on cgroup v2.
#   tests.sh here|uml [PYTEST ARGUMENTS...]
set -euo pipefail
. "$(dirname "$0")/../common.sh"
cd "$root_dir"
where=$1
shift
export ROAMBED_REQUIRE_NETEM=1 PYTHONDONTWRITEBYTECODE=1
run_pytest() { .venv/bin/python -m pytest -p no:cacheprovider "$@"; }

# An engine of its own, with all it has in memory, and an image with nothing in it but a program that waits.
start_engine() {
  local place=/run/engine
  mkdir -p "$place" && mount -t tmpfs tmpfs "$place"
  mkdir -p "$place/image/bin" /run/docker
  printf '{}\n' >"$place/settings"
  printf 'int pause(void);\nint main(void) { for (;;) pause(); }\n' >"$place/wait.c"
  "${CC:-gcc}" -static -O -o "$place/image/bin/sleep" "$place/wait.c"
  unset DOCKER_HOST DOCKER_CONTEXT
  dockerd --config-file "$place/settings" --data-root "$place/data" --exec-root "$place/run" --pidfile "$place/pid" \
    --host unix:///var/run/docker.sock --bridge none --iptables=false --ip6tables=false --ip-forward=false \
    >"$place/log" 2>&1 &
  local end=$((SECONDS + 60))
  until docker version >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$end" ] || ! kill -0 $! 2>/dev/null; then
      tail -n 20 "$place/log"
      die "the container engine does not start in user-mode-linux" "see its output above"
    fi
    sleep 0.2
  done
  tar --create --directory "$place/image" . | docker import - "$ROAMBED_TEST_IMAGE" >/dev/null
}

if [ "$#" != 0 ]; then
  run_pytest "$@"
  exit
fi
status=0
run_pytest tests/unit/links/test_netem.py tests/system/test_both_links.py || status=$?
if [ "$where" = uml ]; then
  export ROAMBED_TEST_IMAGE=roambed-wait:latest ROAMBED_REQUIRE_DOCKER=1
  start_engine
fi
run_pytest tests/system/test_cgroup_v2.py || status=$?
exit "$status"
