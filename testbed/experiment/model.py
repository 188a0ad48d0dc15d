"""The experiment file as a whole.

Its parts: `network` and `link_settings` (what there is), `training` and `tasking` (what it does), `emulating` (how it
is made real).
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from testbed.experiment.emulating import Emulation, Tolerances
from testbed.experiment.faults import Fault
from testbed.experiment.link_settings import Links
from testbed.experiment.link_values import Dilation
from testbed.experiment.network import Cloud, Devices, Host, Profile, Site
from testbed.experiment.section import Section
from testbed.experiment.tasking import Platform, Task
from testbed.experiment.training import Mobility, Workload


def _blank_cloud(value: Any) -> Any:
    """``cloud:`` with nothing behind it asks for one all the same."""
    return {} if value is None else value


class Spec(Section):
    """An experiment: topology, workload, mobility, seed."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=48)] | None = None
    """Name of the experiment; runs are called by it. By default the file's."""
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = 1
    """All randomness of training follows from it."""
    sites: dict[str, Site] = Field(default_factory=dict)
    """Access points by name, and the edge servers behind them. `file: sites.csv` takes them from
    [a table](traces.md#sites-from-a-table)."""
    cloud: Annotated[Cloud | None, BeforeValidator(_blank_cloud)] = None
    """The aggregator. A workload needs one, and devices at sites. A file without `workload` and `mobility` may do
    without, for a topology that only stands (`testbed up`)."""
    devices: dict[str, Devices] = Field(default_factory=dict)
    """Devices by name."""
    hosts: dict[str, Host] = Field(default_factory=dict)
    """Other programs by name."""
    profiles: dict[str, Profile] = Field(default_factory=dict)
    """Classes of hardware: new ones, or changes to those that ship."""
    links: Links = Links()
    """Access links, edge links and the backhaul. Every site and host must reach the cloud (without one, each
    other)."""
    mobility: Mobility = Mobility()
    """Who goes where, and when: scripted or from a trace."""
    faults: list[Fault] = Field(default_factory=list)
    """What breaks, and when."""
    workload: Workload = Workload()
    """What is trained, and how."""
    tasks: dict[str, Task] = Field(default_factory=dict)
    """Instead of a workload: learning tasks by name, which come to the serverless platform. See [tasks](tasks.md)."""
    platform: Platform = Platform()
    """How the serverless platform runs `tasks`."""
    dilation: Dilation = 1.0
    """For what does not fit on this machine: run everything so many times slower (speeds and rates divided, delays,
    traces and deadlines multiplied), and tell all in the experiment's own time. `auto`: by the smallest factor that
    fits."""
    emulation: Emulation = Emulation()
    """How the experiment is made real."""
    tolerances: Tolerances = Tolerances()
    """When a run's verdict is ``invalid``."""
