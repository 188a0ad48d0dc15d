"""What the user writes about small data: which share of its samples each device trains on, and by what rule."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, WithJsonSchema

from nodes.policies.selection import RULES
from testbed.experiment.problems import did_you_mean
from testbed.experiment.section import Section
from testbed.experiment.units import Fraction, UnitError


def _some(share: float) -> float:
    if share <= 0:
        raise UnitError("a share of the data that is none", wanted="above 0%, at most 100%", found=f"{share:g}",
                        remedy="30% keeps three samples of ten; leave 'select' out to train on all")  # fmt: skip
    return share


def _known(rule: str) -> str:
    if rule not in RULES:
        raise UnitError(f"unknown rule {rule!r}", wanted=", ".join(RULES), found=rule,
                        remedy=did_you_mean(rule, RULES))  # fmt: skip
    return rule


Rule = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(RULES)})]
Share = Annotated[Fraction, AfterValidator(_some)]


class Select(Section):
    """Each device trains on a share of its samples, which it selects itself before the first round."""

    rule: Rule
    """Which samples are kept: ``hard``, ``easy`` or ``mixed`` (evenly from hard to easy) of each class, by a cheap
    classifier; ``balanced``, as many of every class; ``random``. See [small data](selection.md)."""
    share: Share
    """How many of its samples a device keeps, above 0% and at most 100%. It must leave a batch; where samples are dealt
    out unevenly, a device with fewer keeps a batch all the same."""
    by: Literal["centroid", "logistic"] = "centroid"
    """What tells how hard a sample is: ``centroid``, the distances to the nearest class centroids, or ``logistic``, a
    logistic regression. Neither knows the sample that it is asked about. No matter to ``balanced`` and ``random``."""
    features: Literal["samples", "half"] = "samples"
    """What it tells that by: the ``samples``, pooled, or what the device's layers before the `cut` make of them with
    the weights that training begins with (``half``)."""
    control: Literal["random", "no"] = "random"
    """What a rule is held against: after each scheme, the same on a ``random`` subset of the same size, as a further
    result of the same run (``fedfly-random`` beside ``fedfly``). With ``no`` there is none, and the report says so."""
