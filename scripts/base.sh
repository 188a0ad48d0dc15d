#!/usr/bin/env bash
# Builds the base image without a registry: Debian 12 with Python 3.11, from Debian's mirror. Needs root.
# Usage: scripts/base.sh TAG
set -euo pipefail

tag=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mmdebstrap --variant=minbase --quiet \
  --include=python3,python3-venv,ca-certificates,iproute2,iputils-ping,procps \
  --aptopt='APT::Install-Recommends "0"' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
  --customize-hook='rm -rf "$1"/var/cache/apt/*.bin "$1"/var/lib/apt/lists/*' \
  bookworm "$work/base.tar" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"}

docker import \
  --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
  --change 'CMD ["python3"]' "$work/base.tar" "$tag" >/dev/null
