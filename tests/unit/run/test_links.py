"""The watch of links goes on when one of them has gone with its node."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from testbed.emulation.links.shape import LinkStats
from testbed.errors import EmulationError, NotAppliedError
from testbed.run.links import LinkWatch


class Counters:
    """Two links that carry 100 bytes more each way at every look; links in ``gone`` cannot be read."""

    def __init__(self) -> None:
        self.carried = 0
        self.gone: set[str] = set()

    def stats(self, link: str) -> tuple[LinkStats, LinkStats]:
        if link in self.gone:
            raise EmulationError("an end of the link is gone")
        self.carried += 100
        return LinkStats(tx_bytes=self.carried), LinkStats(tx_bytes=self.carried)


class AllAtOnce(Counters):
    def stats_all(self) -> dict[str, tuple[LinkStats, LinkStats]]:
        if self.gone:
            raise NotAppliedError("the kernel does not shape the link")
        return {name: self.stats(name) for name in ("access:dev-1", "access:dev-2")}


@pytest.mark.parametrize("kind", [Counters, AllAtOnce])
def test_the_others_are_watched_on(kind):
    emulator = kind()
    links = dict.fromkeys(("access:dev-1", "access:dev-2"))
    watch = LinkWatch(SimpleNamespace(emulator=emulator, record=SimpleNamespace(links=links)))
    assert [s.attrs["link"] for s in watch.sample(0.0, 1.0)] == ["access:dev-1", "access:dev-2"]
    emulator.gone.add("access:dev-1")
    [left] = watch.sample(1.0, 2.0)
    assert left.attrs["link"] == "access:dev-2"
    assert left.attrs["ab_bytes"] > 0


def test_an_emulator_that_is_gone_is_no_link_that_is():
    emulator = AllAtOnce()
    watch = LinkWatch(SimpleNamespace(emulator=emulator, record=SimpleNamespace(links={"access:dev-1": None})))

    def gone():
        raise EmulationError("the relay is not running")

    watch._all = gone
    with pytest.raises(EmulationError):
        watch.sample(0.0, 1.0)
