"""Authenticated sockets, over loopback."""

import socket
import time

import pytest
import zmq

from nodes.wire.channel import Channel, connects
from nodes.wire.control import Peer
from nodes.wire.keys import KeyPair


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Node:
    def __init__(self, name, kind, port, keys, listen="*"):
        self.context = zmq.Context()
        self.keys = keys
        self.channel = Channel(self.context, name, kind, keys, port, listen=listen)
        self.heard = []

    def serve(self, seconds=0.0):
        end = time.monotonic() + seconds
        while True:
            poller = zmq.Poller()
            for s in self.channel.sockets():
                poller.register(s, zmq.POLLIN)
            for s in dict(poller.poll(10)):
                role = self.channel.sockets()[s]
                if role == "gate":
                    self.channel.gate.serve()
                elif role == "data":
                    self.heard += [(n, [bytes(f) for f in frames]) for n, frames in self.channel.receive(s)]
                else:
                    self.channel.changes(s)
            if time.monotonic() >= end:
                return

    def close(self):
        self.channel.close()
        self.context.destroy(linger=0)


@pytest.fixture
def pair():
    port, other = free_port(), free_port()
    keys = {name: KeyPair.make() for name in ("edge", "dev")}
    edge = Node("edge", "edge", port, keys["edge"])
    dev = Node("dev", "device", other, keys["dev"])
    dev.channel._port = port  # one machine, two ports: only the listener's matters to the one who connects
    peers = [Peer("edge", "edge", "127.0.0.1", keys["edge"].public), Peer("dev", "device", "127.0.0.1",
             keys["dev"].public)]
    yield edge, dev, peers
    edge.close()
    dev.close()


def exchange(edge, dev, until):
    deadline = time.monotonic() + 5
    while not until() and time.monotonic() < deadline:
        edge.serve()
        dev.serve()
    return until()


def test_both_directions_use_the_connection_of_the_device(pair):
    edge, dev, peers = pair
    edge.channel.know(peers)
    dev.channel.know(peers)
    edge.channel.send("dev", [b"early"])  # waits until the device has connected
    dev.channel.send("edge", [b"hello", b"tensor"])
    assert exchange(edge, dev, lambda: edge.heard and dev.heard)
    assert edge.heard == [("dev", [b"hello", b"tensor"])]
    assert dev.heard == [("edge", [b"early"])]


def test_nothing_is_kept_for_a_peer_that_has_died(pair):
    edge, _, peers = pair
    edge.channel.know(peers)
    edge.channel.send("dev", [b"early"])
    edge.channel.forget("dev")
    for _ in range(200):  # more than would be kept for one that is yet to connect
        edge.channel.send("dev", [b"late"])
    assert not edge.channel._pending


def test_an_unknown_key_does_not_get_in(pair):
    edge, dev, peers = pair
    known = [p for p in peers if p.name == "edge"]  # the edge has never heard of dev's key
    edge.channel.know([*known, Peer("other", "device", "127.0.0.1", KeyPair.make().public)])
    dev.channel.know(peers)
    dev.channel.send("edge", [b"hello"])
    assert not exchange(edge, dev, lambda: edge.heard) or not edge.heard


def test_whoever_connects_before_the_other_side_knows_anybody_gets_in_once_it_does(pair):
    edge, dev, peers = pair
    dev.channel.know(peers)
    dev.channel.send("edge", [b"hello"])
    assert exchange(edge, dev, lambda: edge.channel.gate.zap_socket.poll(0))  # it has connected
    edge.channel.know(peers)
    assert exchange(edge, dev, lambda: edge.heard)
    assert edge.heard == [("dev", [b"hello"])]


def test_a_name_that_its_key_does_not_prove_is_ignored(pair):
    edge, dev, peers = pair
    edge.channel.know([*peers, Peer("other", "device", "127.0.0.1", KeyPair.make().public)])
    dev.channel.know(peers)
    dev.channel._name = "other"  # claims to be someone else, with its own key
    dev.channel.send("edge", [b"hello"])
    assert not exchange(edge, dev, lambda: bool(edge.heard))


@pytest.mark.parametrize(
    ("one", "two"),
    [(("device", "d"), ("edge", "e")), (("edge", "a"), ("edge", "b")), (("edge", "z"), ("cloud", "c"))],
)
def test_exactly_one_of_two_nodes_connects(one, two):
    assert connects(*one, *two)
    assert not connects(*two, *one)
