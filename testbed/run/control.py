"""The controller's end of the control plane: one authenticated ROUTER on ``ipc://`` and a thread that serves it.

Everything the nodes say lands in one queue, with its sender's proven name and the time it came.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import zmq

from nodes.wire import control as ctl
from nodes.wire.keys import Gate, KeyPair


@dataclass(frozen=True)
class Said:
    """One message of a node. ``at`` is CLOCK_MONOTONIC."""

    node: str
    message: ctl.FromNode
    at: float


class ControlServer:
    """Talks with all nodes of a run. Methods may be called from any thread.

    Args:
        socket: Path of the Unix socket, in a directory that every container mounts.
        keys: The controller's key pair. names: Node name by public key.
    """

    def __init__(self, socket: Path, keys: KeyPair, names: Mapping[str, str]) -> None:
        self.inbox: queue.SimpleQueue[Said] = queue.SimpleQueue()
        self.heard: dict[str, float] = {}
        self._nodes = tuple(names.values())
        self._outbox: queue.SimpleQueue[tuple[str, bytes] | None] = queue.SimpleQueue()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._gate = Gate(self._context)
        self._gate.know(names)
        self._router: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        self._router.linger = 500
        self._router.set(zmq.ROUTER_MANDATORY, 1)
        self._router.set(zmq.MAXMSGSIZE, 1 << 26)
        keys.apply(self._router)
        self._router.bind(f"ipc://{socket}")
        # Nodes run as another user; only holders of a known key get past the handshake.
        socket.chmod(0o666)
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)
        self._thread.start()

    def send(self, node: str, message: ctl.ToNode) -> None:
        """Say something to a node; one that is not there (any more) is found out by its silence."""
        self._outbox.put((node, ctl.encode(message)))
        os.eventfd_write(self._wake, 1)

    def broadcast(self, message: ctl.ToNode) -> None:
        """Say something to every node that has been heard of."""
        for node in tuple(self.heard):
            self.send(node, message)

    def silence(self, node: str) -> float:
        """Seconds since a node was last heard (0 for one that never was)."""
        return time.monotonic() - self.heard[node] if node in self.heard else 0.0

    def close(self) -> None:
        """Stop serving; closing twice is fine."""
        if self._thread.is_alive():
            self._outbox.put(None)
            os.eventfd_write(self._wake, 1)
            self._thread.join(timeout=5)
            os.close(self._wake)

    def _serve(self) -> None:
        with suppress(OSError):
            # On a crowded machine heartbeats must still go out, or nodes think that their controller is gone.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -15)
        poller = zmq.Poller()
        assert self._gate.zap_socket is not None
        for readable in (self._router, self._gate.zap_socket, self._wake):
            poller.register(readable, zmq.POLLIN)
        beat = ctl.encode(ctl.Beat())
        last_beat, open_ = time.monotonic(), True
        while open_:
            ready = dict(poller.poll(int(ctl.BEAT_S * 500)))
            if self._gate.zap_socket in ready:
                self._gate.serve()
            if self._router in ready:
                self._receive()
            if self._wake in ready:
                os.eventfd_read(self._wake)
            open_ = self._transmit()
            if time.monotonic() - last_beat >= ctl.BEAT_S:
                last_beat = time.monotonic()
                for node in tuple(self.heard):
                    self._put(node, beat)
        self._router.close()
        self._gate.stop()
        self._context.term()

    def _receive(self) -> None:
        while True:
            try:
                frames = self._router.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            name = frames[0].bytes.decode(errors="replace")
            if len(frames) != 2 or frames[1].get("User-Id") != name:
                continue
            now = time.monotonic()
            self.heard[name] = now
            try:
                message = ctl.from_node(frames[1].bytes)
            except msgspec.MsgspecError as error:
                message = ctl.Failed(f"its message does not parse: {error}")
            if not isinstance(message, ctl.Beat):
                self.inbox.put(Said(name, message, now))

    def _transmit(self) -> bool:
        while True:
            try:
                item = self._outbox.get_nowait()
            except queue.Empty:
                return True
            if item is None:
                return False
            self._put(*item)

    def _put(self, node: str, frame: bytes) -> None:
        try:
            self._router.send_multipart([node.encode(), frame], zmq.NOBLOCK)
        except zmq.ZMQError:
            return  # gone or going; its silence is what counts


def make_keys(nodes: list[str]) -> tuple[KeyPair, dict[str, KeyPair]]:
    """Key pairs of the controller and of each node, new for every run."""
    return KeyPair.make(), {name: KeyPair.make() for name in nodes}
