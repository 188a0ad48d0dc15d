"""Instances that are no processes: the other end of the socket pair in the test's hands, and a clock that it sets."""

import os
from collections import Counter

from nodes.platform import messages as ms
from nodes.platform.functions import Interface


class Clock:
    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


class Fake:
    """A process that is none."""

    def __init__(self, connection, directory, pid):
        self.socket = connection.dup()  # the pool closes its own
        self.socket.setblocking(False)
        self.reader = ms.Reader()
        self.directory = directory
        self.pid = pid
        self.resident = 1
        self.code = None
        self.dies_at_once = True
        self.killed = False
        self.all = []
        self.ended = os.eventfd(0)

    def fileno(self):
        return self.ended

    def reap(self):
        assert self.code is not None
        return self.code

    def kill(self):
        self.killed = True
        if self.dies_at_once:
            self.die(-9)

    def die(self, code):
        self.code = self.code if self.code is not None else code
        os.eventfd_write(self.ended, 1)
        self.socket.close()

    def memory(self):
        return self.resident

    def say(self, message, frames=()):
        for piece in ms.encode(message, frames):
            self.socket.sendall(piece)

    def heard(self):
        """What has come since the last time."""
        new = []
        try:
            while data := self.socket.recv(1 << 20):
                new += self.reader.feed(data)
        except BlockingIOError:
            pass
        self.all += new
        return new

    def ready(self, name="f", memory=100, time_limit=60.0):
        interface = Interface(
            name=name, inputs={}, outputs={}, memory=memory, torch=False, time_limit=time_limit, streams=False
        )
        self.say(ms.Ready(interface, 0.25, 0.5, 0.125, 7))

    def invoked(self):
        """The number of the invocation that it was told last."""
        self.heard()
        return [m.id for m, _ in self.all if isinstance(m, ms.Invoke)][-1]

    def result(self, **more):
        fields = {
            "outputs": {}, "values": {}, "begin": 1.0, "end": 2.0, "cpu_s": 0.5, "around_cpu_s": 0.001, "read": 0,
            "written": 0, "memory": 9,
        } | more  # fmt: skip
        self.say(ms.Result(self.invoked(), **fields))

    def fails(self, kind, digest=""):
        self.say(ms.Failed(self.invoked(), kind, "why", 0.25, digest))


class Fakes(list):
    """All that a pool has started; to be given to it as ``launch``."""

    refusal = None

    def __call__(self, connection, directory):
        if self.refusal:
            raise self.refusal
        self.append(Fake(connection, directory, len(self) + 1))
        return self[-1]

    def close(self):
        for fake in self:
            fake.socket.close()
            os.close(fake.ended)

    def kinds(self):
        return Counter(type(m).__name__ for fake in self for m, _ in fake.all)
