"""A node's compute thread, with nothing around it: what it takes for the training of now."""

import time

import msgspec
import pytest

from nodes.runtime.compute import Compute
from nodes.schemes._base import AGGREGATOR
from nodes.wire import control as ctl
from nodes.wire.messages import Envelope, Model, PartId, Update
from tests.unit.runtime.memory import Net


class Worker:
    def __init__(self):
        self.sent, self.said = [], []

    def send(self, node, envelope, tensors):
        self.sent.append((envelope, tensors))

    def tell(self, message):
        self.said.append(message)

    def connect(self, node): ...
    def emit(self, span): ...
    def wake(self, seconds, act): ...
    def catch_up(self): ...


@pytest.fixture
def cloud(tmp_path):
    """The cloud of a training of one device, begun as number 2; its worker and the model of the first round."""
    task = Net(tmp_path, "fedavg", devices=("d1",), rounds=1).hosts["cloud"].task
    file = ctl.NodeFile("cloud", "cloud", None, "", "", "", "", 1)
    worker = Worker()
    compute = Compute(file, worker)

    def begin(*early, pair=2):
        for message in early:
            compute.deliver(*message)
        compute.control(ctl.StartTask(msgspec.structs.replace(task, pair=pair)))
        compute.control(ctl.Go(task.id))
        return worker

    return compute, begin


def update(pair, tensors):
    body = Update(1, 10, 1, 0.5)
    envelope = Envelope(PartId("t", "whole", "d1"), PartId("t", AGGREGATOR, ""), "d1", body, pair=pair)
    return envelope, tensors, time.monotonic(), 100


def test_a_training_takes_nothing_that_an_earlier_one_of_its_scheme_has_sent(cloud):
    compute, begin = cloud
    worker = begin(update(1, {}))  # on its way when the first one was given up; the host is not there yet
    [(envelope, model)] = [(e, t) for e, t in worker.sent if isinstance(e.body, Model)]
    assert envelope.pair == 2
    compute.deliver(*update(1, model))
    assert not any(isinstance(message, ctl.RoundDone) for message in worker.said)
    compute.deliver(*update(2, model))
    assert [type(m) for m in worker.said][-2:] == [ctl.RoundDone, ctl.TaskDone]


def test_what_comes_before_its_training_is_there_is_kept_for_it(cloud):
    compute, begin = cloud
    model = next(t for e, t in begin().sent if isinstance(e.body, Model))
    compute.control(ctl.StopTask("t"))
    worker = begin(update(2, {}), update(3, model), pair=3)
    assert any(isinstance(message, ctl.TaskDone) for message in worker.said)
