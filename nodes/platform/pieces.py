"""A blob that comes piece by piece, each asked for when the one before is here: it leaves the way to others."""

from __future__ import annotations

import msgspec
import numpy as np

from nodes.learn import tensorfile
from nodes.wire.codec import Tensors
from nodes.wire.platform_messages import Blob, WantBlob


class Pieces:
    """What has come of one blob.

    Attributes:
        size: Bytes so far.
    """

    def __init__(self, digest: str) -> None:
        self._digest = digest
        self._come: list[bytes] = []
        self._of = 0
        self.size = 0

    @property
    def next(self) -> WantBlob:
        """What to ask for now."""
        return WantBlob(self._digest, len(self._come))

    @property
    def whole(self) -> bool:
        """Whether that is all."""
        return 0 < len(self._come) >= self._of

    def add(self, body: Blob, tensors: Tensors) -> bool:
        """Take a piece; False: it is not the one that was asked for."""
        if body.piece != len(self._come) or self.whole:
            return False
        self._come.append(tensors[""].tobytes())
        self._of = body.pieces
        self.size += len(self._come[-1])
        return True

    def joined(self) -> Tensors:
        """The blob's arrays; of pieces that are none there is nothing, and no digest fits that."""
        try:
            return tensorfile.parse(np.frombuffer(b"".join(self._come), np.uint8))[0]
        except (ValueError, KeyError, msgspec.MsgspecError):
            return {}
