"""What a file of functions declares, found out in a process of its own: it may import anything, hang or crash.

``python -m nodes.platform.describing FILE`` prints it as JSON, or what is wrong with the file.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from nodes.errors import InputError
from nodes.platform.functions import Interface

LIMIT_S = 60.0


class _Refused(msgspec.Struct):
    """An `InputError` on its way out of the process that found it."""

    message: str
    wanted: str | None
    found: str | None
    where: str | None
    remedy: str | None


def describe(path: Path, seconds: float = LIMIT_S) -> dict[str, Interface]:
    """Interfaces of all functions of a file, by name.

    Raises:
        InputError: The file cannot be used, or takes too long to be imported.
    """
    root = Path(__file__).resolve().parent.parent.parent
    try:
        done = subprocess.run(
            [sys.executable, "-m", "nodes.platform.describing", str(path.resolve())], cwd=root, check=False,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise InputError(
            "a file of functions takes too long to be imported", where=str(path), wanted=f"at most {seconds:g} s"
        ) from None
    try:
        said = done.stdout.splitlines()[-1]
        if done.returncode == InputError.exit_code:
            raise InputError(**msgspec.to_builtins(msgspec.json.decode(said, type=_Refused)))
        return msgspec.json.decode(said, type=dict[str, Interface])
    except (IndexError, msgspec.MsgspecError):
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise InputError(
            "a file of functions cannot be used", where=str(path),
            found="\n".join(lines[-8:]) or f"the process that imports it ended with exit code {done.returncode}",
        ) from None  # fmt: skip


def main() -> int:
    """Describe the file that is named on the command line."""
    from nodes.platform.library import load  # by its name: this module runs as __main__

    try:
        found = load(Path(sys.argv[1]))
    except InputError as error:
        told = _Refused(error.message, error.wanted, error.found, error.where, error.remedy)
        sys.stdout.write("\n" + msgspec.json.encode(told).decode() + "\n")
        return error.exit_code
    interfaces = {name: made.interface for name, made in found.items()}
    sys.stdout.write("\n" + msgspec.json.encode(interfaces).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
