"""CURVE keys made per run, and the check that a connection's key belongs to the name it goes by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import zmq
import zmq.utils.z85
from zmq.auth.base import Authenticator


@dataclass(frozen=True)
class KeyPair:
    """A CURVE key pair in Z85 text."""

    public: str
    secret: str

    @classmethod
    def make(cls) -> KeyPair:
        """A new pair from the system's randomness."""
        public, secret = zmq.curve_keypair()
        return cls(public.decode(), secret.decode())

    def apply(self, socket: zmq.Socket[bytes], *, server_key: str | None = None) -> None:
        """Make a socket a CURVE server, or the client of the server with ``server_key``."""
        socket.curve_publickey = self.public.encode()
        socket.curve_secretkey = self.secret.encode()
        if server_key is None:
            socket.curve_server = True
        else:
            socket.curve_serverkey = server_key.encode()


class Gate(Authenticator):
    """Answers ZeroMQ's authentication requests from a table of known public keys.

    The owner of the context polls ``zap_socket`` and calls `serve` (no thread of its own). A message's
    ``User-Id`` is then the *name* that the key belongs to, which nobody else can claim.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        super().__init__(context)
        self._names: dict[str, str] = {}
        self.configure_curve_callback(credentials_provider=self)
        self.start()

    def know(self, names: Mapping[str, str]) -> None:
        """Accept these public keys; the mapping is key to name."""
        self._names.update(names)

    def callback(self, _domain: str, key: bytes) -> bool:
        """Called by the authenticator with a key in Z85: is it known?"""
        return key.decode() in self._names

    def curve_user_id(self, client_public_key: bytes) -> str:
        """The name that a public key belongs to."""
        return self._names.get(zmq.utils.z85.encode(client_public_key).decode(), "")

    def serve(self) -> None:
        """Answer one waiting request."""
        assert self.zap_socket is not None
        self._reply(self.zap_socket.recv_multipart())

    def _reply(self, message: list[bytes]) -> None:
        # The base class' handler is a coroutine in some pyzmq versions and a plain method in others.
        outcome = self.handle_zap_message(message)
        if hasattr(outcome, "send"):
            try:
                outcome.send(None)
            except StopIteration:
                return
            raise RuntimeError("the authenticator's handler did not finish")
