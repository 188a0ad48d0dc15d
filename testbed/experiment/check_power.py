"""What a file may say in good form of power, batteries and prices, and still not mean."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.errors import InputError
from testbed.experiment import charging, resolve
from testbed.experiment.document import Document, Steps
from testbed.experiment.model import Spec

KINDS = {"devices": "device", "sites": "edge server", "cloud": "cloud", "hosts": "host"}


def check(spec: Spec, document: Document) -> Iterator[InputError]:
    """All problems of what profiles say about energy and money."""
    users = _users(spec)
    for name in spec.profiles:
        yield from _power(spec, document, name)
        yield from _battery(spec, document, name)
        yield from _misplaced(spec, document, name, users.get(name, []))


def _users(spec: Spec) -> dict[str, list[tuple[str, str]]]:
    """Who names each profile: section and entry."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name, entry in spec.devices.items():
        found.setdefault(entry.profile, []).append(("devices", name))
    for name, site in spec.sites.items():
        if site.edge is not None:
            found.setdefault(site.edge.profile, []).append(("sites", name))
    if spec.cloud is not None:
        found.setdefault(spec.cloud.profile, []).append(("cloud", resolve.CLOUD))
    for name, host in spec.hosts.items():
        found.setdefault(host.profile, []).append(("hosts", name))
    return found


def _power(spec: Spec, document: Document, name: str) -> Iterator[InputError]:
    path: Steps = ("profiles", name, "power")
    power = resolve.hardware(spec, name).power
    missing = [key for key, value in power if value is None]
    if missing and len(missing) < len(type(power).model_fields):
        yield document.problem(
            path, f"profile {name!r} says only a part of what it draws",
            wanted="idle, busy, send and receive, unless a shipped profile of that name has them",
            found=f"no {' and no '.join(missing)}",
            remedy=f"add {', '.join(f'{key}: …' for key in missing)}; 0 for what it has not",
        )  # fmt: skip
    if power.idle is not None and power.busy is not None and power.busy < power.idle:
        own = "busy" if spec.profiles[name].power.busy is not None else "idle"
        yield document.problem(
            (*path, own), f"profile {name!r} draws less when it computes than when it idles",
            wanted=f"busy of at least {power.idle:g}W: the whole device's", found=f"{power.busy:g}W",
            remedy=f"if that is what computing adds, write busy: {power.idle + power.busy:g}W",
        )  # fmt: skip


def _battery(spec: Spec, document: Document, name: str) -> Iterator[InputError]:
    path: Steps = ("profiles", name)
    own = spec.profiles[name]
    if own.battery is not None and all(value is None for _, value in resolve.hardware(spec, name).power):
        yield document.problem(
            (*path, "battery"), f"profile {name!r} has a battery, and nothing is known of what it draws",
            wanted="power beside battery", remedy="add 'power: {idle: 2.7W, busy: 6.4W, send: 1.3W, receive: 0.3W}'",
        )  # fmt: skip
    if own.charging:
        if own.battery is None:
            yield document.problem(
                (*path, "charging"), f"profile {name!r} is charged, and has no battery",
                wanted="battery beside charging", remedy="add 'battery: {capacity: 15Wh}', or take charging out",
            )  # fmt: skip
        try:
            charging.supply(document, name, own.charging)
        except InputError as error:
            yield error


def _misplaced(spec: Spec, document: Document, name: str, users: list[tuple[str, str]]) -> Iterator[InputError]:
    own = spec.profiles[name]
    for section, entry in users:
        kind = KINDS[section]
        if own.battery is not None and kind != "device":
            yield document.problem(
                ("profiles", name, "battery"), f"profile {name!r} has a battery, and {entry!r} is no device",
                wanted="batteries of devices", found=kind,
                remedy=f"give {entry!r} a profile of its own: edge servers, the cloud and hosts are on the mains",
            )  # fmt: skip
        for key in ("power", "price"):
            if kind == "host" and key in own.model_fields_set:
                yield document.problem(
                    ("profiles", name, key), f"profile {name!r} has a {key}, and {entry!r} is a host",
                    wanted=f"a {key} of who trains", found="a host's program, whose work nobody measures",
                    remedy=f"give {entry!r} a profile without {key}",
                )  # fmt: skip
