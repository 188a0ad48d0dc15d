"""Events: versioned spans from which timelines, Gantt charts and energy are derived.

One object a line in ``events.jsonl``. Times are seconds of CLOCK_MONOTONIC, which all containers share with
the host. Kinds and what they mean:

    forward backward    paced compute of one batch on one stage (``cpu_s`` is the CPU time it took)
    tail-step           the same on the edge half: forward, loss, backward and update in one
    speed               paced steps that ended in a window of time: attrs.steps, attrs.late, attrs.asked_s (what they
                        should have taken), attrs.took_s
    wait                a device waiting for gradients (activations sent .. gradients here)
    send                a message on its way: handed to the network .. received; ``peer`` is where it went
    round               one device's round: first batch begun .. last batch done; attrs.batches
    aggregate evaluate  on the aggregator
    accuracy            what an evaluation found; attrs.accuracy, attrs.loss
    capture transfer restore   parts of a migration; ``bytes`` is the state's size; attrs.device
    restart             a device gave its round up; attrs.from, attrs.to
    disconnect          a data connection was lost
    move                a whole move of training state, from the controller; attrs as in summary "moves"
    handover            the port changed bridges; attrs.device, attrs.from, attrs.to
    limit               a limit set or read back; attrs
    link                bytes on a link over an interval; attrs.link, attrs.ab_bytes, attrs.ba_bytes
    node                something about a node's life: ready, died, oom; attrs.state
    note                anything a person should read; attrs.text
"""

from __future__ import annotations

from typing import Any

import msgspec

SCHEMA = 1


class Span(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One thing that took time (or, with ``begin == end``, happened)."""

    v: int = SCHEMA
    kind: str
    node: str
    begin: float
    end: float
    scheme: str = ""
    task: str = ""
    part: str = ""
    round: int = 0
    batch: int = -1
    micro: int = 0
    cpu_s: float = 0.0
    bytes: int = 0
    peer: str = ""
    late: bool = False
    attrs: dict[str, Any] = {}
