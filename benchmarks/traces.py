"""How fast movement traces are read, and in how much memory: ten million rows of CSV, a million of XML.

Each is read by a process of its own. The limits are 200,000 rows a second for CSV and 300 MiB.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

NODES = 100
READ = """
import resource, sys, time
from pathlib import Path
from testbed.mobility.select import read
from testbed.mobility.selection import Selection
begin = time.perf_counter()
rows = sum(1 for _ in read(Path(sys.argv[1]), [f"dev-{i}" for i in range(100)], Selection(map="order")))
seconds = time.perf_counter() - begin
print(rows, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        for name, steps, lines in (("CSV", 100_000, csv_lines), ("XML", 10_000, xml_lines)):
            path = Path(directory) / name
            with path.open("w", encoding="utf-8") as file:
                file.writelines(lines(steps))
            out = subprocess.run(
                [sys.executable, "-c", READ, os.fspath(path)], check=True, capture_output=True, text=True
            ).stdout.split()
            rows, seconds, mib = int(out[0]), float(out[1]), float(out[2])
            print(f"{name}: {rows:,} rows, {rows / seconds:,.0f} rows/s, at most {mib:.0f} MiB")
            path.unlink()


def csv_lines(steps: int) -> Iterator[str]:
    yield "t,node,x,y,speed,kind\n"
    for t in range(steps):
        yield "".join(f"{t},veh{i},{x},{y},12.50,car\n" for i, x, y in places(t))


def xml_lines(steps: int) -> Iterator[str]:
    yield "<fcd-export>\n"
    for t in range(steps):
        vehicles = "".join(
            f'<vehicle id="veh{i}" x="{x}" y="{y}" angle="90.00" type="car" speed="12.50" pos="5.10" lane="a_0"/>\n'
            for i, x, y in places(t)
        )
        yield f'<timestep time="{t}.00">\n{vehicles}</timestep>\n'
    yield "</fcd-export>\n"


def places(t: int) -> Iterator[tuple[int, str, str]]:
    return ((i, f"{(t * 7.31 + i) % 3000:.2f}", f"{(t * 3.17 + i) % 2000:.2f}") for i in range(NODES))


if __name__ == "__main__":
    main()
