"""What the kernel is asked for, and what is made of what ``tc`` says; the kernel of this machine may lack netem."""

from __future__ import annotations

import copy
import json
import struct
from dataclasses import replace

import pytest

from testbed.emulation.links import choose, netem
from testbed.emulation.links import netem_reading as reading
from testbed.emulation.links import netem_settings as settings
from testbed.emulation.links.plain import PlainWire
from testbed.emulation.links.shape import Bursts, LinkEnd, Schedule, Shape, Spread, Step
from testbed.errors import EmulationError, EnvironmentProblem, InputError, NotAppliedError

ACCESS = Shape(rate=20e6, delay=0.004, jitter=0.001, loss=0.001, queue=250_000, spread=Spread("two", (-8192, 8192)))
CLASSES = (
    "class netem 1:1 parent 1: leaf 10: \n"
    "class htb 10:1 root leaf 20: prio 0 rate 20Mbit ceil 20Mbit burst 5000b cburst 5000b \n"
)
STEPS = Schedule("walk", (Step(0.0, rate=8e6), Step(0.5, rate=2e6), Step(1.5, rate=4e6)), length=2.0)


def qdiscs(fifo: str = "bfifo", limit: int = 250_000, **options: object) -> list[dict[str, object]]:
    """As ``tc -s -j qdisc show`` prints them (recorded: iproute2 6.1, Linux 6.1), less what nobody reads."""
    counted = {"bytes": 3028, "packets": 2, "backlog": 0}
    return [
        {"kind": "netem", "handle": "1:", "root": True, "refcnt": 2, **counted, "drops": 7,
         "options": {"limit": settings.UNDER_WAY, **options, "ecn": False, "gap": 0,
                     "rate": {"rate": 12500000000, "packetoverhead": 0, "cellsize": 0, "celloverhead": 0}}},
        {"kind": "htb", "handle": "10:", "parent": "1:1", **counted, "drops": 5,
         "options": {"r2q": 10, "default": "0x1", "direct_packets_stat": 0, "direct_qlen": 1000}},
        {"kind": fifo, "handle": "20:", "parent": "10:1", **counted, "drops": 5, "backlog": 1514,
         "options": {"limit": limit}},
    ]  # fmt: skip


def access_qdiscs() -> list[dict[str, object]]:
    return qdiscs(
        **{"delay": {"delay": 0.004, "jitter": 0.001, "correlation": 0},
           "loss-random": {"loss": 0.001, "correlation": 0}},
    )  # fmt: skip


def test_what_tc_prints_is_the_shape_again():
    found = reading.shape_told(CLASSES, access_qdiscs(), ACCESS)
    assert reading.same(ACCESS, found)
    assert found.queue == 250_000


def test_every_impairment_is_told():
    asked = Shape(
        rate=20e6, bursts=Bursts(0.01, 0.2, 0.9, 0.02), reorder=0.05, duplicate=0.01, corrupt=0.005, queue_packets=9
    )
    said = {
        "loss-gemodel": {"p": 0.01, "r": 0.2, "1-h": 0.9, "1-k": 0.02}, "reorder": {"reorder": 0.05, "correlation": 0},
        "duplicate": {"duplicate": 0.01, "correlation": 0}, "corrupt": {"corrupt": 0.005, "correlation": 0},
    }  # fmt: skip
    found = reading.shape_told(CLASSES, qdiscs("pfifo", 9, **said), asked)
    assert reading.same(asked, found)
    assert found == asked
    for name in said:
        left = {other: value for other, value in said.items() if other != name}
        assert not reading.same(asked, reading.shape_told(CLASSES, qdiscs("pfifo", 9, **left), asked)), name


def test_no_limit_reads_back_as_none():
    told = qdiscs(limit=settings.UNLIMITED_QUEUE, delay={"delay": 0.01})
    found = reading.shape_told(CLASSES.replace("20Mbit", "100Gbit"), told, Shape(delay=0.01))
    assert found == Shape(delay=0.01)
    assert reading.same(Shape(delay=0.01), found)


@pytest.mark.parametrize(
    "found",
    [
        reading.shape_told(CLASSES.replace("20Mbit", "40Mbit"), access_qdiscs(), ACCESS),
        reading.shape_told(CLASSES, qdiscs(delay={"delay": 0.004, "jitter": 0.001}), ACCESS),
        reading.shape_told(CLASSES, [*access_qdiscs()[:2], qdiscs("bfifo", 99)[2]], ACCESS),
        reading.shape_told(CLASSES, [*access_qdiscs()[:2], qdiscs("pfifo", 250_000)[2]], ACCESS),
    ],
    ids=["rate", "loss", "limit", "unit"],
)
def test_another_setting_is_noticed(found):
    assert not reading.same(ACCESS, found)


def test_what_a_schedule_decides_is_not_compared():
    found = replace(ACCESS, rate=2e6)
    assert not reading.same(ACCESS, found)
    assert reading.same(ACCESS, found, STEPS)
    assert not reading.same(ACCESS, replace(found, delay=0.1), STEPS)
    assert not reading.same(replace(ACCESS, queue=None), replace(found, queue=25_000), STEPS), "the queue stays"


def test_an_unshaped_interface_is_noticed():
    with pytest.raises(NotAppliedError, match="does not shape"):
        reading.shape_told("", json.loads('[{"kind": "noqueue", "options": {}}]'), ACCESS)


@pytest.mark.parametrize(("name", "value"), [("limit", 1000), ("rate", {"rate": 0})])
def test_a_netem_that_is_not_ours_is_noticed(name, value):
    told = copy.deepcopy(access_qdiscs())
    told[0]["options"][name] = value  # type: ignore[index]
    with pytest.raises(NotAppliedError, match="not ours"):
        reading.shape_told(CLASSES, told, ACCESS)


def test_drops_at_the_queue_are_told_from_losses():
    seen = reading.stats_told(access_qdiscs())
    assert (seen.dropped_queue, seen.dropped_loss, seen.tx_bytes, seen.queue_bytes) == (5, 2, 3028, 1514)


def test_a_change_keeps_every_qdisc():
    for made, flags in ((settings.make("eth0", 7, ACCESS), 0x600), (settings.change("eth0", 7, ACCESS), 0)):
        assert {request.flags for request in made} == {flags}
    assert len(settings.change("eth0", 7, ACCESS)) == 3


def test_the_table_is_handed_over_with_the_delay():
    assert struct.pack("=hh", -8192, 8192) in settings.change("eth0", 7, ACCESS)[0].body
    uniform = settings.change("eth0", 7, replace(ACCESS, spread=Spread()))[0].body
    assert len(uniform) > 2 * 4096, "or the kernel would keep the table it has"


def test_bursts_are_what_the_kernel_means_by_them():
    body = settings.change("eth0", 7, Shape(bursts=Bursts(0.25, 0.5, 0.75, 0.125)))[0].body
    assert struct.pack("=4I", 1 << 30, 1 << 31, 1 << 30, 1 << 29) in body  # p, r, h, 1-k


def test_the_queue_stays_while_the_rate_varies():
    shape = Shape(rate=20e6)
    assert settings.change("eth0", 7, shape, STEPS, 0.6)[2] == settings.change("eth0", 7, shape)[2]
    assert settings.change("eth0", 7, shape, STEPS, 0.6)[1] == settings.change("eth0", 7, Shape(rate=2e6))[1]


@pytest.mark.parametrize(
    ("elapsed", "loop", "rate"),
    [(-1.0, True, 20e6), (0.0, False, 8e6), (1.4, False, 2e6), (9.0, False, 4e6), (8.6, True, 2e6), (2.0, True, 8e6)],
)
def test_what_a_schedule_has_come_to(elapsed, loop, rate):
    assert settings.in_force(ACCESS, replace(STEPS, loop=loop), elapsed).rate == rate


def test_a_step_is_when_and_what_to_tell_the_kernel():
    made = settings.step_bytes("eth0", 7, ACCESS, STEPS)
    times, offset = [], 0
    while offset < len(made):
        at, length = struct.unpack_from("=qQ", made, offset)
        times.append(at)
        assert struct.unpack_from("=IHH", made, offset + 16)[:2] == (length, 40)  # one message: change a class
        offset += 16 + (length + 7) // 8 * 8
    assert times == [0, 500_000_000, 1_500_000_000]
    lossy = settings.step_bytes("eth0", 7, ACCESS, Schedule("x", (Step(0.0, loss=0.5),), length=1.0))
    assert struct.unpack_from("=IH", lossy, 16)[1] == 36  # change netem
    assert settings.at_step(replace(ACCESS, bursts=Bursts(0.1, 0.1)), Step(0.0, loss=0.5)).bursts is None


@pytest.mark.parametrize(
    "schedule",
    [Schedule("m", deliveries=(1, 2), length=0.002), Schedule("s", (Step(0.0, rate=0.0),), length=1.0)],
    ids=["deliveries", "outage"],
)
def test_what_the_kernel_cannot_play_names_what_can(schedule):
    with pytest.raises(EmulationError, match="links: relay"):
        settings.check_schedule("access:dev-1", schedule)


def test_what_the_kernel_cannot_set_names_what_can():
    with pytest.raises(EmulationError, match="links: relay"):
        settings.check("l", Shape(rate=2.0))
    with pytest.raises(EmulationError, match="links: relay"):
        settings.check_change("l", ACCESS, Shape(rate=20e6, queue_packets=10))


def test_a_plain_wire_does_not_vary():
    wire = PlainWire()
    wire._ends["l"] = (LinkEnd("/a", "eth0", ""), LinkEnd("/b", "eth0", ""))
    with pytest.raises(EmulationError, match="plain wire") as raised:
        wire.play("l", 0.0, ab=STEPS)
    assert "walk" in str(raised.value)


def test_asking_for_netem_without_it_names_the_remedy(monkeypatch):
    monkeypatch.setattr(netem, "netem_missing", lambda: "Error: Specified qdisc kind is unknown.")
    with pytest.raises(EnvironmentProblem) as raised:
        choose("netem")
    assert "CONFIG_NET_SCH_NETEM" in str(raised.value)
    assert "relay" in str(raised.value)


@pytest.mark.parametrize(("missing", "name"), [("no netem", "relay"), (None, "netem")])
def test_auto_takes_what_works(monkeypatch, missing, name):
    monkeypatch.setattr("testbed.emulation.links.netem_missing", lambda: missing)
    monkeypatch.setattr(netem, "netem_missing", lambda: missing)
    assert choose("auto").name == name


def test_an_unknown_emulator_is_refused():
    with pytest.raises(InputError, match="no such link emulator"):
        choose("netm")
