"""One task of a file, seen as a file that has it as its workload: what holds for workloads holds for tasks.

Only its owners are the devices then, each an entry of its own. What is wrong is placed, and named, where the task is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nodes.policies.layers import LAYERS, cut_at
from testbed.errors import InputError
from testbed.experiment import resolve
from testbed.experiment.cuts import CUTS
from testbed.experiment.document import Document, Steps
from testbed.experiment.model import Spec
from testbed.experiment.tasking import Task, as_cut
from testbed.experiment.training import SPLIT_SCHEMES, Split

_CALLED = {"cut": "cuts"}
"""Keys of a workload that a task has by another name."""


@dataclass
class Within(Document):
    """A document as one of its tasks sees it; ``groups`` has the entry of each device."""

    task: str = ""
    groups: dict[str, str] = field(default_factory=dict)

    def where(self, path: Steps) -> str:
        """See `Document.where`; ``workload`` is the task."""
        if path[:1] == ("workload",):
            path = ("tasks", self.task, *(_CALLED.get(str(key), key) for key in path[1:2]), *path[2:])
        elif path[:1] == ("devices",) and path[1:2] and path[1] in self.groups:
            path = ("devices", self.groups[str(path[1])], *path[2:])
        return super().where(path)

    def problem(self, path: Steps, message: str, **details: str | None) -> InputError:
        """See `Document.problem`."""
        own = f"tasks.{self.task}."
        told = {key: None if text is None else text.replace("workload.", own) for key, text in details.items()}
        return super().problem(path, f"task {self.task!r}: {message}".replace("workload.", own), **told)


def view(spec: Spec, document: Document, name: str) -> tuple[Spec, Within]:
    """The model and the document of one task; owners that there are not are left out."""
    task, groups = spec.tasks[name], resolve.devices(spec)
    mine = {device: groups[device] for device in owners(spec, task)}
    devices = {
        device: spec.devices[group].model_copy(update={"count": None, "cut": None}) for device, group in mine.items()
    }
    layers = len(LAYERS[task.model])
    halves = [cut for cut in cuts(task) if 0 < cut < layers] or [CUTS[task.model]]  # wrong cuts are told apart
    first = halves[0] if task.scheme in SPLIT_SCHEMES else None
    made = spec.model_copy(update={"workload": task.workload(first), "devices": devices})
    return made, Within(document.path, document.data, document.places, name, mine)


def settled(spec: Spec, document: Document) -> Spec:
    """The model with a workload also where there are tasks: the first one's, which bring-up measures speeds with."""
    if not spec.tasks or "workload" in spec.model_fields_set:
        return spec
    first, _ = view(spec, document, next(iter(spec.tasks)))
    data = first.workload.data.model_copy(update={"split": Split(), "select": None})
    return spec.model_copy(update={"workload": first.workload.model_copy(update={"data": data})})


def owners(spec: Spec, task: Task) -> tuple[str, ...]:
    """Devices that have data for a task, sorted; names that are none are left out."""
    groups = resolve.devices(spec)
    if task.owners is None:
        return tuple(sorted(groups))
    return tuple(sorted(device for device, group in groups.items() if device in task.owners or group in task.owners))


def cuts(task: Task) -> tuple[int, ...]:
    """Numbers of layers on the device that a task allows, as the file orders them; unknown ones are left out."""
    layers = len(LAYERS[task.model])
    if task.scheme not in SPLIT_SCHEMES:
        return (layers,)
    if task.cuts is None:
        return tuple(range(1, layers))
    found = (cut_at(task.model, as_cut(one, layers)) for one in task.cuts)
    return tuple(cut for cut in found if cut is not None)
