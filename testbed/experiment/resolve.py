"""Names and settings of the model with their defaults filled in; what checks and the plan both need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from nodes.policies.layers import LAYERS, cut_at
from nodes.policies.layouts import PipelineLayout, fixed
from nodes.policies.units import Battery, Power
from testbed.errors import InputError
from testbed.experiment import powering
from testbed.experiment.cuts import CUTS
from testbed.experiment.link_settings import LinkSettings
from testbed.experiment.model import Spec
from testbed.experiment.network import Profile, Site
from testbed.experiment.profiles import BUILTIN, guard
from testbed.experiment.ways import Layer

CLOUD = "cloud"

ACCESS = LinkSettings.model_validate({"rate": "50Mbit", "delay": "2ms", "jitter": 0, "loss": 0, "queue": "100ms"})
EDGE = LinkSettings.model_validate({"rate": "1Gbit", "delay": "0.2ms", "jitter": 0, "loss": 0, "queue": "100ms"})
BACKHAUL = LinkSettings.model_validate({"rate": "100Mbit", "delay": "5ms", "jitter": 0, "loss": 0, "queue": "100ms"})

_NO_POWER, _NO_PRICE = powering.Power(), powering.Price()
_Fields = TypeVar("_Fields", powering.Power, powering.Price)


@dataclass(frozen=True)
class Hardware:
    """A profile with every field known; speed and memory are None if neither the file nor we have them.

    Where it gives a share, ``paced`` is False, and speed and cpus are that share. ``power`` and ``price`` are as far as
    either has them.
    """

    speed: float | None
    memory: int | None
    cpus: float
    period: float
    paced: bool = True
    power: powering.Power = _NO_POWER
    price: powering.Price = _NO_PRICE


def profile_names(spec: Spec) -> list[str]:
    """Every profile that nodes may name, the user's first."""
    return list(dict.fromkeys([*spec.profiles, *BUILTIN]))


def hardware(spec: Spec, name: str) -> Hardware:
    """The profile of that name, the user's fields over ours (KeyError if there is none)."""
    shipped = BUILTIN.get(name, {})
    own = spec.profiles.get(name)
    if own is None and not shipped:
        raise KeyError(name)
    ours = Profile.model_validate(shipped)
    own = own or ours
    memory = own.memory or ours.memory
    power, price = _over(own.power, ours.power), _over(own.price, ours.price)
    if own.share is not None:
        return Hardware(own.share, memory, own.share, own.period, paced=False, power=power, price=price)
    speed = own.speed or ours.speed
    return Hardware(speed, memory, own.cpus or guard(speed or 0.0), own.period, power=power, price=price)


def _over(own: _Fields, ours: _Fields) -> _Fields:
    """The user's fields over ours."""
    return ours.model_copy(update={key: value for key, value in own if value is not None})


def power(spec: Spec, name: str) -> Power | None:
    """What hardware of a profile draws; None where that is not known, or not all of it."""
    found = hardware(spec, name).power
    if None in (found.idle, found.busy, found.send, found.receive):
        return None
    idle = found.idle or 0.0
    return Power(idle, found.busy or 0.0, idle + (found.send or 0.0), idle + (found.receive or 0.0))


def battery(spec: Spec, name: str) -> Battery | None:
    """What hardware of a profile lives on, when training begins; None: the mains."""
    own = spec.profiles.get(name)
    if own is None or own.battery is None:
        return None
    asked = own.battery
    return Battery(asked.capacity, asked.level * asked.capacity, asked.reserve * asked.capacity)


def devices(spec: Spec) -> dict[str, str]:
    """Name of each device, after counts, and the entry of the file that it comes from."""
    return {name: group for group in spec.devices for name in device_names(spec, group)}


def cut(spec: Spec, group: str | None = None) -> int | None:
    """Layers that stay on the devices of an entry, or on those that say nothing of it; None if there is no such cut."""
    own = spec.devices[group].cut if group else None
    model, asked = spec.workload.model, own if own is not None else spec.workload.cut
    return CUTS[model] if asked is None else cut_at(model, asked)


def layouts(spec: Spec) -> dict[str, PipelineLayout]:
    """The stages of each device's pipeline at the start; none where settings make up none (checks tell why)."""
    asked, found = spec.workload.pipeline, {}
    edges = [edge_name(site, settings) for site, settings in spec.sites.items()]
    for name, group in devices(spec).items():
        at, here = spec.devices[group].at, cut(spec, group)
        nearest = edge_name(at, spec.sites[at]) if at in spec.sites else next(iter(edges), None)
        try:
            found[name] = fixed(
                [(stage.node, stage.layers) for stage in asked.plan], layers=len(LAYERS[spec.workload.model]),
                cut=max(here or 0, asked.keep), device=name, nearest=nearest or "", schedule=asked.schedule,
                micro=asked.micro, depth=asked.depth, stages=asked.stages, labels=asked.labels,
            )  # fmt: skip
        except InputError:
            return {}
    return found


def device_names(spec: Spec, group: str) -> list[str]:
    """Devices of one entry: the bare name, or numbered from 1."""
    count = spec.devices[group].count or 1
    return [group] if count == 1 else [f"{group}-{i}" for i in range(1, count + 1)]


def edge_name(site: str, settings: Site) -> str | None:
    """The node name of a site's edge server, None without one."""
    return (settings.edge.name or f"edge-{site}") if settings.edge else None


def site_of(spec: Spec, place: str) -> str | None:
    """The site of that name, or whose edge server has that name."""
    if place in spec.sites:
        return place
    return next((s for s, settings in spec.sites.items() if edge_name(s, settings) == place), None)


def places(spec: Spec) -> list[str]:
    """Everything that a backhaul link may join: sites, the cloud, hosts that are at no site."""
    clouds = [CLOUD] if spec.cloud else []
    return [*spec.sites, *clouds, *(h for h, host in spec.hosts.items() if host.at is None)]


def bridge(spec: Spec, place: str) -> str:
    """The bridge that stands for a place."""
    return f"ap-{place}" if place in spec.sites else f"sw-{place}"


def ends(link: str) -> tuple[str, str] | None:
    """Both ends of ``x -- y``, None if the key is something else."""
    parts = [part.strip() for part in link.split("--")]
    return (parts[0], parts[1]) if len(parts) == 2 and all(parts) and not any(" " in p for p in parts) else None


def access_layers(spec: Spec, site: str | None = None) -> list[Layer]:
    """What says how a device's link is: everywhere, or while it is at a site."""
    layers = [Layer(ACCESS), Layer(spec.links.access, ("links", "access"))]
    return layers if site is None else [*layers, Layer(spec.sites[site].access, ("sites", site, "access"))]


def edge_layers(spec: Spec, site: str | None = None) -> list[Layer]:
    """What says how the link of an edge server is: everywhere, or at a site."""
    layers = [Layer(EDGE), Layer(spec.links.edge, ("links", "edge"))]
    return layers if site is None else [*layers, Layer(spec.sites[site].edge_link, ("sites", site, "edge_link"))]


def backhaul_layers(spec: Spec, link: str) -> list[Layer]:
    """What says how a link of the backhaul is."""
    return [Layer(BACKHAUL), Layer(spec.links.backhaul[link], ("links", link))]


def link_sections(spec: Spec) -> list[list[Layer]]:
    """The layers of every section of the file that may say something about links; the section itself is the last."""
    layers = [access_layers(spec), edge_layers(spec), *(backhaul_layers(spec, link) for link in spec.links.backhaul)]
    for site in spec.sites:
        layers += [access_layers(spec, site), edge_layers(spec, site)]
    return layers
