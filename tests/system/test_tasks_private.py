"""Raw samples stay on their devices, and labels that are to stay do: what leaves is searched for them.

Contents are encrypted on the way (CURVE). Here nodes are a copy that has ZeroMQ's PLAIN in its place, which proves
names by a password and encrypts nothing; all else is as ever. That the search finds what is there, two controls show:
the labels of a task that may have them leave, and the model of the one that may not.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from nodes.learn import shards, tensorfile
from testbed import Experiment
from testbed.run import birth
from testbed.run.platform.settings import STORE
from testbed.run.session import Session
from tests.system.captures import Capture

pytestmark = [pytest.mark.root, pytest.mark.docker]

SAMPLES, BATCH, ROUNDS = 128, 16, 2
EXPERIMENT = f"""
name: private
seed: 1
sites:
  north: {{edge: {{profile: edge}}}}
cloud: {{profile: centre}}
devices:
  goes: {{profile: device, at: north}}
  stays: {{profile: device, at: north}}
profiles:
  device: {{speed: 0.3, memory: 1GiB}}
  edge: {{speed: 0.4, memory: 1536MiB}}
  centre: {{speed: 0.5, memory: 2560MiB}}
links:
  access: {{rate: 100Mbit, delay: 1ms}}
  north -- cloud: {{rate: 100Mbit, delay: 2ms}}
emulation: {{speed_check: 0s}}
tolerances: {{late_steps: 100%, starved: 100%, link_late: 1s, speed: 100%}}
platform: {{keep_alive: 20s}}
tasks:
  goes:
    scheme: fedfly
    model: cnn
    cuts: [1]
    owners: [goes]
    data: {{set: digits, train: {SAMPLES}, test: 40}}
    rounds: {ROUNDS}
    batch: {BATCH}
  stays:
    like: goes
    scheme: fedavg
    cuts: null
    owners: [stays]
    privacy: {{labels: stay}}
    rounds: 1
    data: {{set: digits, train: {SAMPLES}, test: 40, select: {{rule: random, share: 50%}}}}
"""
PLAIN = """

# --- for tests/system/test_tasks_private.py: passwords in the place of CURVE ---


class _Plain:
    @staticmethod
    def apply(socket, *, server_key=None):
        if server_key is None:
            socket.plain_server = True
        else:
            socket.plain_username, socket.plain_password = socket.get(zmq.ROUTING_ID), b"-"


def _begin(self, context, name, kind, keys, *more, _begin=Channel.__init__, **named):
    _begin(self, context, name, kind, _Plain, *more, **named)


def _know(self, names):
    self.passwords.setdefault("*", {}).update(dict.fromkeys(names.values(), "-"))


Channel.__init__, Gate.know = _begin, _know
"""
SHORTEST = 12
"""A batch's labels are found from the first that is not 0 on."""


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers get nodes whose channels encrypt nothing; the controller's socket is as ever."""
    copy = tmp_path / "nodes"
    shutil.copytree(birth.nodes_source(), copy, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "wire" / "channel.py").open("a") as module:
        module.write(PLAIN)
    monkeypatch.setattr(birth, "nodes_source", lambda: copy)


def found(needles: list[bytes], said: list[bytes]) -> int:
    """How many of these are in what was said."""
    return sum(any(needle in one for one in said) for needle in needles)


def samples(session: Session, device: str) -> list[bytes]:
    """The middle of each sample, as it is kept and as it goes into a model."""
    shard = shards.read(birth.shard(session.directory, device, f"task-{device}")[0])
    assert shard.x.shape == (SAMPLES, 3, 32, 32)
    return [form[i, 1, 8:24].numpy().tobytes() for form in (shard.x, shard.normalise(shard.x)) for i in range(SAMPLES)]


def labels(said: list[bytes]) -> int:
    """Runs of whole numbers below 10 of any width, in any order, that are long and more than half not 0.

    (At half its width, each other one of a run is 0.)
    """
    count = 0
    for width in (1, 2, 4, 8):
        rest = rb"\0{%d}" % (width - 1)
        run = re.compile(rb"[\x01-\x09]" + rest + rb"(?:[\0-\x09]" + rest + rb"){%d}" % (SHORTEST - 1))
        for one in (match.group()[::width] for data in said for match in run.finditer(data)):
            count += len(set(one)) > 3 and len(one.replace(b"\0", b"")) > SHORTEST / 2
    return count


def kept(session: Session, digest: str) -> list[bytes]:
    """The tensors of a model that was kept, by the server that averaged it or in the cloud."""
    roots = [Path(f"/proc/{session.bed.pid(server)}/root") for server in ("cloud", "edge-north")]
    files = [root / STORE.strip("/") / f"{digest}.safetensors" for root in roots]
    tensors, _ = tensorfile.read(next(file for file in files if file.exists()))
    return [tensor.tobytes() for tensor in tensors.values()]


@pytest.mark.usefixtures("plain")
def test_no_sample_leaves_and_no_label_that_is_to_stay(tmp_path: Path) -> None:
    path = tmp_path / "private.yaml"
    path.write_text(EXPERIMENT)
    with Experiment.load(path).up(runs=tmp_path / "runs") as bed:
        session = bed.session
        with Capture(session.bed, "goes", contents=True) as goes, Capture(session.bed, "stays", contents=True) as stays:
            result = bed.train()
        assert result.failure is None, result.failure
        rows = result.summary["tasks"]
        assert {name: row["state"] for name, row in rows.items()} == {"goes": "done", "stays": "done"}
        for name, capture in (("goes", goes), ("stays", stays)):
            assert (capture.missed, capture.dropped, capture.others) == (0, 0, [])
            print(f"{name}: {capture.payload} bytes, labels {labels(capture.contents())} times")
            assert found(samples(session, name), capture.contents()) == 0
        assert labels(stays.contents()) == 0

        # The same search finds what is there: labels of every batch, and the model that was trained on the device.
        spans = [json.loads(line) for line in (result.directory / "events.jsonl").read_text().splitlines()]
        with_labels = [s for s in spans if s["kind"] == "send" and "y" in s["attrs"]["tensors"].split(",")]
        assert labels(goes.contents()) == len(with_labels) >= ROUNDS * SAMPLES // BATCH
        model = kept(session, rows["stays"]["kept_sha256"])
        assert found(model, stays.contents()) == len(model) > 4
