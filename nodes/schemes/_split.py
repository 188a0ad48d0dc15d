"""The two halves of a split model: `Head` on a device, `Tail` on an edge server (one tail per device).

The order of a batch: the head's forward pass, activations and labels up, the tail's forward, loss, backward and
step, gradients down, the head's backward and step. SplitFed (Thapa et al., 2022) in the variant with one edge half
per device; the point at which a tail may move is FedFly's (Ullah et al., 2022): after its step and before the
gradients return, so that no batch is lost or repeated.

At the start of a round both halves take the global weights and a fresh optimizer.
"""

from __future__ import annotations

from nodes.schemes._head import Head
from nodes.schemes._tail import Tail

__all__ = ["Head", "Tail"]
