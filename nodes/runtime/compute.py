"""What a node's compute thread does: measuring, pacing, and the parts of the task of now.

Torch is imported by its first job (`Compute.warm_up`), by nothing before: it takes its time, and the node is to have
said hello by then.
"""

from __future__ import annotations

import platform
from typing import Any, Protocol

import zmq

from nodes.learn import warming
from nodes.runtime.transport import Transport
from nodes.wire import control as ctl
from nodes.wire.codec import Tensors
from nodes.wire.messages import Envelope, Hello
from nodes.wire.task import Task


class InputOutput(Transport, Protocol):
    """What the compute thread needs of the thread that owns the sockets."""

    def forget(self, node: str) -> None:
        """Keep no more messages for a node that has died."""


class Compute:
    """What the compute thread does: the controller's orders, and messages for the parts of the task of now."""

    def __init__(self, file: ctl.NodeFile, worker: InputOutput) -> None:
        self._file = file
        self._worker = worker
        self._host: Any = None  # nodes.runtime.host.Host, which imports torch
        self._pacer: Any = None
        self._speed_check: Any = None  # nodes.learn.speed.SpeedCheck
        self._ended = 0  # the last training that is over here
        # Messages of a task whose parts do not stand here yet.
        self._early: list[tuple[Envelope, Tensors, float, int]] = []

    def warm_up(self) -> None:
        """Import torch, do one step, and report ready."""
        import torch

        torch.set_num_interop_threads(1)
        warming.first_step()
        # Imported now rather than under the node's limits.
        import nodes.learn.speed
        import nodes.schemes._aggregator
        import nodes.schemes._assembling
        import nodes.schemes._driver
        import nodes.schemes._prober
        import nodes.schemes._split
        import nodes.schemes._tiers
        import nodes.schemes._whole  # noqa: F401

        warming.settle()
        versions = {"python": platform.python_version(), "torch": str(torch.__version__), "zmq": zmq.zmq_version()}
        self._worker.tell(ctl.Ready(versions))

    def control(self, message: ctl.ToNode) -> None:
        """Do what the controller says."""
        match message:
            case ctl.Measure():
                from nodes.runtime.measuring import measure

                self._worker.tell(measure(message))
            case ctl.PrepareSpeed():
                self._prepare_speed(message)
            case ctl.CheckSpeed() if self._speed_check is not None:
                check, self._speed_check = self._speed_check, None
                windows = check.run(message.begin, message.seconds, message.window_s)
                self._worker.tell(ctl.SpeedChecked(windows))
            case ctl.StartTask():
                self._start(message.task)
            case ctl.Go() if self._host is not None:
                self._host.begin()
            case ctl.Notice() if self._host is not None and self._host.task.id == message.task:
                self._host.notice(message.edge, message.done, message.in_s)
            case ctl.Forecast() if self._host is not None and self._host.task.id == message.task:
                self._host.forecast(message.edge, message.in_s)
            case ctl.Spoil() if self._host is not None and self._host.task.id == message.task:
                self._host.spoil()
            case ctl.Died():
                self._worker.forget(message.node)
                if self._host is not None and self._host.task.id == message.task:
                    self._host.lost(message.node)
            case ctl.StopTask():
                self._finish(message.task)
            case _:
                pass

    def deliver(self, envelope: Envelope, tensors: Tensors, received: float, size: int) -> None:
        """Pass a message to the parts of its task; one of a training that is over is dropped."""
        if isinstance(envelope.body, Hello):
            return
        if self._host is None:
            if envelope.pair > self._ended:
                self._early.append((envelope, tensors, received, size))
        elif (envelope.dst.task, envelope.pair) == (self._host.task.id, self._host.task.pair):
            self._host.deliver(envelope, tensors, received, size)

    def _prepare_speed(self, asked: ctl.PrepareSpeed) -> None:
        from nodes.runtime.measuring import prepare

        self._speed_check = prepare(asked, self._file.speed)
        self._worker.tell(ctl.SpeedReady())

    def _start(self, task: Task) -> None:
        from nodes import schemes
        from nodes.learn.pacing import WINDOW_S, Pacer
        from nodes.learn.stage import use_threads
        from nodes.runtime.host import Host

        use_threads(task.threads)
        scheme = schemes.get(task.scheme)
        self._pacer = Pacer(self._file.speed, window_s=WINDOW_S * self._file.dilation)
        self._host = Host(
            self._file.name, task, self._pacer, self._worker, scheme.make, dilation=self._file.dilation
        )
        self._host.rehearse(scheme.movable if self._file.kind == "edge" else ())
        self._worker.tell(ctl.Started(task.id))
        early, self._early = self._early, []
        for message in early:
            self.deliver(*message)

    def _finish(self, task: str) -> None:
        if self._host is None or self._host.task.id != task:
            return
        self._ended = self._host.task.pair
        totals = self._pacer.totals
        self._host.tell_windows(last=True)
        self._host.close()
        self._host = None
        self._worker.tell(
            ctl.Pacing(task, totals.steps, totals.late, totals.dropped_s, totals.asked_s, totals.took_s)
        )
