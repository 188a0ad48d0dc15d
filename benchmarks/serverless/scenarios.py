"""What the platform is measured in: scenarios, the beds that they stand on, and the experiment file of a run.

Scenarios of a bed differ in their tasks, batteries and moves, which are no part of what stands. Devices, edge servers
and links are unlike each other throughout, so that there is something to decide.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.serverless.lessons import LESSONS, select

GREEDY = "greedy"
BASELINES = ("all-cloud", "all-edge", "all-device", "random", "blind-battery", "blind-network", "blind-speed")
WEIGHTS = (1.0, 0.1, 100.0)
"""What seconds, joules and money count for: a second as much as 10 J of a device, or as a hundredth of the money."""
ABSENT = 20.0
"""What an owner that is left out of a round counts for, as much as so many seconds."""
KEEP_ALIVE_S = 30.0
"""Longer than what comes between two rounds, and between two runs on a bed: instances are provisioned."""
QUOTAS = {"device": 0.25, "edge": 0.4, "cloud": 0.4}
"""Cores that a node may use beyond its speed: for its messages and what a first batch takes, which are not paced.

Nodes that do all of that at once would want more than two cores; instances are provisioned, so they do not."""


@dataclass(frozen=True)
class Fleet:
    """What stands.

    Attributes:
        name: The bed's.
        devices: Speed of each and its site. edges, cloud: Speeds of the edge servers by site, and of the cloud.
        access: Rates of devices' links by site, up and down, Mbit/s. backhaul: Rate of all others.
    """

    name: str
    devices: tuple[tuple[float, str], ...]
    edges: dict[str, float]
    access: dict[str, tuple[float, float]]
    cloud: float = 0.15
    backhaul: float = 100.0

    @property
    def names(self) -> tuple[str, ...]:
        """Its devices."""
        return tuple(f"dev-{i}" for i in range(1, len(self.devices) + 1))


@dataclass(frozen=True)
class Asked:
    """A learning task that comes.

    Attributes:
        lesson: What is learnt. at: When it comes, s. rounds, train, test: How much. scheme: How.
        model: Instead of the lesson's: one that is worth taking elsewhere.
        cuts: Where the model may be cut, as the file has it.
    """

    lesson: str
    at: float = 0.0
    rounds: int = 3
    train: int = 480
    test: int = 120
    scheme: str = "fedfly"
    model: str = ""
    cuts: str = "[1, 2, whole]"


@dataclass(frozen=True)
class Scenario:
    """What happens on a bed.

    Attributes:
        name, title: What it is called, in short and in words.
        fleet: What it stands on.
        tasks: What comes, by name.
        moves: Of devices, as a file has them.
        left: Joules above its reserve that a device's battery has, by device; of the others plenty, if this is not
            empty, and no battery if it is.
        blind: The policy that does not know what it is about; empty for none.
        weights: What seconds, joules and money count for.
    """

    name: str
    title: str
    fleet: Fleet
    tasks: dict[str, Asked]
    moves: tuple[str, ...] = ()
    left: tuple[tuple[str, float], ...] = ()
    blind: str = ""
    weights: tuple[float, float, float] = WEIGHTS


_DEVICES = ((0.3, "north"), (0.025, "north"), (0.05, "south"))
_EDGES = {"north": 0.06, "south": 0.4}
FLEET = Fleet("fleet", _DEVICES, _EDGES, {"north": (100, 100), "south": (100, 100)})
FAR = Fleet("far", _DEVICES, _EDGES, {"north": (100, 100), "south": (6, 12)})
"""The last mile of one site is weak."""
_IMAGES = Asked("images", model="vgg5", cuts="[2, 4, 6, whole]")
_ONE = {"images": replace(_IMAGES, rounds=2)}

SCENARIOS: dict[str, Scenario] = {
    made.name: made
    for made in (
        Scenario("one", "One task", FLEET, _ONE, blind="blind-speed"),
        # Rounds of some seconds: predictions are of work and bytes, not of messages.
        Scenario("one-text", "One task, text", FLEET, {"text": Asked("text", train=1440)}),
        Scenario("one-motion", "One task, motion", FLEET, {"motion": Asked("motion", train=1920)}),
        Scenario("many", "Many tasks", FLEET, {
            "images": replace(_IMAGES, rounds=2),
            "text": Asked("text", at=1, rounds=2, train=240),
            "images-again": replace(_IMAGES, at=3, rounds=2),
        }),
        # As many rounds as last until after the last move.
        Scenario("mobile", "Devices move", FLEET, {"images": replace(_IMAGES, rounds=4)},
                 moves=("dev-1 to south at 9s", "dev-3 to north at 12s", "dev-1 to north at 16s")),
        # Energy does not count, batteries only bind: what is left does for two rounds with the model cut, not for two
        # with it whole, by far in both cases. Rounds are longer, as a device is let go two seconds of full power before
        # its reserve.
        Scenario("weak-batteries", "Weak batteries", FLEET,
                 {"images": replace(_IMAGES, rounds=2, train=960, cuts="[2, whole]")},
                 left=(("dev-3", 30.0),), blind="blind-battery", weights=(1.0, 0.0, 100.0)),
        Scenario("weak-last-mile", "Weak last mile", FAR, {"images": replace(_IMAGES, rounds=2, train=320)},
                 blind="blind-network"),
    )
}  # fmt: skip
CAPACITY_J, RESERVE_J = 2000.0, 200.0
PLENTY_J = 1500.0


def experiment(scenario: Scenario, policy: str, rule: str, seed: int) -> str:
    """The experiment file of a run.

    Args:
        scenario: What happens, on what. policy: Who decides.
        rule: Which samples are trained on: ``all``, or those of a rule.
        seed: Of everything random.
    """
    fleet = scenario.fleet
    sites = list(fleet.edges)
    devices = list(zip(fleet.names, fleet.devices, strict=True))
    lines = [
        f"name: serverless-{fleet.name}",
        f"seed: {seed}",
        "sites:",
        *(f"  {site}: {{edge: {{profile: edge-{site}}}, access: {{rate: {_both(fleet.access[site])}}}}}"
          for site in sites),
        "cloud: {profile: centre}",
        "devices:",
        *(f"  {name}: {{profile: {name}, at: {site}}}" for name, (_, site) in devices),
        "profiles:",
        *(f"  {name}: {{speed: {speed:g}, cpus: {QUOTAS['device'] + speed:g}, memory: 1536MiB, "
          f"{_POWER}{_battery(scenario, name)}}}" for name, (speed, _) in devices),
        *(f"  edge-{site}: {{speed: {speed:g}, cpus: {QUOTAS['edge'] + speed:g}, memory: 3GiB, "
          "price: {gb_second: 3.4e-4, gb: 0.02}}" for site, speed in fleet.edges.items()),
        f"  centre: {{speed: {fleet.cloud:g}, cpus: {QUOTAS['cloud'] + fleet.cloud:g}, memory: 4GiB, "
        "price: {gb_second: 1.7e-5, gb: 0.09}}",
        "links:",
        "  access: {delay: 3ms}",
        f"  {' -- '.join(sites)}: {{rate: {fleet.backhaul:g}Mbit, delay: 2ms}}",
        *(f"  {site} -- cloud: {{rate: {fleet.backhaul:g}Mbit, delay: 12ms}}" for site in sites),
        # What a bring-up measures of speeds is watched in every run all the same.
        "emulation: {speed_check: 0s}",
        *(["mobility:", "  moves:", *(f"    - {move}" for move in scenario.moves)] if scenario.moves else []),
        "platform:",
        f"  policy: {policy}",
        "  weights: {{time: {:g}, energy: {:g}, price: {:g}}}".format(*scenario.weights),
        f"  keep_alive: {KEEP_ALIVE_S:g}s",
        "  provisioned: yes",
        "tasks:",
        *(line for name, asked in scenario.tasks.items() for line in _task(name, asked, rule)),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


_POWER = "power: {idle: 50mW, busy: 3.5W, send: 400mW, receive: 200mW}"
"""Made up: computing as a phone's, a lean radio, and next to nothing idling, as runs are short."""


def _both(rates: tuple[float, float]) -> str:
    return f"{{up: {rates[0]:g}Mbit, down: {rates[1]:g}Mbit}}"


def _battery(scenario: Scenario, device: str) -> str:
    if not scenario.left:
        return ""
    level = (RESERVE_J + dict(scenario.left).get(device, PLENTY_J)) / CAPACITY_J
    return f", battery: {{capacity: {CAPACITY_J:g}J, level: {100 * level:g}%, reserve: {RESERVE_J / CAPACITY_J:.0%}}}"


def _task(name: str, asked: Asked, rule: str) -> list[str]:
    lesson = LESSONS[asked.lesson]
    chosen = select(rule).replace(", control: no", "")  # a task has none
    return [
        f"  {name}:",
        f"    scheme: {asked.scheme}",
        f"    model: {asked.model or lesson.model}",
        f"    cuts: {asked.cuts}",
        f"    data: {{set: {lesson.data}, train: {asked.train}, test: {asked.test}{chosen}}}",
        f"    rounds: {asked.rounds}",
        f"    batch: {lesson.batch}",
        f"    optimizer: {{lr: {lesson.lr:g}}}",
        f"    absent: {ABSENT:g}",
        f"    at: {asked.at:g}s",
    ]
