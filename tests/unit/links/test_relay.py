"""The relay's client against a relay that is told what to say, and the rules around shapes and compiling."""

from __future__ import annotations

import stat
import sys
from array import array
from dataclasses import replace

import pytest

from testbed.emulation import native
from testbed.emulation.links import relay_words
from testbed.emulation.links.mixed import MixedEmulator
from testbed.emulation.links.plain import PlainWire
from testbed.emulation.links.relay import RelayEmulator
from testbed.emulation.links.shape import Bursts, LinkEnd, Schedule, Shape, Spread, Step
from testbed.errors import EmulationError, EnvironmentProblem, NotAppliedError
from tests.support import VethEmulator

A = LinkEnd("/run/netns/a", "eth0", "02:00:00:00:00:01")
B = LinkEnd("/run/netns/b", "eth0", "02:00:00:00:00:02")
SHAPE = Shape(rate=20e6, delay=0.004, jitter=0.001, loss=0.001)
EVERYTHING = Shape(
    rate=20e6, delay=0.004, jitter=0.001, loss=0.001, spread=Spread("t", (-8192, 0, 8192)), bursts=None,
    queue_packets=12, reorder=0.01, duplicate=0.02, corrupt=0.03,
)  # fmt: skip

HONEST = """
import sys
say = lambda text: print(text, flush=True)
say("ready priority=fifo:50 memory=locked")
shapes = {}
for line in sys.stdin:
    verb, *rest = line.split()
    if verb == "set":
        told = dict(word.split("=") for word in rest[2:])
        shapes[tuple(rest[:2])] = told
        say("ok")
    elif verb == "get":
        found = dict.fromkeys(("enter", "leave", "bad", "good"), "0") | {"table": "-", "plays": "-"}
        found |= shapes[tuple(rest[:2])]
        found["bursty"] = int(any(found[name] != "0" for name in ("enter", "leave", "bad", "good")))
        say("ok " + " ".join(f"{n}={v}" for n, v in found.items()))
    else:
        say("ok")
"""


@pytest.fixture
def relay(tmp_path):
    made = []

    def start(script: str) -> RelayEmulator:
        program = tmp_path / "relay"
        program.write_text(f"#!{sys.executable}\n{script}")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        emulator = RelayEmulator(1, program)
        made.append(emulator)
        emulator.open()
        return emulator

    yield start
    for emulator in made:
        emulator.close()
        emulator.close()


def test_what_was_set_is_read_back(relay):
    emulator = relay(HONEST)
    emulator.add("north -- south", A, B, SHAPE, Shape())
    up, down = emulator.read("north -- south")
    assert up == Shape(20e6, 0.004, 0.001, 0.001, queue=250_000)
    assert down == Shape()
    assert emulator.priority == "fifo:50"


@pytest.mark.parametrize(
    "field",
    [
        *("rate", "delay", "jitter", "table", "loss", "enter", "leave", "bad", "good"),
        *("queue", "packets", "reorder", "duplicate", "corrupt"),
    ],
)
def test_a_relay_that_enforces_something_else_is_found_out(relay, field):
    honest = "shapes[tuple(rest[:2])] = told"
    emulator = relay(HONEST.replace(honest, f"told['{field}'] = '77'; {honest}"))
    shape = replace(EVERYTHING, loss=0.0, bursts=Bursts(0.1, 0.2, 0.3, 0.4))
    with pytest.raises(NotAppliedError) as raised:
        emulator.add("l", A, B, shape, shape)
    assert raised.value.where == "l ab"
    with pytest.raises(EmulationError, match="no such link"):
        emulator.read("l")


@pytest.mark.parametrize("shape", [EVERYTHING, replace(SHAPE, loss=0.0, bursts=Bursts(0.01, 0.25, 0.9, 0.001))])
def test_every_setting_is_read_back(relay, shape):
    emulator = relay(HONEST)
    emulator.add("l", A, B, shape, Shape())
    assert emulator.read("l") == (replace(shape, queue=shape.queue_bytes or None), Shape())


def test_schedules_are_told_in_the_relays_units():
    steps = Schedule("s", steps=(Step(0.0, rate=1e6), Step(0.25, delay=0.01, loss=0.5)), length=0.5)
    told = array("d", relay_words.schedule_bytes(steps))
    assert [str(value) for value in told] == [
        *("0.0", "1000000.0", "nan", "nan"),
        *("250000000.0", "nan", "10000000.0", "500000000.0"),
    ]
    chances = Schedule("m", deliveries=(0, 3, 3, 9), length=0.009, loop=True)
    assert [*array("q", relay_words.schedule_bytes(chances))] == [0, 3, 3, 9]


def test_a_schedule_that_does_not_play_is_found_out(relay):
    emulator = relay(HONEST)
    emulator.add("l", A, B, SHAPE, SHAPE)
    with pytest.raises(NotAppliedError, match="plays something else"):
        emulator.play("l", 0.0, Schedule("s", steps=(Step(0.0, rate=1e6),), length=1.0))


def test_a_refusal_is_passed_on(relay):
    refusal = 'if verb == "add":\n        say("error no room")\n    elif verb == "set"'
    emulator = relay(HONEST.replace('if verb == "set"', refusal))
    with pytest.raises(EmulationError) as raised:
        emulator.add("l", A, B, SHAPE, SHAPE)
    assert raised.value.found == "no room"


def test_a_relay_that_dies_is_noticed_at_the_next_command(relay):
    death = 'if verb == "seed":\n        sys.exit(9)\n    elif verb == "set"'
    emulator = relay(HONEST.replace('if verb == "set"', death))
    with pytest.raises(EmulationError, match="has ended") as raised:
        emulator.add("l", A, B, SHAPE, SHAPE)
    assert "9" in (raised.value.found or "")


def test_a_relay_that_cannot_start_says_why(relay):
    with pytest.raises(EmulationError) as raised:
        relay("print('error cannot start: no epoll', flush=True)")
    assert raised.value.found == "cannot start: no epoll"


@pytest.mark.parametrize("end", [LinkEnd("/run/netns/a", "e" * 16, A.mac), LinkEnd("/run/x y", "eth0", A.mac)])
def test_names_that_would_break_a_command_are_refused(relay, end):
    with pytest.raises(EmulationError, match="not a"):
        relay(HONEST).add("l", end, B, SHAPE, SHAPE)


def test_a_queue_is_a_tenth_of_a_second_unless_told_otherwise():
    assert Shape(rate=20e6).queue_bytes == 250_000
    assert Shape(rate=20e6, queue=5000).queue_bytes == 5000
    assert Shape(rate=1e4).queue_bytes == 2 * 1514  # room for two full frames at least
    assert Shape().queue_bytes == 0


def test_unshaped_links_are_plain_wires():
    shaped, plain = VethEmulator(), VethEmulator()
    for emulator in (shaped, plain):
        emulator.add = lambda link, a, b, ab, ba, to=emulator: to.shapes.update({link: (ab, ba)})
    mixed = MixedEmulator(shaped, plain)
    mixed.add("wire", A, B, Shape(), Shape())
    mixed.add("access", A, B, Shape(), SHAPE)
    assert set(plain.shapes) == {"wire"}
    assert set(shaped.shapes) == {"access"}
    mixed.remove("wire")
    mixed.remove("wire")
    assert not plain.shapes


def test_a_plain_wire_cannot_be_shaped():
    with pytest.raises(EmulationError, match="cannot be shaped"):
        PlainWire().add("w", A, B, Shape(), SHAPE)


def test_a_missing_compiler_is_told_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "REPOSITORY", tmp_path)
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(EnvironmentProblem, match="no C compiler") as raised:
        native.build()
    assert "apt install gcc" in (raised.value.remedy or "")


def test_programs_are_compiled_once_for_the_same_sources(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "REPOSITORY", tmp_path)
    monkeypatch.setattr(native, "FLAGS", (*native.FLAGS, "-Werror"))
    first = native.build()
    made = first.relay.stat().st_mtime_ns
    assert native.build() == first
    assert first.relay.stat().st_mtime_ns == made
    sources = tmp_path / "native"
    sources.mkdir()
    for source in native.SOURCES.glob("*.[ch]"):
        (sources / source.name).write_bytes(source.read_bytes())
    (sources / "util.h").write_text((sources / "util.h").read_text() + "\n")
    monkeypatch.setattr(native, "SOURCES", sources)
    assert native.build() != first
