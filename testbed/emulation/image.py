"""Which node image this checkout asks for; ``scripts/image.sh`` builds it and tags it ``roambed-node:latest`` too.

The digest is computed in one place, ``scripts/image_inputs.py``, which set-up runs before anything is installed.
This module does *not* look for the image (``containers``) or build it.
"""

from __future__ import annotations

import runpy
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


def expected_tag(root: Path = _ROOT) -> str | None:
    """``roambed-node:<12 hex digits>`` of the image that fits ``root``; None where that is not a checkout.

    Args:
        root: The checkout.
    """
    program = root / "scripts" / "image_inputs.py"
    try:
        return str(runpy.run_path(str(program))["tag"](root))
    except FileNotFoundError:
        return None
