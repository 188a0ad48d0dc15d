"""Nodes whose containers have ended: how, and what is said where the run cannot go on without them."""

from __future__ import annotations

from dataclasses import dataclass

from testbed.emulation.fleet import NodeState
from testbed.errors import NodeError
from testbed.experiment.plan import NodePlan

_KINDS = {"device": "device", "edge": "edge server"}


@dataclass(frozen=True)
class Death:
    """A node that died while others went on: when that was seen, CLOCK_MONOTONIC, and how, in words."""

    at: float
    how: str


def how(node: NodePlan, state: NodeState) -> str:
    """How a node ended, in words."""
    if state.oom_killed:
        return f"ran out of memory and was killed (limit {node.memory >> 20} MiB)"
    return f"died (exit code {state.exit_code})"


def fatal(node: NodePlan, state: NodeState, last_words: str, *, last_of_its_kind: bool, training: bool) -> NodeError:
    """The error about a node without which the run cannot go on.

    Args:
        node: Which.
        state: How it is.
        last_words: The end of what it wrote.
        last_of_its_kind: Whether the run could have gone on as long as any of its kind was left.
        training: Whether training was under way.
    """
    what = f"{node.name} {how(node, state)}"
    go_on = ""
    if last_of_its_kind:
        what += f", and no {_KINDS.get(node.kind, 'node')} is left to train with"
    elif training and node.kind == "device":
        go_on = "; to train on without devices that die: workload.late: {drop: 30s}"
    if state.oom_killed:
        remedy = "give its profile more memory, or use a smaller model or batch"
        return NodeError(what, wanted="its work to fit into its memory limit", where=node.name, remedy=remedy + go_on)
    remedy = "if nobody stopped it, its last words above say why"
    return NodeError(what, found=last_words, where=node.name, remedy=remedy + go_on)
