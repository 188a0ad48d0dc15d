"""Where the links of a bed can be measured: their ends as interfaces in namespaces."""

from __future__ import annotations

from testbed.emulation import netns
from testbed.emulation.bed import Bed
from testbed.emulation.calibrate import CalTarget, GapTarget
from testbed.emulation.links.shape import LinkEnd


def links(bed: Bed) -> list[CalTarget]:
    """Every link of a bed, as it is now."""
    found = []
    for link in bed.record.links.values():
        a, b = _end(bed, link.a, link.a_ifname), _end(bed, link.b, link.b_ifname)
        found.append(CalTarget(link.name, link.kind, link.a, link.b, a, b, link.ab, link.ba))
    return found


def gap(bed: Bed, device: str, edge: str) -> GapTarget:
    """From a device to an edge server, across whatever lies between."""
    there = bed.record.node(edge)
    return GapTarget(netns.of_pid(bed.pid(device)), "eth0", netns.of_pid(bed.pid(edge)), "eth0", there.mac)


def _end(bed: Bed, owner: str, ifname: str) -> LinkEnd:
    record = bed.record
    if owner in record.nodes:
        return LinkEnd(netns.of_pid(bed.pid(owner)), ifname, record.node(owner).mac)
    return LinkEnd(netns.path_of(netns.name_of(record.run_id)), ifname, "")
