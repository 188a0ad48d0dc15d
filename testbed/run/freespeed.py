"""How fast this machine is free of limits: reference times of a workload's layouts, stored or measured now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodes.policies.samples import FORMS
from nodes.wire import control as ctl
from testbed.experiment.plan import WorkloadPlan
from testbed.run import reference, speed
from testbed.run.again import moves_stages

if TYPE_CHECKING:
    from testbed.run.session import Session

MEASURE_S = 4.0
DRIFT_S = 1.0


def reference_of(session: Session, seconds: float = MEASURE_S, *, layers: bool = False) -> dict[str, float]:
    """Reference times of a session's workload, see `Session.reference`; with ``layers`` those of each layer as well.

    Raises:
        NodeError: The node that measures failed, or did not answer.
        InputError: The stored ones cannot be read.
    """
    plan, work = session.plan, session.plan.workload
    session.references = {}
    fresh: set[int] = set()
    torch = next(iter(session.versions.values()), {}).get("torch", "?")
    for cut in sorted({work.cut, *work.cuts.values()}):
        key = reference.key(work.model, cut, work.batch, work.threads, torch, FORMS[work.data.set])
        known = reference.load(key)
        if known is not None:
            session.references[cut] = known
            continue
        with session.live.phase("measuring the reference step of this machine (once per layout)", seconds):
            session.references[cut] = _free_speed(session, seconds, cut)
        reference.store(key, session.references[cut])
        fresh.add(cut)
    if layers:
        session.layer_times = _layer_times(session, seconds, torch, work.micro_size)
        if any(map(moves_stages, work.schemes)):
            # Training needs them not: they are what `testbed plan` compares a pipeline with.
            _layer_times(session, seconds, torch, work.batch)
    stored = session.references[work.cut]
    if work.cut not in fresh and plan.speed_check:
        with session.live.phase("measuring today's free speed", DRIFT_S):
            today = _free_speed(session, DRIFT_S, work.cut)
        ops = [op for name in session.workers for op in speed.operations(plan.node(name).kind, work.schemes)]
        session.drift = speed.drift(stored, today, ops)
        if session.drift["note"]:
            session.live.warn(session.drift["note"])
    return stored


def _layer_times(session: Session, seconds: float, torch: str, size: int) -> dict[str, float]:
    """Stored times by layer of batches of this size, or measured ones."""
    work = session.plan.workload
    key = reference.layers_key(work.model, size, work.threads, torch, FORMS[work.data.set])
    known = reference.load(key)
    if known is None:
        with session.live.phase("measuring the reference time of each layer (once per size)", seconds):
            known = _free_speed(session, seconds, 0, layers=size)
        reference.store(key, known)
    return known


def reference_at(session: Session, work: WorkloadPlan, cut: int, seconds: float = MEASURE_S) -> dict[str, float]:
    """Reference times of any work at a cut: stored ones, or measured now.

    Raises:
        NodeError: The node that measures failed, or did not answer.
        InputError: The stored ones cannot be read.
    """
    torch = next(iter(session.versions.values()), {}).get("torch", "?")
    key = reference.key(work.model, cut, work.batch, work.threads, torch, FORMS[work.data.set])
    known = reference.load(key)
    if known is None:
        with session.live.phase(f"measuring {work.model} cut at {cut} (once per machine)", seconds):
            known = _free_speed(session, seconds, cut, work=work)
        reference.store(key, known)
    return known


def _free_speed(
    session: Session, seconds: float, cut: int, *, layers: int = 0, work: WorkloadPlan | None = None
) -> dict[str, float]:
    """Of whole steps at this cut, or, if ``layers`` says of how many samples, of single layers."""
    work = work or session.plan.workload
    samples = FORMS[work.data.set]
    batch = layers or work.batch
    node = next(n.name for n in session.plan.nodes if n.kind == "cloud")
    if node in session.limits:  # the bed has stood for a while; `limit` puts them in force again
        session.release()
        session.bed.fleet.set_quota(node, None, session.limits[node].read_back.period or 0.1)
    session.control.send(
        node, ctl.Measure(work.model, cut, batch, work.threads, samples.shape, seconds, samples.classes, bool(layers))
    )
    said = session.collect(ctl.Measured, [node], 60 + 10 * seconds, "measure the reference step")[0]
    assert isinstance(said.message, ctl.Measured)
    return said.message.ops
