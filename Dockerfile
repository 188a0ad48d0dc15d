# The image of every node: Python, CPU torch, ZeroMQ and the tools to look at a link. nodes/ is not in it: it is
# mounted read-only at run time, so that a change of the code needs no new image.
# Keep to the syntax of the classic builder (no RUN --mount, no here-documents): the engine may have no BuildKit.
# scripts/image.sh builds it, and finds a base where no registry can be reached.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
# Empty for most people: private certificate authorities, and a torch wheel for machines that cannot reach its index.
COPY image/certs/ /usr/local/share/ca-certificates/
COPY image/wheels/ /wheels/
COPY image/requirements.txt /requirements.txt
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG PIP_INDEX_URL
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 \
    PIP_NO_COMPILE=1 PIP_RETRIES=2 PIP_DEFAULT_TIMEOUT=60
# torch first and from its CPU index alone: the package index would give the CUDA build, of 2 GB and more.
RUN set -e; \
    if ls /usr/local/share/ca-certificates/*.crt >/dev/null 2>&1 || [ ! -s "$PIP_CERT" ]; then \
      command -v update-ca-certificates >/dev/null \
        || { apt-get update -q && apt-get install -y -q --no-install-recommends ca-certificates; }; \
      update-ca-certificates; \
    fi; \
    python3 -m venv /opt/venv; \
    if ls /wheels/torch-*.whl >/dev/null 2>&1; then \
      /opt/venv/bin/pip install /wheels/torch-*.whl; \
    else \
      /opt/venv/bin/pip install --index-url "$TORCH_INDEX" "$(grep '^torch' /requirements.txt)"; \
    fi; \
    /opt/venv/bin/pip install -r /requirements.txt
# What nothing imports goes: headers, tests, static libraries, pip (torch_shm_manager is looked for at import). All the
# rest is compiled: importing torch takes three times as long without byte code. The few files that are written for a
# newer Python do not compile and are not imported.
RUN set -e; \
    cd /opt/venv/lib/python3*/site-packages; \
    rm -rf torch/include torch/test torch/share pip pip-* setuptools setuptools-* pkg_resources \
      _distutils_hack distutils-precedence.pth /opt/venv/bin/pip*; \
    find torch/bin -mindepth 1 -maxdepth 1 ! -name torch_shm_manager -exec rm -rf {} +; \
    find . -type d -name tests -prune -exec rm -rf {} +; \
    find . -name '*.a' -delete; \
    /opt/venv/bin/python -m compileall -q -j 0 /opt/venv/lib >/dev/null || true; \
    /opt/venv/bin/python -c 'import torch, torch.optim, numpy, zmq, msgspec, safetensors.torch; \
    assert torch.version.cuda is None, "this is the CUDA build of torch"'

FROM ${BASE_IMAGE}
# ping is copied over itself to lose its file capabilities: nodes run with no capability and no-new-privileges, where
# a file that asks for one cannot even be started. net.ipv4.ping_group_range lets it work without.
RUN set -e; \
    if ! command -v ip || ! command -v ping || ! command -v ps; then \
      apt-get update -q; \
      apt-get install -y -q --no-install-recommends iproute2 iputils-ping procps; \
      rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin; \
    fi; \
    ping=$(readlink -f "$(command -v ping)"); cp "$ping" "$ping.plain"; mv "$ping.plain" "$ping"; chmod 755 "$ping"; \
    groupadd --gid 1000 node; useradd --uid 1000 --gid 1000 --create-home --shell /bin/bash node
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1
USER node
CMD ["python3"]
