"""Events: versioned spans from which timelines, Gantt charts and energy are derived.

One object a line in ``events.jsonl``. Times are seconds of CLOCK_MONOTONIC, which all containers share with
the host. Kinds and what they mean:

    forward backward    paced compute of one batch on one stage (``cpu_s`` is the CPU time it took)
    tail-step           the same on the edge half: forward, loss, backward and update in one; on the last stage of a
                        pipeline without the update
    update              paced update of weights after the last micro-batch of a batch. Of a pipeline, this and the
                        three above have ``micro``, attrs.stage and attempt: what a Gantt chart is drawn from
    pipeline            one stage's round in a pipeline: first work begun .. last done; attrs.device, stage, stages,
                        layers (first, and after the last), schedule, micro, depth, batches (from attrs.first on, in
                        attrs.segment, where cuts changed in the round), attempt, busy_s, bubble
                        (share of the time in which it did nothing), staleness and staleness_most (updates that its
                        weights were behind: mean, worst), packing_error (share that compression lost, root mean square)
    select              a device selected which of its samples it trains on, before its first round; paced to its own
                        CPU time over the node's speed. attrs.device, rule, share, by, features, samples, kept, and
                        by_class (kept samples of each class): counts, and nothing else of its data.
                        On the serverless platform one for each piece of it; the last one has these attrs
    profile             paced work on one layer on a device, before the training: its own times; attrs.op (such
                        as forward.conv1)
    probe               the same on an edge server for a probe; attrs.op, attrs.device (for whom)
    probed              a device's probe of an edge server (``peer``), begun .. answered or given up; ``bytes`` both
                        ways, attrs.device, lost (no answer), trains (pairs of them), up and down (payload bit/s), rtt
                        (s), ratio (to the device's own times), memory (bytes), admits, why, took_s (what the budget
                        counts: of link and server), said_s and said_bytes (most, said ahead); null: not measured
    decision            what a device decided of probes and of its layout; attrs as `nodes.policies.decisions` has them
    relocate relay reopen   a pipeline changed: a stage went to another node, layers went to other stages, or the round
                        began again with another layout; decided .. done. attrs.device, stage (-1: all), from, to,
                        stall_s, why; ``bytes`` moved
    speed               paced steps that ended in a window of time: attrs.steps, attrs.late, attrs.asked_s (what they
                        should have taken), attrs.took_s
    wait                a device waiting for gradients (activations sent .. gradients here; in a pipeline: a millisecond
                        or longer in which the device had nothing else to do)
    send                a message on its way: handed to the network .. received; ``peer`` is where it went;
                        attrs.message, attrs.tensors: names of what it carried (``x,y``), of weights those of their
                        layers (``conv1.*``)
    round               one device's round: first batch begun .. last batch done; attrs.batches
    aggregate evaluate  on the aggregator (aggregate: on edge servers too, where averaging is hierarchical)
    accuracy            what an evaluation found; attrs.accuracy, attrs.loss, and attrs.missing: devices that the round
                        was averaged without, if there were any
    function            an invocation on a unit of the serverless platform: asked for .. ended; ``cpu_s`` of all of it,
                        ``bytes`` of blobs that were fetched for it; attrs.function, call, owner, kind (how it failed),
                        fetch_s (waited for blobs), cold, start_s (its cold start), work_begin and work_end (or null),
                        reserved (bytes of memory)
    fetch               a blob that came to a unit from another one (``peer``): asked for .. here; attrs.digest
    capture transfer restore   parts of a migration; ``bytes`` is the state's size; attrs.device
    replay-step         work that a standby does again to be in step; of a pipeline also a forward pass that a stage
                        which moved repeats at its destination
    relocate            a stage of a pipeline went to another node: asked for .. at work there; ``bytes`` of state sent
                        at the move itself; attrs.device, stage, from, to (where it was, if it could not go), stall_s
                        (nobody worked on its micro-batches)
    relay               cuts of a pipeline changed: asked for .. all stages ready; ``bytes`` of layers; attrs.from and
                        attrs.to in words, stall_s (the device had done its share and waited)
    reopen              a pipeline's round began again with another layout; as relay, and attrs.why, attrs.batches (that
                        were given up)
    restart             a device gave its round up; attrs.from, attrs.to
    delivered           the aggregator has a pipeline's whole model of a round; attrs.device, attrs.attempt: the one of
                        which all its pieces are
    disconnect          a data connection was lost
    move                a whole move of training state, from the controller; attrs as in summary "moves"
    handover            the port changed bridges; attrs.device, attrs.from, attrs.to
    link-down link-up   a device's access link went down or came up; attrs.device, attrs.why (out of coverage,
                        handover), attrs.late_s (after it was to go down)
    leave join          the same for a device that is absent (availability traces)
    outage              a link being down for one reason, from begin to end; attrs.device, attrs.why
    limit               a limit set or read back; attrs
    link                a link over an interval; attrs.link, and each way (attrs.ab_..., attrs.ba_...): bytes, segments
                        dropped (at a full queue) and lost (on purpose), queue (bytes waiting at its end), late_max_s
                        (a new worst lateness, if there was one)
    watch               a node over an interval; ``cpu_s`` is what it got, attrs.throttled_s how long its own limit held
                        it back, attrs.starved_s how long it wanted to run and could not for other reasons, attrs.
                        starved_by_others_s how much of that was not the run's own doing; attrs.memory, memory_working,
                        memory_peak (bytes), oom_kills, cpu_stalled_s, memory_stalled_s. Null: the kernel does not tell.
                        Without a node it is about the machine: ``cpu_s`` of all programs, attrs.nodes_s, testbed_s,
                        others_s (CPU time by whom), steal_s, others (which programs, when nodes starved), relay_late_*
    node                something about a node's life: ready, died, oom; attrs.state
    note                anything a person should read; attrs.text
"""

from __future__ import annotations

from typing import Any

import msgspec

SCHEMA = 1
WORK = frozenset(
    (
        "forward", "backward", "step", "tail-step", "update", "replay-step", "select", "profile", "probe", "aggregate",
        "evaluate",
    )
)
"""Kinds of events in which their node computes, and does nothing else."""


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
