"""Addresses of nodes, and the names that they know each other by."""

from __future__ import annotations

import ipaddress

from testbed.emulation.fabric import address, known_hosts, plan_addresses
from tests.support import loop_plan

MOST = 65_000


def test_addresses_of_both_families_follow_from_the_same_number() -> None:
    assert address(258, ipv6=True).ip == "10.77.1.2"
    assert address(258, ipv6=True).ip6 == "fd77::102"
    assert address(258).ip6 is None
    network = ipaddress.ip_network("fd77::/64")
    assert all(ipaddress.ip_address(str(address(n, ipv6=True).ip6)) in network for n in (1, 65, MOST))


def test_a_name_stands_for_its_ipv4_address_first_and_for_the_other_only_where_there_is_one() -> None:
    nodes = loop_plan().nodes
    only = known_hosts(plan_addresses(nodes))
    assert dict(only)["cloud"] == "10.77.0.5"
    assert len(only) == len(nodes)
    both = known_hosts(plan_addresses(nodes, ipv6=True))
    assert both[: len(nodes)] == only, "those of IPv4 come first"
    assert dict(both[len(nodes) :])["cloud"] == "fd77::5"
