#!/bin/bash
# Set up this machine for Roambed: packages, container engine, virtual environment, C programs, node image.
# Does only what is missing, says so first and asks, unless YES=1 is set or nobody sits at a terminal.
#   PYTHON            the Python to use, 3.11 or newer, with venv
#   TORCH_WHEEL_DIR   directory with a CPU wheel of torch (else: PIP_FIND_LINKS, /opt/wheels)
#   TORCH_INDEX       PyTorch's package index, if not https://download.pytorch.org/whl/cpu
#   BASE_IMAGE, DEBIAN_MIRROR   see image.sh
set -euo pipefail
. "$(dirname "$0")/common.sh"
cd "$root_dir"
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

torch_index=${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}
venv=.venv
stamp=$venv/.set-up
engine_log=${ENGINE_LOG:-/var/log/roambed-dockerd.log}

# ---- what this machine is -------------------------------------------------------------------------------------

need_linux() {
  [ "$(uname -s)" = Linux ] || die "Roambed needs the Linux kernel; this is $(uname -s)" \
    "use a Linux machine or VM: Debian 12 or later, Ubuntu 24.04 or later"
}

become_root() {
  [ "$(id -u)" != 0 ] || return 0
  command -v sudo >/dev/null || die "setting up needs root, and sudo is not installed" "run it as root: su -c 'make setup'"
  exec sudo -E "$root_dir/scripts/setup.sh" "$@"
}

# ---- Debian packages ------------------------------------------------------------------------------------------

# Each with a program or file by which it is known, wherever that came from.
readonly known_by="
mininet:mnexec iproute2:tc bridge-utils:brctl net-tools:ifconfig ethtool:ethtool iputils-ping:ping iperf3:iperf3
procps:ps util-linux:nsenter gcc:gcc libc6-dev:/usr/include/stdio.h mmdebstrap:mmdebstrap git:git"

find_packages() {
  local pair sign
  packages=()
  for pair in $known_by; do
    sign=${pair#*:}
    case $sign in
      /*) [ -e "$sign" ] || packages+=("${pair%%:*}") ;;
      *) command -v "$sign" >/dev/null || packages+=("${pair%%:*}") ;;
    esac
  done
  # mmdebstrap checks Debian's signatures, whose keys other distributions do not bring.
  [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || packages+=(debian-archive-keyring)
  find_python
  if [ -z "$python" ]; then
    packages+=(python3 python3-venv)
  elif [ ! -x "$venv/bin/python" ] && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    packages+=("python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv")
  fi
  if [ "$engine" != answers ] && ! command -v dockerd >/dev/null; then packages+=(docker.io); fi
}

# The first Python that is new enough, not a version manager's stand-in for one.
find_python() {
  local candidate
  python=
  for candidate in ${PYTHON:-python3.11 python3.12 python3 python3.13}; do
    if python=$("$candidate" -c 'import sys; assert sys.version_info >= (3, 11); print(sys.executable)' 2>/dev/null); then return; fi
  done
  python=
  [ -z "${PYTHON:-}" ] || die "PYTHON=$PYTHON is not Python 3.11 or newer" "name one that is, or leave PYTHON unset"
}

need_apt() {
  [ "${#packages[@]}" != 0 ] || return 0
  command -v apt-get >/dev/null || die "something is missing, and this is not Debian or Ubuntu, so it cannot be installed for you" \
    "install what these Debian packages hold, then run make setup again: ${packages[*]}"
}

install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  local wanted=("${packages[@]}")
  # Lists that are missing or old make apt ask for versions that are gone.
  if ! apt-cache show "${wanted[@]}" >/dev/null 2>&1 || [ -z "$(find /var/lib/apt/lists -maxdepth 1 -name '*Packages*' -mtime -1 -print -quit)" ]; then
    apt-get update -q || return
  fi
  # Debian 13 and later have Docker's client in a package of its own.
  case " ${wanted[*]} " in *" docker.io "*) if apt-cache show docker-cli >/dev/null 2>&1; then wanted+=(docker-cli); fi ;; esac
  apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=120 "${wanted[@]}" \
    || { apt-get update -q && apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=120 "${wanted[@]}"; }
}

# ---- the container engine -------------------------------------------------------------------------------------

find_engine() {
  local found
  engine=silent
  if command -v docker >/dev/null && found=$(docker info --format '{{.OperatingSystem}} {{.SecurityOptions}}' 2>/dev/null); then
    engine=answers
    case $found in
      *"Docker Desktop"*) die "the engine is Docker Desktop, which keeps its containers in a virtual machine" \
        "use Docker Engine itself (apt install docker.io), in a Linux VM if need be; then: docker context use default" ;;
      *name=rootless*) die "the engine is rootless: it can neither set every limit nor share namespaces with root" \
        "use the system's engine: unset DOCKER_HOST; docker context use default; make setup" ;;
    esac
  elif [ -n "${DOCKER_HOST:-}" ]; then
    die "DOCKER_HOST is set to $DOCKER_HOST, and no engine answers there" "unset DOCKER_HOST, then: make setup"
  fi
}

# engine_answers SECONDS [PID]: wait until it does, or the process that is to become it has ended.
engine_answers() {
  local end=$((SECONDS + $1))
  until docker version >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$end" ]; then return 1; fi
    if [ -n "${2:-}" ] && ! kill -0 "$2" 2>/dev/null; then
      docker version >/dev/null 2>&1 # it may have answered since, and made way for another
      return
    fi
    sleep 0.2
  done
}

# By systemd or the init script where there is one (which may print a complaint about ulimit and yet work), else by hand.
start_engine() {
  if [ -d /run/systemd/system ]; then
    systemctl start docker && engine_answers 60
    return
  fi
  if command -v service >/dev/null && service docker start && engine_answers 20; then return; fi
  local dockerd=
  if ! pidof dockerd >/dev/null; then
    setsid dockerd >>"$engine_log" 2>&1 </dev/null &
    dockerd=$!
  fi
  engine_answers 60 "$dockerd" || { tail -n 5 "$engine_log"; return 1; }
}

# ---- the virtual environment ----------------------------------------------------------------------------------

fingerprint() { cat pyproject.toml scripts/setup.sh | sha256sum; }

venv_is_ready() {
  [ -x "$venv/bin/testbed" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$root_dir $(fingerprint)" ] && "$venv/bin/python" -c '' 2>/dev/null
}

pip_install() { as_caller "$venv/bin/python" -m pip install -q --disable-pip-version-check "$@"; }

make_venv() {
  # One that was copied from elsewhere, or whose Python is gone, is of no use.
  if "$venv/bin/python" -c '' 2>/dev/null && grep -qs "$root_dir/$venv/bin/python" "$venv/bin/pip"; then return; fi
  # What a link points to is not ours to clear.
  [ ! -L "$venv" ] || { echo "$venv is a link to $(readlink "$venv"): rm $venv, then: make setup"; return 1; }
  as_caller "$python" -m venv --clear "$venv"
}

# Of torch: "" without one, "cpu", or the CUDA version it is built for. Asked without the seconds that importing takes.
torch_build() {
  "$venv/bin/python" - <<'PY'
import importlib.util, pathlib, runpy
spec = importlib.util.find_spec("torch")
if spec and spec.origin:
    print(runpy.run_path(str(pathlib.Path(spec.origin).with_name("version.py"))).get("cuda") or "cpu")
PY
}

remove_cuda_torch() {
  echo "removing a CUDA build of torch ($(torch_build)): gigabytes that nothing here uses"
  "$venv/bin/python" -m pip freeze | sed -n 's/^\(nvidia-[a-z0-9-]*\|triton\|torch\)[ =].*/\1/p' \
    | xargs -r "$venv/bin/python" -m pip uninstall -q -y
}

install_torch() {
  local tag wheel
  case $(torch_build) in
    cpu) return ;;
    ?*) remove_cuda_torch || return ;;
  esac
  tag=$("$venv/bin/python" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
  wheel=$(torch_wheel "$tag")
  if [ -n "$wheel" ]; then
    pip_install "$wheel" || return
  else
    # No other index than PyTorch's own for CPUs: elsewhere the same version is a CUDA build.
    PIP_EXTRA_INDEX_URL='' pip_install --index-url "$torch_index" 'torch>=2.4,<3' || return
  fi
  if [ "$(torch_build)" != cpu ]; then
    remove_cuda_torch
    echo "what was installed as torch is a CUDA build"
    return 1
  fi
}

install_python_packages() { pip_install -e '.[dev]' && echo "$root_dir $(fingerprint)" | as_caller tee "$stamp" >/dev/null; }

# They are named after a digest of their sources, which only Python knows; it also builds what is not there.
programs_are_ready() { ls build/native/relay-* build/native/probe-* >/dev/null 2>&1 && build_programs >/dev/null 2>&1; }
build_programs() { as_caller "$venv/bin/python" -c 'from testbed.emulation.native import build; build()'; }

# ---- the node image -------------------------------------------------------------------------------------------

image_is_ready() { [ "$engine" = answers ] && scripts/image.sh --check >/dev/null 2>&1; }

# The image takes as long as everything in Python does, and needs none of it: they are made at the same time.
# A session of its own, so that all it started ends with it.
image_job=
begin_image() {
  as_caller touch build/image.txt
  setsid scripts/image.sh >build/image.txt 2>&1 </dev/null &
  image_job=$!
}

end_image() {
  local status=0
  wait "$image_job" || status=$?
  image_job=
  return "$status"
}

leave() {
  if [ -n "$image_job" ]; then kill -- "-$image_job" 2>/dev/null || true; fi
  give_back
}

# ---- the kernel -----------------------------------------------------------------------------------------------

# Used once, in a network namespace that ends with the attempt. The engine has loaded veth and bridge by now, if it can.
try_kernel() {
  [ -c /dev/net/tun ] || modprobe tun || true
  unshare --net sh -ec '
    ip link add veth0 type veth peer name veth1
    ip link add bridge0 type bridge
    ip tuntap add dev tap0 mode tap'
}

# ---- all of it ------------------------------------------------------------------------------------------------

readonly network="check the network (http_proxy, https_proxy, certificates in /usr/local/share/ca-certificates); all of it: $log"

need_linux
become_root "$@"
find_engine
find_packages
need_apt

todo=()
as_caller mkdir -p build
as_caller touch "$log"
[ "${#packages[@]}" = 0 ] || todo+=("install Debian packages, 1 min: ${packages[*]}")
[ "$engine" = answers ] || todo+=("start the container engine, 5 s")
if ! venv_is_ready; then todo+=("make a virtual environment in $venv with PyTorch for CPUs (800 MB), 2 min, or bring the one there up to date"); fi
image_is_ready || todo+=("build the node image roambed-node (900 MB), 2 min, unless it is there already")

if [ "${#todo[@]}" != 0 ]; then
  say "To set up Roambed, this will:"
  for item in "${todo[@]}"; do say "  - $item"; done
  if [ "${YES:-}" != 1 ] && [ -t 0 ]; then
    read -r -p "Go ahead? [Y/n] " answer
    case $answer in [nN]*) say "nothing was changed"; exit 1 ;; esac
  fi
fi
trap leave EXIT

if [ "${#packages[@]}" != 0 ]; then
  phase "1 min" "Debian packages" install_packages || die "packages could not be installed" "$network" "or install them yourself: ${packages[*]}"
  find_python
  [ -n "$python" ] || die "this distribution's Python is older than 3.11" \
    "use Debian 12 or Ubuntu 24.04 or later, or name another Python: PYTHON=/path/to/python3.11 make setup"
  find_engine
fi
if [ "$engine" != answers ]; then
  phase "5 s" "container engine" start_engine || die "the container engine does not start" "see $engine_log or: journalctl -u docker" "then: make setup"
  find_engine
fi
try_kernel >>"$log" 2>&1 || die "this kernel lacks veth, bridges or TUN, or keeps them from this container" \
  "see the end of $log" "modprobe veth bridge tun; in a container: --device /dev/net/tun and CAP_NET_ADMIN, CAP_SYS_ADMIN" "or use a distribution's own kernel"
if ! image_is_ready; then begin_image; fi
if ! venv_is_ready; then
  phase "5 s" "virtual environment" make_venv || die "the virtual environment could not be made" "see $log; rm -r $venv, then: make setup"
  phase "1 min" "PyTorch for CPUs" install_torch || die "PyTorch could not be installed" "$network" \
    "or put a CPU wheel of it into a directory: TORCH_WHEEL_DIR=... make setup"
  phase "1 min" "Python packages" install_python_packages || die "Python packages could not be installed" "$network"
fi
if ! programs_are_ready; then
  phase "5 s" "C programs: relay, player, probe" build_programs || die "the C programs do not compile" "apt install gcc libc6-dev; all of it: $log"
fi
if [ -n "$image_job" ]; then
  phase "2 min" "node image, begun above" end_image || { cat build/image.txt >&2; exit 3; }
else
  scripts/image.sh
fi
[ "${#todo[@]}" = 0 ] || say "Roambed is set up. Try: make smoke"
