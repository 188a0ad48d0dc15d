"""A session: a bed that stands, with its workers ready, limited, calibrated and under control.

Everything a run, a standing topology (``up``) and the Python interface have in common.
"""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from nodes.wire import control as ctl
from testbed.emulation.bed import Bed
from testbed.emulation.calibrate import calibrate
from testbed.emulation.carry import require_carried, require_playable
from testbed.emulation.containers import Launch
from testbed.emulation.fleet import AppliedLimits, NodeState
from testbed.emulation.governor import FleetQuotas, Governor, Governors
from testbed.emulation.ledger import Ledger
from testbed.emulation.links.shape import LinkCalibration
from testbed.errors import NodeError
from testbed.experiment import check_capacity
from testbed.experiment.capacity import RESERVE
from testbed.experiment.dilate import dilated, settled
from testbed.experiment.plan import NodePlan, Plan
from testbed.run import birth, deaths, freespeed, speed, targets
from testbed.run.control import ControlServer, Said, make_keys
from testbed.run.live import Live
from testbed.run.platform import settings
from testbed.run.virtual import VirtualTime

READY_S = 120.0


class Session:
    """Bring a plan up and keep it; use it as a context manager.

    Args:
        plan: What to bring up, in virtual time. run_id: Its name. live: Where progress goes.
        run_dir: Where results go, for others to find. measure_links: Whether to calibrate.
    """

    def __init__(
        self, plan: Plan, run_id: str, live: Live, *, run_dir: str = "", measure_links: bool = True
    ) -> None:
        self.plan = settled(plan, (os.cpu_count() or 1) - RESERVE)
        self.real = dilated(self.plan)  # what is made of it, and waited for
        self.time = VirtualTime(self.plan.dilation, time.monotonic())
        self.run_id = run_id
        self.live = live
        self._run_dir = run_dir
        self._measure_links = measure_links
        self.limits: dict[str, AppliedLimits] = {}
        self.calibration: list[LinkCalibration] = []
        self.versions: dict[str, dict[str, str]] = {}
        self.timings: dict[str, float] = {}
        self.drift: dict[str, Any] | None = None
        self.references: dict[int, dict[str, float]] = {}  # by cut, once `reference` has them
        self.layer_times: dict[str, float] = {}  # by way and layer, for a micro-batch, where there are any
        self.speeds: dict[str, speed.NodeSpeed] = {}
        self.training = False
        self.trainings = 0  # so far
        self.expendable: set[str] = set()  # nodes without which training goes on as long as one of their kind is left
        self.optional: set[str] = set()  # kinds of these of which none has to be left
        self.lost: dict[str, deaths.Death] = {}  # nodes that have died
        self._oom_children: dict[str, int] = {}
        self._ledger: Ledger | None = None
        self._bed: Bed | None = None
        self._control: ControlServer | None = None
        self._governors: Governors | None = None

    @property
    def bed(self) -> Bed:
        """The containers and links."""
        assert self._bed is not None, "the session is not up"
        return self._bed

    @property
    def control(self) -> ControlServer:
        """The control plane."""
        assert self._control is not None, "the session is not up"
        return self._control

    @property
    def directory(self) -> Path:
        """The run's own directory under /run, gone when it ends."""
        assert self._ledger is not None, "the session is not up"
        return self._ledger.directory

    @property
    def workers(self) -> list[str]:
        """Nodes that run our worker and are not lost."""
        ours = [n.name for n in self.plan.nodes if n.command is None and n.image is None]
        return [name for name in ours if name not in self.lost]

    def up(self) -> None:
        """Bring everything up; on any failure all of it is taken down again before the error is raised."""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        check_capacity(self.real, os.cpu_count() or 1, memory)
        require_playable(self.real)
        try:
            self._up()
        except BaseException:
            self.close()
            raise

    def _up(self) -> None:
        begin = time.monotonic()
        self._ledger = ledger = Ledger.create(self.run_id)
        require_carried(self.real, ledger)
        birth.prepare(ledger.directory)
        keys, node_keys = make_keys(self.workers)
        names = {pair.public: name for name, pair in node_keys.items()}
        self._control = ControlServer(birth.socket(ledger.directory), keys, names)

        def launch(node: NodePlan) -> Launch:
            if node.name not in node_keys:
                return Launch(node.command)
            unit = settings.unit(self.plan, node) if self.plan.tasks else None
            return birth.write(ledger.directory, node, node_keys[node.name], keys, self.plan.dilation, unit)

        self._bed = Bed(self.real, self.run_id, ledger, launch)
        nodes = len(self.plan.nodes)
        with self.live.phase(f"starting {nodes} containers and {len(self.plan.links)} links", 1 + 0.3 * nodes):
            self._bed.up(run_dir=self._run_dir)
        with self.live.phase("waiting for the nodes to be ready", 1 + 0.8 * nodes):
            for said in self.collect(ctl.Ready, self.workers, READY_S, "become ready"):
                assert isinstance(said.message, ctl.Ready)
                self.versions[said.node] = said.message.versions
        self.timings["ready_s"] = time.monotonic() - begin
        records = self._bed.record.nodes
        peers = [ctl.Peer(n, self.plan.node(n).kind, records[n].ip, node_keys[n].public) for n in self.workers]
        if self._measure_links:
            with self.live.phase("measuring every link in both directions", 8):
                self.calibration = calibrate(
                    self._bed.emulator,
                    targets.links(self._bed),
                    self.plan.tolerances,
                    dilation=self.plan.dilation,
                )
        # Only now: the first packets of a connection that were lost in a full queue would have TCP think little of the
        # path for minutes.
        for name in self.workers:
            self.control.send(name, ctl.Configure(peers))
        self.timings["up_s"] = time.monotonic() - begin

    def limit(self, *, standing: bool = False) -> None:
        """Put the nodes' limits in force and read them back (NotAppliedError if they are not); govern who needs it.

        Args:
            standing: Whether users' programs are what will run on all nodes, and not training.
        """
        self.release()
        paced = {n.name for n in self.real.nodes if n.paced and n.name in self.workers and not standing}
        laws = {n.name: Governor.of(n) for n in self.real.nodes if n.name not in paced and n.name not in self.lost}
        with self.live.phase("limiting CPU and memory"):
            changed = {n: replace(self.real.node(n), cpus=law.quota, period=law.period) for n, law in laws.items()}
            self.limits |= self.bed.apply_limits(changed, self.lost)
        self._governors = Governors(FleetQuotas(self.bed.fleet, laws), laws)
        self._governors.start()

    def release(self) -> None:
        """Govern nobody any more; quotas stay as they are."""
        if self._governors is not None:
            self._governors.stop()
            self._governors = None

    def governed(self) -> dict[str, dict[str, Any]]:
        """What governors set and found so far, by node, in virtual time (see `testbed.emulation.governor.Kept`)."""
        if self._governors is None:
            return {}
        return speed.governed(self.plan, self._governors.kept)

    def reference(self, seconds: float = freespeed.MEASURE_S, *, layers: bool = False) -> dict[str, float]:
        """Reference times of the workload: stored ones, or measured now on a node that is not limited yet.

        They are those of the workload's cut; `references` has those of devices' own cuts as well, and `layer_times`,
        with ``layers``, those of each layer.
        Stored ones are held against today's free speed (`drift`), unless the plan has no speeds checked.
        """
        return freespeed.reference_of(self, seconds, layers=layers)

    def check_speeds(self, step_times: Mapping[str, float]) -> None:
        """Have all nodes train at once, under their limits, to measure their `speeds`; touches no training."""
        self.speeds = speed.check(self, step_times)

    def collect(
        self, kind: type, nodes: list[str], patience: float, what: str, also: Callable[[Said], None] | None = None
    ) -> list[Said]:
        """Wait until each of these nodes has said something of this kind, or is one of the `lost`.

        ``also`` hears of all that is said meanwhile, of this kind or not.

        Raises:
            NodeError: One failed, died, or did not say it in time.
        """
        found: dict[str, Said] = {}
        deadline, checked = time.monotonic() + patience, time.monotonic()
        while not found.keys() | self.lost.keys() >= set(nodes):
            now = time.monotonic()
            if now > deadline:
                missing = sorted(set(nodes) - found.keys() - self.lost.keys())
                raise NodeError(
                    f"{', '.join(missing)} did not {what} within {patience:.0f} s",
                    found=self.last_words(missing[0]), where=missing[0],
                    remedy="look at the machine's load; testbed doctor",
                )  # fmt: skip
            if now - checked > 1:
                checked = now
                self.check()
            try:
                said = self.control.inbox.get(timeout=min(0.5, max(0.01, deadline - now)))
            except queue.Empty:
                continue
            if isinstance(said.message, ctl.Failed):
                raise NodeError(f"{said.node} failed: {said.message.reason}", where=said.node)
            if isinstance(said.message, kind) and said.node in nodes:
                found[said.node] = said
            if also is not None:
                also(said)
        return [found[name] for name in nodes if name in found]

    def check(self) -> list[str]:
        """Look after the nodes; returns what is worth noting (a child process killed for memory).

        Who has died is noted down, in `lost`; that is all where it was `expendable`.

        Raises:
            NodeError: A node died that is not, ran out of memory, or is silent for too long.
            EmulationError: What makes the links has ended.
        """
        notes = []
        self.bed.emulator.check()
        for name, state in self._look().items():
            if state.oom_child_kills > self._oom_children.get(name, 0):
                self._oom_children[name] = state.oom_child_kills
                limit = self.plan.node(name).memory >> 20
                notes.append(f"{name}: the kernel killed a process of it for want of memory (limit {limit} MiB)")
        for name in self.workers:
            silence = self.control.silence(name)
            if silence > self.real.tolerances.node_silence:
                raise NodeError(
                    f"{name} hangs: nothing heard of it for {silence:.0f} s", where=name,
                    wanted=f"a sign of life at least every {self.real.tolerances.node_silence:.0f} s",
                    remedy="was it stopped or paused? If the machine is overloaded, raise tolerances.node_silence",
                )  # fmt: skip
        return notes

    def _look(self) -> dict[str, NodeState]:
        """How the nodes are that run; those that have ended are noted down (NodeError if they may not be missing)."""
        states = {name: state for name, state in self.bed.states().items() if name not in self.lost}
        ended = {name: state for name, state in states.items() if not state.running or state.oom_killed}
        for name, state in ended.items():
            self.lost[name] = deaths.Death(time.monotonic(), deaths.how(self.plan.node(name), state))
        for name, state in ended.items():
            if name not in self.expendable or not self._goes_on_without(name):
                raise self._fatal(name, state)
        return {name: state for name, state in states.items() if name not in ended}

    def _goes_on_without(self, name: str) -> bool:
        return self.plan.node(name).kind in self.optional or bool(self._alike(name) - set(self.lost))

    def _alike(self, name: str) -> set[str]:
        """Nodes that can take a node's part, itself among them."""
        kind = self.plan.node(name).kind
        return {other for other in self.expendable if self.plan.node(other).kind == kind}

    def _fatal(self, name: str, state: NodeState) -> NodeError:
        last, said = name in self.expendable, self.last_words(name)
        return deaths.fatal(self.plan.node(name), state, said, last_of_its_kind=last, training=self.training)

    def last_words(self, node: str) -> str:
        """The end of what a node's program wrote, for an error message."""
        try:
            return self.bed.logs(node, tail=5).strip() or "it wrote nothing"
        except Exception as error:  # whatever is wrong here must not hide the error that is being reported
            return f"its log cannot be read ({error})"

    def limits_read(self) -> dict[str, dict[str, Any]]:
        """Limits asked for and read back, as plain data."""
        return {name: msgspec.to_builtins(applied) for name, applied in self.limits.items()}

    def close(self) -> None:
        """Take everything down; closing twice is fine."""
        begin = time.monotonic()
        self.release()
        if self._control is not None:
            self._control.broadcast(ctl.Exit())
        try:
            if self._bed is not None:
                self._bed.down()
        finally:
            if self._control is not None:
                self._control.close()
            if self._ledger is not None:
                self._ledger.finish()
            self.timings["down_s"] = time.monotonic() - begin

    def __enter__(self) -> Session:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
