from __future__ import annotations

import lzma
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nodes.errors import InputError
from nodes.learn import datasets
from nodes.learn.accelerometer import ACTIVITIES
from nodes.policies.samples import FORMS, named

NAME = "WISDM_ar_v1.1_transformed.arff"
HEADER = [
    "@relation activity", "", '@attribute "UNIQUE_ID" numeric', '@attribute "user" { "33" , "17" }',
    *(f'@attribute "F{i}" numeric' for i in range(43)), '@attribute "class" { "Walking" , "Jogging" }', "", "@data",
]  # fmt: skip


def row(number: int) -> list[str]:
    draw = random.Random(number)
    label = ACTIVITIES[number % 6].capitalize()
    return [str(number), "33", *(f"{draw.uniform(-9, 9):.2f}" for _ in range(43)), label]


def arff(base: Path, rows: int = 60, change: Callable[[list[str]], None] | None = None) -> Path:
    lines = [*HEADER, *(",".join(row(n)) for n in range(rows))]
    if change is not None:
        change(lines)
    path = base / NAME
    path.write_text("\n".join(lines) + "\n")
    return path


def test_motion_follows_from_the_seed_and_is_marked_as_made_up() -> None:
    data, again, other = (datasets.load("motion", seed=seed) for seed in (1, 1, 2))
    assert data.digest() == again.digest() != other.digest()
    assert data.train_x.dtype == np.float32
    assert (data.train_x.shape, data.test_x.shape) == ((2400, 3, 128), (600, 3, 128))
    assert np.abs(data.train_x).max() <= 20
    assert np.allclose(data.train_x * 100, np.rint(data.train_x * 100), atol=1e-3)  # as a converter has it
    assert FORMS["motion"].synthetic
    assert named("motion") == "motion (synthetic)"
    assert named("wisdm") == "wisdm"


def test_activities_differ_as_they_should() -> None:
    data = datasets.load("motion", seed=4)
    moving = {name: data.train_x[data.train_y == i].std(axis=2).mean() for i, name in enumerate(ACTIVITIES)}
    assert moving["jogging"] > 1.5 * moving["walking"]
    assert moving["walking"] > 3 * max(moving["sitting"], moving["standing"])
    still = {name: data.train_x[data.train_y == ACTIVITIES.index(name)].mean(axis=(0, 2)) for name in
             ("sitting", "standing")}  # fmt: skip
    assert still["sitting"][2] > 6 > 3 > still["standing"][2]
    # The strongest pace of jogging is above that of walking.
    waves = [np.abs(np.fft.rfft(data.train_x[data.train_y == i, 1] - 9)).mean(axis=0)[1:] for i in (0, 1)]
    assert waves[0].argmax() < waves[1].argmax()


def test_persons_differ() -> None:
    one, other = (datasets.accelerometer._person(1, name, 128)[0] for name in ("train-0", "train-1"))
    assert abs(one[0::6].std() - other[0::6].std()) > 0.05


def test_wisdm_as_published(tmp_path: Path) -> None:
    home = tmp_path / "WISDM_ar_v1.1"
    home.mkdir()
    arff(home)
    data = datasets.load("wisdm", tmp_path)
    assert (data.train_x.shape, data.test_x.shape) == ((47, 43), (13, 43))
    assert (data.classes, data.notes, len(data.mean)) == (6, (), 43)
    found = {(*np.round(x, 2).tolist(), int(y)) for x, y in zip(data.train_x.astype(float), data.train_y, strict=True)}
    expected = {(*map(float, row(n)[2:-1]), n % 6) for n in range(60)}
    assert found < expected  # neither the number nor the user is a feature
    packed = home / f"{NAME}.xz"
    packed.write_bytes(lzma.compress((home / NAME).read_bytes()))
    (home / NAME).unlink()
    assert datasets.load("wisdm", home).digest() == data.digest()


def test_unknown_cells_are_the_mean_of_what_is_trained_with(tmp_path: Path) -> None:
    def unknown(lines: list[str]) -> None:
        for at in range(len(HEADER), len(lines), 3):
            cells = lines[at].split(",")
            cells[5] = "?"
            lines[at] = ",".join(cells)

    arff(tmp_path, change=unknown)
    data = datasets.load("wisdm", tmp_path)
    column = data.train_x[:, 3]
    values, counts = np.unique(column, return_counts=True)
    fill = values[counts.argmax()]
    assert counts.max() > 10
    assert fill == pytest.approx(column[column != fill].mean(), abs=1e-5)
    assert fill in data.test_x[:, 3]


def test_malformed_rows_are_skipped_and_counted(tmp_path: Path) -> None:
    def spoil(lines: list[str]) -> None:
        at = len(HEADER)
        lines[at] += ",1"
        lines[at + 7] = lines[at + 7].replace("33", "33,x", 1).rsplit(",", 2)[0] + ",Jogging"

    path = arff(tmp_path, 100, spoil)
    data = datasets.load("wisdm", tmp_path)
    assert len(data.train_y) + len(data.test_y) == 98
    [note] = data.notes
    assert "2 malformed rows were skipped" in note
    assert f"{path}:{len(HEADER) + 1} (47 cells, not 46)" in note


def drop(index: int) -> Callable[[list[str]], None]:
    return lambda lines: lines.pop(index) and None


def put(index: int, text: str) -> Callable[[list[str]], None]:
    def change(lines: list[str]) -> None:
        lines[index] = text

    return change


def cells(number: int, text: str, index: int) -> Callable[[list[str]], None]:
    def change(lines: list[str]) -> None:
        for at in range(len(HEADER), len(HEADER) + number):
            row = lines[at].split(",")
            row[index] = text
            lines[at] = ",".join(row)

    return change


LAST = len(HEADER)
BROKEN = {
    "no @data": (put(LAST - 1, ""), LAST + 1, "0,33,"),
    "nothing but a header": (lambda lines: lines.__delitem__(slice(LAST - 1, None)), LAST - 2, "its end"),
    "an attribute less": (drop(2), LAST - 1, "45"),
    "no ARFF at all": (put(0, "id,user,x"), 1, "id,user,x"),
    "activities of another set": (cells(20, "Swimming", -1), LAST + 1, "no such activity: Swimming, and 19 more"),
    "words for numbers": (cells(9, "ten", 8), LAST + 1, "could not convert"),
    "infinite": (cells(9, "inf", 8), LAST + 1, "not a number: inf"),
    "cut off": (lambda lines: lines.__delitem__(slice(LAST, None)), None, "none"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_files_that_are_not_wisdms(tmp_path: Path, case: str) -> None:
    change, line, found = BROKEN[case]
    path = arff(tmp_path, change=change)
    with pytest.raises(InputError, match="damaged") as caught:
        datasets.load("wisdm", tmp_path)
    assert caught.value.where == (str(path) if line is None else f"{path}:{line}")
    assert found in str(caught.value.found)
    assert caught.value.remedy


def test_wisdm_missing_or_unreadable(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"workload\.data\.dir"):
        datasets.load("wisdm")
    with pytest.raises(InputError, match="file of WISDM is missing") as caught:
        datasets.load("wisdm", tmp_path)
    assert caught.value.where == str(tmp_path / NAME)
    path = arff(tmp_path)
    path.write_bytes(path.read_bytes()[:900] + b"\xff\xfe\n")
    with pytest.raises(InputError, match="damaged") as caught:
        datasets.load("wisdm", tmp_path)
    assert str(caught.value.where).startswith(f"{path}:")
    assert caught.value.wanted == "UTF-8 text"
    (tmp_path / f"{NAME}.xz").write_bytes(lzma.compress(b"x" * 100)[:40])
    path.unlink()
    with pytest.raises(InputError, match="damaged"):
        datasets.load("wisdm", tmp_path)
