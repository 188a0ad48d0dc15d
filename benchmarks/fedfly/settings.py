"""The beds that cells are measured on: what they are made of, and the experiment file that brings one up."""

from __future__ import annotations

from dataclasses import dataclass

GOODPUT = 1448 / 1514
"""Share of a layer-2 rate that TCP carries as payload: full segments with timestamps."""


@dataclass(frozen=True)
class Setting:
    """One bed. Cells of a setting share one bring-up.

    Attributes:
        name, title, about: What it is called, in short and in words.
        devices: How many, all alike. sites: How many, each with an edge server; two of them, and one for wrong guesses.
        device, edge: Speeds, as shares of a core.
        access, backhaul: Rates, Mbit/s. The cloud's links are as fast as the backhaul, but never below 100.
        samples: Training samples of all devices together. epochs: Passes over them in a round.
        busy: Whether devices that stay keep both edge servers at work while one moves.
        trace: Movement that devices follow in it: a path below the directory of traces; empty for none.
        places: Positions of the sites then, m. radio: Where links' rates come from then; empty for the links' own.
        lead: How long before a handover devices hear of it, if not as long as usual. Where states would come just as
            devices are handed over, a timeout of TCP (0.2 s and more) would decide about most of the downtime.
    """

    name: str
    title: str
    about: str
    devices: int
    sites: int
    device: float
    edge: float
    access: int
    backhaul: int
    samples: int
    epochs: int = 1
    busy: bool = False
    trace: str = ""
    places: tuple[tuple[int, int], ...] = ()
    radio: str = ""
    lead: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Its devices."""
        return tuple(f"dev-{i}" for i in range(1, self.devices + 1))

    @property
    def shared(self) -> bool:
        """Whether edge servers are at work for other devices while one moves."""
        return self.devices > 1


SETTINGS: dict[str, Setting] = {
    made.name: made
    for made in (
        Setting(
            "device-bound", "Device-bound", "the devices' computing is nearly all of a round; edge servers are alike",
            devices=3, sites=2, device=0.06, edge=0.4, access=100, backhaul=400, samples=960, epochs=2,
            lead="500ms",
        ),
        Setting(
            "edge-bound", "Edge-bound", "edge servers are slow and shared by three devices, which mostly wait for them",
            devices=3, sites=2, device=0.3, edge=0.08, access=100, backhaul=400, samples=960,
        ),
        Setting(
            "link-bound", "Link-bound", "activations and gradients take most of a round on the access link",
            devices=3, sites=2, device=0.2, edge=0.4, access=10, backhaul=20, samples=960,
        ),
        Setting(
            "state-100", "State, 100 Mbit/s", "one device that moves every few seconds, for what its state takes",
            devices=1, sites=3, device=0.06, edge=0.4, access=100, backhaul=100, samples=480, epochs=5,
        ),
        Setting(
            "state-20", "State, 20 Mbit/s", "the same over a slow backhaul",
            devices=1, sites=3, device=0.045, edge=0.4, access=100, backhaul=20, samples=480, epochs=5,
        ),
        Setting(
            "busy-100", "State, busy edges, 100 Mbit/s", "one device moves, two train on each edge server all the time",
            devices=5, sites=2, device=0.15, edge=0.4, access=100, backhaul=100, samples=1435, epochs=24, busy=True,
        ),
        Setting(
            "busy-20", "State, busy edges, 20 Mbit/s", "the same over a slow backhaul",
            devices=5, sites=2, device=0.15, edge=0.4, access=100, backhaul=20, samples=1435, epochs=24, busy=True,
        ),
        Setting(
            "bologna", "Vehicles in Bologna", "20 vehicles of SUMO's Bologna scenario among four edge servers, 15 min",
            devices=20, sites=4, device=0.03, edge=0.2, access=50, backhaul=100, samples=1437, epochs=4,
            trace="mobility-bologna/bologna_joined_20veh_15min_always_present.csv.gz",
            places=((1600, 740), (1600, 1000), (1870, 740), (1870, 1000)),
        ),
        Setting(
            "drive", "A drive log", "a car of the 5G production data set (Raca et al., 2020), 14 min, rates as logged",
            devices=1, sites=4, device=0.06, edge=0.2, access=50, backhaul=100, samples=480,
            trace="ucc5g/5G-production-dataset.zip/5G-production-dataset/Download/Driving/B_2020.02.27_20.35.57.csv",
            places=((0, 600), (0, 2000), (300, 3400), (300, 4800)), radio="trace",
        ),
    )
}  # fmt: skip
BATCH = 16
SITES = ("north", "south", "west", "east")


def experiment(setting: Setting, data: str | None = None, traces: str | None = None) -> str:
    """The experiment file of a setting, without moves but those of its trace.

    Args:
        setting: Which.
        data: Directory of CIFAR-10's standard files; None for the embedded digits.
        traces: Directory below which its trace is, if it has one.
    """
    sites = SITES[: setting.sites]
    backhaul = f"{{rate: {setting.backhaul}Mbit, delay: 5ms}}"
    cloud = f"{{rate: {max(100, setting.backhaul)}Mbit, delay: 5ms}}"
    at = [f"at: [{x}, {y}], " for x, y in setting.places] or [""] * len(sites)
    homes = [f", at: {sites[i // 2 % 2 if setting.busy else 0]}" for i in range(setting.devices)]  # dev-1 first
    pairs = [(a, b) for i, a in enumerate(sites) for b in sites[i + 1 :]]
    lines = [
        f"name: fedfly-{setting.name}",
        "sites:",
        *(f"  {site}: {{{where}edge: {{profile: server}}}}" for site, where in zip(sites, at, strict=True)),
        "cloud: {profile: cloud}",
        "devices:",
        *(
            f"  {device}: {{profile: thing{'' if setting.trace else home}}}"
            for device, home in zip(setting.names, homes, strict=True)
        ),
        "profiles:",
        f"  thing: {{speed: {setting.device:g}, cpus: {max(0.15, 2 * setting.device):g}, memory: 512MiB}}",
        f"  server: {{speed: {setting.edge:g}, memory: 768MiB}}",
        "links:",
        f"  access: {{rate: {setting.access}Mbit, delay: 2ms}}",
        *(f"  {a} -- {b}: {backhaul}" for a, b in pairs),
        *(f"  {site} -- cloud: {cloud}" for site in sites),
        # What a bring-up measures of speeds is watched in every run all the same; the beds here are many.
        "emulation: {speed_check: 0s}",
        *_mobility(setting, traces),
        "workload:",
        "  scheme: fedfly",
        "  model: vgg5",
        f"  batch: {BATCH}",
        f"  local_epochs: {setting.epochs}",
        f"  data: {{{_data(data)}, train: {setting.samples}, test: 360}}",
    ]
    return "\n".join(lines) + "\n"


def _mobility(setting: Setting, traces: str | None) -> list[str]:
    lines = []
    if setting.trace:
        lines += [f'  trace: {{file: "{traces}/{setting.trace}", map: order}}', "  prediction: {oracle: {horizon: 5s}}"]
    lines += [f"  {key}: {value}" for key in ("radio", "lead") if (value := getattr(setting, key))]
    return ["mobility:", *lines] if lines else []


def _data(directory: str | None) -> str:
    return "set: digits" if directory is None else f'set: cifar10, dir: "{directory}"'
