"""What a unit's agent and an instance say to each other, over a pair of connected sockets that only they have.

A socket pair and not ZeroMQ's ``ipc://``: it has no name that could be left behind or taken by somebody else, it ends
with either side, at once, and the instance needs neither a library nor a thread for it.

Each message is four bytes of length, a msgpack header, and, where it passes frames of the network on (`Passed`), those
as they are. Sizes are bounded; no pickle.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from nodes.errors import WireError
from nodes.platform.functions import Interface
from nodes.platform.store import Seal
from nodes.wire.platform_messages import Digests as Digests

MAX_HEADER = 1 << 24
MAX_FRAME = 1 << 29
_LENGTH = 4

Frames = Sequence[bytes | memoryview]


class Start(msgspec.Struct, frozen=True, tag="start"):
    """Agent, once: what you are for.

    Attributes:
        function, source: See `library.find`. store: Directory of the blobs. staging: Your own for those that you write.
        spawned: CLOCK_MONOTONIC when your process was asked for.
        speed: What paced work on the unit is held to; None: to nothing.
        dilation: Real seconds that a second of the experiment takes.
        touch: Bytes to be had from the kernel beforehand.
    """

    function: str
    source: str
    store: str
    staging: str
    spawned: float
    speed: float | None = None
    dilation: float = 1.0
    touch: int = 0


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """Instance: I can be invoked. What that took, as seconds, and seconds of CPU time.

    Attributes:
        process_s: From the asking for the process to the first line of ours. imports_s: From there on.
        cpu_s: CPU time of both. memory: Bytes resident.
    """

    interface: Interface
    process_s: float
    imports_s: float
    cpu_s: float
    memory: int


class Invoke(msgspec.Struct, frozen=True, tag="invoke"):
    """Agent: run your function on these; ``seals`` are those of blobs (`nodes.platform.store`), as far as there are."""

    id: int
    inputs: Digests
    values: dict[str, Any]
    seals: dict[str, Seal] = {}


class Result(msgspec.Struct, frozen=True, tag="result"):
    """Instance: done.

    Attributes:
        outputs: Digests of blobs in the staging directory, by output. values: Plain outputs.
        begin, end: CLOCK_MONOTONIC of the work itself, without reading inputs and writing outputs.
        cpu_s: CPU time of the work itself. around_cpu_s: Of all around it.
        read, written: Bytes of tensors. memory: Most bytes resident meanwhile.
    """

    id: int
    outputs: dict[str, str]
    values: dict[str, Any]
    begin: float
    end: float
    cpu_s: float
    around_cpu_s: float
    read: int
    written: int
    memory: int


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """Instance: it did not work out, and why; see `nodes.platform.outcomes` for the kinds."""

    id: int
    kind: str
    reason: str
    cpu_s: float = 0.0
    digest: str = ""  # of a blob that is damaged


class Passed(msgspec.Struct, frozen=True, tag="passed"):
    """Frames of the network on their way: from an instance to another node's part, or from one to it.

    ``sizes`` are those of the frames that follow.
    """

    node: str
    sizes: tuple[int, ...]


class Said(msgspec.Struct, frozen=True, tag="said"):
    """A control message on its way (`nodes.wire.control`): an instance's for the controller, or the other way round."""

    frame: bytes


ToInstance: TypeAlias = Start | Invoke | Passed | Said
FromInstance: TypeAlias = Ready | Result | Failed | Passed | Said
Message: TypeAlias = ToInstance | FromInstance

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)


def encode(message: Message, frames: Frames = ()) -> list[bytes | memoryview]:
    """What goes over the socket, to be sent in this order.

    Raises:
        WireError: It is too large, or holds what has no wire form.
    """
    try:
        header = _encoder.encode(message)
    except (TypeError, OverflowError) as error:
        raise WireError(f"{type(message).__name__} cannot be sent: {error}") from None
    if len(header) > MAX_HEADER or any(len(frame) > MAX_FRAME for frame in frames):
        raise WireError(f"{type(message).__name__} is too large", wanted=f"at most {MAX_HEADER} bytes of plain values")
    return [len(header).to_bytes(_LENGTH, "little") + header, *(frame for frame in frames if len(frame))]


class Reader:
    """Takes bytes as they come and gives whole messages with their frames."""

    def __init__(self) -> None:
        self._message: Message | None = None  # whose frames are still to come
        self._frames: list[memoryview] = []
        self._sizes: deque[int] = deque()
        self._data = bytearray()

    def feed(self, data: bytes | memoryview) -> list[tuple[Message, list[memoryview]]]:
        """Take bytes; returns what is complete now.

        Raises:
            WireError: That is no message.
        """
        self._data += data
        found: list[tuple[Message, list[memoryview]]] = []
        while self._step(found):
            pass
        return found

    def _step(self, found: list[tuple[Message, list[memoryview]]]) -> bool:
        """Do what the bytes at hand are enough for; False if it is nothing."""
        if self._message is not None:
            if self._sizes:
                size = self._sizes[0]
                if len(self._data) < size:
                    return False
                self._frames.append(self._take(size))
                self._sizes.popleft()
            if not self._sizes:
                found.append((self._message, self._frames))
                self._message, self._frames = None, []
            return True
        if len(self._data) < _LENGTH:
            return False
        length = int.from_bytes(self._data[:_LENGTH], "little")
        if length > MAX_HEADER:
            raise WireError("not a message between an agent and an instance", found=f"a header of {length} bytes")
        if len(self._data) < _LENGTH + length:
            return False
        self._take(_LENGTH)
        try:
            self._message = _decoder.decode(self._take(length))
        except msgspec.MsgspecError as error:
            raise WireError(f"not a message between an agent and an instance: {error}") from None
        sizes = self._message.sizes if isinstance(self._message, Passed) else ()
        if any(not 0 <= size <= MAX_FRAME for size in sizes):
            raise WireError("frames of a size that is not allowed", found=str(max(sizes, key=abs)))
        self._sizes.extend(sizes)
        return True

    def _take(self, size: int) -> memoryview:
        taken = memoryview(self._data[:size])  # of a copy
        del self._data[:size]
        return taken
