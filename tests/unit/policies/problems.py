"""Models, servers and problems for tests of partition: by hand, and at random."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

from hypothesis import strategies as st

from nodes.policies.costs import Chain, Stage, Transfer
from nodes.policies.offers import LinkOffer, NodeOffer
from nodes.policies.plans import Problem
from nodes.policies.profile import LayerProfile, ModelProfile

MiB = 1 << 20


def model(*forward: float, **changes: object) -> ModelProfile:
    """Layers that take so many seconds forward and twice that back; 1000 bytes at every cut, 1 MiB of weights each."""
    layers = tuple(
        LayerProfile(f"l{i}", f, 2 * f, 0.0, 1000, 1000, weights=MiB, memory=MiB) for i, f in enumerate(forward)
    )
    return replace(ModelProfile("toy", 8, layers), **changes)  # type: ignore[arg-type]


def server(name: str, ratio: float = 0.5, rate: float = 1e9, **changes: object) -> NodeOffer:
    return replace(NodeOffer(name, rate, rate, ratio=ratio), **changes)  # type: ignore[arg-type]


def mesh(*names: str, rate: float = 1e9, rtt: float = 0.0) -> tuple[LinkOffer, ...]:
    return tuple(LinkOffer(a, b, rate, rtt) for a, b in permutations(names, 2))


def problem(profile: ModelProfile, *servers: NodeOffer, **changes: object) -> Problem:
    links = mesh(*(offer.name for offer in servers))
    return replace(Problem("dev", profile, servers, links), **changes)  # type: ignore[arg-type]


def chain_of(work: list[tuple[float, float]], wires: list[tuple[float, float]] = (), delay: float = 0.0) -> Chain:  # type: ignore[assignment]
    """Stages of (forward, backward) on nodes of their own; wires of (there, back) busy seconds between them."""
    stages = tuple(Stage(f"n{s}", f, b, 0.0) for s, (f, b) in enumerate(work))
    wires = wires or [(0.0, 0.0)] * (len(work) - 1)
    return Chain(
        stages,
        tuple(Transfer(f"up{s}", there, delay) for s, (there, _) in enumerate(wires)),
        tuple(Transfer(f"down{s}", back, delay) for s, (_, back) in enumerate(wires)),
    )


seconds = st.integers(0, 40).map(lambda n: n / 1000)
size = st.integers(0, 400_000)
rates = st.sampled_from([1e6, 5e6, 20e6, 100e6])


@st.composite
def chains(draw: st.DrawFn, most: int = 4) -> Chain:
    """Stages on nodes of their own, with wires of their own and no updates."""
    count = draw(st.integers(1, most))
    some = st.integers(1, 40).map(lambda n: n / 1000)
    work = draw(st.lists(st.tuples(some, some), min_size=count, max_size=count))
    wires = draw(st.lists(st.tuples(seconds, seconds), min_size=count - 1, max_size=count - 1))
    return chain_of(work, wires, draw(seconds))


@st.composite
def models(draw: st.DrawFn, most: int = 6) -> ModelProfile:
    layers = draw(st.lists(st.tuples(seconds, seconds, seconds, size, size), min_size=1, max_size=most))
    made = tuple(
        LayerProfile(f"l{i}", f + 1e-3, b, u / 4, a, g, weights=draw(size), memory=draw(size))
        for i, (f, b, u, a, g) in enumerate(layers)
    )
    return ModelProfile("drawn", 4, made, draw(size), draw(st.integers(0, 1000)), draw(seconds) / 10)


@st.composite
def problems(draw: st.DrawFn, **fixed: object) -> Problem:
    """Small enough for brute force."""
    profile = draw(models())
    names = [f"e{i}" for i in range(draw(st.integers(0, 3)))]
    memory = st.one_of(st.none(), st.integers(0, 4_000_000))
    servers = tuple(
        NodeOffer(name, draw(rates), draw(rates), draw(seconds), draw(memory), draw(st.sampled_from([0.1, 0.4, 1, 3])))
        for name in names
    )
    links = tuple(
        LinkOffer(a, b, draw(st.sampled_from([0.0, 5e6, 100e6])), draw(seconds)) for a, b in permutations(names, 2)
    )
    stages = draw(st.integers(1, 4))
    choices: dict[str, object] = {
        "micro": draw(st.integers(1, 6)),
        "schedule": draw(st.sampled_from(["1f1b", "sync", "sequential"])),
        "stages": stages,
        "keep": draw(st.integers(0, len(profile.layers))),
        "labels": draw(st.sampled_from(["leave", "stay"])),
        "memory": draw(memory),
        "depth": draw(st.sampled_from([None, 1, 3, 64])),
    }
    return Problem("dev", profile, servers, links, **{**choices, **fixed})  # type: ignore[arg-type]
