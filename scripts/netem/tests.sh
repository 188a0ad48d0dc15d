#!/bin/bash
# What test_netem.sh runs, where netem is: the tests that both kinds of links share, and a container on cgroup v2.
#   tests.sh here|uml [PYTEST ARGUMENTS...]
set -euo pipefail
. "$(dirname "$0")/../common.sh"
cd "$root_dir"
where=$1
shift
export ROAMBED_REQUIRE_NETEM=1 PYTHONDONTWRITEBYTECODE=1
[ "$#" != 0 ] || set -- tests/unit/links/test_netem.py tests/system/test_both_links.py
exec .venv/bin/python -m pytest -p no:cacheprovider "$@"
