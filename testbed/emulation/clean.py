"""Takes away what dead runs left, and nothing else.

A run is dead when nobody holds its lock. What it made is known from its ledger and from marks: containers carry
the run's id and the place of its ledger as labels, a fabric's namespace carries both as the alias of its loopback
interface. So runs whose directory is lost are found as well, and whatever carries no such mark is never touched.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.emulation import fabric, netns, rundirs
from testbed.emulation.containers import RUN, Engine
from testbed.emulation.ledger import Entry, Ledger
from testbed.errors import RoambedError

_CONTROLLER = "controller"
_PATIENCE = 5.0  # s that a live run's controller gets to end in order before it is killed
_THREADS = 16
_SETTLES = 10.0  # s after which the engine has finished, or never begun, what it was asked for
_LOOK_AGAIN = 0.1


@dataclass
class Removed:
    """What was removed of one run, by name; ``problems`` says what could not be."""

    run_id: str
    containers: list[str] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)
    processes: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass
class Report:
    """What a clean-up did: runs removed, live runs that were left alone, named runs that are not here."""

    removed: list[Removed] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing is left that should have gone."""
        return not self.problems and not any(run.problems for run in self.removed)


def clean(run_ids: Iterable[str] | None = None, force: bool = False) -> Report:
    """Remove everything that runs left on this machine. Results of runs are not among it.

    Args:
        run_ids: Only these, alive or dead; a live one's controller is ended first. None: all dead ones.
        force: With ``run_ids`` None: live ones too.
    """
    named = None if run_ids is None else {rundirs.check_run_id(run_id) for run_id in run_ids}
    report = Report()
    engine = _connect(report)
    try:
        # Runs are listed last: each has its directory before it has anything else, so that a run which is
        # just coming up is not taken for one whose directory is lost.
        labelled = {item["Labels"][RUN] for item in engine.ours()} if engine else set()
        namespaces = netns.names()
        alive = {run.run_id: run.alive for run in rundirs.runs()}
        known = {*alive, *labelled, *_lost(namespaces, alive)}
        report.unknown = sorted(named - known) if named else []
        chosen: list[str] = []
        for run_id in sorted(known if named is None else named & known):
            spared = alive.get(run_id, False) and named is None and not force
            (report.left_alone if spared else chosen).append(run_id)
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="clean") as pool:
            report.removed = list(pool.map(lambda run_id: _clean_run(run_id, engine), chosen))
    finally:
        if engine:
            engine.close()
    rundirs.remove_abandoned()
    return report


def _connect(report: Report) -> Engine | None:
    try:
        return Engine()
    except RoambedError as error:  # the rest is cleaned all the same
        report.problems.append(f"containers were not looked for: {error.message}: {error.found}")
        return None


def _lost(namespaces: Iterable[str], alive: Iterable[str]) -> set[str]:
    """Runs without a directory whose fabric says that it is theirs."""
    candidates = {name.removeprefix(netns.PREFIX) for name in namespaces if name.startswith(netns.PREFIX)}
    return {run_id for run_id in candidates.difference(alive) if _owns_namespace(run_id, ledgered=False)}


def _owns_namespace(run_id: str, *, ledgered: bool) -> bool:
    # Killed between making the namespace and marking it, a run has only its ledger to show for it.
    mark = fabric.owner_of(netns.path_of(netns.name_of(run_id)))
    return mark == fabric.label(run_id) or (ledgered and mark is None)


def _clean_run(run_id: str, engine: Engine | None) -> Removed:
    removed = Removed(run_id)
    book = Ledger(run_id, rundirs.root() / run_id)
    entries = book.entries()
    if book.alive():
        _end_controller(entries, removed)
    with book.take_over() as held:
        if book.directory.exists() and not held:
            removed.problems.append("its controller holds on to it")
            return removed
        for entry in entries:
            if entry.kind == "process" and entry.name != _CONTROLLER and entry.process().end():
                removed.processes.append(f"{entry.name} ({entry.pid})")
        if engine is None and any(entry.kind == "container" for entry in entries):
            removed.problems.append("its containers may be left")
        # What was in the making when its controller was killed may appear only now: it is waited for.
        waiting, since = book.unsettled()
        while True:
            if engine is not None:
                _remove_containers(run_id, engine, removed)
            _remove_namespace(run_id, entries, removed)
            waiting -= {("container", name) for name in removed.containers}
            waiting -= {("netns", name) for name in removed.namespaces}
            if removed.problems or not waiting or time.time() > since + _SETTLES:
                break
            time.sleep(_LOOK_AGAIN)
        removed.containers.sort()
        for entry in entries:
            if entry.kind in ("directory", "file"):
                _remove_path(Path(entry.name), removed)
        if not removed.problems and book.directory.exists():
            rundirs.remove_directory(book.directory)
            removed.paths.append(str(book.directory))
    return removed


def _end_controller(entries: Iterable[Entry], removed: Removed) -> None:
    for entry in entries:
        controls = entry.kind == "process" and entry.name == _CONTROLLER and entry.pid != os.getpid()
        if controls and entry.process().end(patience=_PATIENCE):
            removed.processes.append(f"{entry.name} ({entry.pid})")


def _remove_containers(run_id: str, engine: Engine, removed: Removed) -> None:
    def remove(item: dict[str, Any]) -> None:
        name = str(item["Names"][0]).lstrip("/")
        try:
            if engine.remove(item["Id"]):
                removed.containers.append(name)
        except RoambedError as error:
            removed.problems.append(f"container {name}: {error.found or error.message}")

    try:
        found = engine.ours(run_id)
    except RoambedError as error:
        removed.problems.append(f"containers: {error.found or error.message}")
        return
    with ThreadPoolExecutor(_THREADS) as pool:
        pool.map(remove, found)


def _remove_namespace(run_id: str, entries: Iterable[Entry], removed: Removed) -> None:
    name = netns.name_of(run_id)
    ledgered = any(entry.kind == "netns" and entry.name == name for entry in entries)
    try:
        if name in netns.names() and _owns_namespace(run_id, ledgered=ledgered) and netns.delete(name):
            removed.namespaces.append(name)
    except RoambedError as error:
        removed.problems.append(f"namespace {name}: {error.found or error.message}")


def _remove_path(path: Path, removed: Removed) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.is_symlink() or path.exists():
            path.unlink()
        else:
            return
    except OSError as error:
        removed.problems.append(f"{path}: {error.strerror}")
    else:
        removed.paths.append(str(path))
