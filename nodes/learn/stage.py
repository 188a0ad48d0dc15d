"""A stage: a run of layers that trains on one node.

The update is written out here instead of taken from ``torch.optim``: momentum then lives by parameter
*name*, which is how it travels, and every parameter is updated by itself, so that halves of a model train
exactly as the whole does.

Everything is bit-deterministic for a given number of threads (`use_threads`), which belongs to the task: it
changes the order of sums. So does where a tensor begins in memory (`aligned`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from nodes.errors import RunError
from nodes.learn.crossing import crossing


@dataclass(frozen=True)
class Sgd:
    """Settings of stochastic gradient descent with momentum."""

    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 0.0


def use_threads(threads: int) -> None:
    """Set the number of compute threads of this process to the task's."""
    torch.set_num_threads(threads)


def aligned(x: Tensor) -> Tensor:
    """The same numbers, from an address on that is a multiple of 64, as those of torch's own tensors are.

    Products of matrices may add up in another order where memory begins elsewhere, as it does in the middle of a batch
    and in what came over the network (oneMKL's guide asks for 64 bytes where results are to be the same).
    """
    return x if x.data_ptr() % 64 == 0 else x.clone()


class Stage:
    """Layers, their momentum, and the forward passes that wait for their gradients.

    Args:
        layers: A whole model or one side of a cut; trained in place.
        sgd: Settings of the update; may be replaced between steps.
        first: Whether the stage takes raw samples, so that nobody wants the gradient of its input.
    """

    def __init__(self, layers: nn.Sequential, sgd: Sgd, *, first: bool = False) -> None:
        self.layers = layers.train()
        self.sgd = sgd
        self.first = first
        self.momentum: dict[str, Tensor] = {}
        if sgd.momentum:
            self.momentum = {name: torch.zeros_like(p) for name, p in layers.named_parameters()}
        self.gradients: dict[str, Tensor] = {}  # accumulated apart from the parameters (`nodes.learn.stash`)
        self._waiting: dict[int, tuple[Tensor, Tensor]] = {}
        self._accumulated = False

    @property
    def busy(self) -> bool:
        """Whether a batch is in the middle: forward without backward, or backward without step."""
        return bool(self._waiting) or self._accumulated

    def forward(self, x: Tensor, micro: int = 0) -> Tensor:
        """Output for ``x``; the graph is kept until `backward` of the same micro-batch."""
        if micro in self._waiting:
            raise RunError(f"micro-batch {micro} went forward twice without going backward")
        x = self._leaf(x)
        out: Tensor = self.layers(x)
        self._waiting[micro] = (x, out)
        return out.detach()

    def backward(self, gradient: Tensor, micro: int = 0) -> Tensor | None:
        """Gradient of the input (None on the first stage), adding to those of the weights."""
        if micro not in self._waiting:
            raise RunError(f"gradient for micro-batch {micro}, which did not go forward here")
        x, out = self._waiting.pop(micro)
        if gradient.shape != out.shape:
            raise RunError(
                "the gradient does not fit the activations that were sent",
                wanted=str(tuple(out.shape)),
                found=str(tuple(gradient.shape)),
            )
        if out.requires_grad:  # a stage without a weight, or without layers, may have no graph
            torch.autograd.backward(crossing(out, aligned(gradient)))
        self._accumulated = True
        return x.grad

    def loss_backward(self, x: Tensor, labels: Tensor, share: float = 1.0) -> tuple[Tensor | None, float]:
        """Forward, cross entropy and backward of a last stage, without the update.

        Args:
            x: Activations.
            labels: Their classes.
            share: This micro-batch's share of the batch, by which its loss counts.

        Returns:
            Gradient of ``x`` (None on the first stage) and the mean loss of these samples, unshared.
        """
        x = self._leaf(x)
        loss = functional.cross_entropy(self.layers(x), labels)
        torch.autograd.backward(loss * share if share != 1.0 else loss)
        self._accumulated = True
        return x.grad, float(loss.detach())

    def train_step_tail(self, activations: Tensor, labels: Tensor) -> tuple[Tensor | None, float]:
        """One whole batch of a last stage, update included: `loss_backward` and `step`."""
        result = self.loss_backward(activations, labels)
        self.step()
        return result

    @torch.no_grad()
    def step(self) -> None:
        """Apply the accumulated gradients once."""
        if self._waiting:
            raise RunError("update asked for while micro-batches wait for their gradients")
        settings = self.sgd
        for name, parameter in self.layers.named_parameters():
            gradient = parameter.grad
            if gradient is None:
                continue
            if settings.weight_decay:
                gradient = gradient.add(parameter, alpha=settings.weight_decay)
            if settings.momentum:
                gradient = self.momentum[name].mul_(settings.momentum).add_(gradient)
            parameter.add_(gradient, alpha=-settings.lr)
        self.drop()

    def drop(self) -> None:
        """Forget the batch in the middle, if there is one: its graphs and gradients."""
        self._waiting.clear()
        self._accumulated = False
        self.layers.zero_grad(set_to_none=True)

    @torch.no_grad()
    def load(self, weights: dict[str, Tensor], *, reset_momentum: bool = True) -> None:
        """Take these weights (a copy of them), as at the start of a round; drops a batch in the middle."""
        self.drop()
        copy_into(self.layers.state_dict(), weights, "weights")
        if reset_momentum:
            for buffer in self.momentum.values():
                buffer.zero_()

    def _leaf(self, x: Tensor) -> Tensor:
        x = aligned(x.detach())
        return x if self.first else x.requires_grad_()


@torch.no_grad()
def copy_into(target: dict[str, Tensor], source: dict[str, Tensor], what: str) -> None:
    """Copy tensors by name into those of ``target``, all or none.

    Raises:
        RunError: Names, shapes or types differ.
    """
    if target.keys() != source.keys():
        odd = sorted(target.keys() ^ source.keys())
        raise RunError(f"{what} of another model or cut: {', '.join(odd[:4])} on one side only")
    check_fit(target, source, what)
    for name, tensor in target.items():
        tensor.copy_(source[name])


def check_fit(target: Mapping[str, Tensor], source: Mapping[str, Tensor], what: str) -> None:
    """Refuse tensors of other shapes or types than those of the same names in ``target`` (RunError)."""
    for name, tensor in target.items():
        if tensor.shape != source[name].shape or tensor.dtype != source[name].dtype:
            raise RunError(
                f"{what}: {name} does not fit",
                wanted=f"{tensor.dtype} {tuple(tensor.shape)}",
                found=f"{source[name].dtype} {tuple(source[name].shape)}",
            )
