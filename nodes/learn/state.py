"""Training state: all that a part needs to go on elsewhere as if it had never moved.

Captured, transferred, restored and verified by this one object. There is no random generator in it because
there is none in training: all randomness is drawn by key (`nodes.learn.keyed`), and the position holds the
key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nodes.errors import InputError, RunError, WireError
from nodes.learn import tensorfile
from nodes.learn.digest import Digest
from nodes.learn.stage import Sgd, Stage, copy_into
from nodes.learn.stash import StashStage

VERSION = 1
_PLAIN = (
    "round", "next_batch", "last_applied", "loss_sum", "loss_count", "threads", "sgd", "extra", "version", "went",
)  # fmt: skip


@dataclass
class TrainingState:
    """State of one stage between two batches, or, of a `StashStage`, between two micro-batches.

    Attributes:
        weights: Parameters and buffers (BatchNorm's statistics) by name.
        momentum: Momentum by parameter name; empty where the task has none.
        round: Round of training. next_batch: First batch of it that is not applied yet.
        pending: Gradient that the device has not been given yet, or None.
        last_applied: Identity of the last work applied, as plain data, or None.
        loss_sum: Sum of the round's batch losses. loss_count: Their number.
        threads: Compute threads of the task; another number gives other bits.
        sgd: Settings of the update.
        extra: Whatever else the part wants to travel; plain data.
        gradients: Of the batch under way, accumulated so far, by parameter name; empty between two batches.
        version: Updates since the weights were loaded. went: Micro-batches that wait for their gradients, each with
            the version of the weights that it went forward through.
        inputs: What those went forward with. older: Weights of the versions before this one that they need.
        more: Whatever else the part wants to travel; tensors.
    """

    weights: dict[str, Tensor]
    momentum: dict[str, Tensor]
    round: int = 0
    next_batch: int = 0
    pending: Tensor | None = None
    last_applied: tuple[int | str, ...] | None = None
    loss_sum: float = 0.0
    loss_count: int = 0
    threads: int = 1
    sgd: Sgd = field(default_factory=Sgd)
    extra: dict[str, Any] = field(default_factory=dict)
    gradients: dict[str, Tensor] = field(default_factory=dict)
    version: int = 0
    went: list[tuple[int, int]] = field(default_factory=list)
    inputs: dict[int, Tensor] = field(default_factory=dict)
    older: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    more: dict[str, Tensor] = field(default_factory=dict)

    def restore(
        self, stage: Stage, timing: Callable[[], AbstractContextManager[object]] = nullcontext
    ) -> None:
        """Make this the state of ``stage`` (a copy of it); a batch in the middle there is dropped.

        Micro-batches under way go forward again there, each within what ``timing`` makes.

        Raises:
            RunError: The stage has other layers, another momentum or other threads; nothing was changed. Or weights
                for micro-batches under way are missing.
        """
        if self.threads != torch.get_num_threads():
            raise RunError(
                "the state belongs to a task with another number of threads",
                wanted=str(self.threads),
                found=str(torch.get_num_threads()),
            )
        if stage.momentum.keys() != self.momentum.keys():
            raise RunError("momentum of another model, cut or optimizer")
        if isinstance(stage, StashStage):
            stage.check_gradients(self.gradients)
        elif self.gradients or self.went:
            raise RunError("a state in the middle of a batch, for a stage that takes whole batches")
        # One call checks all before it copies any.
        copy_into(
            _named(stage.layers.state_dict(), stage.momentum, None),
            _named(self.weights, self.momentum, None),
            "state",
        )
        stage.drop()
        stage.gradients = {name: gradient.clone() for name, gradient in self.gradients.items()}
        stage.sgd = self.sgd
        if isinstance(stage, StashStage):
            under_way = {micro: (version, self.inputs[micro]) for micro, version in self.went}
            stage.take_up(self.version, under_way, self.older, timing)

    def to_frames(self) -> tuple[dict[str, Any], list[tuple[str, Tensor]]]:
        """Plain data for a header, and the tensors in the order of their names, not copied.

        The tensors share the state's memory: it must not change until they are sent.
        """
        return self._meta(), sorted(self._tensors().items())

    @classmethod
    def from_frames(
        cls, meta: Mapping[str, Any], tensors: Mapping[str, Any] | Iterable[tuple[str, Any]]
    ) -> TrainingState:
        """Inverse of `to_frames`, for tensors or numpy arrays; shares their memory.

        Raises:
            WireError: This is not a training state.
        """
        names = ("weights", "momentum", "pending", "gradients", "inputs", "older", "more")
        groups: dict[str, dict[str, Tensor]] = {name: {} for name in names}
        pairs = tensors.items() if isinstance(tensors, Mapping) else tensors
        for name, tensor in pairs:
            group, _, rest = name.partition("/")
            if group not in groups:
                raise WireError(f"tensor {name} has no place in a training state")
            groups[group][rest] = torch.from_numpy(tensor) if isinstance(tensor, np.ndarray) else tensor
        if meta.get("v") != VERSION or meta.keys() != {"v", *_PLAIN}:
            raise WireError(
                "not the header of a training state",
                wanted=f"version {VERSION} with {', '.join(_PLAIN)}",
                found=f"version {meta.get('v')} with {', '.join(map(str, meta))}",
            )
        plain = {name: meta[name] for name in _PLAIN}
        try:
            plain["sgd"] = Sgd(**plain["sgd"])
        except TypeError as error:
            raise WireError(f"settings of the update in a training state: {error}") from None
        if plain["last_applied"] is not None:
            plain["last_applied"] = tuple(plain["last_applied"])
        plain["went"] = [(micro, version) for micro, version in plain["went"]]
        older: dict[int, dict[str, Tensor]] = {}
        try:
            for name, tensor in groups["older"].items():
                version, _, rest = name.partition("/")
                older.setdefault(int(version), {})[rest] = tensor
            inputs = {int(micro): tensor for micro, tensor in groups["inputs"].items()}
        except ValueError as error:
            raise WireError(f"tensors of micro-batches under way in a training state: {error}") from None
        if inputs.keys() != {micro for micro, _ in plain["went"]}:
            raise WireError("a training state without the inputs of its micro-batches under way")
        return cls(
            weights=groups["weights"], momentum=groups["momentum"], pending=groups["pending"].get("gradient"),
            gradients=groups["gradients"], inputs=inputs, older=older, more=groups["more"], **plain,
        )  # fmt: skip

    def digest(self) -> str:
        """SHA-256 of all of it: plain data, then names, types, shapes and bytes in the order of names."""
        meta, tensors = self.to_frames()
        digest = Digest()
        digest.text(meta)
        for name, tensor in tensors:
            digest.tensor(name, tensor)
        return digest.hexdigest()

    def nbytes(self) -> int:
        """Bytes of all tensors: what has to cross the network."""
        return sum(t.nbytes for t in self._tensors().values())

    def save(self, path: Path) -> None:
        """Write it to a file."""
        meta, tensors = self.to_frames()
        tensorfile.write(path, {name: t.numpy() for name, t in tensors}, {"state": json.dumps(meta)})

    @classmethod
    def load(cls, path: Path) -> TrainingState:
        """Read what `save` wrote (InputError if it cannot be)."""
        arrays, metadata = tensorfile.read(path)
        try:
            return cls.from_frames(json.loads(metadata["state"]), arrays)
        except (KeyError, ValueError, WireError) as error:
            raise InputError(
                "the file holds no training state",
                where=str(path),
                found=str(error),
                remedy="name a file that a run saved its state in",
            ) from None

    def _tensors(self) -> dict[str, Tensor]:
        named = _named(self.weights, self.momentum, self.pending, self.gradients)
        named |= {f"inputs/{micro}": x for micro, x in self.inputs.items()}
        named |= {f"older/{version}/{name}": t for version, old in self.older.items() for name, t in old.items()}
        return named | {f"more/{name}": t for name, t in self.more.items()}

    def _meta(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in _PLAIN}
        if self.last_applied is not None:
            plain["last_applied"] = list(self.last_applied)
        plain["went"] = [list(pair) for pair in self.went]
        return {"v": VERSION, **plain, "sgd": asdict(self.sgd)}


def capture(
    stage: Stage, *, copy: bool = True, pending: Tensor | None = None, more: Mapping[str, Tensor] | None = None,
    **position: Any,
) -> TrainingState:  # fmt: skip
    """State of ``stage`` between two batches, of a `StashStage` between any two pieces of work.

    Args:
        stage: The stage; a plain `Stage` not in the middle of a batch.
        copy: Whether the state gets memory of its own. Without, it is valid until the stage trains on.
        pending: Gradient not delivered yet.
        more: Further tensors.
        **position: ``round``, ``next_batch`` and the other plain fields of `TrainingState`.

    Raises:
        RunError: The stage is in the middle of a batch, which would be lost or applied twice.
    """
    stash = stage if isinstance(stage, StashStage) else None
    if stash is None and stage.busy:
        raise RunError("training state asked for in the middle of a batch")

    def own(tensor: Tensor) -> Tensor:
        return tensor.detach().clone() if copy else tensor.detach()

    under_way = stash.under_way if stash else {}
    return TrainingState(
        weights={name: own(t) for name, t in stage.layers.state_dict().items()},
        momentum={name: own(t) for name, t in stage.momentum.items()},
        pending=None if pending is None else own(pending),
        gradients={name: own(t) for name, t in stage.gradients.items()},
        threads=torch.get_num_threads(),
        sgd=stage.sgd,
        version=stash.version if stash else 0,
        went=[(micro, version) for micro, (version, _) in sorted(under_way.items())],
        inputs={micro: own(x) for micro, (_, x) in under_way.items()},
        older={v: {name: own(t) for name, t in old.items()} for v, old in (stash.older if stash else {}).items()},
        more={name: own(t) for name, t in (more or {}).items()},
        **position,
    )


def _named(
    weights: Mapping[str, Tensor],
    momentum: Mapping[str, Tensor],
    pending: Tensor | None,
    gradients: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    named = {f"weights/{name}": t for name, t in weights.items()}
    named |= {f"momentum/{name}": t for name, t in momentum.items()}
    named |= {f"gradients/{name}": t for name, t in (gradients or {}).items()}
    if pending is not None:
        named["pending/gradient"] = pending
    return named
