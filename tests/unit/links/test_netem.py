"""What is said to ``tc``, and what is made of its answers; the kernel of this machine may lack netem."""

from __future__ import annotations

import json

import pytest

from testbed.emulation.links import choose, netem
from testbed.emulation.links.shape import Shape
from testbed.errors import EnvironmentProblem, InputError, NotAppliedError

ACCESS = Shape(rate=20e6, delay=0.004, jitter=0.001, loss=0.001, queue=250_000)
CLASSES = "class htb 1:1 root leaf 10: prio 0 rate 20Mbit ceil 20Mbit burst 3028b cburst 3028b \n"


def qdiscs(limit: int, **options: object) -> list[dict[str, object]]:
    """As ``tc -s -j qdisc show`` prints them (recorded: iproute2 6.1, Linux 6.1), less what nobody reads."""
    return [
        {"kind": "htb", "handle": "1:", "root": True, "options": {"default": "0x1"}, "bytes": 3028, "packets": 2,
         "drops": 5, "backlog": 1514},
        {"kind": "netem", "handle": "10:", "parent": "1:1", "bytes": 3028, "packets": 2, "drops": 5, "backlog": 1514,
         "options": {"limit": limit, **options, "ecn": False, "gap": 0,
                     "rate": {"rate": 12500000000, "packetoverhead": 0, "cellsize": 0, "celloverhead": 0}}},
    ]  # fmt: skip


def access_qdiscs() -> list[dict[str, object]]:
    return qdiscs(
        netem.packet_limit(ACCESS),
        **{"delay": {"delay": 0.004, "jitter": 0.001, "correlation": 0},
           "loss-random": {"loss": 0.001, "correlation": 0}},
    )  # fmt: skip


def test_a_link_is_made_of_htb_and_netem():
    root, shaped, delayed = netem.commands("add", "eth0", ACCESS)
    assert root == "qdisc add dev eth0 root handle 1: htb default 1"
    assert shaped.startswith("class add dev eth0 parent 1: classid 1:1 htb rate 20000000bit ceil 20000000bit ")
    assert " delay 4000.000us 1000.000us loss 0.1000000% rate 100000000000bit" in delayed


def test_a_change_keeps_every_qdisc():
    lines = netem.commands("change", "eth0", ACCESS)
    assert len(lines) == 2
    assert all(" change " in line for line in lines)


def test_the_limit_counts_the_queue_and_what_is_under_way():
    # 250 000 bytes are 166 full frames; 5 ms at 20 Mbit/s are 12 500 bytes, 9 frames
    assert netem.packet_limit(ACCESS) == 166 + 9


def test_what_tc_prints_is_the_shape_again():
    found = netem.parse(CLASSES, access_qdiscs(), ACCESS)
    assert netem.same(ACCESS, found)
    assert found.queue == 250_000


def test_no_limit_reads_back_as_none():
    classes = CLASSES.replace("20Mbit", "100Gbit")
    found = netem.parse(classes, qdiscs(1_000_000, delay={"delay": 0.01}), Shape(delay=0.01))
    assert found.rate is None
    assert netem.same(Shape(delay=0.01), found)


@pytest.mark.parametrize(
    "found",
    [
        netem.parse(CLASSES.replace("20Mbit", "40Mbit"), access_qdiscs(), ACCESS),
        netem.parse(CLASSES, qdiscs(175, delay={"delay": 0.004, "jitter": 0.001}), ACCESS),
        netem.parse(CLASSES, [{**q, "options": {**q["options"], "limit": 99}} for q in access_qdiscs()], ACCESS),
    ],
    ids=["rate", "loss", "limit"],
)
def test_another_setting_is_noticed(found):
    assert not netem.same(ACCESS, found)


def test_an_unshaped_interface_is_noticed():
    with pytest.raises(NotAppliedError, match="does not shape"):
        netem.parse("", json.loads('[{"kind": "noqueue", "options": {}}]'), ACCESS)


def test_drops_count_as_lost_only_where_loss_is_set():
    assert netem.parse_stats(access_qdiscs()).dropped_loss == 5
    seen = netem.parse_stats(qdiscs(100))
    assert (seen.dropped_queue, seen.dropped_loss, seen.tx_bytes, seen.queue_bytes) == (5, 0, 3028, 1514)


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
