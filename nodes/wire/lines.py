"""A node's lines, to the controller and to other nodes, and the loop that serves all of them from one thread."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec
import zmq

from nodes.events import Span
from nodes.wire import codec
from nodes.wire import control as ctl
from nodes.wire.channel import Channel
from nodes.wire.keys import KeyPair
from nodes.wire.messages import Envelope, Hello, PartId

NOBODY = PartId("", "", "")
"""Who a message is from and for that is between nodes, and not between parts."""
_TURN_S = 0.2
"""The loop goes round at least as often, and events are told no more often."""
_LINGER_MS = 1_000
EXIT_ORPHAN = 75


class Owner(Protocol):
    """Whose lines they are. It is called from the loop alone; what it raises ends the loop."""

    def told(self, message: ctl.ToNode, frame: bytes) -> None:
        """Take what the controller says; ``frame`` is how it came."""

    def accept(self, sender: str, frames: list[memoryview]) -> None:
        """Take what a node has sent."""

    def step(self) -> None:
        """Do what is due: called each time round."""

    def wait_s(self) -> float:
        """Seconds until something is due."""


def end_at_once() -> None:
    """End the process: nobody is left to tell anything, and sockets would wait for peers that are ending too."""
    os._exit(EXIT_ORPHAN)


class Lines:
    """The sockets of one node. Not thread-safe: the thread that has `serve` alone calls it.

    Args:
        file: What the node was born with.
        listen: Address to listen at; ``*``: all.
        orphaned: Called when the controller is gone.

    Attributes:
        channel: To other nodes.
    """

    def __init__(self, file: ctl.NodeFile, *, listen: str = "*", orphaned: Callable[[], None] = end_at_once) -> None:
        self._node = file.name
        self._orphaned = orphaned
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        keys = KeyPair(file.public_key, file.secret_key)
        self._control: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        self._control.linger = _LINGER_MS
        self._control.set(zmq.ROUTING_ID, file.name.encode())
        keys.apply(self._control, server_key=file.control_key)
        self._control.connect(file.control)
        self.channel = Channel(self._context, file.name, file.kind, keys, file.data_port, file.dilation, listen)
        self._spans: list[Span] = []
        self._cut_off: set[str] = set()  # nodes that a connection was lost to
        self._stop = False

    # --- what its owner calls ---------------------------------------------------------------------------

    def serve(self, owner: Owner, beside: int) -> None:
        """Serve until told to exit.

        Args:
            owner: Takes what comes.
            beside: A descriptor: when it is readable the owner's `Owner.step` has something to do.
        """
        heard = beat = flushed = time.monotonic()
        polled: dict[zmq.Socket[bytes], str] = {}
        poller = zmq.Poller()
        while not self._stop:
            sockets = self.channel.sockets()
            if sockets.keys() != polled.keys():
                poller, polled = zmq.Poller(), dict(sockets)
                for readable in (*sockets, self._control, beside):
                    poller.register(readable, zmq.POLLIN)
            left = min(owner.wait_s(), _TURN_S)
            # Rounded up: what is not due yet is not looked after.
            ready = dict(poller.poll(int(left * 1000) + (0 < left < _TURN_S)))
            now = time.monotonic()
            if self._control in ready:
                heard = now
                self._from_controller(owner)
            for socket, role in polled.items():
                if socket in ready:
                    self._from_network(socket, role, owner)
            owner.step()
            if now - flushed >= _TURN_S:
                flushed = now
                self.flush()
            if now - beat >= ctl.BEAT_S:
                beat = now
                self.tell(ctl.Beat())
            # Asked once more: this thread may have stood still itself (torch's import holds the interpreter).
            if now - heard > ctl.ORPHAN_S and not self._control.poll(0):
                self._orphaned()

    def stop(self) -> None:
        """Have `serve` return."""
        self._stop = True

    def close(self) -> None:
        """Tell what is left to be told, and close all sockets."""
        self.flush()
        self.channel.close()
        self._control.close()
        self._context.term()

    def greet(self, nodes: Iterable[str]) -> None:
        """Connect to nodes that there is no connection to yet, and say hello."""
        for node in nodes:
            if self.channel.connect(node):
                self._hello(node)

    def _hello(self, node: str) -> None:
        self.channel.send(node, codec.encode(Envelope(src=NOBODY, dst=NOBODY, node=self._node, body=Hello())))

    def fixed(self, peers: Iterable[ctl.Peer]) -> list[str]:
        """Of all nodes those that do not move, but for this one."""
        return [peer.name for peer in peers if peer.name != self._node and peer.kind in ("edge", "cloud")]

    def tell(self, message: ctl.FromNode) -> None:
        """Say something to the controller."""
        self.pass_on(ctl.encode(message))

    def pass_on(self, frame: bytes) -> None:
        """Say something to the controller that is encoded already."""
        self._control.send(frame)

    def fail(self, reason: str) -> None:
        """Report that this node cannot go on."""
        self.tell(ctl.Failed(reason))

    def emit(self, span: Span) -> None:
        """Record an event."""
        self._spans.append(span)

    def flush(self) -> None:
        """Tell the events so far."""
        if self._spans:
            self.tell(ctl.Events(self._spans))
            self._spans = []

    # --- what comes -------------------------------------------------------------------------------------

    def _from_controller(self, owner: Owner) -> None:
        while True:
            try:
                frame = self._control.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                message = ctl.to_node(frame)
            except msgspec.MsgspecError as error:
                self.fail(f"control message does not parse: {error}")
                continue
            match message:
                case ctl.Beat():
                    pass
                case ctl.Exit():
                    self.stop()
                case _:
                    owner.told(message, frame)

    def _from_network(self, socket: zmq.Socket[bytes], role: str, owner: Owner) -> None:
        if role == "gate":
            self.channel.gate.serve()
        elif role == "monitor":
            for peer, at, made in self.channel.changes(socket):
                if not made:
                    self._cut_off.add(peer)
                    self.emit(Span(kind="disconnect", node=self._node, peer=peer, begin=at, end=at))
                elif peer in self._cut_off:
                    self._cut_off.discard(peer)
                    self._hello(peer)  # it keeps what it has for this node until it hears of it
        else:
            for sender, frames in self.channel.receive(socket):
                owner.accept(sender, frames)
