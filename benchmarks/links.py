"""What links through the relay cost and how exact they are: TCP over one link at several rates, and over ten at once.

    sudo .venv/bin/python benchmarks/links.py [seconds]

Prints goodput against the ideal (rate x 1448 / 1514: payload of a full segment over its frame) and the relay's share
of a core. The relay's time holds the receiver's TCP input, which the kernel does within the relay's writes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from testbed.emulation import netns
from testbed.emulation.links.relay import RelayEmulator
from testbed.emulation.links.shape import LinkEnd, Shape

IDEAL = 1448 / 1514
TARGETS = {"1 x 100": 20.0, "1 x 1000": 30.0, "10 x 20": 60.0}  # % of a core


def inside(place: str, *argv: str) -> list[str]:
    return ["nsenter", f"--net={place}", "--", *argv]


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def listening(place: str) -> bool:
    done = subprocess.run(inside(place, "ss", "-Hltn", "sport = :5201"), capture_output=True, text=True, check=True)
    return bool(done.stdout.strip())


def measure(links: int, mbit: float, seconds: int) -> None:
    shape = Shape(rate=mbit * 1e6, delay=0.002)
    with ExitStack() as stack:
        relay = RelayEmulator()
        stack.callback(relay.close)
        relay.open()
        pairs = []
        for index in range(links):
            ends = []
            for side in (1, 2):
                name = f"rbb{os.getpid()}-{index}-{side}"
                place = netns.create(name)
                stack.callback(netns.delete, name)
                ends.append(LinkEnd(place, "eth0", f"02:00:00:00:{index:02x}:0{side}"))
            relay.add(f"l{index}", *ends, shape, shape)
            for side, end in enumerate(ends, start=1):
                for words in (("address", "add", f"10.9.0.{side}/24", "dev", "eth0"), ("link", "set", "eth0", "up")):
                    subprocess.run(inside(end.netns, "ip", *words), check=True)
            server = subprocess.Popen(inside(ends[1].netns, "iperf3", "-s", "-1"), stdout=subprocess.DEVNULL)
            stack.callback(server.wait)
            stack.callback(server.terminate)
            pairs.append(ends)
        while not all(listening(b.netns) for _, b in pairs):
            time.sleep(0.02)
        clients = [
            subprocess.Popen(
                inside(a.netns, "iperf3", "-c", "10.9.0.2", "-C", "cubic", "-t", str(seconds), "-O", "2", "-J"),
                stdout=subprocess.PIPE,
            )
            for a, _ in pairs
        ]
        time.sleep(2)  # slow start is over
        begin, used = time.monotonic(), cpu_s(relay.pids()[0])
        time.sleep(seconds - 0.5)
        share = (cpu_s(relay.pids()[0]) - used) / (time.monotonic() - begin) * 100
        reports = [json.loads(client.communicate()[0]) for client in clients]
        goodput = [report["end"]["sum_received"]["bits_per_second"] / 1e6 for report in reports]
        ideal = mbit * IDEAL
        errors = [f"{(value / ideal - 1) * 100:+.2f}" for value in (min(goodput), max(goodput))]
        label = f"{links} x {mbit:g}"
        target = f" (target {TARGETS[label]:.0f})" if label in TARGETS else ""
        print(
            f"{label:>9} Mbit/s: goodput error {' .. '.join(errors) if links > 1 else errors[0]} %, "
            f"relay {share:.1f} % of a core{target}, priority {relay.priority}",
            flush=True,
        )


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(f"load before: {os.getloadavg()[0]:.1f}", flush=True)
    for links, mbit in ((1, 20), (1, 100), (1, 1000), (10, 20)):
        measure(links, mbit, seconds)


if __name__ == "__main__":
    main()
