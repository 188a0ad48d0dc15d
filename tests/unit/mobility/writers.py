"""The same motion in every format: nodes ``0``, ``1``, … with a place at each whole second."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from testbed.mobility.project import Plane

Motion = Mapping[str, list[tuple[float, float]]]
PLANE = Plane(44.49, 11.34)


def own(motion: Motion) -> str:
    return "t,node,x,y\n" + "".join(f"{t},{n},{x!r},{y!r}\n" for t, n, x, y in _by_time(motion))


def own_degrees(motion: Motion) -> str:
    rows = ((t, n, *PLANE.to_degrees(x, y)) for t, n, x, y in _by_time(motion))
    return "t,node,lat,lon\n" + "".join(f"{t},{n},{lat:.10f},{lon:.10f}\n" for t, n, lat, lon in rows)


def fcd_xml(motion: Motion) -> str:
    steps: dict[int, list[str]] = {}
    for t, n, x, y in _by_time(motion):
        steps.setdefault(t, []).append(f'<vehicle id="{n}" x="{x!r}" y="{y!r}" type="car" speed="0.00" lane="a_0"/>')
    body = "\n".join(f'<timestep time="{t}.00">{"".join(rows)}</timestep>' for t, rows in steps.items())
    return f'<?xml version="1.0"?>\n<!-- <gpx> -->\n<fcd-export>\n{body}\n</fcd-export>\n'


def fcd_csv(motion: Motion) -> str:
    head = "timestep_time;vehicle_angle;vehicle_id;vehicle_x;vehicle_y\n"
    return head + "".join(f"{t}.00;90;{n};{x!r};{y!r}\n" for t, n, x, y in _by_time(motion))


def fcd_table(motion: Motion) -> str:
    head = "t_s,id,kind,x_m,y_m,speed_mps\n"
    return head + "".join(f"{t},{n},car,{x!r},{y!r},1.5\n" for t, n, x, y in _by_time(motion))


def setdest(motion: Motion) -> str:
    lines = []
    for n, places in motion.items():
        lines += [f"$node_({n}) set {axis}_ {value!r}" for axis, value in zip("XYZ", (*places[0], 0.0), strict=True)]
        for t, (here, there) in enumerate(itertools.pairwise(places)):
            speed = math.dist(here, there)
            lines.append(f'$ns_ at {t}.0 "$node_({n}) setdest {there[0]!r} {there[1]!r} {speed!r}"')
    return "\n".join(["#", "$god_ set-dist 0 1 1", *lines, ""])


def bonnmotion(motion: Motion) -> str:
    return "# 2D\n" + _ways(motion, "")


def bonnmotion_3d(motion: Motion) -> str:
    return "# 3D\n" + _ways(motion, " 1.5")


def gpx(motion: Motion) -> str:
    tracks = []
    for n, places in motion.items():
        points = []
        for t, (x, y) in enumerate(places):
            lat, lon = PLANE.to_degrees(x, y)
            time = (datetime(2026, 5, 1, 12, tzinfo=UTC) + timedelta(seconds=t)).isoformat()
            points.append(f'<trkpt lat="{lat:.10f}" lon="{lon:.10f}"><ele>3</ele><time>{time}</time></trkpt>')
        tracks.append(f"<trk><name>{n}</name><trkseg>\n" + "\n".join(points) + "\n</trkseg></trk>\n")
    head = '<?xml version="1.0"?>\n<gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1">\n'
    return head + "".join(tracks) + "</gpx>\n"


def drive_log(motion: Motion) -> str:
    """Of the first node only: the format knows one."""
    head = "Timestamp,Longitude,Latitude,Speed,CellID,DL_bitrate,State,PINGAVG\n"
    lines = []
    for t, (x, y) in enumerate(next(iter(motion.values()))):
        lat, lon = PLANE.to_degrees(x, y)
        time = datetime(2019, 12, 16, 14, 23, 32) + timedelta(seconds=t)
        lines.append(f"{time:%Y.%m.%d_%H.%M.%S},{lon:.10f},{lat:.10f},36,11,5000,D,-\n")
    return head + "".join(lines)


WRITERS: Mapping[str, Callable[[Motion], str]] = {
    w.__name__: w
    for w in (own, own_degrees, fcd_xml, fcd_csv, fcd_table, setdest, bonnmotion, bonnmotion_3d, gpx, drive_log)
}
READER = {"own": "own_csv", "own_degrees": "own_csv", "fcd_table": "fcd_csv", "bonnmotion_3d": "bonnmotion"}
"""Which module of readers knows it, where that is not the writer's name."""


def _by_time(motion: Motion) -> list[tuple[int, str, float, float]]:
    return sorted((t, n, x, y) for n, places in motion.items() for t, (x, y) in enumerate(places))


def _ways(motion: Motion, height: str) -> str:
    return "".join(
        " ".join(f"{t} {x!r} {y!r}{height}" for t, (x, y) in enumerate(places)) + "\n" for places in motion.values()
    )
