"""A bed on this machine: containers, a fabric with a loop, limits, handovers, and what is left afterwards."""

from __future__ import annotations

import os
import socket
import statistics
import time
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest

from testbed.emulation import netlink, netns
from testbed.emulation.bed import Bed
from testbed.emulation.containers import Container, Engine, Launch, Mount, name_of
from testbed.emulation.ledger import Ledger
from testbed.emulation.links import choose
from testbed.emulation.links.shape import LinkEnd, Shape
from testbed.emulation.record import BedRecord
from testbed.errors import EmulationError, EnvironmentProblem, InputError, NotAppliedError
from tests.support import (
    IDLE,
    IMAGE,
    MEMORY,
    NORTH_DOWN,
    NORTH_UP,
    SOUTH_DOWN,
    SOUTH_UP,
    VethEmulator,
    eventually,
    ip_json,
    loop_plan,
    pings,
    run_id,
)
from tests.system.beds import Stream, connection, exchange, ip_of, standing

pytestmark = [pytest.mark.root, pytest.mark.docker]

UNKNOWN = bytes.fromhex("025242aabbcc")
BROADCAST = b"\xff" * 6
OUR_TYPE = b"\x88\xb5"  # Ethernet type for experiments
FRAMES = 200


def all_pairs_ping(bed: Bed) -> None:
    for a, b in permutations(bed.record.nodes, 2):
        assert pings(bed.pid(a), ip_of(bed, b)), f"{a} does not reach {b}"


def sent_by_port(bed: Bed) -> dict[str, int]:
    return {name: port.tx_packets for name, port in bed.fabric.interfaces().items() if name.startswith("p")}


def inspect(bed: Bed, node: str) -> dict[str, object]:
    with Engine() as engine:
        return dict(engine.api.inspect_container(bed.record.nodes[node].container_id))


def test_every_node_reaches_every_other_and_nothing_else() -> None:
    with standing() as bed:
        all_pairs_ping(bed)
        for node, record in bed.record.nodes.items():
            path = netns.of_pid(bed.pid(node))
            assert [route["dst"] for route in ip_json(path, "route")] == ["10.77.0.0/16"], "a route beyond the links"
            links = {str(link["ifname"]): link for link in ip_json(path, "addr")}
            assert set(links) == {"lo", "eth0"}
            addresses = links["eth0"]["addr_info"]
            assert [item["local"] for item in addresses] == [record.ip], "no IPv6"  # type: ignore[attr-defined,index]
            assert (links["eth0"]["address"], links["eth0"]["mtu"]) == (record.mac, 1500)
            states = {str(item["dst"]): item["state"] for item in ip_json(path, "neigh")}
            assert states == {other.ip: ["PERMANENT"] for other in bed.record.nodes.values() if other.name != node}, (
                "nobody waits for ARP"
            )
        assert bed.record.congestion_control in ("cubic", "reno")


def test_containers_have_no_rights_and_know_their_peers() -> None:
    with standing() as bed:
        config = inspect(bed, "dev-1")
        host = config["HostConfig"]
        assert isinstance(host, dict)
        assert host["NetworkMode"] == "none"
        assert host["CapDrop"] == ["ALL"]
        assert "no-new-privileges" in host["SecurityOpt"]
        assert host["ReadonlyRootfs"] is True
        assert host["Init"] is True
        assert host["CgroupParent"] == ""
        assert bed.exec("dev-1", ["id", "-u"]).stdout == "1000\n"
        assert bed.exec("dev-1", ["hostname"]).stdout == "dev-1\n"
        assert bed.exec("dev-1", ["sh", "-c", "echo x > /tmp/x && cat /tmp/x"]).stdout == "x\n"
        assert bed.exec("dev-1", ["sh", "-c", "echo x > /x"]).exit_code != 0, "the root is read-only"
        known = dict(
            reversed(line.split()[:2])
            for line in bed.exec("dev-1", ["cat", "/etc/hosts"]).stdout.splitlines()
            if line.startswith("10.")
        )
        assert known["cloud"] == ip_of(bed, "cloud")


def test_nodes_have_ipv6_where_it_is_asked_for_and_bridges_never() -> None:
    with standing(replace(loop_plan(), ipv6=True, dilation=2.0)) as bed:
        for number, (node, record) in enumerate(bed.record.nodes.items(), 1):
            path = netns.of_pid(bed.pid(node))
            (eth0,) = (link for link in ip_json(path, "addr") if link["ifname"] == "eth0")
            there = {str(a["local"]): a for a in eth0["addr_info"]}  # type: ignore[attr-defined]
            assert set(there) == {record.ip, f"fd77::{number:x}"}, "one of each family, none of the kernel's own making"
            assert record.ip6 in there
            assert "tentative" not in there[record.ip6]
            states = {str(item["dst"]): item["state"] for item in ip_json(path, "-6", "neigh")}
            others = {other.ip6 for other in bed.record.nodes.values() if other.name != node}
            assert states == {ip6: ["PERMANENT"] for ip6 in others}, "nobody waits for a neighbour's answer"
            with netlink.Netlink(path) as inside:
                index = inside.interfaces()["eth0"].index
                for family in (socket.AF_INET, socket.AF_INET6):
                    assert inside.retransmission(index, family) == pytest.approx(0.4), "TCP is as patient in both"
        for a, b in permutations(bed.record.nodes, 2):
            assert pings(bed.pid(a), str(bed.record.nodes[b].ip6)), f"{a} does not reach {b} by IPv6"
        all_pairs_ping(bed)
        assert bed.exec("dev-1", ["ping", "-6", "-c1", "-W1", "cloud"]).exit_code == 0, "known by name"
        assert bed.exec("dev-1", ["ping", "-4", "-c1", "-W1", "cloud"]).exit_code == 0
        assert not [link for link in ip_json(bed.fabric.path, "-6", "addr") if link["addr_info"]]


def test_frames_with_no_destination_end_at_the_first_bridge() -> None:
    with standing() as bed:
        frames = [
            to + bytes.fromhex(bed.record.nodes["dev-1"].mac.replace(":", "")) + OUR_TYPE + bytes(46)
            for to in (BROADCAST, b"\x01\x00\x5e\x00\x00\x01", UNKNOWN)
        ]
        raw = netns.inside(netns.of_pid(bed.pid("dev-1")), lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
        before = sent_by_port(bed)
        with raw:
            raw.bind(("eth0", 0))
            for _ in range(FRAMES):
                for frame in frames:
                    raw.send(frame)
        assert pings(bed.pid("dev-1"), ip_of(bed, "cloud")), "what has a destination still arrives"
        grown = sum(sent_by_port(bed).values()) - sum(before.values())
        assert grown <= 20, f"{grown} frames left ports of the fabric: something floods"


def test_packets_take_the_shortest_way_only() -> None:
    with standing() as bed:
        before = sent_by_port(bed)
        assert pings(bed.pid("dev-1"), ip_of(bed, "edge-south"), count=20)
        after = sent_by_port(bed)
        record = bed.record.links
        through = {name: after[name] - before[name] for name in before}
        assert through[record["north--south"].a_ifname] >= 20
        assert through[record["edge:edge-south"].b_ifname] >= 20
        for link in ("north--cloud", "south--cloud"):
            assert through[record[link].a_ifname] + through[record[link].b_ifname] == 0
        assert sum(through.values()) <= 20 * 4 + 8, "each echo and reply passes each link of the way once"


def test_limits_are_read_back() -> None:
    plan = loop_plan()
    slow = replace(plan.nodes[0], cpus=0.15, period=0.02, memory=96 << 20)
    with standing(replace(plan, nodes=(slow, *plan.nodes[1:]))) as bed:
        assert bed.fleet._cgroups["dev-1"].limits().quota is None, "nodes start unthrottled"
        applied = bed.apply_limits()
        assert set(applied) == set(bed.record.nodes)
        assert applied["dev-1"].read_back.quota == pytest.approx(0.003)
        assert applied["dev-1"].read_back.period == pytest.approx(0.02)
        assert applied["dev-1"].read_back.memory == 96 << 20
        assert applied["cloud"].read_back.cpus == pytest.approx(0.3)
        if applied["dev-1"].swap_accounted:
            assert applied["dev-1"].read_back.memory_swap == 96 << 20
        before = bed.cpu("dev-1")
        begin = time.monotonic()
        bed.exec("dev-1", ["sh", "-c", "while :; do :; done"], timeout=1.0)
        used = bed.cpu("dev-1").usage_s - before.usage_s
        assert used <= 0.15 * (time.monotonic() - begin) * 1.2 + 0.05
        assert bed.cpu("dev-1").throttled > before.throttled


def test_a_limit_that_is_not_in_force_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with standing() as bed:
        monkeypatch.setattr(Engine, "limit", lambda *_: None)
        with pytest.raises(NotAppliedError, match="dev-1") as raised:
            bed.apply_limits()
        assert "quota=None" in str(raised.value.found)


def test_a_quota_below_what_the_kernel_takes_is_refused() -> None:
    plan = loop_plan()
    tiny = replace(plan.nodes[0], cpus=0.05, period=0.01)
    with standing(replace(plan, nodes=(tiny, *plan.nodes[1:]))) as bed, pytest.raises(EmulationError, match="shorter"):
        bed.apply_limits()


def test_handover_moves_the_port_and_what_leads_to_it() -> None:
    emulator = VethEmulator()
    with standing(emulator=emulator) as bed:
        done = bed.handover("dev-1", "south")
        assert (done.device, done.source, done.to) == ("dev-1", "north", "south")
        ports = bed.fabric.interfaces()
        bridges = bed.record.bridges
        port = ports[bed.record.links["access:dev-1"].b_ifname]
        assert port.master == ports[bridges["ap-south"]].index
        mac = bed.record.nodes["dev-1"].mac
        with netlink.Netlink(bed.record.fabric) as sock:
            ways = {entry.bridge: entry.port for entry in sock.forwards() if entry.mac == mac}
            assert all(entry.static for entry in sock.forwards())
        assert ways == {
            ports[bridges["ap-south"]].index: port.index,
            ports[bridges["ap-north"]].index: ports[bed.record.links["north--south"].a_ifname].index,
            ports[bridges["sw-cloud"]].index: ports[bed.record.links["south--cloud"].b_ifname].index,
        }
        assert emulator.shapes["access:dev-1"] == (SOUTH_UP, SOUTH_DOWN)
        assert emulator.shapes["access:dev-2"] == (NORTH_UP, NORTH_DOWN)
        all_pairs_ping(bed)
        stored = BedRecord.load(bed.ledger.directory)
        assert stored == bed.record
        assert stored.nodes["dev-1"].site == "south"
        assert stored.links["access:dev-1"].b == "ap-south"


def test_handover_is_quick_and_connections_survive_it() -> None:
    stream = Stream()
    with standing() as bed, connection(bed, "dev-1", "cloud") as (out, inward):
        exchange(out, inward, 5)
        handovers = []
        with stream.running(bed, "cloud", "dev-1"):
            for site in ("south", "north", "south", "north", "south"):
                time.sleep(0.2)  # the stream's pace, not a wait: traffic before and after each move
                handovers.append(bed.handover("dev-1", site))
                exchange(out, inward, 5)
            time.sleep(0.2)
        print("command ms", [round(h.command_s * 1e3, 2) for h in handovers])
        print("receive-only: longest gap ms", round(stream.longest_gap() * 1e3, 1), "lost", stream.lost())
        assert statistics.median(h.command_s for h in handovers) <= 0.010
        assert stream.longest_gap() <= 0.3, "a device that sends nothing is found at once"
        assert stream.lost() <= sum(h.command_s for h in handovers) / stream.period + 3 * len(handovers)
        assert len(stream.came) == len({number for number, _ in stream.came}), "nothing goes round and comes twice"
        assert ip_json(netns.of_pid(bed.pid("dev-1")), "route")


def test_handover_on_shaped_links() -> None:
    stream = Stream(period=0.005)
    with standing(emulator=choose("auto", 1)) as bed, connection(bed, "dev-1", "cloud") as (out, inward):
        all_pairs_ping(bed)
        exchange(out, inward)
        handovers = []
        with stream.running(bed, "cloud", "dev-1"):
            for site in ("south", "north", "south", "north", "south"):
                time.sleep(0.2)  # the stream's pace, not a wait: traffic before and after each move
                handovers.append(bed.handover("dev-1", site))
                exchange(out, inward, 3)
            time.sleep(0.2)
        print("command ms", [round(h.command_s * 1e3, 2) for h in handovers])
        print("receive-only: longest gap ms", round(stream.longest_gap() * 1e3, 1), "lost", stream.lost())
        up, down = bed.emulator.read("access:dev-1")
        assert (up.rate, up.delay) == (SOUTH_UP.rate, SOUTH_UP.delay)
        assert (down.rate, down.delay) == (SOUTH_DOWN.rate, SOUTH_DOWN.delay)
        assert statistics.median(h.command_s for h in handovers) <= 0.010
        assert stream.longest_gap() <= 0.3
        assert stream.lost() <= sum(h.command_s for h in handovers) / stream.period + 3 * len(handovers)
        all_pairs_ping(bed)


def test_what_a_device_sends_waits_for_its_port() -> None:
    """The relay keeps it back while the port belongs to no bridge; the kernel's links lose it."""
    stream = Stream(period=0.0005)
    with standing(emulator=choose("auto", 1)) as bed:
        all_pairs_ping(bed)
        handovers = []
        with stream.running(bed, "dev-1", "cloud"):
            for site in ("south", "north") * 5:
                sent = stream.sent
                assert eventually(lambda sent=sent: stream.sent > sent + 50, 5)
                handovers.append(bed.handover("dev-1", site))
            assert eventually(lambda: stream.came and stream.came[-1][0] > stream.sent - 50, 5)
        most = 0.0 if bed.emulator.name == "relay" else sum(h.command_s for h in handovers) / stream.period + 30
        assert stream.lost() <= most


def test_moved_ports_neither_learn_nor_flood() -> None:
    with standing() as bed:
        bed.handover("dev-1", "south")
        bed.handover("dev-2", "south")
        bed.handover("dev-2", "north")
        ports = ip_json(bed.record.fabric, "-d", "link", "show", "type", "bridge_slave")
        ports += [item for item in ip_json(bed.record.fabric, "-d", "link") if "linkinfo" in item]
        seen = 0
        for item in ports:
            data = item.get("linkinfo", {}).get("info_slave_data")  # type: ignore[attr-defined]
            if data:
                seen += 1
                flags = {key: data[key] for key in ("learning", "flood", "mcast_flood", "bcast_flood")}
                assert not any(flags.values()), (item["ifname"], flags)
                assert data["state"] == "forwarding"
        assert seen >= 11


def test_handover_to_nowhere_changes_nothing() -> None:
    with standing() as bed:
        for device, site in (("dev-1", "west"), ("cloud", "south"), ("dev-9", "south")):
            with pytest.raises(InputError):
                bed.handover(device, site)
        here = bed.handover("dev-1", "north")
        assert here.source == here.to
        all_pairs_ping(bed)


def test_a_failed_up_leaves_nothing() -> None:
    name = run_id()
    emulator = VethEmulator(fail_at="south--cloud")
    with Ledger.create(name) as book:
        bed = Bed(loop_plan(), name, book, lambda _: IDLE, emulator)
        with pytest.raises(RuntimeError, match="told to fail"):
            bed.up()
        assert emulator.closed >= 1
        with Engine() as engine:
            assert engine.ours(name) == []
        assert netns.name_of(name) not in netns.names()
        assert not (book.directory / "bed.json").exists()
        bed.down()
        with pytest.raises(EmulationError, match="not up"):
            bed.pid("dev-1")


class LateEmulator(VethEmulator):
    """Comes to the cloud's link only once the cloud has ended."""

    def add(self, link: str, a: LinkEnd, b: LinkEnd, ab: Shape, ba: Shape) -> None:
        if link == "wire:cloud":
            assert eventually(lambda: not os.path.exists(a.netns))
        super().add(link, a, b, ab, ba)


@pytest.mark.parametrize("delay", ["0", "0.3"])
def test_a_node_that_ends_while_it_comes_up_is_named(delay: str) -> None:
    name = run_id()
    with Ledger.create(name) as book:
        broken = Launch(("sh", "-c", f"sleep {delay}; echo no such luck; exit 7"))
        bed = Bed(loop_plan(), name, book, lambda node: broken if node.name == "cloud" else IDLE, LateEmulator())
        with pytest.raises(EmulationError) as raised:
            bed.up()
        assert raised.value.where == "cloud"
        assert "exit code 7" in str(raised.value.found)
        assert "no such luck" in str(raised.value.found)
        with Engine() as engine:
            assert engine.ours(name) == []
        assert netns.name_of(name) not in netns.names()


def test_what_others_have_under_our_names_stays() -> None:
    name = run_id()
    with Engine() as engine, Ledger.create(name) as book:
        theirs = engine.api.create_container(IMAGE, ["true"], name=name_of(name, "edge-north"))["Id"]
        try:
            bed = Bed(loop_plan(), name, book, lambda _: IDLE, VethEmulator())
            with pytest.raises(EmulationError, match="edge-north"):
                bed.up()
            assert engine.api.inspect_container(theirs)["State"]["Status"] == "created"
        finally:
            engine.remove(theirs)
        netns.create(netns.name_of(name))
        try:
            with pytest.raises(EmulationError, match="netns add"):
                Bed(loop_plan(), name, book, lambda _: IDLE, VethEmulator()).up()
            assert netns.name_of(name) in netns.names()
        finally:
            netns.delete(netns.name_of(name))


def test_mounts_are_what_was_asked_and_nothing_is_made_for_them(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir(mode=0o777)
    (tmp_path / "out").chmod(0o777)
    (tmp_path / "in" / "said").write_text("hello\n")
    launch = Launch(
        IDLE.command,
        {"TOLD": "so"},
        [Mount(str(tmp_path / "in"), "/in"), Mount(str(tmp_path / "out"), "/out", read_only=False)],
    )
    name = run_id()
    with Ledger.create(name) as book:
        bed = Bed(loop_plan(), name, book, lambda _: launch, VethEmulator())
        bed.up()
        try:
            assert bed.exec("cloud", ["sh", "-c", "cat /in/said; echo $TOLD; touch /out/x"]).stdout == "hello\nso\n"
            assert bed.exec("cloud", ["touch", "/in/x"]).exit_code != 0
            assert (tmp_path / "out" / "x").stat().st_uid == 1000
        finally:
            bed.down()
    absent = tmp_path / "absent"
    with Ledger.create(name) as book, pytest.raises(EmulationError, match="create the container"):
        Bed(loop_plan(), name, book, lambda _: Launch(mounts=[Mount(str(absent), "/x")]), VethEmulator()).up()
    assert not absent.exists()


def test_an_engine_whose_processes_are_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    name = run_id()
    real = Engine.start

    def elsewhere(engine: Engine, *arguments: object) -> Container:
        made = real(engine, *arguments)  # type: ignore[arg-type]
        return replace(made, pid=os.getpid())

    monkeypatch.setattr(Engine, "start", elsewhere)
    host = set(os.listdir("/sys/class/net"))
    with Ledger.create(name) as book, pytest.raises(EnvironmentProblem, match="not to be seen from here"):
        Bed(loop_plan(), name, book, lambda _: IDLE, VethEmulator()).up()
    assert set(os.listdir("/sys/class/net")) == host


def test_an_image_that_is_not_here_is_not_pulled() -> None:
    name = run_id()
    plan = loop_plan()
    odd = replace(plan.nodes[0], image="roambed.invalid/none:1")
    with Ledger.create(name) as book:
        bed = Bed(replace(plan, nodes=(odd, *plan.nodes[1:])), name, book, lambda _: IDLE, VethEmulator())
        with pytest.raises(EnvironmentProblem, match=r"roambed\.invalid/none:1 is not here"):
            bed.up()
        assert [entry.kind for entry in book.entries()] == ["process"], "nothing was begun"


def test_two_beds_do_not_meet() -> None:
    with standing() as one:
        with standing() as two:
            assert ip_of(one, "cloud") == ip_of(two, "cloud")
            with connection(one, "dev-1", "cloud") as (out, inward):
                before = sent_by_port(one)
                all_pairs_ping(two)
                two.handover("dev-1", "south")
                assert sent_by_port(one) == before, "traffic of one run in the other"
                exchange(out, inward)
        all_pairs_ping(one)


def test_up_and_down_are_quick() -> None:
    plan = loop_plan(devices=4)
    name = run_id()
    with Ledger.create(name) as book:
        bed = Bed(plan, name, book, lambda _: IDLE, VethEmulator())
        begin = time.monotonic()
        bed.up()
        up = time.monotonic()
        bed.down()
        down = time.monotonic()
    print(f"7 nodes: up {up - begin:.2f} s, down {down - up:.2f} s")
    assert down - up <= 3.0
    bed.down()


def test_commands_in_containers() -> None:
    with standing() as bed:
        done = bed.exec("dev-1", ["sh", "-c", "echo out; echo err >&2; exit 3"])
        assert (done.exit_code, done.stdout, done.stderr, done.timed_out) == (3, "out\n", "err\n", False)
        big = bed.exec("dev-1", ["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x"])
        assert len(big.stdout) == 3_000_000
        assert bed.exec("dev-1", ["no-such-command"]).exit_code in (126, 127)
        begin = time.monotonic()
        late = bed.exec("dev-1", ["sh", "-c", "echo begun; exec sleep 1234"], timeout=0.5)
        assert time.monotonic() - begin < 3
        assert (late.timed_out, late.exit_code, late.stdout) == (True, None, "begun\n")
        gone = "! grep -aqs [s]leep.1234 /proc/[0-9]*/cmdline"
        assert eventually(lambda: bed.exec("dev-1", ["sh", "-c", gone]).exit_code == 0), "it was left running"
        with pytest.raises(InputError, match="no node dev-9"):
            bed.exec("dev-9", ["true"])


def test_nodes_that_die_or_run_out_of_memory_are_seen() -> None:
    hungry = f"b = bytearray({200 << 20})\nfor i in range(0, len(b), 4096): b[i] = 1\nprint('survived')"
    told = "until [ -e /tmp/go ]; do sleep 0.05; done; "
    plan = loop_plan()
    nodes = tuple(replace(node, memory=64 << 20) if node.name.startswith("dev") else node for node in plan.nodes)
    launch = {
        "dev-2": Launch(("sh", "-c", f'{told} exec python3 -c "{hungry}"')),
        "edge-north": Launch(("sh", "-c", f"{told} exit 4")),
    }
    name = run_id()
    with Ledger.create(name) as book:
        bed = Bed(replace(plan, nodes=nodes), name, book, lambda node: launch.get(node.name, IDLE), VethEmulator())
        bed.up()
        try:
            assert all(state.running for state in bed.states().values())
            for node in launch:
                bed.exec(node, ["touch", "/tmp/go"])
            child = bed.exec("dev-1", ["python3", "-c", hungry])
            assert "survived" not in child.stdout
            assert child.exit_code == 137
            assert eventually(lambda: not bed.states()["dev-2"].running, 20)
            assert eventually(lambda: not bed.states()["edge-north"].running)
            states = bed.states()
            assert states["dev-1"].running
            assert (states["dev-1"].oom_killed, states["dev-1"].oom_child_kills) == (False, 1)
            assert (states["dev-2"].oom_killed, states["dev-2"].exit_code) == (True, 137)
            assert (states["edge-north"].oom_killed, states["edge-north"].exit_code) == (False, 4)
            assert states["cloud"].oom_child_kills == 0
            assert bed.memory("cloud").working <= MEMORY
        finally:
            bed.down()
