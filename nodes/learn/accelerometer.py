"""Motion sensing: which of six activities is it, from an accelerometer that somebody carries.

`motion` is SYNTHETIC: made up from a seed, with the activities that WISDM has. Nobody moved, and what is learnt from
it says nothing about people; it is there so that an experiment needs no download. Its persons differ in pace, vigour
and in how they carry the phone, and those of the test set are others than those of the training set. What a step looks
like is our own rough idea of it.

`wisdm` is real: 43 features of each 10 s that 36 persons carried a phone (Kwapisz, Weiss and Moore, 2010).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nodes.errors import InputError
from nodes.learn import keyed
from nodes.learn.reading import Labels, Read, Samples, damaged, either, existing, hold_out, rows, text_lines
from nodes.policies.samples import FORMS

Numbers = npt.NDArray[np.float64]

ACTIVITIES = ("walking", "jogging", "upstairs", "downstairs", "sitting", "standing")
"""The classes, in order."""

RATE = 50.0
"""Samples of the made-up accelerometer a second."""
_GRAVITY = 9.81  # m/s2
_STEP = 0.01     # m/s2, what its converter tells apart; it also hides in which bit machines' sines differ
_RANGE = 20.0    # m/s2 either way, as WISDM's
_EACH = 100      # windows of a person


@dataclass(frozen=True)
class _Activity:
    """How it looks: steps a second, their amplitude (m/s2) by axis, how strong twice that pace is, which way is up."""

    pace: float
    amplitude: tuple[float, float, float]
    double: float
    up: tuple[float, float, float]


_UPRIGHT = (0.10, 0.98, 0.15)
_LOOKS = (
    _Activity(1.9, (2.0, 3.5, 2.0), 0.5, _UPRIGHT),
    _Activity(2.7, (4.0, 8.0, 4.0), 0.4, _UPRIGHT),
    _Activity(1.6, (1.8, 3.0, 2.2), 0.3, _UPRIGHT),
    _Activity(2.1, (2.5, 4.0, 2.8), 0.9, _UPRIGHT),
    _Activity(0.3, (0.1, 0.1, 0.1), 0.0, (0.35, 0.20, 0.92)),
    _Activity(0.3, (0.2, 0.2, 0.2), 0.0, (0.05, 0.99, 0.10)),
)


def motion(directory: Path | None, seed: int) -> Read:
    """Synthetic windows, float32 of 3 axes x 128 at 50 Hz in m/s2, of 24 persons to train with and 6 others."""
    form = FORMS["motion"]
    return Read(*_group(seed, "train", form.train, form.shape[1]), *_group(seed, "test", form.test, form.shape[1]))


def _group(seed: int, name: str, windows: int, length: int) -> tuple[Samples, Labels]:
    """Windows of a group of persons, mixed, so that the first so many are of all of them."""
    made = [_person(seed, f"{name}-{i}", length) for i in range(windows // _EACH)]
    x, y = np.concatenate([x for x, _ in made]), np.concatenate([y for _, y in made])
    order = keyed.permutation(len(y), seed, name, "motion/order")
    return x[order], y[order]


def _person(seed: int, name: str, length: int) -> tuple[Samples, Labels]:
    """Windows of one person, and what was done in them."""
    draw = keyed.numpy_generator(seed, name, "motion")
    pace, vigour, noise = np.exp(draw.normal(0, (0.08, 0.25, 0.3))) * (1, 1, 0.4)
    carried = _turn(*draw.normal(0, 0.15, 3))
    y = np.arange(_EACH) % len(ACTIVITIES)
    looks = [_LOOKS[label] for label in y]

    def column(values: list[float]) -> Numbers:
        return np.array(values)[:, None, None]

    steps = column([look.pace for look in looks]) * pace * np.exp(draw.normal(0, 0.05, (_EACH, 1, 1)))
    strength = np.array([look.amplitude for look in looks])[:, :, None]
    strength = strength * vigour * np.exp(draw.normal(0, 0.15, (_EACH, 3, 1)))
    phase = 2 * np.pi * draw.random((2, _EACH, 3, 1))
    angle = 2 * np.pi * steps * (np.arange(length) / RATE)
    wave = np.sin(angle + phase[0]) + column([look.double for look in looks]) * np.sin(2 * angle + phase[1])
    up = np.array([look.up for look in looks])[:, :, None] * _GRAVITY
    x = carried @ (up + strength * wave) + noise * draw.normal(size=(_EACH, 3, length))
    return (np.rint(np.clip(x, -_RANGE, _RANGE) / _STEP) * _STEP).astype(np.float32), y.astype(np.int64)


def _turn(a: float, b: float, c: float) -> Numbers:
    """Rotation about the three axes, by angles in radians."""
    about_x = [[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]]
    about_y = [[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]]
    about_z = [[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]]
    turned: Numbers = np.array(about_x) @ np.array(about_y) @ np.array(about_z)
    return turned


_ARFF = "WISDM_ar_v1.1_transformed.arff"
_COLUMNS = 46  # number and user, features, class


def wisdm(directory: Path | None, seed: int) -> Read:
    """WISDM's transformed set, float32 of 43 features; an unknown cell (``?``) is the mean of the training part."""
    base = existing("wisdm", directory, "WISDM_ar_v1.1")
    path = either(base, _ARFF, ".xz")
    if path is None:
        raise InputError(
            "the file of WISDM is missing", where=str(base / _ARFF),
            remedy="unpack WISDM_ar_latest.tar.gz (the activity prediction set) there",
        )  # fmt: skip
    read, notes = rows(path, _data(path), _row)
    x, y = np.array([features for features, _ in read]), np.array([label for _, label in read], dtype=np.int64)
    train, test = hold_out(len(y), "wisdm")
    known = ~np.isnan(x[train])
    means = [math.fsum(x[train, i][known[:, i]]) / max(1, known[:, i].sum()) for i in range(x.shape[1])]
    filled = np.where(np.isnan(x), means, x).astype(np.float32)
    return Read(filled[train], y[train], filled[test], y[test], notes)


def _data(path: Path) -> Iterator[tuple[int, str]]:
    """Rows behind the header, whose attributes are counted."""
    lines, attributes, last = text_lines(path), 0, 1
    for last, line in lines:
        word = line.split()[0].lower()
        attributes += word == "@attribute"
        if word == "@data":
            break
        if not word.startswith(("@", "%")):
            raise damaged(path, "the header of an ARFF file, up to @data", line[:40], line=last)
    else:
        raise damaged(path, "an ARFF file with @data", "its end", line=last)
    if attributes != _COLUMNS:
        raise damaged(path, f"{_COLUMNS} attributes before @data", str(attributes), line=last)
    yield from ((number, line) for number, line in lines if not line.startswith("%"))


def _row(line: str) -> tuple[list[float], int]:
    """Features and class (ValueError: it is no row)."""
    cells = [cell.strip().strip("\"'") for cell in line.split(",")]
    if len(cells) != _COLUMNS:
        raise ValueError(f"{len(cells)} cells, not {_COLUMNS}")
    if cells[-1].lower() not in ACTIVITIES:
        raise ValueError(f"no such activity: {cells[-1]}")
    features = []
    for cell in cells[2:-1]:
        number = math.nan if cell == "?" else float(cell)
        if cell != "?" and not math.isfinite(number):
            raise ValueError(f"not a number: {cell}")
        features.append(number)
    return features, ACTIVITIES.index(cells[-1].lower())
