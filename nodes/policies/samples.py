"""What the samples of each data set are like, and which models take them: all that is known before a file is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

from nodes.policies.designs import DESIGNS, FEATURES, IMAGE, TAKES, TOKENS, USUAL, WINDOW, Shape

BYTES = {IMAGE: 1, WINDOW: 4, FEATURES: 4, TOKENS: 2}
"""Bytes that a number of a sample takes as it is kept, by kind."""
IN_WORDS = {IMAGE: "images", WINDOW: "windows of a sensor", FEATURES: "features", TOKENS: "texts"}
"""What samples of a kind are called."""


@dataclass(frozen=True)
class Form:
    """What samples are like.

    Attributes:
        kind: ``image`` (channels x height x width, bytes), ``window`` (channels x time), ``features`` (a vector) or
            ``tokens`` (numbers of words).
        shape: Shape of one sample.
        classes: Number of classes.
        train: Training samples of the standard files.
        test: Test samples of them.
        built_in: Whether it needs no files.
        synthetic: Whether it is made up, and shows nothing about the world.
    """

    kind: str
    shape: Shape
    classes: int
    train: int
    test: int
    built_in: bool = False
    synthetic: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of a sample as it is kept."""
        return prod(self.shape) * BYTES[self.kind]

    @property
    def numbers(self) -> int:
        """Numbers of 4 bytes that a sample is when it goes into a model: tokens are of 8 there."""
        return prod(self.shape) * (2 if self.kind == TOKENS else 1)


FORMS: Mapping[str, Form] = {
    "digits": Form(IMAGE, USUAL[IMAGE], 10, 1437, 360, built_in=True),
    "cifar10": Form(IMAGE, USUAL[IMAGE], 10, 50_000, 10_000),
    "fashion-mnist": Form(IMAGE, USUAL[IMAGE], 10, 60_000, 10_000),
    "motion": Form(WINDOW, USUAL[WINDOW], 6, 2400, 600, built_in=True, synthetic=True),
    "wisdm": Form(FEATURES, USUAL[FEATURES], 6, 4334, 1084),
    "docstrings": Form(TOKENS, USUAL[TOKENS], 12, 1800, 450, built_in=True),
    "passages": Form(TOKENS, USUAL[TOKENS], 4, 11_200, 1600, built_in=True),
    "sms": Form(TOKENS, USUAL[TOKENS], 2, 4459, 1115),
}
"""Data set to the form of its samples."""


def fits(model: str, kind: str) -> bool:
    """Whether a model takes samples of this kind."""
    return kind in TAKES[model]


def takers(kind: str) -> list[str]:
    """Models that take samples of this kind, those that are for it first."""
    return sorted((model for model in DESIGNS if fits(model, kind)), key=lambda model: TAKES[model].index(kind))


def sets_for(model: str) -> Iterator[str]:
    """Data sets whose samples a model takes, those that need no files first."""
    yield from sorted((n for n, form in FORMS.items() if fits(model, form.kind)), key=lambda n: not FORMS[n].built_in)


def usual(model: str) -> Form:
    """Samples that a model is usually for, in ten classes; none of them is there."""
    kind = TAKES[model][0]
    return Form(kind, USUAL[kind], 10, 0, 0)


def taken(data: str, model: str) -> Form:
    """The form of a data set; if the model does not take it, the one that is usual for the model."""
    found = FORMS[data]
    return found if fits(model, found.kind) else usual(model)


def named(data: str) -> str:
    """A data set's name as it is shown: what is made up says so."""
    known = FORMS.get(data)
    return f"{data} (synthetic)" if known is not None and known.synthetic else data
