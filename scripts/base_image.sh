#!/bin/bash
# Build a base image from Debian packages, for machines that reach no image registry. Usage: base_image.sh TAG
set -euo pipefail
tag=$1
tar=$(mktemp --suffix=.tar)
trap 'rm -f "$tar"' EXIT

excludes=()
for room in man doc locale info; do excludes+=("--dpkgopt=path-exclude=/usr/share/$room/*"); done

# The keys are named because other distributions' apt does not trust Debian's of itself.
mmdebstrap --variant=minbase "${excludes[@]}" --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
  --include=python3,python3-venv,ca-certificates,iproute2,iputils-ping,procps \
  --aptopt='APT::Install-Recommends "0"' \
  --customize-hook='rm -rf "$1"/var/cache/apt/*.bin "$1"/var/lib/apt/lists/*' \
  bookworm "$tar" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"}
docker import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
  --change 'CMD ["python3"]' "$tar" "$tag" >/dev/null
