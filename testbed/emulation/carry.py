"""Can this machine carry the rates that links are asked for? Tried out on a scratch link before a bed is made.

Up to a gigabit a second no machine that trains is in doubt, and calibration measures every link anyway. Above, the
fastest rate asked for is measured in one direction, with large frames, as a bulk transfer has them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

from testbed.emulation import measure, netlink, netns
from testbed.emulation.ledger import Ledger
from testbed.emulation.links import choose, named, require_netem
from testbed.emulation.links.shape import LinkEnd, Shape
from testbed.errors import CapacityError, EnvironmentProblem
from testbed.experiment.limits import LONGEST_DELAY
from testbed.experiment.plan import Plan
from testbed.experiment.units import format_rate

CERTAIN = 1e9
"""bit/s that need not be tried."""
_STEPS = (5e9, 20e9, 40e9)  # tried upwards as far as they are carried: far too much at once would choke the probe
_QUEUE = 16 << 20
_NEARLY = 0.95
_WARMUP_S, _WINDOW_S, _PATIENCE_S = 0.1, 0.4, 5.0


def fastest(plan: Plan) -> tuple[float, str, str]:
    """The highest rate that a plan asks of a link, in bit/s, of which, and where the file says so."""
    asked = [(shape.rate, name, place) for name, place, shape in _shapes(plan) if shape.rate]
    return max(asked, default=(0.0, "", plan.source))


def _shapes(plan: Plan) -> Iterator[tuple[str, str, Shape]]:
    """Both directions of all that a link may be, with its name and its place in the file."""
    for link in plan.links:
        node = next((node for node in plan.nodes if node.name == link.a and link.kind == "access"), None)
        for shape in (link.ab, link.ba):
            yield link.name, plan.where(link.name if node is None else f"access:{node.site}"), shape
    for site in plan.sites:
        for shape in (site.access_up, site.access_down):
            yield f"the access links at {site.name}", plan.where(f"access:{site.name}"), shape


def require_carried(plan: Plan, ledger: Ledger) -> None:
    """Refuse rates that this machine does not carry.

    Args:
        plan: As it is made real.
        ledger: Where the scratch namespaces are written down.

    Raises:
        CapacityError: A link asks for more than was measured.
    """
    rate, link, place = fastest(plan)
    if rate <= CERTAIN:
        return
    carried = carries(rate, plan.link_backend, ledger)
    if carried < rate * (1 - plan.tolerances.rate):
        raise CapacityError(
            f"{link} is faster than this machine carries",
            wanted=f"a rate of at most {carried / 1e9:.3g}Gbit, as measured just now",
            found=f"{rate / 1e9:g}Gbit",
            where=place,
            remedy="lower the rate; what else runs here takes its share of the cores",
        )


def require_playable(plan: Plan) -> None:
    """Refuse what this machine's kind of links cannot do, before any is made.

    Raises:
        CapacityError: A link is under way for too long once it is dilated, or is faster than what is tried out.
        EnvironmentProblem: The kernel has no netem where it is asked for, cannot play chances to send, or has no IPv6.
    """
    if plan.ipv6 and not os.path.isdir("/proc/sys/net/ipv6"):
        raise EnvironmentProblem(
            "this machine's kernel has no IPv6", wanted="emulation: {ipv6: true}", where=plan.where("emulation.ipv6"),
            remedy="boot without ipv6.disable=1, or take ipv6 out",
        )  # fmt: skip
    if plan.link_backend == "netem":
        require_netem(plan.where("emulation.links"))
    rate, link, place = fastest(plan)
    if rate * (1 - plan.tolerances.rate) > _STEPS[-1]:
        raise CapacityError(
            f"{link} is faster than any link that is tried out on a machine",
            wanted=f"a rate of at most {format_rate(_STEPS[-1])}",
            found=format_rate(rate),
            where=place,
            remedy="lower the rate, or set a dilation, which divides it",
        )
    for name, place, shape in _shapes(plan):
        if shape.delay + shape.jitter > LONGEST_DELAY:
            raise CapacityError(
                f"{name}: a packet would be under way for {shape.delay + shape.jitter:.0f} s",
                wanted=f"at most {LONGEST_DELAY:g} s, jitter included, dilated",
                found=f"dilation {plan.dilation:g}",
                where=place,
                remedy="lower the delay, or set a smaller dilation",
            )
    schedules = [s for link in plan.links for s in (link.ab_trace, link.ba_trace)]
    schedules += [s for site in plan.sites for s in (site.access_up_trace, site.access_down_trace)]
    chances = next((schedule for schedule in schedules if schedule is not None and schedule.deliveries), None)
    if chances is not None and named(plan.link_backend) == "netem":
        raise EnvironmentProblem(
            "the kernel's links cannot play chances to send (a Mahimahi trace)",
            wanted="links: relay",
            found=f"links: {plan.link_backend}, which is netem here; trace {chances.name}",
            where=plan.where("emulation.links"),
            remedy="set emulation: {links: relay}",
        )


def carries(rate: float, backend: str, ledger: Ledger) -> float:
    """What comes through a link of that rate, in bit/s, measured; as far as 40 Gbit/s."""
    tried = [step for step in _STEPS if step < rate] + [min(rate, _STEPS[-1])]
    shape = Shape(rate=tried[0], queue=_QUEUE)
    with ExitStack() as stack:
        ends: list[LinkEnd] = []
        for side in ("x", "y"):
            name = f"{netns.name_of(ledger.run_id)}-{side}"
            with ledger.making("netns", name):
                path = netns.create(name)
            stack.callback(netns.delete, name)
            ends.append(LinkEnd(path, "eth0", f"02:52:42:04:00:0{len(ends)}"))
        emulator = choose(backend)
        stack.callback(emulator.close)
        emulator.open()
        for pid in emulator.pids():
            ledger.add_process(f"links ({emulator.name})", pid)
        emulator.add("scratch", ends[0], ends[1], shape, shape)
        for end in ends:
            with netlink.Netlink(end.netns) as socket:
                socket.run([netlink.set_link(end.ifname, up=True)])
        best = 0.0
        for step in tried:
            shape = Shape(rate=step, queue=_QUEUE)
            emulator.set("scratch", shape, shape)
            seen = measure.rate(ends[0], ends[1], step, 0.0, warmup=_WARMUP_S, window=_WINDOW_S, patience=_PATIENCE_S)
            best = max(best, seen["ab"].rate)
            if seen["ab"].rate < step * _NEARLY:
                break
    return best
