"""From the model to the plan: every default filled in, every name resolved, all in base units."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from nodes.policies.samples import FORMS
from testbed.emulation.links.shape import Shape
from testbed.errors import InputError
from testbed.experiment import attendance, charging, check_motion, faults, motion, resolve, taskplanner
from testbed.experiment.check_data import data_directory
from testbed.experiment.document import Document, Steps
from testbed.experiment.model import Spec
from testbed.experiment.pipelining import Pipeline
from testbed.experiment.places import places
from testbed.experiment.plan import (
    DataPlan,
    LinkPlan,
    NodePlan,
    PipelinePlan,
    Plan,
    Price,
    SelectPlan,
    SitePlan,
    Tolerances,
    WorkloadPlan,
)
from testbed.experiment.problems import raise_all
from testbed.experiment.selecting import Select
from testbed.experiment.ways import Way, both_ways, files
from testbed.mobility.timeline import Timeline

UNSHAPED = Way(Shape(), None)
IDLE = ("sleep", "infinity")


def build(spec: Spec, document: Document) -> Plan:
    """The plan of a checked model; reads the trace if there is one.

    Raises:
        InputError: The trace cannot be used.
    """
    sites = {name: _site(spec, document, name) for name in spec.sites}
    raise_all(list(check_motion.check_sites(spec, document, sites)))
    timeline = motion.timeline(spec, document, sites)
    starts = _starts(spec, document, timeline)
    if not spec.mobility.enabled:
        timeline = Timeline(timeline.starts, ())
    nodes = _nodes(spec, document, starts)
    return Plan(
        name=spec.name or default_name(document.path),
        seed=spec.seed,
        nodes=nodes,
        sites=tuple(sites.values()),
        bridges=tuple(resolve.bridge(spec, place) for place in resolve.places(spec)),
        links=tuple(_links(spec, document, nodes, timeline)),
        moves=timeline.moves,
        faults=faults.plan(spec.faults, faults.Resolver(spec, document)),
        workload=workload(spec, document),
        link_backend=spec.emulation.links,
        lead=spec.mobility.lead,
        tolerances=Tolerances(**dict(spec.tolerances)),
        source=str(document.path),
        rendered=_rendered(spec, document),
        dilation=spec.dilation,
        speed_check=spec.emulation.speed_check,
        ipv6=spec.emulation.ipv6,
        places=places(spec, document),
        outages=timeline.outages(),
        interruption=spec.mobility.interruption if spec.mobility.enabled else 0.0,
        predictions=timeline.predictions,
        predictor=motion.predictor(spec),
        tasks=taskplanner.tasks(spec, document, workload),
        platform=taskplanner.platform(spec, document),
    )


def default_name(path: Path) -> str:
    """The file's name, in the characters that a run's name may have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")[:48] or "experiment"


def _starts(spec: Spec, document: Document, timeline: Timeline) -> dict[str, str]:
    starts: dict[str, str] = {}
    problems: list[InputError] = []
    for device, group in resolve.devices(spec).items():
        site = timeline.starts.get(device) or spec.devices[group].at
        if site is None:
            problems.append(
                document.problem(
                    ("devices", group),
                    f"device {device!r} is at no site, and the trace does not name it",
                    wanted=", ".join(spec.sites),
                    remedy=f"add 'at: {next(iter(spec.sites))}', or rows to the trace",
                )
            )
        else:
            starts[device] = site
    raise_all(problems)
    return starts


def _nodes(spec: Spec, document: Document, starts: dict[str, str]) -> tuple[NodePlan, ...]:
    def node(name: str, kind: str, profile: str, site: str | None, **more: object) -> NodePlan:
        hardware = resolve.hardware(spec, profile)
        assert hardware.speed is not None, "the network check lets no such profile pass"
        assert hardware.memory is not None, "the network check lets no such profile pass"
        return NodePlan(
            name=name,
            kind=kind,
            profile=profile,
            speed=hardware.speed,
            cpus=hardware.cpus,
            period=hardware.period,
            memory=hardware.memory,
            threads=spec.workload.threads,
            site=site,
            bridge=resolve.bridge(spec, site or name),
            paced=hardware.paced,
            power=resolve.power(spec, profile),
            battery=resolve.battery(spec, profile),
            charging=charges.get(profile, ()),
            price=Price(hardware.price.gb_second or 0.0, hardware.price.gb or 0.0),
            **more,  # type: ignore[arg-type]
        )

    charges = {
        name: charging.supply(document, name, own.charging) for name, own in spec.profiles.items() if own.charging
    }
    nodes = [
        node(name, "device", spec.devices[group].profile, starts[name])
        for name, group in resolve.devices(spec).items()
    ]
    for site, settings in spec.sites.items():
        if settings.edge is not None:
            nodes.append(node(resolve.edge_name(site, settings) or "", "edge", settings.edge.profile, site))
    if spec.cloud is not None:
        nodes.append(node(resolve.CLOUD, "cloud", spec.cloud.profile, None))
    for name, host in spec.hosts.items():
        command = tuple(host.command) if host.command else None if host.image else IDLE
        nodes.append(node(name, "host", host.profile, host.at, image=host.image, command=command))
    return tuple(nodes)


def _site(spec: Spec, document: Document, name: str) -> SitePlan:
    settings = spec.sites[name]
    up, down = both_ways(document, resolve.access_layers(spec, name))
    return SitePlan(
        name=name,
        at=settings.at,
        bridge=resolve.bridge(spec, name),
        edge=resolve.edge_name(name, settings),
        access_up=up.shape,
        access_down=down.shape,
        access_up_trace=up.trace,
        access_down_trace=down.trace,
    )


def _links(spec: Spec, document: Document, nodes: tuple[NodePlan, ...], timeline: Timeline) -> list[LinkPlan]:
    """A device's link is called by the device alone: it keeps its name wherever it hangs."""
    links: list[LinkPlan] = []
    for node in nodes:
        up, down = UNSHAPED, UNSHAPED
        kind = {"device": "access", "edge": "edge"}.get(node.kind, "wire")
        if kind != "wire":
            layers = resolve.access_layers if kind == "access" else resolve.edge_layers
            up, down = both_ways(document, layers(spec, node.site))
        link = _link(f"{kind}:{node.name}", kind, node.name, node.bridge, up, down)
        if node.name in timeline.schedules:
            own_up, own_down = timeline.schedules[node.name]
            link = replace(link, ab_trace=own_up, ba_trace=own_down, roams=True)
        links.append(link)
    for name in spec.links.backhaul:
        there, back = both_ways(document, resolve.backhaul_layers(spec, name))
        x, y = resolve.ends(name) or ("", "")
        links.append(_link(f"{x} -- {y}", "backhaul", resolve.bridge(spec, x), resolve.bridge(spec, y), there, back))
    return links


def _link(name: str, kind: str, a: str, b: str, there: Way, back: Way) -> LinkPlan:
    return LinkPlan(name, kind, a, b, there.shape, back.shape, there.trace, back.trace)


def workload(spec: Spec, document: Document) -> WorkloadPlan:
    """What is trained, and how, with every name resolved."""
    work = spec.workload
    data, split, optimizer = work.data, work.data.split, work.optimizer
    directory = data_directory(spec, document)
    fractions = split.fractions
    if fractions is not None:  # shares such as three times 33.3% are close enough to be meant as the whole
        total = sum(fractions.values())
        fractions = {name: share / total for name, share in fractions.items()}
    cut = _known_cut(spec)
    own = {name: _known_cut(spec, group) for name, group in resolve.devices(spec).items()}
    return WorkloadPlan(
        schemes=tuple(work.scheme),
        model=work.model,
        cut=cut,
        data=DataPlan(
            set=data.set,
            dir=None if directory is None else str(directory),
            dirichlet=split.dirichlet,
            fractions=fractions,
            train_samples=data.train,
            test_samples=data.test,
            synthetic=FORMS[data.set].synthetic,
            select=_select(data.select),
        ),
        rounds=work.rounds,
        batch=work.batch,
        local_epochs=work.local_epochs,
        lr=optimizer.lr,
        momentum=optimizer.momentum,
        weight_decay=optimizer.weight_decay,
        threads=work.threads,
        strategy=work.strategy,
        cuts={name: k for name, k in own.items() if k != cut},
        drop=work.late.drop,
        hierarchical=work.aggregation == "hierarchical",
        pipeline=_pipeline(work.pipeline),
        cuts_written=tuple(
            name for name, group in resolve.devices(spec).items()
            if work.cut is not None or spec.devices[group].cut is not None
        ),
    )


def _select(asked: Select | None) -> SelectPlan | None:
    if asked is None:
        return None
    return SelectPlan(asked.rule, asked.share, asked.by, asked.features, control=asked.control == "random")


def _pipeline(asked: Pipeline) -> PipelinePlan:
    stages = tuple((stage.node, stage.layers) for stage in asked.plan)
    every = None if isinstance(asked.probing, str) else asked.probing
    known = {key: value for key, value in dict(asked).items() if key != "probe_budget"}
    return PipelinePlan(
        **known | {"plan": stages, "probing": asked.probing if every is None else "every"},
        every=every or 0.0, budget=asked.probe_budget,
    )  # fmt: skip


def _known_cut(spec: Spec, group: str | None = None) -> int:
    cut = resolve.cut(spec, group)
    assert cut is not None, "the check of training lets no such cut pass"
    return cut


def _rendered(spec: Spec, document: Document) -> str:
    """The YAML as understood. Paths are absolute in it: it is kept elsewhere, and still runs from there."""
    data = document.data
    if spec.mobility.trace is not None:
        short = not isinstance(data["mobility"]["trace"], dict)
        steps: Steps = ("mobility", "trace") if short else ("mobility", "trace", "file")
        data = _with(data, steps, str(motion.trace_path(spec, document).resolve()))
    table = attendance.path(spec, document)
    if table is not None:
        data = _with(data, ("mobility", "presence", "file"), str(table.resolve()))
    directory = data_directory(spec, document)
    if directory is not None and not spec.tasks:
        data = _with(data, ("workload", "data", "dir"), str(directory))
    for steps, path in taskplanner.paths(spec, document).items():
        data = _with(data, steps, str(path))
    for name, profile in spec.profiles.items():
        if profile.charging and profile.charging[0].file is not None:
            path = charging.file(document, profile.charging[0].file).resolve()
            data = _with(data, ("profiles", name, "charging"), str(path))
    for layer in (layers[-1] for layers in resolve.link_sections(spec)):
        for key, ways in files(document, layer.settings).items():
            one = ways["up"] if ways["up"] == ways["down"] else ways
            data = _with(data, (*layer.section, key), one)
    if spec.name is None:
        data = {"name": default_name(document.path), **data}
    return Document(document.path, data).rendered()


def _with(data: dict[str, Any], path: Steps, value: object) -> dict[str, Any]:
    """The data with one value changed; what it was before stays as it is."""
    inner = value if len(path) == 1 else _with(data.get(str(path[0])) or {}, path[1:], value)
    return {**data, str(path[0]): inner}
