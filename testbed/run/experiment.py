"""The Python interface: what ``testbed run`` does, step by step under the user's control."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from testbed.emulation.execute import ExecResult
from testbed.emulation.host import preflight
from testbed.errors import InputError
from testbed.experiment import load_plan
from testbed.experiment.plan import Plan
from testbed.run import data
from testbed.run.live import Live
from testbed.run.platform import known, training
from testbed.run.record import RunDirectory, new_run_id
from testbed.run.runner import Result, conclude, train
from testbed.run.session import Session


class Experiment:
    """An experiment, checked and ready to run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = (), *, no_moves: bool = False) -> Experiment:
        """Read an experiment file.

        Args:
            path: The YAML file.
            overrides: As ``--set``: ``["workload.rounds=2"]``.
            no_moves: Leave mobility out.

        Raises:
            InputError: The file cannot be used; the error says where and why.
        """
        return cls(load_plan(Path(path), list(overrides), no_moves=no_moves))

    def up(self, *, quiet: bool = True, runs: str | Path = "runs") -> StandingBed:
        """A bed to be entered with ``with``; it is brought up on entering."""
        return StandingBed(self.plan, Path(runs), Live(quiet=quiet))


class StandingBed:
    """A topology that stands, for the length of a ``with`` block."""

    def __init__(self, plan: Plan, runs: Path, live: Live) -> None:
        self._plan = plan
        self._runs = runs
        self._live = live
        self._stack = ExitStack()
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        """Everything that stands, for those who need more."""
        assert self._session is not None, "use it in a with block"
        return self._session

    @property
    def net(self) -> Any:
        """Mininet's own object."""
        return self.session.bed.net

    def exec(self, node: str, argv: Sequence[str], timeout: float | None = None) -> ExecResult:
        """Run a command in a node."""
        return self.session.bed.exec(node, argv, timeout)

    def handover(self, device: str, site: str) -> float:
        """Move a device to another site's access point; returns how long the command took, s."""
        return self.session.bed.handover(device, site).command_s

    def train(self, scheme: str | None = None) -> Result:
        """Train a scheme (the file's, by default) on this bed; results go to a run directory of their own."""
        self._plan.require_training()
        if self._plan.tasks:
            return self._run_tasks(scheme)
        names = (scheme,) if scheme else self._plan.workload.schemes
        directory = RunDirectory(self._runs, new_run_id(self._plan.name))
        outcomes = train(self.session, names, data.split(self._plan), directory, self._live, threading.Event(), [])
        result = conclude(self.session, names, outcomes, directory, self._live)
        directory.hand_over()
        self.session.limit(standing=True)
        return result

    def _run_tasks(self, scheme: str | None) -> Result:
        """Have the tasks come that the file has."""
        if scheme is not None:
            raise InputError("tasks have schemes of their own", wanted="train() for all tasks of the file",
                             found=f"scheme {scheme}", where=self._plan.source)  # fmt: skip
        directory = RunDirectory(self._runs, new_run_id(self._plan.name))
        splits = known.split(self._plan)
        outcomes = [training.train(self.session, splits, directory, threading.Event(), [])]
        result = conclude(self.session, (), outcomes, directory, self._live)
        directory.hand_over()
        self.session.limit(standing=True)
        return result

    def __enter__(self) -> StandingBed:
        preflight()
        self._session = self._stack.enter_context(Session(self._plan, new_run_id(self._plan.name), self._live))
        try:
            self._session.limit(standing=True)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
