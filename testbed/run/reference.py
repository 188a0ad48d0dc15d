"""The stored reference times: how long training steps take on one unthrottled core of this machine.

They are numbers in a file of the user's, measured once per machine and layout and then kept, so that two runs are
paced alike although the machine drifts. ``testbed doctor`` shows them; deleting the file has them measured anew.
"""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path

from nodes.policies.samples import Form
from testbed.errors import InputError

VARIABLE = "ROAMBED_REFERENCE"


def path() -> Path:
    """Where the numbers are: ``$ROAMBED_REFERENCE``, or the cache of the user who called sudo."""
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    home = Path(os.environ.get("HOME", "/root"))
    if os.geteuid() == 0 and os.environ.get("SUDO_USER"):
        home = Path(pwd.getpwnam(os.environ["SUDO_USER"]).pw_dir)
    return home / ".cache" / "roambed" / "reference.json"


def key(model: str, cut: int, batch: int, threads: int, torch: str, samples: Form) -> str:
    """What the numbers are kept under: this machine, the version of torch that nodes have, and the layout."""
    from nodes.learn.reference import key  # imports torch, which those who only look at the file need not wait for

    return key(model, cut, batch, threads, samples.shape, torch, samples.classes)


def layers_key(model: str, micro: int, threads: int, torch: str, samples: Form) -> str:
    """The same for times by layer, of micro-batches of so many samples."""
    from nodes.learn.layer_times import key

    return key(model, micro, threads, samples.shape, torch, samples.classes)


def stored_layers(model: str, micro: int, threads: int, samples: Form) -> dict[str, float] | None:
    """Stored times by layer, by the version of torch that is installed here; None where they were not measured yet.

    Raises:
        InputError: The file cannot be read.
    """
    if not path().exists():
        return None
    return load(layers_key(model, micro, threads, "", samples))


def load(key: str) -> dict[str, float] | None:
    """Seconds by operation, None where they were not measured yet.

    Raises:
        InputError: The file cannot be read.
    """
    return _all().get(key)


def store(key: str, ops: dict[str, float]) -> None:
    """Keep measured numbers."""
    file = path()
    stored = _all() | {key: ops}
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(stored, indent=2, sort_keys=True) + "\n")
    partial.replace(file)
    if os.geteuid() == 0 and os.environ.get("SUDO_UID"):
        uid, gid = int(os.environ["SUDO_UID"]), int(os.environ.get("SUDO_GID", os.environ["SUDO_UID"]))
        for made in (file, file.parent):
            os.chown(made, uid, gid)


def _all() -> dict[str, dict[str, float]]:
    file = path()
    try:
        stored = json.loads(file.read_text())
        return {str(k): {str(op): float(s) for op, s in ops.items()} for k, ops in stored.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(
            "the stored reference times cannot be read",
            where=str(file),
            found=str(error),
            remedy=f"delete {file}: they are measured anew at the next run",
        ) from None
