"""The protocol between an agent and an instance: whole messages out of any pieces, and nothing out of nonsense."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.errors import WireError
from nodes.platform import messages as ms
from nodes.platform.functions import Interface

MESSAGES = [
    (ms.Start("f", "/f.py", "/blobs", "/blobs/staging/1", 1.5), []),
    (ms.Invoke(1, {"a": "0" * 64, "b": {"x": "1" * 64}}, {"n": 1, "l": [1.5, None, "t"]}), []),
    (ms.Passed("ea", (3, 0, 5)), [b"abc", b"", b"defgh"]),
    (ms.Said(b"frame"), []),
    (ms.Ready(Interface(name="f", inputs={}, outputs={}, memory=1, torch=False, time_limit=1.0, streams=False),
              0.1, 0.2, 0.3, 4), []),
    (ms.Result(1, {"w": "0" * 64}, {"n": 1}, 1.0, 2.0, 0.5, 0.001, 10, 20, 30), []),
    (ms.Failed(1, "raised", "why", 0.1, "0" * 64), []),
    (ms.Passed("ea", ()), []),
]  # fmt: skip


@given(st.lists(st.sampled_from(range(len(MESSAGES))), max_size=6), st.data())
def test_messages_come_whole_and_in_order_however_they_are_cut_up(chosen, data):
    stream = b"".join(bytes(piece) for n in chosen for piece in ms.encode(*MESSAGES[n]))
    reader, found, at = ms.Reader(), [], 0
    while at < len(stream):
        step = data.draw(st.integers(1, 200))
        found += reader.feed(stream[at : at + step])
        at += step
    assert [(m, [bytes(f) for f in frames]) for m, frames in found] == [MESSAGES[n] for n in chosen]


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        b"\x01\x00\x00\x00\xc1",
        b"\x02\x00\x00\x00{}",
        len(msgspec.msgpack.encode({"type": "passed"})).to_bytes(4, "little")
        + msgspec.msgpack.encode({"type": "passed"}),
        b"".join(bytes(p) for p in ms.encode(ms.Passed("a", (-1,)))),
        b"".join(bytes(p) for p in ms.encode(ms.Passed("a", (ms.MAX_FRAME + 1,)))),
    ],
)
def test_what_is_no_message_is_refused(data):
    with pytest.raises(WireError):
        ms.Reader().feed(data)


def test_what_cannot_be_sent_is_refused(monkeypatch):
    with pytest.raises(WireError, match="cannot be sent"):
        ms.encode(ms.Invoke(1, {}, {"a": object()}))
    monkeypatch.setattr(ms, "MAX_HEADER", 100)
    with pytest.raises(WireError, match="too large"):
        ms.encode(ms.Invoke(1, {}, {"a": "x" * 100}))
    monkeypatch.setattr(ms, "MAX_FRAME", 10)
    with pytest.raises(WireError, match="too large"):
        ms.encode(ms.Passed("a", (11,)), [bytes(11)])
