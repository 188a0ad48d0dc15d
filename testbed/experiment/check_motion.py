"""What is wrong with what the file says of movement, before anything is read or made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from testbed.errors import InputError
from testbed.experiment import resolve
from testbed.experiment.document import Document
from testbed.experiment.model import Spec
from testbed.experiment.plan import SitePlan


def check(spec: Spec, document: Document) -> Iterator[InputError]:
    """What is wrong with the keys of mobility, taken together."""
    mobility, devices = spec.mobility, resolve.devices(spec)
    if mobility.trace is not None and mobility.model is not None:
        yield document.problem(("mobility", "model"), "there are a model and a trace", wanted="one of them",
                               remedy="take one out")  # fmt: skip
    if mobility.model is not None:
        if mobility.moves:
            yield document.problem(("mobility", "model"), "there are moves and a model", wanted="one of them",
                                   remedy="take one out")  # fmt: skip
        known = [*spec.devices, *devices]
        for i, name in enumerate(mobility.model.chosen.devices or ()):
            if name not in known:
                choice = next(f.alias or k for k, f in type(mobility.model).model_fields.items()
                              if getattr(mobility.model, k) is not None)  # fmt: skip
                yield document.problem(("mobility", "model", choice, "devices", i), f"there is no device {name!r}",
                                       wanted=", ".join(known))  # fmt: skip
    if not mobility.moving:
        for key in ("radio", "prediction"):
            if getattr(mobility, key) is not None:
                yield document.problem(
                    ("mobility", key), f"{key} needs to know where devices are", wanted="trace or model",
                    remedy=f"add 'trace: …' or 'model: random-waypoint', or take {key} out",
                )  # fmt: skip
        if mobility.association.nearest is None:
            yield document.problem(("mobility", "association"), "nobody moves but by script",
                                   wanted="trace or model", remedy="take association out")  # fmt: skip
    places = {site.at for site in spec.sites.values()}
    if mobility.moving and mobility.association.nearest is not None and len(places) == 1 < len(spec.sites):
        yield document.problem(
            ("sites",), "all sites are at one place, so nobody who moves is ever nearer to another one",
            wanted="at: [x, y] of each, m", remedy="say where they are, or name the trace's cells: association: trace",
        )  # fmt: skip
    for key in ("association", "radio"):
        choice = getattr(mobility, key)
        if mobility.model is not None and choice is not None and choice.trace is not None:
            yield document.problem(("mobility", key), "movement that is made up records nothing", wanted="a trace",
                                   remedy=f"choose another {key}")  # fmt: skip
    cells = None if mobility.association.trace is None else mobility.association.trace.cells
    for cell, site in (cells or {}).items():
        if site not in spec.sites:
            yield document.problem(("mobility", "association", "trace", "cells", cell), f"there is no site {site!r}",
                                   wanted=", ".join(spec.sites))  # fmt: skip
    if mobility.presence.traced and mobility.trace is None:
        yield document.problem(("mobility", "presence"), "there is no trace to be present in", wanted="trace",
                               remedy="take presence out")  # fmt: skip
    if mobility.gap is not None and not mobility.presence.traced:
        yield document.problem(("mobility", "gap"), "gap means nothing unless devices come and go",
                               wanted="presence: trace", remedy="add it, or take gap out")  # fmt: skip
    trace = mobility.trace
    if mobility.gap is not None and trace is not None and trace.every is not None:
        step = trace.every * trace.scale.time
        if step > mobility.gap:
            yield document.problem(
                ("mobility", "gap"), "devices would be gone between any two positions", wanted=f"at least {step:g} s, "
                "from one to the next", found=f"{mobility.gap:g} s", remedy="raise gap, or make trace.every shorter",
            )  # fmt: skip


def check_sites(spec: Spec, document: Document, sites: Mapping[str, SitePlan]) -> Iterator[InputError]:
    """What is wrong between the radio model and the access links."""
    if spec.mobility.radio is None:
        return
    for name, site in sites.items():
        path = ("sites", name, "access") if ("sites", name, "access") in document.places else ("links", "access")
        if site.access_up_trace or site.access_down_trace:
            yield document.problem(path, f"access links at {name!r} have a trace, and there is a radio model",
                                   wanted="one of them", remedy="take one out")  # fmt: skip
        if site.access_up.bursts or site.access_down.bursts:
            yield document.problem(
                path, f"access links at {name!r} lose in bursts, and the radio model says how much is lost",
                wanted="a plain loss", remedy="write loss as a share, or take mobility.radio out",
            )  # fmt: skip
