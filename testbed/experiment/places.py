"""Where the file says what a machine may turn out not to be able to do: for errors of those who see only the plan."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.experiment import resolve
from testbed.experiment.document import Document, Steps
from testbed.experiment.model import Spec


def places(spec: Spec, document: Document) -> dict[str, str]:
    """``file:line`` of profiles, by ``profiles.NAME.KEY``; of links, by their name in the plan; of ``emulation.KEY``.

    Of a profile that ships it is where the first node names it.
    """
    found: dict[str, str] = {}
    for profile, path in _uses(spec):
        for key in ("speed", "cpus", "memory"):
            written: Steps = ("profiles", profile, key) if profile in spec.profiles else path
            if key == "speed" and written != path and spec.profiles[profile].share is not None:
                written = ("profiles", profile, "share")
            found.setdefault(f"profiles.{profile}.{key}", document.where(written))
    for name, steps in _links(spec):
        found[name] = document.where(steps)
    for key in ("links", "ipv6"):
        found[f"emulation.{key}"] = document.where(("emulation", key))
    return found


def _uses(spec: Spec) -> Iterator[tuple[str, Steps]]:
    for section, entries in (("devices", spec.devices), ("hosts", spec.hosts)):
        for name, entry in entries.items():
            yield entry.profile, (section, name, "profile")
    for name, site in spec.sites.items():
        if site.edge is not None:
            yield site.edge.profile, ("sites", name, "edge", "profile")
    if spec.cloud is not None:
        yield spec.cloud.profile, ("cloud", "profile")


def _links(spec: Spec) -> Iterator[tuple[str, Steps]]:
    """The section of each link, or the key in it that most things are due to."""
    for site, settings in spec.sites.items():
        own = "rate" in settings.access.model_fields_set
        yield f"access:{site}", ("sites", site, "access", "rate") if own else ("links", "access", "rate")
        own = "rate" in settings.edge_link.model_fields_set
        steps: Steps = ("sites", site, "edge_link", "rate") if own else ("links", "edge", "rate")
        yield f"edge:{resolve.edge_name(site, settings)}", steps
    for link in spec.links.backhaul:
        x, y = resolve.ends(link) or ("", "")
        yield f"{x} -- {y}", ("links", link, "rate")
