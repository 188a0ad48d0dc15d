"""A bed seen by another process: Mininet's CLI and object, and the verbs that look into what stands."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import permutations

import pytest

from testbed.emulation.attach import attach
from testbed.emulation.ledger import Ledger
from testbed.errors import InputError
from tests.support import run_id
from tests.system.beds import ip_of, standing

pytestmark = [pytest.mark.root, pytest.mark.docker]

# One verb by itself, as `testbed VERB` wires it.
VERB = """
import sys, typer
from importlib import import_module
from testbed.errors import RoambedError
module = import_module("testbed.cli." + sys.argv[1])
app = typer.Typer()
app.command(**getattr(module, "SETTINGS", {}))(module.command)
try:
    app(sys.argv[2:])
except RoambedError as error:
    sys.stderr.write(str(error))
    sys.exit(error.exit_code)
"""


def verb(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", VERB, *arguments],
        input=stdin, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_mininet_cli_in_another_process() -> None:
    with standing() as bed:
        commands = (
            "nodes\nnet\ndump\npingall\ndev-1 ping -c1 cloud\nap-north bridge link show\npy net['dev-1'].IP()\nexit\n"
        )
        done = verb("shell", stdin=commands)
        assert done.returncode == 0, done.stderr
        out = done.stdout
        assert "ap-north ap-south cloud dev-1 dev-2 edge-north edge-south sw-cloud" in out
        assert "dev-1 eth0:p0b" in out
        assert "ap-south" in out
        assert "Results: 0% dropped (20/20 received)" in out
        assert f"PING {ip_of(bed, 'cloud')}" in out
        assert "1 received" in out
        assert "master br0" in out
        assert f"<ContainerNode dev-1: eth0:{ip_of(bed, 'dev-1')} pid={bed.pid('dev-1')}>" in out
        assert "Error" not in out + done.stderr
        assert all(state.running for state in bed.states().values()), "leaving the shell changes nothing"
        assert bed.exec("dev-1", ["true"]).exit_code == 0


def test_mininet_object_in_this_process(capfd: pytest.CaptureFixture[str]) -> None:
    with standing() as bed:
        net = bed.net
        assert net is bed.net
        assert sorted(host.name for host in net.hosts) == sorted(bed.record.nodes)
        assert [switch.name for switch in net.switches] == list(bed.plan.bridges)
        assert net["dev-1"].IP() == ip_of(bed, "dev-1")
        assert net["dev-1"].MAC() == bed.record.nodes["dev-1"].mac
        assert net["dev-1"].pid == bed.pid("dev-1")
        for a, b in permutations(("dev-1", "edge-south", "cloud"), 2):
            assert net.ping([net[a], net[b]], timeout="1") == 0
        assert net["dev-1"].cmd("cat /proc/self/cgroup") == net["cloud"].cmd("cat /proc/self/cgroup"), "host's tools"
        with net["dev-1"].popen(["ip", "-br", "addr", "show", "eth0"]) as child:
            assert ip_of(bed, "dev-1") in child.communicate()[0].decode()
        assert net["dev-1"].connectionsTo(net["ap-north"])
        bed.handover("dev-1", "south")
        assert not net["dev-1"].connectionsTo(net["ap-north"])
        assert net["dev-1"].connectionsTo(net["ap-south"])
        assert net["dev-1"].IP() == ip_of(bed, "dev-1")
        assert net.ping([net["dev-1"], net["cloud"]], timeout="1") == 0
        net.stop()
        assert net.ping([net["dev-1"], net["cloud"]], timeout="1") == 0, "stop ends shells, not the bed"
    assert capfd.readouterr().out == "", "Mininet's talk stays off stdout"


def test_mininet_leaves_the_host_as_it_is() -> None:
    names = ("net/core/rmem_max", "net/core/wmem_max", "fs/file-max", "net/ipv4/tcp_rmem", "kernel/pty/max")

    def settings() -> list[str]:
        found = []
        for name in names:
            with open(f"/proc/sys/{name}") as file:
                found.append(file.read())
        return found

    before = settings()
    with standing() as bed:
        bed.net["dev-1"].cmd("true")
    assert settings() == before


def test_exec_passes_streams_and_exit_code() -> None:
    with standing() as bed:
        done = verb("exec", "dev-1", "--", "sh", "-c", "cat; echo err >&2; exit 5", stdin="through\n")
        assert (done.returncode, done.stdout, done.stderr) == (5, "through\n", "err\n")
        assert verb("exec", "--run", bed.run_id, "cloud", "hostname").stdout == "cloud\n"
        assert verb("exec", "cloud", "--", "sh", "-c", "exit 0", "--run", "x").returncode == 0
        missing = verb("exec", "dev-9", "--", "true")
        assert missing.returncode == 2
        assert "nodes: cloud, dev-1, dev-2, edge-north, edge-south" in missing.stderr
        with standing() as other:
            unclear = verb("exec", "dev-1", "hostname")
            assert unclear.returncode == 2
            assert bed.run_id in unclear.stderr
            assert other.run_id in unclear.stderr
            assert verb("exec", "-r", other.run_id, "dev-1", "hostname").stdout == "dev-1\n"


def test_ls_lists_what_stands_and_what_is_dead() -> None:
    dead = Ledger.create(run_id("dead"))
    dead.release()
    with standing() as bed:
        rows = {row["run"]: row for row in json.loads(verb("ls", "--format", "json").stdout)}
        assert rows[bed.run_id]["state"] == "stands"
        assert rows[bed.run_id]["nodes"] == 5
        assert rows[bed.run_id]["name"] == "loop"
        assert rows[bed.run_id]["age_s"] < 60
        assert rows[dead.run_id]["state"] == "dead"
        table = verb("ls")
        assert bed.run_id in table.stdout
        assert "testbed clean" in table.stderr
    cleaned = json.loads(verb("clean", "--format", "json").stdout)
    assert [run["run_id"] for run in cleaned["removed"]] == [dead.run_id]
    assert json.loads(verb("ls", "--format", "json").stdout) == []
    unknown = verb("clean", "nobody")
    assert unknown.returncode == 2
    assert "no run nobody here" in unknown.stderr


def test_inspect_shows_what_is_in_force() -> None:
    with standing() as bed:
        bed.apply_limits()
        bed.handover("dev-1", "south")
        seen = json.loads(verb("inspect", "--format", "json").stdout)
        nodes = {row["node"]: row for row in seen["nodes"]}
        assert set(nodes) == set(bed.record.nodes)
        first = nodes["dev-1"]
        assert (first["ip"], first["site"], first["running"]) == (ip_of(bed, "dev-1"), "south", True)
        assert first["asked"]["cpus"] == pytest.approx(first["read_back"]["cpus"]) == pytest.approx(0.3)
        assert first["asked"]["memory"] == first["read_back"]["memory"]
        links = {row["link"]: row for row in seen["links"]}
        assert links["access:dev-1"]["b"] == "ap-south"
        assert links["access:dev-1"]["there"]["rate"] == 10e6
        one = json.loads(verb("inspect", "cloud", "--format", "json").stdout)
        assert [row["node"] for row in one["nodes"]] == ["cloud"]
        assert [row["link"] for row in one["links"]] == ["wire:cloud"]
        table = verb("inspect")
        assert table.returncode == 0, table.stderr
        assert "dev-1" in table.stdout
        with attach() as other:
            assert other.limits("dev-1").cpus == pytest.approx(0.3)
            assert other.exec("dev-1", ["hostname"]).stdout == "dev-1\n"
            assert other.cpu("dev-1").usage_s > 0


def test_runs_that_cannot_be_attached_to() -> None:
    with pytest.raises(InputError, match="no run stands"):
        attach()
    with pytest.raises(InputError, match="no run nothing stands"):
        attach("nothing")
    with Ledger.create(run_id("early")) as book:
        with pytest.raises(InputError, match="has no bed"):
            attach(book.run_id)
        book.release()
        with pytest.raises(InputError, match="is dead"):
            attach(book.run_id)
