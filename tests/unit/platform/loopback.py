"""Units on one machine: each agent a process that listens at a loopback address of its own; the cloud's is a thread.

The test is the orchestrator: what it wants done goes through the cloud's agent, and what comes back is kept for it.
"""

import itertools
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec

from nodes.events import Span
from nodes.platform.agent import Agent
from nodes.wire import control as ctl
from nodes.wire.jobs import PlatformSettings, UnitSettings
from nodes.wire.platform_messages import CallEnded, InvokeOn
from testbed.run.control import ControlServer, make_keys

KINDS = {"cloud": "cloud", "ea": "edge", "eb": "edge"}
MEMORY = 3 << 30


class Script:
    """An orchestrator that does as it is told, by another thread."""

    def __init__(self):
        self.todo, self.outcomes, self.states, self.gone = queue.SimpleQueue(), {}, {}, []
        self.heard = 0

    def __call__(self, settings, act, clock):
        self.act, self.settings, self.clock = act, settings, clock
        return self

    def submit(self, job):
        raise AssertionError

    cancel = submit

    def state(self, state):
        self.states[state.name] = state
        self.heard += 1

    def ended(self, unit, ended):
        assert ended.call not in self.outcomes, "it ended twice"
        self.outcomes[ended.call] = ended

    def lost(self, unit):
        self.gone.append(unit)

    def due(self):
        return None if self.todo.empty() else 0.0

    def step(self):
        self.todo.get()()


class Cloud(Agent):
    def _orphaned(self):
        """This process is the controller's, too: a machine that stood still is no reason to end it."""


class Fleet:
    """``settings``: have the real orchestrator, with these, instead of the test."""

    def __init__(self, directory, names, *, at="ea", speeds=None, dilation=1.0, settings=None, reserve_j=None):
        self.real = settings is not None
        self.directory, self.names, self.script = directory, names, Script()
        self.calls = itertools.count(1)
        self.spans, self.said = [], []
        keys, pairs = make_keys(list(names))
        path = directory / "control"
        self.control = ControlServer(path, keys, {pair.public: name for name, pair in pairs.items()})
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = {name: f"127.0.0.{2 + i}" for i, name in enumerate(names)}
        self.processes = {}
        for name in names:
            kind = KINDS.get(name, "device")
            file = ctl.NodeFile(
                name=name, kind=kind, speed=(speeds or {}).get(name), control=f"ipc://{path}",
                control_key=keys.public, public_key=pairs[name].public, secret_key=pairs[name].secret, data_port=port,
                dilation=dilation,
                platform=UnitSettings(
                    memory=MEMORY, orchestrator="cloud", store=str(directory / f"store-{name}"),
                    at=at if kind == "device" else "", reserve_j=reserve_j if kind == "device" else None,
                ),
            )  # fmt: skip
            if name == "cloud":
                self.thread = threading.Thread(target=self.cloud, args=(file,), daemon=True)
                self.thread.start()
                continue
            born = directory / f"{name}.json"
            born.write_bytes(msgspec.json.encode(file))
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "tests.unit.platform.loopback", str(born), self.address[name]]
            )
        self.peers = [ctl.Peer(n, KINDS.get(n, "device"), self.address[n], pairs[n].public) for n in names]
        self.wait(lambda: sum(isinstance(m, ctl.Ready) for _, m in self.said) == len(names))
        for name in names:
            self.control.send(name, ctl.Configure(self.peers))
        self.control.send("cloud", ctl.Platform(settings or PlatformSettings()))
        self.wait(lambda: self.real or set(self.script.states) == set(names))

    def cloud(self, file):
        self.agent = Cloud(file, listen=self.address["cloud"], make=None if self.real else self.script)
        self.agent.run()

    def hear(self):
        while True:
            try:
                said = self.control.inbox.get(timeout=0.02)
            except queue.Empty:
                return
            assert not isinstance(said.message, ctl.Failed), said.message.reason
            self.said.append((said.node, said.message))
            if isinstance(said.message, ctl.Events):
                self.spans += said.message.spans

    def wait(self, over, seconds=120.0):
        end = time.monotonic() + seconds
        while not over():
            assert time.monotonic() < end, f"nothing came of it; last said: {self.said[-5:]}; notes: {self.noted()}"
            self.hear()

    def do(self, act):
        """Have the orchestrator do something, on its own thread."""
        self.script.todo.put(act)

    def invoke(self, unit, function, **more):
        """The number of the call."""
        call = InvokeOn(call=next(self.calls), function=function, **more)
        self.do(lambda: self.script.act.invoke(unit, call))
        return call.call

    def over(self, *calls):
        """How these have ended."""
        self.wait(lambda: set(calls) <= set(self.script.outcomes))
        return [self.script.outcomes[call] for call in calls]

    def run(self, unit, function, **more) -> CallEnded:
        [ended] = self.over(self.invoke(unit, function, **more))
        return ended

    def progress(self, task, done):
        """Wait until a device has done so many batches."""
        def there():
            return any(isinstance(m, ctl.Progress) and m.task == task and m.done >= done for _, m in self.said)

        self.wait(there)

    def instances(self, name):
        """Processes of a unit's instances."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == self.processes[name].pid and fields[0] != "Z":
                found.append(int(path.parent.name))
        return found

    def kill(self, name):
        """Let a unit's container die, as the controller sees it."""
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()
        for other in self.names:
            if other != name:
                self.control.send(other, ctl.Died("", name))

    def notes(self):
        self.hear()
        return self.noted()

    def noted(self):
        """Notes that were heard so far."""
        return [s.attrs["text"] for s in self.spans if isinstance(s, Span) and s.kind == "note"]

    def close(self):
        self.control.broadcast(ctl.Exit())
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.thread.join(20)
        self.control.close()


if __name__ == "__main__":
    from nodes.runtime.worker import load

    code = Agent(load(sys.argv[1]), listen=sys.argv[2]).run()
    assert "torch" not in sys.modules
    os._exit(code)
