"""The relay's client against a relay that is told what to say, and the rules around shapes and compiling."""

from __future__ import annotations

import stat
import sys

import pytest

from testbed.emulation import native
from testbed.emulation.links.mixed import MixedEmulator
from testbed.emulation.links.plain import PlainWire
from testbed.emulation.links.relay import RelayEmulator
from testbed.emulation.links.shape import LinkEnd, Shape
from testbed.errors import EmulationError, EnvironmentProblem, NotAppliedError
from tests.support import VethEmulator

A = LinkEnd("/run/netns/a", "eth0", "02:00:00:00:00:01")
B = LinkEnd("/run/netns/b", "eth0", "02:00:00:00:00:02")
SHAPE = Shape(rate=20e6, delay=0.004, jitter=0.001, loss=0.001)

HONEST = """
import sys
say = lambda text: print(text, flush=True)
say("ready priority=fifo:50 memory=locked")
shapes = {}
for line in sys.stdin:
    verb, *rest = line.split()
    if verb == "set":
        shapes[tuple(rest[:2])] = rest[2:]
        say("ok")
    elif verb == "get":
        names = ("rate", "delay", "jitter", "loss", "queue")
        say("ok " + " ".join(f"{n}={v}" for n, v in zip(names, shapes[tuple(rest)])))
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


@pytest.mark.parametrize(("field", "index"), [("rate", 0), ("delay", 1), ("jitter", 2), ("loss", 3), ("queue", 4)])
def test_a_relay_that_enforces_something_else_is_found_out(relay, field, index):
    honest = "shapes[tuple(rest[:2])] = rest[2:]"
    emulator = relay(HONEST.replace(honest, f"rest[2 + {index}] = '7'; {honest}"))
    with pytest.raises(NotAppliedError) as raised:
        emulator.add("l", A, B, SHAPE, SHAPE)
    assert raised.value.where == "l ab"
    with pytest.raises(EmulationError, match="no such link"):
        emulator.read("l")


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
