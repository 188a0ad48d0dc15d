"""A machine made of stand-ins: a copy of the scripts, and a PATH on which every program that matters is a fake."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
COPIED = ("Makefile", "Dockerfile", "pyproject.toml", "image/requirements.txt", "scripts")
# What the scripts may use of the machine the test runs on. All else is a fake, or is not there.
BORROWED = (
    "awk", "basename", "bash", "cat", "chmod", "chown", "cmp", "cp", "cut", "dirname", "env", "find", "grep", "head",
    "kill", "ln", "ls", "mkdir", "mktemp", "mv", "printf", "readlink", "rm", "sed", "sh", "sha256sum", "sleep", "sort",
    "stat", "tail", "tee", "test", "touch", "tr", "timeout", "wc", "xargs",
)  # fmt: skip
TOOLS = (
    "apt-cache", "apt-get", "brctl", "ethtool", "gcc", "git", "ifconfig", "iperf3", "mmdebstrap", "mnexec", "modprobe",
    "nsenter", "pidof", "ping", "ps", "tc", "unshare",
)  # fmt: skip

DOCKER = """
case "$1 $2" in
  "info "*) [ -e "$STATE/engine" ] || exit 1; cat "$STATE/engine" ;;
  "version "*) [ -e "$STATE/engine" ] ;;
  "pull "*) [ -e "$STATE/registry" ] && : >"$STATE/$(echo "$2" | tr '/:' '__')" ;;
  "image inspect")
    for name; do :; done
    file="$STATE/$(echo "$name" | tr '/:' '__')"
    [ -e "$file" ] || exit 1
    echo "sha256:1 $(cat "$file")" ;;
  "build "*)
    while [ $# != 0 ]; do
      case $1 in
        -t) tag=$2 ;;
        --label) base=${2#*=} ;;
      esac
      shift
    done
    echo "$base" >"$STATE/$(echo "$tag" | tr '/:' '__')" ;;
  "import "*) for name; do :; done; : >"$STATE/$(echo "$name" | tr '/:' '__')" ;;
  "run "*) [ ! -e "$STATE/broken-image" ] ;;
  "buildx "*) exit 1 ;;
esac
"""
# Also the python of the virtual environment that it makes.
PYTHON = """
case "$*" in
  "-m venv"*) mkdir -p .venv/bin; cp "$0" .venv/bin/python; echo "#!$PWD/.venv/bin/python" >.venv/bin/pip ;;
  *"-m pip install"*"-e "*) : >.venv/bin/testbed; chmod +x .venv/bin/testbed ;;
  *"-m pip install"*torch*) echo "${TORCH_THAT_PIP_GIVES:-cpu}" >"$STATE/torch" ;;
  *"-m pip freeze"*) echo torch==2.5.0; echo nvidia-cublas-cu12==12.1 ;;
  *"-m pip uninstall"*) rm -f "$STATE/torch" ;;
  *image_inputs.py) echo roambed-node:0123456789ab ;;
  *sys.executable*) echo "$0" ;;
  *cp%d%d*) echo cp311 ;;
  -) cat "$STATE/torch" 2>/dev/null || true ;;
esac
"""


class Machine:
    """Run scripts on it by ``run``; ``calls`` says which fakes were called, in order."""

    def __init__(self, place: Path) -> None:
        self.home, self.bin, self.state = place / "roambed", place / "bin", place / "state"
        for directory in (self.home, self.bin, self.state, self.home / "image/certs", self.home / "image/wheels"):
            directory.mkdir(parents=True, exist_ok=True)
        for name in COPIED:
            source, target = ROOT / name, self.home / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                target.parent.mkdir(exist_ok=True)
                shutil.copy(source, target)
        for name in BORROWED:
            if path := shutil.which(name):
                (self.bin / name).symlink_to(path)
        for name in TOOLS:
            self.fake(name)
        self.fake("uname", 'case $1 in -m) echo x86_64 ;; *) echo Linux ;; esac', quiet=True)
        self.fake("id", "echo 0", quiet=True)
        self.fake("docker", DOCKER)
        self.fake("dockerd")
        self.fake("python3.11", PYTHON)
        self.fake("python3", PYTHON)
        self.env = {
            "PATH": str(self.bin), "STATE": str(self.state), "PYTHON": "python3.11", "HOME": str(place),
            "TORCH_WHEEL_DIR": str(place / "wheels"), "ENGINE_LOG": str(self.state / "engine.log"),
        }  # fmt: skip
        self.engine("Debian GNU/Linux 12 (bookworm) [name=seccomp,profile=default]")

    def fake(self, name: str, body: str = "", *, quiet: bool = False) -> None:
        """A program that does ``body``; unless ``quiet``, each call is noted."""
        note = f'echo "{name} $*" >>"$STATE/calls"\n' if not quiet else ""
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!{shutil.which('bash')}\n{note}{body}\n")
        path.chmod(0o755)

    def without(self, *names: str) -> None:
        """Take programs away."""
        for name in names:
            (self.bin / name).unlink()

    def engine(self, says: str | None) -> None:
        """What the container engine says about itself; None: it does not answer."""
        if says is None:
            (self.state / "engine").unlink(missing_ok=True)
        else:
            (self.state / "engine").write_text(says)

    def image(self, name: str, base: str = "") -> None:
        """An image that the engine has."""
        (self.state / name.replace("/", "_").replace(":", "_")).write_text(base)

    def has_image(self, name: str) -> bool:
        return (self.state / name.replace("/", "_").replace(":", "_")).exists()

    def wheel(self, name: str, size: int = 8) -> Path:
        """A wheel in the directory of local wheels."""
        path = Path(self.env["TORCH_WHEEL_DIR"]) / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"w" * size)
        return path

    def run(self, script: str = "setup.sh", *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run one of scripts/ without a terminal; stdout and stderr come together."""
        return subprocess.run(
            [str(self.home / "scripts" / script), *arguments],
            env={**self.env, **env}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=60, check=False,
        )  # fmt: skip

    def calls(self, *words: str) -> list[str]:
        """The calls that hold all the words."""
        file = self.state / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in lines if all(word in line for word in words)]

    def answer(self, text: str) -> tuple[int, str]:
        """Run set-up at a terminal, answer its question, and give exit code and output."""
        ours, theirs = os.openpty()
        try:
            process = subprocess.Popen(
                [str(self.home / "scripts" / "setup.sh")], env=self.env, stdin=theirs, stdout=theirs, stderr=theirs,
                start_new_session=True,
            )  # fmt: skip
            os.close(theirs)
            os.write(ours, text.encode())
            said = b""
            while True:
                try:
                    part = os.read(ours, 4096)
                except OSError:  # how a pseudo-terminal says that the other end is closed
                    break
                if not part:
                    break
                said += part
            return process.wait(60), said.decode()
        finally:
            os.close(ours)
