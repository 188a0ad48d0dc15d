"""What units and their orchestrator are told before the first task: memory, prices, powers, batteries, paths.

Everything is in virtual time, as the plan is. Rates are those that messages get (`staging.PAYLOAD`), of links as
the file asks for them: calibration shows whether they are so, to the tolerance of the verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations

from nodes.platform.states import BROADCAST, INITIALISE
from nodes.policies.requests import AGGREGATE, EVALUATE, TRAIN_DEVICE, TRAIN_EDGE, Shared
from nodes.wire.jobs import PlatformSettings, UnitSettings
from testbed.emulation.links.shape import LinkCalibration
from testbed.experiment.plan import LinkPlan, NodePlan, Plan
from testbed.run.platform import costs
from testbed.run.staging import PAYLOAD, Network

_MIB = 1 << 20
ASIDE = {"device": 64 * _MIB, "edge": 64 * _MIB, "cloud": 192 * _MIB}
"""Bytes of a unit that are its agent's, by kind; in the cloud also the orchestrator's, with its solver."""
_STORE_SHARE = 8
"""A unit's store of blobs has this part of its memory, ..."""
_STORE_LEAST, _STORE_MOST = 32 * _MIB, 256 * _MIB
"""... and so much at least and at most. It is on a tmpfs, which counts as memory."""
STORE = "/tmp/store"  # in the container
MESSAGE_S = 2.5e-3
"""Real seconds of a message beside its links (`PlatformSettings.message_s`): medians of three devices' batches were
longer by 2.5 to 3.4 ms one way on two cores of an AMD EPYC, 65 to 131 kB each."""
ORCHESTRATOR = "cloud"


def unit(plan: Plan, node: NodePlan) -> UnitSettings:
    """What a node is told that it is as a unit."""
    site = plan.site(node.site).edge if node.kind == "device" and node.site else None
    return UnitSettings(
        memory=max(0, node.memory - ASIDE.get(node.kind, 0) - store_bytes(node)), orchestrator=orchestrator(plan),
        store=STORE, store_bytes=store_bytes(node), keep_alive=plan.platform.keep_alive, at=site or "",
        reserve_j=None if node.battery is None else node.battery.reserve_j,
    )  # fmt: skip


def store_bytes(node: NodePlan) -> int:
    """Bytes of a unit's store."""
    return min(max(node.memory // _STORE_SHARE, _STORE_LEAST), _STORE_MOST)


def orchestrator(plan: Plan) -> str:
    """The node that has the orchestrator."""
    return next((node.name for node in plan.nodes if node.kind == "cloud"), ORCHESTRATOR)


def platform(plan: Plan, calibration: Mapping[str, LinkCalibration] | None = None) -> PlatformSettings:
    """What the orchestrator is told.

    Args:
        plan: The experiment.
        calibration: Of links, by name: a link without a rate has the one that was measured.
    """
    asked = plan.platform
    units = [node for node in plan.nodes if node.kind != "host"]
    home = orchestrator(plan)
    return PlatformSettings(
        policy=asked.policy, weights=asked.weights, keep_alive=asked.keep_alive, queue=asked.queue,
        retries=asked.retries, seed=plan.seed,
        kept_bytes=min((store_bytes(node) for node in units if node.name == home), default=0) // 2,
        prices={node.name: (node.price.gb_second, node.price.gb) for node in units},
        powers={node.name: node.power for node in units if node.kind == "device" and node.power is not None},
        batteries={
            node.name: (node.battery.capacity_j, node.battery.left_j, node.battery.reserve_j)
            for node in units if node.battery is not None
        },
        sites={node.name: plan.site(node.site).edge or "" for node in units if node.kind == "device" and node.site},
        paths=tuple(_paths(plan, [node.name for node in units], calibration or {})), shared=tuple(_shared(plan)),
        message_s=MESSAGE_S / plan.dilation,
    )  # fmt: skip


def provisioned(plan: Plan, node: NodePlan) -> dict[str, tuple[int, int]]:
    """Instances that a unit begins with, and bytes of each, by function: for all that tasks may ask of it at once.

    It is as far as its memory goes. A device trains a share of a task at a time; a server any owner's, and averages,
    evaluates, and cuts for each owner out of a model what it needs. Functions that data are chosen by are asked for
    once a task, and are not among them; nor are those that functions of the user's own stand in for.
    """
    if not plan.platform.provisioned or not plan.tasks:
        return {}
    if node.kind == "device":
        wanted = {TRAIN_DEVICE: sum(node.name in task.owners for task in plan.tasks)}
    else:
        owners = sum(len(task.owners) for task in plan.tasks)
        home = {INITIALISE: 1} if node.name == orchestrator(plan) else {}
        parts = max(len(task.owners) for task in plan.tasks)
        wanted = {AGGREGATE: 1, EVALUATE: 1, **home, TRAIN_EDGE: owners, BROADCAST: parts}
    every = [costs.instances(task) for task in plan.tasks]
    left, found = unit(plan, node).memory, {}
    for name, count in wanted.items():
        needed = max(one[name] for one in every)
        if name not in plan.platform.replaced and (there := min(count, left // needed)):
            found[name] = there, needed
            left -= there * needed
    return found


def _paths(
    plan: Plan, units: list[str], calibration: Mapping[str, LinkCalibration]
) -> Iterator[tuple[str, str, float, float]]:
    """Between all pairs, as they are at the start; pairs without a way are left out."""
    network = Network(plan)
    most = _fastest(calibration)
    for a, b in permutations(units, 2):
        rate, _, rtt = network.between(a, b)
        if rate > 0:
            yield a, b, min(rate, most), rtt


def _fastest(calibration: Mapping[str, LinkCalibration]) -> float:
    """Payload bit/s beyond which this machine carries nothing: the most that was measured of any link."""
    rates = [way.rate for link in calibration.values() for way in (link.ab, link.ba) if way.rate]
    return max(rates) * PAYLOAD if rates else float("inf")


def _shared(plan: Plan) -> Iterator[Shared]:
    """Links that several units have to share: those of edge servers, and between a site and the rest.

    Devices are behind the site at which they begin. The orchestrator knows where they have gone.
    """
    for link in plan.links:
        if link.kind == "edge":
            yield _limits(link, {link.a})
        elif link.kind == "backhaul":
            behind = {place: _behind(plan, place) for place in (link.a, link.b)}
            if behind[link.a] and behind[link.b] and len(behind[link.a]) + len(behind[link.b]) > 2:
                yield _limits(link, behind[link.a], behind[link.b])


def _behind(plan: Plan, bridge: str) -> set[str]:
    return {node.name for node in plan.nodes if node.kind != "host" and node.bridge == bridge}


def _limits(link: LinkPlan, units: set[str], beyond: set[str] | None = None) -> Shared:
    up, down = (shape.rate * PAYLOAD if shape.rate else float("inf") for shape in (link.ab, link.ba))
    return Shared(link.name, frozenset(units), up, down, frozenset(beyond or ()))
