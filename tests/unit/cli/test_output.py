"""Output that cannot be written: an error in words, and never a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import support

ROOT = Path(support.__file__).parents[1]
START = [sys.executable, "-c", "from testbed.cli import main; main()"]
WAYS = {"buffered": {}, "at once": {"PYTHONUNBUFFERED": "1"}}
VERBS = {
    "table": ["validate", str(ROOT / "topologies" / "smoke.yaml")],
    "json": ["validate", str(ROOT / "topologies" / "smoke.yaml"), "--format", "json"],
    "help": ["ls", "--help"],
    "little": ["ls", "--format", "json"],  # so little that it is written at the end
}


def ended(words: list[str], environment: dict[str, str], redirection: str, runtime: Path) -> tuple[int, str]:
    """A verb's exit code, and what it says on standard error."""
    done = subprocess.run(
        ["bash", "-c", f'"$@" {redirection}; exit "${{PIPESTATUS[0]}}"', "bash", *START, *words], cwd=ROOT, text=True,
        env={"PATH": "/usr/bin:/bin", "ROAMBED_RUN_DIR": str(runtime)} | environment, capture_output=True, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("verb", VERBS)
def test_a_full_disk(verb: str, way: str, tmp_path: Path) -> None:
    code, said = ended(VERBS[verb], WAYS[way], "> /dev/full", tmp_path)
    assert said.splitlines()[0] == "error: the output cannot be written"
    assert "found:  No space left on device" in said
    assert "Traceback" not in said
    assert "ignored" not in said
    assert code == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("redirection", ["| true", ">&-"])
def test_nobody_reads_it(verb: str, way: str, redirection: str, tmp_path: Path) -> None:
    code, said = ended(VERBS[verb], WAYS[way], redirection, tmp_path)
    assert said == ""
    assert code in (0, 1)
