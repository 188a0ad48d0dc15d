#!/bin/bash
# Build the node image, unless the one that fits the checkout is there. --check only tells (exit 1: out of date).
#   BASE_IMAGE        another base, taken as it is (Debian or Ubuntu with python3 >= 3.11 and venv)
#   DEBIAN_MIRROR     Debian mirror for a base that is made here
#   TORCH_WHEEL_DIR   directory with a CPU torch wheel for Python 3.11 (else: PIP_FIND_LINKS, /opt/wheels)
set -euo pipefail
. "$(dirname "$0")/common.sh"
cd "$root_dir"
log=$root_dir/build/image.log

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

# pull IMAGE: gives up after 20 s without an answer, or 120 s without progress once layers are coming.
pull() {
  local line puller limit=20 status=0
  exec 3< <(exec docker pull "$1" 2>&1)
  puller=$!
  while IFS= read -r -t "$limit" -u 3 line || { status=$?; false; }; do
    case $line in *"Pulling "*) limit=120 ;; esac
  done
  if [ "$status" -gt 128 ]; then kill "$puller"; fi
  exec 3<&-
  wait "$puller"
}

find_base() {
  base=${BASE_IMAGE:-$upstream}
  if docker image inspect "$base" >/dev/null 2>&1; then return; fi
  if [ -z "${BASE_IMAGE:-}" ] && docker image inspect "$own_base" >/dev/null 2>&1; then
    base=$own_base
    return
  fi
  say "  asking the registry for $base (about 10 s, 20 s at most without an answer)"
  if pull "$base" 2>/dev/null; then return; fi
  [ -z "${BASE_IMAGE:-}" ] || die "$base is not here and cannot be pulled" "name an image that can, or unset BASE_IMAGE"
  say "  no registry within reach: the base is made from Debian packages"
  base=$own_base
  [ "$(id -u)" = 0 ] || die "mmdebstrap needs root to make the base image" "sudo -E make image"
  command -v mmdebstrap >/dev/null || die "mmdebstrap is not installed" "make setup"
  phase "30 s" "base image from Debian packages" scripts/base_image.sh "$base" \
    || die "no base image: neither the registry nor the Debian mirror can be used" \
      "check the network (http_proxy, https_proxy; DEBIAN_MIRROR), then: make image" \
      "or give one that is there: BASE_IMAGE=name:tag make image"
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
python=$(command -v python3 || echo .venv/bin/python)
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
phase "1 min" "node image on $base" build \
  || die "the node image could not be built" "see $log; without network to the package index: TORCH_WHEEL_DIR, PIP_INDEX_URL"
if ! phase "5 s" "check of the node image" check; then
  docker rmi "$tag" >/dev/null
  die "the node image does not work under the limits nodes run with" "see $log"
fi
docker tag "$tag" roambed-node:latest
say "  node image: $tag"
