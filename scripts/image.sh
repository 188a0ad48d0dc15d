#!/bin/bash
# Build the node image, unless the one that fits the checkout is there. --check only tells (exit 1: out of date).
#   BASE_IMAGE        another base, taken as it is (Debian or Ubuntu with python3 >= 3.11 and venv)
#   TORCH_WHEEL_DIR   directory with a CPU torch wheel for Python 3.11 (also: PIP_FIND_LINKS, /opt/wheels)
set -euo pipefail
. "$(dirname "$0")/common.sh"
cd "$root_dir"

upstream=python:3.11-slim-bookworm
own_base=roambed-base:bookworm
torch_index=${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}

# What the network may not give is put into the build's context; both directories are ignored by git.
stage_wheel() {
  local wheel
  wheel=$(torch_wheel cp311)
  [ -n "$wheel" ] || return 0
  local staged="image/wheels/${wheel##*/}"
  if [ ! -e "$staged" ] || [ "$(stat -Lc %s "$wheel")" != "$(stat -c %s "$staged")" ]; then
    rm -f image/wheels/torch-*.whl
    as_caller cp "$wheel" "$staged"
  fi
}

stage_certificates() {
  local certificate
  for certificate in /usr/local/share/ca-certificates/*.crt; do
    [ -e "$certificate" ] || continue
    cmp -s "$certificate" "image/certs/${certificate##*/}" || as_caller cp "$certificate" image/certs/
  done
}

find_base() {
  if [ -n "${BASE_IMAGE:-}" ]; then
    base=$BASE_IMAGE
  elif docker image inspect "$upstream" >/dev/null 2>&1; then
    base=$upstream
  elif phase "20 s at most" "base image from the registry" timeout 20 docker pull -q "$upstream" 2>/dev/null; then
    base=$upstream
  else
    base=$own_base
    docker image inspect "$base" >/dev/null 2>&1 && return
    say "  no registry within reach: the base is made from Debian packages"
    [ "$(id -u)" = 0 ] || die "mmdebstrap needs root to make the base image" "sudo make image"
    command -v mmdebstrap >/dev/null || die "mmdebstrap is not installed" "make setup"
    phase "40 s" "base image from Debian packages" scripts/base_image.sh "$base" \
      || die "no base image: neither the registry nor the Debian mirror can be used" \
        "check the network (http_proxy, https_proxy), then: make image" \
        "or give one that is there: BASE_IMAGE=name:tag make image"
  fi
}

build() {
  local arguments=(--build-arg "BASE_IMAGE=$base" --build-arg "TORCH_INDEX=$torch_index") name
  for name in PIP_INDEX_URL http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    [ -z "${!name:-}" ] || arguments+=(--build-arg "$name")
  done
  # Newer clients ask for BuildKit although its part may not be installed.
  if [ -z "${DOCKER_BUILDKIT:-}" ] && ! docker buildx version >/dev/null 2>&1; then export DOCKER_BUILDKIT=0; fi
  docker build --label "roambed.base=$base" "${arguments[@]}" -t "$tag" -f Dockerfile .
}

check() {
  docker run --rm --network none --user 1000:1000 --cap-drop ALL --security-opt no-new-privileges --read-only \
    --sysctl net.ipv4.ping_group_range='0 2147483647' "$tag" sh -c \
    'ping -c 1 -W 2 127.0.0.1 && ip link && ps -e && python3 -c "import torch, numpy, zmq, msgspec, safetensors.torch
assert torch.version.cuda is None and zmq.has(\"curve\")"'
}

docker version >/dev/null 2>&1 || die "no Docker engine answers" "make setup" "or, if one runs: sudo -E make image"
stage_wheel
stage_certificates
python=python3
[ ! -x .venv/bin/python ] || python=.venv/bin/python
tag=$("$python" -I scripts/image_inputs.py)

have=$(docker image inspect --format '{{.Id}} {{index .Config.Labels "roambed.base"}}' "$tag" 2>/dev/null || true)
if [ -n "$have" ] && { [ -z "${BASE_IMAGE:-}" ] || [ "${have#* }" = "$BASE_IMAGE" ]; }; then
  [ "$(docker image inspect --format '{{.Id}}' roambed-node:latest 2>/dev/null)" = "${have% *}" ] \
    || docker tag "$tag" roambed-node:latest
  say "  node image: $tag is up to date"
  exit 0
fi
if [ "${1:-}" = --check ]; then
  say "  node image: $tag is not there"
  exit 1
fi

find_base
phase "2 min" "node image on $base" build \
  || die "the node image could not be built" "see $log; without network to the package index: TORCH_WHEEL_DIR, PIP_INDEX_URL"
if ! phase "5 s" "check of the node image" check; then
  docker rmi "$tag" >/dev/null
  die "the node image does not work under the limits nodes run with" "see $log"
fi
docker tag "$tag" roambed-node:latest
say "  node image: $tag"
