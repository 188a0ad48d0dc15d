"""What a file may say in good form and still not mean: names, places and which links there are."""

from __future__ import annotations

import re
from collections.abc import Iterator

import networkx as nx

from testbed.errors import InputError
from testbed.experiment import check_links, check_nodes, resolve
from testbed.experiment.document import Document, Steps
from testbed.experiment.model import Spec
from testbed.experiment.problems import did_you_mean

NAME_LENGTH = 32
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def check(spec: Spec, document: Document) -> list[InputError]:
    """All problems of the network part."""
    names = list(_names(spec, document))
    links = list(_links(spec, document))
    problems = [
        *_presence(spec, document),
        *names,
        *check_nodes.check(spec, document),
        *_places(spec, document),
        *links,
        *check_links.check(spec, document),
    ]
    if not names and not links:  # else it would only repeat them
        problems += _connected(spec, document)
    return problems


def _presence(spec: Spec, document: Document) -> Iterator[InputError]:
    """What training needs, where the file asks for it; else it is a topology that only stands, of any nodes."""
    if not {"workload", "mobility", "tasks"} & spec.model_fields_set:
        if not (spec.sites or spec.devices or spec.hosts or spec.cloud):
            yield document.problem(
                ("hosts",), "there are no nodes", wanted="hosts, or sites, devices and a cloud",
                remedy="add 'hosts: {a: {}}', or start from topologies/smoke.yaml",
            )  # fmt: skip
        return
    if not spec.sites:
        yield document.problem(("sites",), "there are no sites", remedy="add 'sites: {north: {}}'")
    if not spec.devices:
        yield document.problem(
            ("devices",), "there are no devices", remedy="add 'devices: {dev: {profile: pi4, at: north}}'"
        )
    if spec.cloud is None:
        yield document.problem(
            ("cloud",), "there is no cloud: a workload needs its aggregator, tasks their orchestrator",
            remedy="add 'cloud: {}', or take workload, tasks and mobility out for a topology that only stands (testbed "
            "up)",
        )


def _names(spec: Spec, document: Document) -> Iterator[InputError]:
    named: list[tuple[str, str, Steps]] = [("site", s, ("sites", s)) for s in spec.sites]
    if spec.cloud is not None:
        named.append(("cloud", resolve.CLOUD, ("cloud",)))
    for site, settings in spec.sites.items():
        if edge := resolve.edge_name(site, settings):
            named.append(("edge server", edge, ("sites", site, "edge", "name")))
    named += [("device", d, ("devices", group)) for d, group in _all_devices(spec)]
    named += [("host", h, ("hosts", h)) for h in spec.hosts]

    seen: dict[str, tuple[str, Steps]] = {}
    for kind, name, path in named:
        if len(name) > NAME_LENGTH or not LABEL.fullmatch(name) or "--" in name:
            yield document.problem(
                path,
                f"{name!r} cannot be the name of {_a(kind)}",
                wanted=f"a-z, 0-9 and single '-' inside, {NAME_LENGTH} characters at most",
                found=f"{len(name)} characters" if len(name) > NAME_LENGTH else name,
                remedy=better_name(name),
            )
        if name in seen:
            other, there = seen[name]
            yield document.problem(
                path,
                f"two have the name {name!r}: this {kind} and {_a(other)}",
                found=f"the other at {document.where(there)}",
                remedy="give one of them another name",
            )
        seen.setdefault(name, (kind, path))


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _all_devices(spec: Spec) -> Iterator[tuple[str, str]]:
    for group in spec.devices:
        for name in resolve.device_names(spec, group):
            yield name, group


def better_name(name: str) -> str:
    """A remedy for a name that cannot be one."""
    better = re.sub(r"-+", "-", re.sub(r"[^a-z0-9]+", "-", name.lower())).strip("-")[:NAME_LENGTH].strip("-")
    return f"call it {better!r}" if better else "give it a name of letters"


def _places(spec: Spec, document: Document) -> Iterator[InputError]:
    for section, entries in (("devices", spec.devices), ("hosts", spec.hosts)):
        for name, entry in entries.items():
            if entry.at is None:
                if section == "devices" and not spec.mobility.moving:
                    yield document.problem(
                        (section, name), f"device {name!r} is at no site", wanted=", ".join(spec.sites),
                        remedy=f"add 'at: {next(iter(spec.sites), 'north')}'",
                    )  # fmt: skip
            elif entry.at not in spec.sites:
                site = resolve.site_of(spec, entry.at)
                remedy = f"did you mean {site!r}, its site?" if site else did_you_mean(entry.at, spec.sites)
                yield document.problem(
                    (section, name, "at"), f"there is no site {entry.at!r}", wanted=", ".join(spec.sites),
                    remedy=remedy or f"add {entry.at!r} under 'sites:'",
                )  # fmt: skip


def _links(spec: Spec, document: Document) -> Iterator[InputError]:
    places = resolve.places(spec)
    seen: dict[frozenset[str], str] = {}
    for link in spec.links.backhaul:
        path: Steps = ("links", link)
        both = resolve.ends(link)
        if both is None:
            yield document.problem(
                path, f"unknown key {link!r} in links", wanted="access, edge, or a link 'x -- y'",
                remedy=did_you_mean(link, ["access", "edge"]) or "write it as 'north -- cloud'",
            )  # fmt: skip
            continue
        for end in both:
            if end not in places:
                yield _missing_end(spec, document, path, end, places)
        if both[0] == both[1]:
            yield document.problem(path, f"link {link!r} joins {both[0]!r} to itself", remedy="name two places")
        if (pair := frozenset(both)) in seen:
            yield document.problem(
                path,
                f"a second link between {both[0]!r} and {both[1]!r}",
                found=f"the first at {document.where(('links', seen[pair]))}",
                remedy="keep one of them; {up: …, down: …} gives each direction its own value",
            )
        seen.setdefault(pair, link)


def _missing_end(spec: Spec, document: Document, path: Steps, end: str, places: list[str]) -> InputError:
    site = resolve.site_of(spec, end)
    host = spec.hosts.get(end)
    if site is not None:
        remedy = f"did you mean {site!r}, its site? The edge server hangs on it by links.edge"
    elif end in resolve.devices(spec):
        remedy = "devices hang on access points by links.access; a site may differ by its 'access:'"
    elif host is not None and host.at is not None:
        remedy = f"host {end!r} is at site {host.at!r}: link the site"
    else:
        remedy = did_you_mean(end, places) or f"add {end!r} under 'sites:'"
    return document.problem(
        path, f"link to {end!r}, which is not there", wanted=", ".join(places), found=str(path[-1]), remedy=remedy
    )


def _connected(spec: Spec, document: Document) -> Iterator[InputError]:
    places = resolve.places(spec)
    if not places:
        return
    root = resolve.CLOUD if spec.cloud is not None else places[0]
    name = "the cloud" if spec.cloud is not None else repr(root)
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(places)
    graph.add_edges_from(both for link in spec.links.backhaul if (both := resolve.ends(link)))
    reached = nx.node_connected_component(graph, root)
    for place in places:
        if place not in reached:
            section = "sites" if place in spec.sites else "hosts"
            yield document.problem(
                (section, place),
                f"{place!r} has no way to {name}",
                wanted=f"a path of links from every site and host to {name}",
                remedy=f"add '{place} -- {root}: {{}}' under 'links:'",
            )
