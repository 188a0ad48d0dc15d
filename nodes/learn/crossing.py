"""The gradient that comes over a cut, given to autograd: of activations as of a loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Crossing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, out: Tensor, gradient: Tensor) -> Tensor:
        ctx.gradient = gradient
        return out.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, None]:
        return ctx.gradient, None


def crossing(out: Tensor, gradient: Tensor) -> Tensor:
    """A scalar to go backward from, with ``gradient`` as that of ``out``: the very same numbers.

    ``torch.autograd.backward(out, gradient)`` says the same, but imports sympy when it is first called: 0.3 s of a core
    and 35 MB in each process, in the middle of its first batch.

    Args:
        out: What was sent over the cut.
        gradient: Of the same shape and type, as it came back.
    """
    return _Crossing.apply(out, gradient)  # type: ignore[no-any-return, no-untyped-call]
