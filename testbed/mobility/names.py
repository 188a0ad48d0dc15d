"""Which device each node of a movement trace is: by a map, by its name, or by the order of appearance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from testbed.errors import InputError
from testbed.experiment.problems import did_you_mean
from testbed.mobility.row import Row
from testbed.mobility.selection import Selection
from testbed.mobility.trace import unknown

Where = Callable[[], str]


class Names:
    """Which device a node of the trace is.

    Args:
        devices: Names in order.
        selection: Its ``map`` and ``nodes``.
        own: The trace's nodes are called as devices are, unless ``map`` says otherwise.
    """

    def __init__(self, devices: Sequence[str], selection: Selection, *, own: bool = False) -> None:
        self._devices = devices
        self._map = selection.map
        self._most = selection.nodes
        self._own = own
        self._found: dict[str, str | None] = {}
        self._followed = 0

    def check_map(self, where: str) -> None:
        """Refuse a map to what are no devices, or of two nodes to one (InputError)."""
        if self._map is None or isinstance(self._map, str):
            return
        taken: dict[str, str] = {}
        for node, device in self._map.items():
            if device not in self._devices:
                raise InputError(
                    f"map: {device!r} is no device of the experiment", wanted=", ".join(self._devices), found=device,
                    where=where, remedy=did_you_mean(device, self._devices) or "name a device",
                )  # fmt: skip
            if device in taken:
                raise InputError(f"map: two nodes are to be {device!r}", wanted="one", where=where,
                                 found=f"{taken[device]}, {node}", remedy="take one of them out")  # fmt: skip
            taken[device] = node

    @property
    def met(self) -> bool:
        """Whether any node of the trace came by, under whatever name."""
        return bool(self._found)

    def check_seen(self, where: str) -> None:
        """Refuse a map of nodes that the trace does not have (InputError)."""
        if self._map is None or isinstance(self._map, str):
            return
        for node in self._map:
            if node not in self._found:
                raise InputError(
                    f"map: the trace does not name {node!r}", wanted=", ".join(sorted(self._found)[:8]), found=node,
                    where=where, remedy=did_you_mean(node, self._found) or "is it there within from, to and area?",
                )  # fmt: skip

    def named(self, rows: Iterable[Row], where: Where) -> Iterator[Row]:
        """Rows under devices' names; those of nodes that do not count are left out.

        Args:
            rows: Of the trace.
            where: Gives the place of the row that came last.

        Raises:
            InputError: A node is no device, or there are more nodes than devices.
        """
        found, make = self._found, tuple.__new__
        for row in rows:
            try:
                device = found[row[1]]
            except KeyError:
                device = found[row[1]] = self._device(row[1], where)
            if device is not None:  # _replace would take most of the time there is
                yield row if device == row[1] else make(Row, (row[0], device, *row[2:]))

    def _device(self, node: str, where: Where) -> str | None:
        if isinstance(self._map, Mapping):
            device = self._map.get(node)
            if device is None:
                return None
        elif self._most is not None and self._followed >= self._most:
            return None
        else:
            device = self._by_name_or_order(node, where)
        if self._most is not None and self._followed >= self._most:
            return None
        self._followed += 1
        return device

    def _by_name_or_order(self, node: str, where: Where) -> str:
        if self._map is None and not self._followed:  # the first one decides
            self._own = self._own or node in self._devices
        if self._map is None and self._own:
            if node not in self._devices:
                raise unknown(node, self._devices, where())
            return node
        if self._map is None and node in self._devices:
            raise InputError(
                f"the trace names {node!r}, a device, after nodes that are none", wanted="all names or none",
                found=node, where=where(), remedy="say who is who with map, or 'map: order'",
            )  # fmt: skip
        if self._followed >= len(self._devices):
            raise InputError(
                "the trace has more nodes than the experiment has devices", wanted=f"at most {len(self._devices)}",
                found=f"{node!r} as well", where=where(),
                remedy=f"add devices, or follow only some with 'nodes: {len(self._devices)}' or map",
            )  # fmt: skip
        return self._devices[self._followed]
