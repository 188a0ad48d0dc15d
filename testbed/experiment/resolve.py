"""Names and settings of the model with their defaults filled in; what checks and the plan both need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from testbed.emulation.links.shape import Shape
from testbed.experiment.model import Spec
from testbed.experiment.network import LinkSettings, Profile, Site
from testbed.experiment.profiles import BUILTIN, GUARD
from testbed.experiment.units import QueueLimit

CLOUD = "cloud"

ACCESS = LinkSettings.model_validate({"rate": "50Mbit", "delay": "2ms", "jitter": 0, "loss": 0, "queue": "100ms"})
EDGE = LinkSettings.model_validate({"rate": "1Gbit", "delay": "0.2ms", "jitter": 0, "loss": 0, "queue": "100ms"})
BACKHAUL = LinkSettings.model_validate({"rate": "100Mbit", "delay": "5ms", "jitter": 0, "loss": 0, "queue": "100ms"})


@dataclass(frozen=True)
class Hardware:
    """A profile with every field known; speed and memory are None if neither the file nor we have them."""

    speed: float | None
    memory: int | None
    cpus: float
    period: float


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
    speed = own.speed or ours.speed
    return Hardware(speed, own.memory or ours.memory, own.cpus or GUARD * (speed or 0.0), own.period)


def devices(spec: Spec) -> dict[str, str]:
    """Name of each device, after counts, and the entry of the file that it comes from."""
    return {name: group for group in spec.devices for name in device_names(spec, group)}


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


def shapes(*layers: LinkSettings) -> tuple[Shape, Shape]:
    """What the settings do to packets, as (up, down); the first layer sets every key."""
    return _shape("up", layers), _shape("down", layers)


def _shape(way: str, layers: tuple[LinkSettings, ...]) -> Shape:
    """One direction: each key as the last layer has it that sets it."""
    values: dict[str, Any] = {}
    for layer in layers:
        for key in LinkSettings.model_fields:
            if (both := getattr(layer, key)) is not None:
                values[key] = getattr(both, way)
    queue: QueueLimit = values.pop("queue")
    return Shape(**values, queue=queue.bytes_at(values["rate"]))
