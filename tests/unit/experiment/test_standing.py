"""Files of topologies that only stand: any nodes, no workload."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.errors import InputError
from testbed.experiment import load_plan

Write = Callable[..., Path]

HOSTS = """\
hosts:
  a: {}
  b: {}
links:
  a -- b: {rate: 20Mbit, delay: 5ms}
"""


def test_hosts_and_links_are_enough_to_stand(write: Write) -> None:
    plan = load_plan(write(text=HOSTS))
    assert [node.name for node in plan.nodes] == ["a", "b"]
    assert [link.name for link in plan.links] == ["wire:a", "wire:b", "a -- b"]
    assert not plan.trains


def test_what_only_stands_is_not_trained(write: Write) -> None:
    with pytest.raises(InputError, match="nobody to train") as caught:
        load_plan(write(text=HOSTS)).require_training()
    assert "testbed up" in str(caught.value.remedy)
    assert load_plan(write()).trains
    load_plan(write()).require_training()


@pytest.mark.parametrize("section", ["workload: {}", "workload:", "mobility: {enabled: false}"])
def test_a_workload_needs_its_aggregator(write: Write, section: str) -> None:
    with pytest.raises(InputError) as caught:
        load_plan(write(text=HOSTS + section + "\n"))
    assert "there is no cloud" in str(caught.value)
    assert "testbed up" in str(caught.value)


def test_hosts_reach_each_other_where_there_is_no_cloud(write: Write) -> None:
    with pytest.raises(InputError, match="'c' has no way to 'a'") as caught:
        load_plan(write(text=HOSTS.replace("  b: {}", "  b: {}\n  c: {}")))
    assert caught.value.remedy == "add 'c -- a: {}' under 'links:'"
    assert caught.value.where
    assert caught.value.where.endswith(":4")


def test_a_file_of_no_nodes_is_refused(write: Write) -> None:
    with pytest.raises(InputError, match="there are no nodes"):
        load_plan(write(text="name: nobody\n"))
