"""A stage of a pipeline: several micro-batches under way at once, and an update while some of them are.

*Weight stashing* (PipeDream, Narayanan et al., 2019): a micro-batch goes backward through the weights that it went
forward through, whatever was updated meanwhile. A version of the weights is a set of parameters of the module; an
update while graphs wait for their gradients puts new parameters in their place and leaves the old ones to those graphs,
which alone hold them from then on. Without waiting graphs weights are updated in place, and nothing is copied.

Gradients are accumulated by name, apart from the parameters, as those of one batch may come from two versions. They are
part of the training state (`nodes.learn.state`): a stage can be captured in the middle of a batch, between two
micro-batches. Buffers (BatchNorm's statistics) are the module's own and have no versions: they are updated in the order
of the forward passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional

from nodes.errors import RunError
from nodes.learn.crossing import crossing
from nodes.learn.stage import Stage, aligned, check_fit


class StashStage(Stage):
    """A stage whose weights may be updated while micro-batches wait for their gradients; see `Stage`.

    Attributes:
        version: Updates since the weights were loaded.
    """

    def __init__(self, layers: nn.Sequential, *args: object, **settings: object) -> None:
        super().__init__(layers, *args, **settings)  # type: ignore[arg-type]
        self.version = 0
        self._under_way: dict[int, tuple[int, list[tuple[str, Tensor]], Tensor, Tensor]] = {}

    @property
    def busy(self) -> bool:
        """Whether micro-batches wait for their gradients."""
        return bool(self._under_way)

    @property
    def under_way(self) -> dict[int, tuple[int, Tensor]]:
        """Micro-batches that wait for their gradients: the version that each went forward through, and its input."""
        return {micro: (version, x.detach()) for micro, (version, _, x, _) in self._under_way.items()}

    @property
    def older(self) -> dict[int, dict[str, Tensor]]:
        """Parameters of the versions before this one that micro-batches under way still need, by version and name."""
        return {
            version: {name: parameter.detach() for name, parameter in parameters}
            for version, parameters, *_ in self._under_way.values()
            if version != self.version
        }

    def forward(self, x: Tensor, micro: int = 0) -> Tensor:
        """Output for ``x``; the graph is kept until `backward` of the same micro-batch.

        ``micro`` is whatever tells micro-batches under way apart: counted through batches, for instance.
        """
        if micro in self._under_way:
            raise RunError(f"micro-batch {micro} went forward twice without going backward")
        x = self._leaf(x)
        out: Tensor = self.layers(x)
        self._under_way[micro] = (self.version, list(self.layers.named_parameters()), x, out)
        return out.detach()

    def backward(self, gradient: Tensor, micro: int = 0) -> Tensor | None:
        """Gradient of the input (None on the first stage); those of the weights are added to `gradients`."""
        if micro not in self._under_way:
            raise RunError(f"gradient for micro-batch {micro}, which did not go forward here")
        _, parameters, x, out = self._under_way[micro]
        if gradient.shape != out.shape:
            raise RunError(
                "the gradient does not fit the activations that were sent",
                wanted=str(tuple(out.shape)),
                found=str(tuple(gradient.shape)),
            )
        del self._under_way[micro]
        if not out.requires_grad:  # a stage without a weight, or without layers, may have no graph
            return None
        return self._differentiate(crossing(out, aligned(gradient)), parameters, x)

    def staleness(self, micro: int = 0) -> int:
        """Updates since a micro-batch under way went forward."""
        return self.version - self._under_way[micro][0]

    def loss_backward(self, x: Tensor, labels: Tensor, share: float = 1.0) -> tuple[Tensor | None, float]:
        """See `Stage.loss_backward`."""
        x = self._leaf(x)
        loss = functional.cross_entropy(self.layers(x), labels)
        shared = loss * share if share != 1.0 else loss
        gradient = None
        if shared.requires_grad:
            gradient = self._differentiate(shared, list(self.layers.named_parameters()), x)
        return gradient, float(loss.detach())

    @torch.no_grad()
    def step(self) -> None:
        """Apply the accumulated gradients once; micro-batches under way keep the weights that they began with."""
        settings = self.sgd
        apart = any(version == self.version for version, *_ in self._under_way.values())
        for name, parameter in list(self.layers.named_parameters()):
            gradient = self.gradients.get(name)
            if gradient is None:
                continue
            if settings.weight_decay:
                gradient = gradient.add(parameter, alpha=settings.weight_decay)
            if settings.momentum:
                gradient = self.momentum[name].mul_(settings.momentum).add_(gradient)
            if apart:
                _replace(self.layers, name, parameter.add(gradient, alpha=-settings.lr))
            else:
                parameter.add_(gradient, alpha=-settings.lr)
        self.gradients = {}
        self.version += 1

    @torch.no_grad()
    def take_up(
        self, version: int, under_way: Mapping[int, tuple[int, Tensor]], older: Mapping[int, Mapping[str, Tensor]],
        timing: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """Have these micro-batches under way as another stage had them, whose weights are loaded here already.

        Each goes forward again through the weights of its version. Buffers, that saw them before, stay as they are.

        Args:
            version: Updates since the weights were loaded there.
            under_way: As `under_way` has them.
            older: As `older` has them.
            timing: Each forward pass is done within what this makes.

        Raises:
            RunError: Older weights are missing, or are not of this stage.
        """
        own = dict(self.layers.named_parameters())
        for number in sorted({went for went, _ in under_way.values()} - {version}):
            if older.get(number, {}).keys() != own.keys():
                raise RunError(f"weights of version {number}, that micro-batches under way need, are not whole")
            check_fit(own, older[number], f"weights of version {number}")
        buffers = dict(self.layers.named_buffers())
        for name, buffer in buffers.items():
            _put(self.layers, name, buffer.clone())
        self._under_way.clear()
        for number in sorted({went for went, _ in under_way.values()}):
            self.version = number
            if number != version:
                for name, tensor in older[number].items():
                    _replace(self.layers, name, tensor.clone())
            for micro in sorted(micro for micro, (went, _) in under_way.items() if went == number):
                with timing(), torch.enable_grad():
                    self.forward(under_way[micro][1].clone(), micro)
            for name, parameter in own.items():
                _put(self.layers, name, parameter)
        for name, buffer in buffers.items():
            _put(self.layers, name, buffer)
        self.version = version

    def drop(self) -> None:
        """Forget all micro-batches under way, and the accumulated gradients."""
        self._under_way.clear()
        self.gradients = {}

    def load(self, weights: dict[str, Tensor], *, reset_momentum: bool = True) -> None:
        """See `Stage.load`; versions are counted from here."""
        super().load(weights, reset_momentum=reset_momentum)
        self.version = 0

    def check_gradients(self, gradients: Mapping[str, Tensor]) -> None:
        """Refuse accumulated gradients that are not of this stage's weights (RunError)."""
        own = dict(self.layers.named_parameters())
        odd = sorted(gradients.keys() - own.keys())
        if odd:
            raise RunError(f"accumulated gradients of another model or cut: {', '.join(odd[:4])}")
        check_fit({name: own[name] for name in gradients}, gradients, "accumulated gradients")

    def _differentiate(self, loss: Tensor, parameters: list[tuple[str, Tensor]], x: Tensor) -> Tensor | None:
        """Gradient of ``x`` if somebody wants it; those of the parameters are added up in the order of calls."""
        wanted = [parameter for _, parameter in parameters] + ([] if self.first else [x])
        found = list(torch.autograd.grad(loss, wanted, allow_unused=True))
        of_x = None if self.first else found.pop()
        for (name, _), new in zip(parameters, found, strict=True):
            if new is None:
                continue
            held = self.gradients.get(name)
            self.gradients[name] = new.contiguous() if held is None else held.add_(new)
        return of_x


def _replace(layers: nn.Module, name: str, tensor: Tensor) -> None:
    """Put a new parameter in the place of the one of that name; who holds the old one keeps it."""
    _put(layers, name, nn.Parameter(tensor))


def _put(layers: nn.Module, name: str, tensor: Tensor) -> None:
    """Have a parameter or buffer of that name be this tensor itself."""
    path, _, last = name.rpartition(".")
    setattr(layers.get_submodule(path), last, tensor)
