"""A unit on a network and a pool that are none."""

from collections import deque

import numpy as np

from nodes.errors import WireError
from nodes.platform.blobs import Blobs
from nodes.platform.instances import Pool
from nodes.platform.serving import Calls
from nodes.platform.store import Store
from nodes.platform.streaming import Parts
from nodes.wire.platform_messages import InvokeOn
from tests.unit.platform.fakes import Clock, Fakes

MINE = "/mine.py"


def arrays(value):
    return {"a": np.full(10, value, np.float32)}


class Unit:
    """One unit; what it sends to others lies in ``sent``."""

    def __init__(self, directory, name="ea", dilation=1.0):
        self.name, self.clock, self.fakes = name, Clock(), Fakes()
        self.sent, self.ended, self.spans, self.notes, self.cold = deque(), [], [], [], {}
        self.deaf = set()
        self.store = Store(directory / name)
        self.pool = Pool(self.store, 300, clock=self.clock, launch=self.fakes, dilation=dilation)
        self.parts = Parts(name, self.pool, lambda *_: None)
        self.blobs = Blobs(name, self.store, self.post, emit=self.spans.append, note=self.notes.append,
                           clock=self.clock, dilation=dilation)  # fmt: skip
        self.calls = Calls(
            name, self.pool, self.parts, self.blobs, known={"node": name, "dilation": dilation},
            tell=self.ended.append, emit=self.spans.append, started=self.cold.__setitem__, note=self.notes.append,
            clock=self.clock, dilation=dilation,
        )  # fmt: skip

    def post(self, unit, body, tensors):
        if unit in self.deaf:
            raise WireError(f"{unit} cannot be reached")
        self.sent.append((unit, body, tensors))

    def invoke(self, call, *, function="f", **more):
        self.calls.invoke(InvokeOn(call=call, function=function, source=MINE, memory=100, **more))

    def step(self):
        self.pool.step()
        self.blobs.step()

    def close(self):
        self.pool.close()
        self.fakes.close()


def units(tmp_path, **more):
    """A unit, for a fixture; it is closed after the test."""
    made = Unit(tmp_path, **more)
    yield made
    made.close()


def digest_of(tmp_path, value):
    return Store(tmp_path / "elsewhere").put(arrays(value))


def needs(digest, *, source="cloud", name="x"):
    return {"inputs": {name: digest}, "where": {digest: source}}


def large(tmp_path):
    """Digest of a blob of several pieces, and the store that has it."""
    store = Store(tmp_path / "elsewhere")
    return store.put({"a": np.arange(50_000, dtype=np.float32), "b": np.ones(3, np.int64)}), store
