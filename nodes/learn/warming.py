"""What a process does before its first batch, so that this one takes no longer than those after it."""

from __future__ import annotations

import gc


def first_step() -> None:
    """Import torch, for one thread, and do a step of each way: the first ones of a process are slow."""
    import torch

    torch.set_num_threads(1)
    layer = torch.nn.Conv2d(3, 4, 3)
    layer(torch.zeros(1, 3, 8, 8)).sum().backward()


def settle() -> None:
    """Keep what is there now: looking through it for garbage, now and then, takes 70 ms in the middle of a step."""
    gc.freeze()
