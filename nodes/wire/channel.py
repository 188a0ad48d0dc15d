"""The data plane of one node: authenticated sockets to every peer it needs, used from one thread.

Each node binds one ROUTER. Of two nodes one connects (a DEALER), and both directions use that connection:
devices connect to edges and the cloud, edges to the cloud, and of two edges the first by name. A node is known
by its name, which its CURVE key proves; its address may change.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

import zmq

from nodes.errors import WireError
from nodes.wire.control import Peer
from nodes.wire.keys import Gate, KeyPair

_RANK = {"device": 0, "host": 1, "edge": 2, "cloud": 3}
_HEARTBEAT_MS = 2_000
# The longest that there is, as ZeroMQ counts it in 16 bits of 100 ms: what was on its way is lost with a connection
# that is given up. A device that is out of reach keeps its connections, and so does one whose link takes a minute for
# one tensor, behind which its heartbeats wait. Who has died is told by the controller.
_SILENCE_MS = 6_000_000
_HANDSHAKE_MS = 60_000
_LINGER_MS = 2_000
_HIGH_WATER = 1_000
_PENDING = 64

Frames = Sequence[bytes | memoryview]


def connects(kind: str, name: str, peer_kind: str, peer: str) -> bool:
    """Of two nodes, whether the first is the one that connects."""
    return (_RANK[kind], name) < (_RANK[peer_kind], peer)


class Channel:
    """Sockets of one node. Not thread-safe: its owner's I/O thread alone calls it.

    Args:
        context: ZeroMQ context with no other authenticator.
        name: This node. kind: Its kind. keys: Its own key pair. port: Where to listen.
        dilation: Real seconds that a second of the experiment takes: heartbeats come so much more rarely, and
            handshakes may take so much longer.
        listen: Address to listen at; ``*``: all.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        name: str,
        kind: str,
        keys: KeyPair,
        port: int,
        dilation: float = 1.0,
        listen: str = "*",
    ) -> None:
        self._dilation = dilation
        self._context = context
        self._name = name
        self._kind = kind
        self._keys = keys
        self._port = port
        self._peers: dict[str, Peer] = {}
        self._dealers: dict[str, zmq.Socket[bytes]] = {}
        self._monitors: dict[str, zmq.Socket[bytes]] = {}
        self._pending: dict[str, deque[Frames]] = {}
        self._reached: set[str] = set()
        self._dead: set[str] = set()
        self.gate = Gate(context)
        self._router: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
        self._prepare(self._router)
        self._router.set(zmq.ROUTER_MANDATORY, 1)
        self._router.set(zmq.ROUTER_HANDOVER, 1)
        keys.apply(self._router)
        self._router.bind(f"tcp://{listen}:{port}")

    def _prepare(self, socket: zmq.Socket[bytes]) -> None:
        socket.linger = _LINGER_MS
        socket.set(zmq.SNDHWM, _HIGH_WATER)
        socket.set(zmq.RCVHWM, _HIGH_WATER)
        socket.set(zmq.HEARTBEAT_IVL, min(round(_HEARTBEAT_MS * self._dilation), _SILENCE_MS))
        socket.set(zmq.HEARTBEAT_TIMEOUT, _SILENCE_MS)
        socket.set(zmq.HEARTBEAT_TTL, _SILENCE_MS)
        socket.set(zmq.HANDSHAKE_IVL, round(_HANDSHAKE_MS * max(self._dilation, 1.0)))
        socket.set(zmq.MAXMSGSIZE, 1 << 29)

    def know(self, peers: Sequence[Peer]) -> None:
        """Learn who is on the network; nothing is connected yet."""
        self._peers.update({p.name: p for p in peers if p.name != self._name})
        self.gate.know({p.key: p.name for p in peers})

    def kind(self, peer: str) -> str:
        """A peer's kind, empty if it is unknown."""
        return self._peers[peer].kind if peer in self._peers else ""

    def connect(self, peer: str) -> bool:
        """Connect to a peer if that is this node's side of the pair; True if it was not yet connected."""
        if peer in self._dealers:
            return False
        if peer not in self._peers:
            raise WireError(f"{self._name} knows no node {peer}", found=", ".join(sorted(self._peers)))
        target = self._peers[peer]
        if not connects(self._kind, self._name, target.kind, peer):
            return False
        dealer: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        self._prepare(dealer)
        dealer.set(zmq.ROUTING_ID, self._name.encode())
        dealer.set(zmq.RECONNECT_IVL, 100)
        dealer.set(zmq.RECONNECT_IVL_MAX, 1_000)
        self._keys.apply(dealer, server_key=target.key)
        self._monitors[peer] = dealer.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED)
        dealer.connect(f"tcp://{target.address}:{self._port}")
        self._dealers[peer] = dealer
        return True

    def forget(self, peer: str) -> None:
        """Keep nothing for a peer that has died: what is still sent to it goes nowhere."""
        self._dead.add(peer)
        self._pending.pop(peer, None)

    def send(self, peer: str, frames: Frames) -> None:
        """Send to a peer, connecting if needed; kept back while the peer has not connected to us.

        Raises:
            WireError: The peer is unknown, or does not take what is sent to it any more.
        """
        if peer in self._dead:
            return
        self.connect(peer)
        dealer = self._dealers.get(peer)
        if dealer is not None:
            self._put(dealer, frames, peer)
        elif peer in self._reached:
            self._put(self._router, [peer.encode(), *frames], peer)
        else:
            waiting = self._pending.setdefault(peer, deque())
            if len(waiting) >= _PENDING:
                raise WireError(f"{peer} has not connected to {self._name}, {_PENDING} messages wait for it")
            waiting.append(frames)

    def _put(self, socket: zmq.Socket[bytes], frames: Frames, peer: str) -> None:
        try:
            socket.send_multipart(frames, flags=zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                # It had been connected and is gone: keep the message for when it comes back.
                self._reached.discard(peer)
                self._pending.setdefault(peer, deque()).append(frames[1:])
                return
            raise WireError(f"{self._name} cannot send to {peer}: {error}") from None

    def sockets(self) -> Mapping[zmq.Socket[bytes], str]:
        """What to poll for input, each with its role: ``data``, ``gate`` or ``monitor``.

        As long as no peer is known whoever connects waits at the gate: of nodes that are told of each other some are
        told first, and one that was refused would never connect again.
        """
        assert self.gate.zap_socket is not None
        found: dict[zmq.Socket[bytes], str] = {self._router: "data"}
        if self._peers:
            found[self.gate.zap_socket] = "gate"
        found.update(dict.fromkeys(self._dealers.values(), "data"))
        found.update(dict.fromkeys(self._monitors.values(), "monitor"))
        return found

    def receive(self, socket: zmq.Socket[bytes]) -> Iterator[tuple[str, list[memoryview]]]:
        """All messages waiting on a socket, as (proven name of the sender, frames)."""
        dealer_of = next((p for p, d in self._dealers.items() if d is socket), None)
        while True:
            try:
                frames = socket.recv_multipart(flags=zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            if dealer_of is not None:
                yield dealer_of, [f.buffer for f in frames]
                continue
            name = frames[0].bytes.decode(errors="replace")
            if len(frames) < 2 or frames[-1].get("User-Id") != name:
                continue  # a name that its key does not prove: not worth an answer
            self._reached.add(name)
            self._flush(name)
            yield name, [f.buffer for f in frames[1:]]

    def _flush(self, peer: str) -> None:
        waiting = self._pending.pop(peer, None)
        while waiting:
            self._put(self._router, [peer.encode(), *waiting.popleft()], peer)

    def changes(self, socket: zmq.Socket[bytes]) -> list[tuple[str, float, bool]]:
        """Connections lost and made, read from a monitor socket, as (peer, CLOCK_MONOTONIC, whether it was made)."""
        peer = next(p for p, m in self._monitors.items() if m is socket)
        found: list[tuple[str, float, bool]] = []
        while socket.poll(0):
            event = int.from_bytes(socket.recv_multipart()[0][:2], "little")
            if event in (zmq.EVENT_DISCONNECTED, zmq.EVENT_HANDSHAKE_SUCCEEDED):
                found.append((peer, time.monotonic(), event == zmq.EVENT_HANDSHAKE_SUCCEEDED))
        return found

    def close(self) -> None:
        """Close all sockets, giving what was sent a moment to leave."""
        for dealer in self._dealers.values():
            dealer.disable_monitor()
            dealer.close()
        for monitor in self._monitors.values():
            monitor.close(linger=0)
        self._router.close()
        self.gate.stop()
