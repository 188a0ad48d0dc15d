from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.emulation.links.shape import UNIFORM, Spread
from testbed.emulation.links.spreads import SCALE, below_zero, longest, normal, pareto, read, spread
from testbed.errors import InputError

PLACES = [Path("/usr/lib", *more) for more in (("x86_64-linux-gnu", "tc"), ("aarch64-linux-gnu", "tc"), ("tc",))]
INSTALLED = [place for place in PLACES if (place / "normal.dist").is_file()]


def test_normal():
    deviates = [v / SCALE for v in normal()]
    assert len(deviates) == 4096
    assert deviates == sorted(deviates)
    assert statistics.mean(deviates) == pytest.approx(0, abs=0.001)
    assert statistics.pstdev(deviates) == pytest.approx(1, abs=0.001)
    assert deviates[4096 * 975 // 1000] == pytest.approx(1.96, abs=0.01)
    assert min(deviates) == -4


def test_pareto():
    deviates = [v / SCALE for v in pareto()]
    assert len(deviates) == 4096
    assert deviates == sorted(deviates)
    assert deviates[0] == pytest.approx(-2 / 3, abs=1e-4)
    assert deviates[2048] == pytest.approx(4 / 3 * (2 ** (1 / 3) - 1.5), abs=1e-4)  # the median
    assert statistics.mean(deviates) == pytest.approx(-0.033, abs=0.001)
    assert statistics.pstdev(deviates) == pytest.approx(0.82, abs=0.001)


@pytest.mark.skipif(not INSTALLED, reason="iproute2 installs no tables here")
@pytest.mark.parametrize(("name", "table"), [("normal", normal), ("pareto", pareto)])
def test_tables_are_those_that_netem_would_use(name, table):
    theirs = read(INSTALLED[0] / f"{name}.dist")
    assert len(theirs) == len(table())
    assert max(abs(a - b) for a, b in zip(table(), theirs, strict=True)) <= 2  # of 8192: they step through theirs


def test_names(tmp_path):
    (tmp_path / "mine.dist").write_text("# ours\n 8192 -8192 # two\n 0\n")
    assert spread("uniform", tmp_path) is UNIFORM
    assert spread("normal", tmp_path).table == normal()
    assert spread("mine.dist", tmp_path) == Spread("mine.dist", (-8192, 0, 8192))
    assert spread(str(tmp_path / "mine.dist"), Path("/")).table == (-8192, 0, 8192)


@pytest.mark.parametrize(
    ("name", "message", "remedy"),
    [
        ("normla", "unknown distribution 'normla'", "did you mean 'normal'?"),
        ("wifi", "unknown distribution 'wifi'", ".dist"),
        ("wifi.dist", "cannot be read (No such file", "relative to the experiment file"),
        (".dist", "not a file", None),
    ],
)
def test_names_that_are_none(tmp_path, name, message, remedy):
    (tmp_path / ".dist").mkdir()
    with pytest.raises(InputError) as caught:
        spread(name, tmp_path, named_at="exp.yaml:3")
    assert message in caught.value.message
    assert caught.value.where == "exp.yaml:3"
    assert (remedy or "") in (caught.value.remedy or "")


BAD = {
    "words": ("1 2\n three", 2, "table of whole numbers"),
    "fractions": ("0.5 1", 1, "table of whole numbers"),
    "too large for the kernel": ("1 32768", 1, "table of whole numbers"),
    "nothing": ("# nothing\n", 1, "holds no values"),
    "one value": ("5 5 5", 1, "one value only"),
    "too long": ("1 2\n" * 8193, 8193, "longer than the kernel takes"),
}


@pytest.mark.parametrize("case", BAD)
def test_files_that_are_none(tmp_path, case):
    text, line, message = BAD[case]
    path = tmp_path / "t.dist"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read(path)
    assert caught.value.where == f"{path}:{line}"
    assert caught.value.remedy


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.from_regex(rb"[ 0-9\n#-]{0,40}", fullmatch=True))
def test_any_file_is_read_or_refused(tmp_path, content):
    path = tmp_path / "t.dist"
    path.write_bytes(content)
    try:
        table = read(path)
    except InputError:
        return
    assert table
    assert table == tuple(sorted(table))


def test_delays_below_zero():
    assert below_zero(UNIFORM, 0.01, 0.01) == 0
    assert below_zero(UNIFORM, 0.0, 0.01) == pytest.approx(0.5)
    assert below_zero(spread("normal", Path()), 0.01, 0.01) == pytest.approx(0.1587, abs=0.001)
    assert below_zero(spread("normal", Path()), 0.0, 0.0) == 0
    assert below_zero(spread("pareto", Path()), 0.01, 0.01) == 0


def test_longest_delay():
    assert longest(UNIFORM, 1.0, 0.5) == 1.5
    assert longest(spread("pareto", Path()), 1.0, 0.5) == pytest.approx(3.0, abs=0.001)
