"""What is measured on: beds, which are brought up, settings, which are workloads on them, and experiment files of both.

Each training has an experiment file of its own, as a user would write it; those of a bed differ in nothing that stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

GOODPUT = 1448 / 1514
"""Share of a layer-2 rate that TCP carries as payload: full segments with timestamps."""
QUOTA = 0.5
"""Cores that a node may use beyond its speed: what it sends and gets takes CPU time beside its (paced) steps."""
SITES = ("north", "south", "west")
DEVICE = "dev"


@dataclass(frozen=True)
class Bed:
    """Containers and links: a device, a site with an edge server for each of `edges`, and a cloud.

    Attributes:
        name: What it is called.
        device: Speed of the device, as a share of a core.
        edges: Speeds of the edge servers, by site in the order of `SITES`.
        access: Rates of a device's link at each site, up and down, Mbit/s.
        delay: Of that link, one way, ms.
        backhaul: Rate between sites, and to the cloud, Mbit/s. far: Delay between sites, one way, ms, whichever way: by
            the cloud it is the same.
        trace: What moves the device: empty, ``walk``, ``drive`` or a path below the directory of traces.
        others: Further devices, each slow, that keep the edge server of their site at work for a part of each round.
    """

    name: str
    device: float
    edges: tuple[float, ...]
    access: tuple[tuple[float, float], ...]
    delay: float = 4.0
    backhaul: float = 100.0
    far: float = 2.0
    trace: str = ""
    others: tuple[str, ...] = ()

    @property
    def sites(self) -> tuple[str, ...]:
        """Its sites."""
        return SITES[: len(self.edges)]

    @property
    def wanders(self) -> bool:
        """Whether the device moves."""
        return bool(self.trace)


@dataclass(frozen=True)
class Setting:
    """A workload on a bed.

    Attributes:
        name, title: What it is called, in short and in words.
        bed: What it runs on.
        model, data: What is trained, on what.
        batch, micro: Samples a batch, and micro-batches of it.
        home: Site at which the device is at the start.
        keep, stages: Of the pipeline: layers that stay on the device, and most stages.
        plan: Nodes and their layers where the plan is fixed; empty where it is chosen.
        depth: Micro-batches under way with that plan and ``1f1b``.
        slowest: What that plan is bound by: ``device``, ``server`` or ``link``; empty where there is none.
        kinds: Kinds of cells that it is in. longer: Of these, those that are left to the whole grid.
        batches, rounds: How long a training is, where the cell does not say.
    """

    name: str
    title: str
    bed: Bed
    model: str = "vgg5"
    data: str = "digits"
    batch: int = 64
    micro: int = 4
    home: str = "north"
    keep: int = 1
    stages: int = 2
    plan: tuple[tuple[str, int | None], ...] = ()
    depth: int | None = None
    slowest: str = ""
    kinds: tuple[str, ...] = ("plans",)
    longer: tuple[str, ...] = ()
    batches: int = 8
    rounds: int = 1


@dataclass(frozen=True)
class Training:
    """What one training has of its own.

    Attributes:
        scheme: How it trains.
        batches, rounds: How long it is.
        schedule, micro, depth: Of the pipeline; ``micro`` None: the setting's; ``depth`` None: not said.
        plan: Nodes and layers; empty: chosen.
        cut: Of schemes that split in two.
        keep, labels, stages: Of the pipeline, where they are not the setting's.
        adapt, probing, profile: What it does while it trains; of an empty one nothing is said.
        seed: Of everything random.
        test: Samples of the test set.
    """

    scheme: str = "edgemove"
    batches: int = 12
    rounds: int = 1
    schedule: str = "1f1b"
    micro: int | None = None
    depth: int | None = None
    plan: tuple[tuple[str, int | None], ...] = ()
    cut: int | None = None
    keep: int | None = None
    labels: str = "leave"
    stages: int | None = None
    adapt: str = "static"
    probing: str = "off"
    profile: str = ""
    seed: int = 1
    test: int = 40


_TWO = (("device", 2), ("edge-north", None))
ALL_ON_EDGE = (("device", 0), ("nearest", None))
"""All layers on the edge server of the site where the device starts; samples leave the device."""

_SLOW_DEVICE = Bed("slow-device", 0.12, (0.4, 0.5), ((200, 200), (40, 80)))
_SLOW_SERVERS = Bed("slow-servers", 0.4, (0.2, 0.25), ((300, 300), (60, 60)), delay=2.0)
_SLOW_LINK = Bed("slow-link", 0.4, (0.5, 0.4), ((50, 100), (20, 40)), delay=2.0)
_EVEN = Bed("even", 0.3, (0.3, 0.4), ((100, 100), (40, 40)))
_SMALL = Bed("small", 0.1, (0.2, 0.3), ((80, 80), (40, 20)))
_WALK = Bed("walk", 0.08, (0.2, 0.2, 0.2), ((55, 55),) * 3, backhaul=200, far=60, trace="walk")
_DRIVE = Bed("drive", 0.08, (0.2, 0.2, 0.2), ((55, 55),) * 3, backhaul=200, far=60, trace="drive")
_LOADED = Bed("loaded", 0.12, (0.4, 0.4), ((80, 80),) * 2, others=("north", "south"))
_LOGGED_DRIVE = Bed(
    "log", 0.12, (0.3, 0.3, 0.3), ((80, 80),) * 3, backhaul=20,
    trace="ucc5g/5G-production-dataset.zip/5G-production-dataset/Download/Driving/B_2020.02.27_20.35.57.csv",
)  # fmt: skip
_MEASURED = ("bound", "plans", "steady")

SETTINGS: dict[str, Setting] = {
    made.name: made
    for made in (
        Setting("device-bound", "VGG-5, slow device", _SLOW_DEVICE, micro=8, plan=_TWO, depth=5, slowest="device",
                kinds=_MEASURED),
        Setting("slow-device-cnn", "CNN, slow device, slow link", _SLOW_DEVICE, "cnn", home="south", batches=12),
        Setting("slow-device-text", "Transformer, slow device", _SLOW_DEVICE, "transformer", "docstrings",
                batches=12),
        Setting("server-bound", "VGG-5, slow servers", _SLOW_SERVERS, micro=8, plan=_TWO, depth=5, slowest="server",
                kinds=_MEASURED),
        Setting("slow-servers-motion", "1-D CNN, slow servers", _SLOW_SERVERS, "cnn1d", "motion", home="south",
                batches=12),
        Setting("link-bound", "VGG-5, slow link", _SLOW_LINK, micro=8, plan=_TWO, depth=5, slowest="link",
                kinds=_MEASURED),
        Setting("slow-link-cnn", "CNN, slower link", _SLOW_LINK, "cnn", home="south", batches=12),
        Setting("even", "VGG-5, nothing much slower", _EVEN, kinds=("plans", "steady"), longer=("steady",)),
        Setting("even-cnn", "CNN, nothing much slower", _EVEN, "cnn", batches=12),
        Setting("even-mobilenet", "MobileNetV3, slow link", _EVEN, "mobilenetv3-small", batch=32, home="south",
                kinds=("plans", "steady"), longer=("plans", "steady")),
        Setting("even-three", "MobileNetV3, up to three stages", _EVEN, "mobilenetv3-small", batch=32, stages=3,
                kinds=("steady",), longer=("steady",)),
        Setting("small", "CNN, slow throughout", _SMALL, "cnn", batch=128, kinds=("plans", "steady")),
        Setting("accuracy-images", "CNN on digits", _SMALL, "cnn", batch=32, kinds=("accuracy",), batches=40, rounds=6),
        Setting("accuracy-motion", "1-D CNN on motion", _SMALL, "cnn1d", "motion", batch=32, kinds=("accuracy",),
                batches=40, rounds=6),
        Setting("accuracy-text", "Transformer on docstrings", _SMALL, "transformer", "docstrings", batch=32,
                kinds=("accuracy",), batches=40, rounds=6),
        Setting("walk", "Walking", _WALK, "cnn", kinds=("moving",), batches=20, rounds=6),
        Setting("drive", "Driving", _DRIVE, "cnn", kinds=("moving",), batches=20, rounds=6),
        Setting("load", "Servers whose load changes", _LOADED, "cnn", kinds=("load",), batches=7, rounds=20),
        Setting("log", "A drive log", _LOGGED_DRIVE, "cnn", kinds=("traces",), batches=20, rounds=30),
    )
}  # fmt: skip


def experiment(setting: Setting, asked: Training, data: str | None = None, traces: str | None = None) -> str:
    """The experiment file of a training.

    Args:
        setting: What on.
        asked: What is its own.
        data: Directory of CIFAR-10's standard files, which images are taken from then; None for what is embedded.
        traces: Directory below which the bed's trace is, if it has one.
    """
    bed = setting.bed
    at = _places(bed)
    lines = [
        f"name: edgemove-{setting.name}",
        f"seed: {asked.seed}",
        "sites:",
        *(
            f"  {site}: {{{at[i]}edge: {{profile: edge-{i}}}, access: {{rate: {_both(bed.access[i])}}}}}"
            for i, site in enumerate(bed.sites)
        ),
        "cloud: {profile: cloud}",
        "devices:",
        f"  {DEVICE}: {{profile: thing{'' if bed.wanders else f', at: {setting.home}'}}}",
        *(f"  other-{i}: {{profile: other, at: {site}}}" for i, site in enumerate(bed.others, 1)),
        "profiles:",
        f"  thing: {{speed: {bed.device:g}, cpus: {QUOTA + bed.device:g}, memory: 512MiB}}",
        *(f"  edge-{i}: {{speed: {s:g}, cpus: {QUOTA + s:g}, memory: 768MiB}}" for i, s in enumerate(bed.edges)),
        *([f"  other: {{speed: 0.1, cpus: {QUOTA + 0.1:g}, memory: 512MiB}}"] if bed.others else []),
        "  cloud: {speed: 0.2, memory: 768MiB}",
        "links:",
        f"  access: {{delay: {bed.delay:g}ms}}",
        *(f"  {a} -- {b}: {{rate: {bed.backhaul:g}Mbit, delay: {bed.far:g}ms}}" for a, b in combinations(bed.sites, 2)),
        *(f"  {site} -- cloud: {{rate: {bed.backhaul:g}Mbit, delay: {bed.far / 2:g}ms}}" for site in bed.sites),
        # What a bring-up measures of speeds is watched in every run all the same; the beds here are many.
        "emulation: {speed_check: 0s}",
        *(_mobility(bed, traces) if bed.wanders else ()),
        *_workload(setting, asked, data),
    ]
    return "\n".join(lines) + "\n"


def pieces(nodes: Sequence[str], bounds: Sequence[int]) -> tuple[tuple[str, int | None], ...]:
    """A layout as a file has it."""
    counts = [b - a for a, b in pairwise(bounds)]
    return tuple(("device" if node == DEVICE else node, count) for node, count in zip(nodes, counts, strict=True))


def _both(rates: tuple[float, float]) -> str:
    return f"{{up: {rates[0]:g}Mbit, down: {rates[1]:g}Mbit}}"


def _workload(setting: Setting, asked: Training, data: str | None) -> list[str]:
    images = setting.data == "digits" and data is not None
    what = f'set: cifar10, dir: "{data}"' if images else f"set: {setting.data}"
    others = len(setting.bed.others)
    samples = setting.batch * asked.batches
    lines = [
        "workload:",
        f"  scheme: {asked.scheme}",
        f"  model: {setting.model}",
        *([f"  cut: {asked.cut}"] if asked.cut is not None else []),
        f"  rounds: {asked.rounds}",
        f"  batch: {setting.batch}",
        f"  data: {{{what}, train: {samples * (1 + others)}, test: {asked.test}}}",
    ]
    if asked.scheme in ("edgemove", "local"):
        lines += ["  pipeline:", f"    micro: {asked.micro or setting.micro}"]
    if asked.scheme == "edgemove":
        lines += [f"    {key}: {value}" for key, value in _pipeline(setting, asked).items()]
    return lines


def _pipeline(setting: Setting, asked: Training) -> Mapping[str, str]:
    found = {
        "schedule": asked.schedule, "keep": str(setting.keep if asked.keep is None else asked.keep),
        "stages": str(asked.stages or setting.stages), "labels": asked.labels,
    }  # fmt: skip
    if asked.depth is not None and asked.schedule == "1f1b":
        found["depth"] = str(asked.depth)
    if asked.plan:
        rows = (f"node: {node}" if count is None else f"node: {node}, layers: {count}" for node, count in asked.plan)
        found["plan"] = f"[{', '.join(f'{{{row}}}' for row in rows)}]"
        del found["stages"]
    return found | {key: value for key in ("adapt", "probing", "profile") if (value := getattr(asked, key))}


_WALKS: Mapping[str, tuple[tuple[tuple[int, int], ...], str]] = {
    "walk": (((0, 0), (14, 0), (28, 0)), "random-waypoint: {area: [[0, 0], [28, 2]], speed: [1.2, 1.6]}"),
    "drive": (((0, 0), (100, 0), (200, 0)), "manhattan: {area: [[0, 0], [200, 100]], speed: [8, 14], block: 100}"),
}
"""Places of the sites, m, and the movement among them."""
_LOGGED = ((0, 600), (0, 2000), (300, 3400))
"""Places of the sites along a drive log, m from where it begins."""


def _places(bed: Bed) -> list[str]:
    if not bed.wanders:
        return [""] * len(bed.sites)
    places = _WALKS[bed.trace][0] if bed.trace in _WALKS else _LOGGED
    return [f"at: [{x}, {y}], " for x, y in places[: len(bed.sites)]]


def _mobility(bed: Bed, traces: str | None) -> list[str]:
    if bed.trace in _WALKS:
        moving = f"  model: {{{_WALKS[bed.trace][1].replace(': {', f': {{devices: [{DEVICE}], ', 1)}}}"
        return ["mobility:", moving, "  prediction: {oracle: {horizon: 5s}}"]
    return [
        "mobility:",
        f'  trace: {{file: "{traces}/{bed.trace}", map: order}}',
        "  radio: trace",
        "  prediction: {oracle: {horizon: 5s}}",
    ]
