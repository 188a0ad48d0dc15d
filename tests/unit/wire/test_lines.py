from __future__ import annotations

import math
import os
import queue
import threading
import time

import msgspec
import pytest

from nodes.wire import control as ctl
from nodes.wire.keys import KeyPair
from nodes.wire.lines import Lines
from testbed.run.control import ControlServer, make_keys
from tests.unit.wire.test_channel import Node, free_port


class Owner:
    def __init__(self):
        self.heard, self.turns = queue.SimpleQueue(), 0

    def told(self, message, frame):
        assert ctl.to_node(frame) == message
        self.heard.put(message)

    def accept(self, sender, frames):
        self.heard.put((sender, [bytes(frame) for frame in frames]))

    def step(self):
        self.turns += 1

    def wait_s(self):
        return math.inf


@pytest.fixture
def made(tmp_path):
    """Lines that are not served yet, and their controller."""
    keys, pairs = make_keys(["d1"])
    server = ControlServer(tmp_path / "control", keys, {pairs["d1"].public: "d1"})
    file = ctl.NodeFile(
        name="d1", kind="device", speed=None, control=f"ipc://{tmp_path / 'control'}", control_key=keys.public,
        public_key=pairs["d1"].public, secret_key=pairs["d1"].secret, data_port=0,
    )  # fmt: skip
    yield file, server
    server.close()


@pytest.fixture
def beside():
    descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def served(made, beside):
    """The controller and the owner of lines that are served, until they are told to end."""
    file, server = made
    lines, owner = Lines(file, listen="127.0.0.1"), Owner()
    thread = threading.Thread(target=lines.serve, args=(owner, beside), daemon=True)
    lines.tell(ctl.Hello(7))
    thread.start()
    yield server, owner
    server.send("d1", ctl.Exit())
    thread.join(30)
    assert not thread.is_alive()
    lines.close()


def heard(server, kind):
    while True:
        said = server.inbox.get(timeout=30)
        if isinstance(said.message, kind):
            return said.message


def test_a_node_hears_its_controller_and_ends_when_it_is_told_to(served):
    server, owner = served
    assert heard(server, ctl.Hello) == ctl.Hello(7)
    server.send("d1", ctl.Notice("", "e1", True, 0.5))
    assert isinstance(owner.heard.get(timeout=30), ctl.Notice)
    said = server.heard["d1"]
    while server.heard["d1"] == said:  # that it is there is said unasked
        assert server.silence("d1") < 30


def test_what_does_not_parse_is_told_and_does_not_end_a_node(served):
    server, _ = served
    heard(server, ctl.Hello)
    server._put("d1", b"\xc1")
    assert "does not parse" in heard(server, ctl.Failed).reason


def test_a_node_whose_controller_is_silent_is_an_orphan(made, beside, monkeypatch):
    file, server = made
    server.close()
    monkeypatch.setattr(ctl, "ORPHAN_S", 0.5)
    lines, owner = Lines(file, listen="127.0.0.1", orphaned=lambda: lines.stop()), Owner()
    lines.serve(owner, beside)
    assert owner.turns > 1
    lines._control.linger = 0
    lines.close()


def test_after_a_connection_was_lost_a_node_says_hello_so_that_it_is_told_what_is_kept_for_it(made, beside):
    file, server = made
    port, keys = free_port(), KeyPair.make()
    file = msgspec.structs.replace(file, data_port=port)
    lines, owner = Lines(file, listen="127.0.0.2"), Owner()
    lines.channel.know([ctl.Peer("e1", "edge", "127.0.0.1", keys.public)])
    lines.greet(["e1"])
    thread = threading.Thread(target=lines.serve, args=(owner, beside), daemon=True)
    thread.start()
    for word in (b"before", b"after"):  # of these two edge servers the second one knows nothing of any connection
        edge = Node("e1", "edge", port, keys, listen="127.0.0.1")
        edge.channel.know([ctl.Peer("d1", "device", "127.0.0.2", file.public_key)])
        edge.channel.send("d1", [word])
        end = time.monotonic() + 30
        while owner.heard.empty():
            assert time.monotonic() < end, "it was not told"
            edge.serve()
        assert owner.heard.get() == ("e1", [word])
        edge.close()
    server.send("d1", ctl.Exit())
    thread.join(30)
    assert not thread.is_alive()
    lines.close()
