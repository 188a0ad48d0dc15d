"""``select-data``: which of a device's samples a task is to train on, chosen once, before its first round.

The indices are a blob in the device's own store, for its ``train-device``; what leaves the device are counts, and the
blob's digest. The blob itself is given to nobody (`nodes.platform.blobs`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nodes.errors import InputError
from nodes.platform.builtin import TORCH_MEMORY, data_of
from nodes.platform.functions import Tensors, Value, function
from nodes.wire import control as ctl
from nodes.wire.task import Task

if TYPE_CHECKING:
    from nodes.learn.pacing import Pacer, Step
    from nodes.platform.instance import Stream


_IMPORTS = ("nodes.schemes._data", "nodes.learn.stage")


@function(
    name="select-data",
    inputs={"task": Value(Task), "node": Value(str), "owner": Value(str)},
    outputs={
        "keep": Tensors({"indices": ("int64", (None,))}),
        "samples": Value(int), "kept": Value(int), "by_class": Value(list[int]),
    },
    memory=TORCH_MEMORY, torch=True, time_limit=3600.0, imports=_IMPORTS, streams=True, paced=True,
)  # fmt: skip
def select_data(task: Task, node: str, owner: str, stream: Stream, pacer: Pacer) -> dict[str, Any]:
    """The samples of ``task.select``, by the scores that its classifier gives them.

    Paced as a device's own selection is: to the CPU time that it takes over the node's speed; in pieces, which others
    may come between. Each is an event, the last one says what was selected. Gives how many samples there are, how many
    are kept, and how many of these are of each class.
    """
    from nodes.events import Span
    from nodes.learn import shards
    from nodes.learn.stage import use_threads
    from nodes.policies import selection
    from nodes.schemes._data import selected

    asked = task.select
    if asked is None:
        raise InputError(f"task {task.id} trains on all its data", wanted="task.select", found="nothing to select by")
    use_threads(task.threads)
    shard = shards.read(Path(data_of(task, node)))
    steps: list[Step] = []

    @contextmanager
    def work() -> Iterator[None]:
        with pacer.step(None) as step:
            yield
        steps.append(step)

    kept = selected(task, owner, asked, shard, work)
    by_class = selection.by_class(shard.y.numpy()[kept], shard.classes)
    attrs: dict[str, Any] = {
        "device": owner, "rule": asked.rule, "share": asked.share, "by": asked.by, "features": asked.features,
        "samples": len(shard), "kept": len(kept), "by_class": by_class,
    }  # fmt: skip
    spans = [
        Span(kind="select", node=node, scheme=task.scheme, task=task.id, begin=step.begin, end=step.end,
             cpu_s=step.cpu_s, late=step.late, attrs=attrs if step is steps[-1] else {"device": owner})
        for step in steps
    ]  # fmt: skip
    stream.say(ctl.encode(ctl.Events(spans)))
    return {"keep": {"indices": kept}, "samples": len(shard), "kept": len(kept), "by_class": by_class}
