"""Small data: what is learnt, on which bed, and the experiment file of a training on a share of the samples.

Accuracy needs trainings that have come to rest, on five seeds: they run in memory, as `benchmarks.selection` has them.
Time, energy and bytes are measured on containers and links, over a few rounds of the same trainings.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.selection import Choice, Job
from nodes.policies.samples import FORMS

SHARE = 0.3
ALL, CONTROL = "all", "random"
RULES = ("hard", "easy", "mixed", "balanced")
"""Rules that are held against all data and against the control."""
CLASSIFIER, FEATURES = "centroid", "samples"
BLIND = ("balanced", CONTROL)
"""Rules that look at no scores."""
DEVICES = 4
NAME = "dev"
BED = "small"
TRAIN, TEST = 1437, 360
"""Samples that are taken of a standard set of images: as many as there are of what is embedded."""


@dataclass(frozen=True)
class Lesson:
    """What is learnt, until it has come to rest.

    Attributes:
        name, title: What it is called, in short and in words.
        data, model, cut: Data set, network, layers on the device where it is split.
        batch, lr, rounds: Of the training; an epoch is a round. short: Rounds that are measured on containers.
        costed: How many samples that is of; 0: of all.
        rule: The one of `RULES` that its figures are of.
        embedded: Whether it is one of the embedded images and text, which the quick list has.
        scarce: Whether its samples are so few that no share can do: the accuracy of it is told, and no figure's.
        given: Whether its data come from a directory of standard files: without one it is left out.
    """

    name: str
    title: str
    data: str
    model: str
    cut: int
    batch: int
    lr: float
    rounds: int
    short: int = 1
    costed: int = 0
    rule: str = "hard"
    embedded: bool = True
    scarce: bool = False
    given: bool = False

    @property
    def held(self) -> bool:
        """Whether all figures are of it."""
        return self.embedded and not self.scarce

    @property
    def job(self) -> Job:
        """As it is trained in memory."""
        return Job(self.data, self.model, self.cut, self.batch, self.lr, self.rounds, DEVICES)


LESSONS: dict[str, Lesson] = {
    made.name: made
    for made in (
        Lesson("images", "Images: digits, cnn", "digits", "cnn", cut=2, batch=16, lr=0.01, rounds=50),
        Lesson("passages", "Text: passages, transformer", "passages", "transformer", cut=2, batch=8, lr=0.03,
               rounds=6, costed=2800, rule="balanced"),
        Lesson("text", "Text: docstrings, transformer", "docstrings", "transformer", cut=2, batch=8, lr=0.03,
               rounds=20, scarce=True),
        Lesson("motion", "Motion: made up, cnn1d", "motion", "cnn1d", cut=2, batch=16, lr=0.01, rounds=60,
               embedded=False),
        Lesson("cifar", "Images: CIFAR-10, cnn", "cifar10", "cnn", cut=2, batch=16, lr=0.01, rounds=40, embedded=False,
               given=True),
    )
}  # fmt: skip


def choice(rule: str) -> Choice:
    """What a rule keeps, as `benchmarks.selection` has it."""
    if rule == ALL:
        return Choice(ALL, 1.0)
    return Choice(rule, SHARE) if rule in BLIND else Choice(rule, SHARE, CLASSIFIER, FEATURES)


def samples(lesson: Lesson) -> tuple[int, int]:
    """How many are trained on, by all devices together, and tested on."""
    if lesson.given:
        return TRAIN, TEST
    form = FORMS[lesson.data]
    return form.train, form.test


def select(rule: str) -> str:
    """What a file says of the share; empty for all data. The control is a training of its own here."""
    if rule == ALL:
        return ""
    by = "" if rule in BLIND else f", by: {CLASSIFIER}, features: {FEATURES}"
    return f", select: {{rule: {rule}, share: {SHARE:.0%}{by}, control: no}}"


def described(lesson: Lesson, rule: str, directory: str | None) -> str:
    """``data`` of a file, in braces."""
    train, test = samples(lesson)
    train = lesson.costed or train
    where = f', dir: "{directory}"' if lesson.given else ""
    return f"{{set: {lesson.data}{where}, train: {train}, test: {test}{select(rule)}}}"


_PI4 = "power: {idle: 2.7W, busy: 6.4W, send: 1.3W, receive: 310mW}"
"""Of a Raspberry Pi 4 (docs/energy.md)."""


def experiment(lesson: Lesson, scheme: str, rule: str, seed: int, directory: str | None = None) -> str:
    """The experiment file of a training: four devices with an equal share each, an edge server, a cloud.

    Args:
        lesson: What is learnt. scheme: How. rule: Which samples are trained on: ``all``, or those of a rule.
        seed: Of everything random. directory: Of CIFAR-10's standard files, for lessons that need it.
    """
    split = scheme in ("splitfed", "fedfly")
    lines = [
        f"name: serverless-{BED}",
        f"seed: {seed}",
        "sites:",
        "  north: {edge: {profile: server}}",
        "cloud: {profile: centre}",
        "devices:",
        f"  {NAME}: {{profile: thing, count: {DEVICES}, at: north}}",
        "profiles:",
        f"  thing: {{speed: 0.1, cpus: 0.3, memory: 512MiB, {_PI4}}}",
        "  server: {speed: 0.35, cpus: 0.7, memory: 1GiB}",
        "  centre: {speed: 0.2, memory: 1GiB}",
        "links:",
        "  access: {rate: 100Mbit, delay: 1ms}",
        "  north -- cloud: {rate: 100Mbit, delay: 5ms}",
        # What a bring-up measures of speeds is watched in every run all the same.
        "emulation: {speed_check: 0s}",
        "workload:",
        f"  scheme: {scheme}",
        f"  model: {lesson.model}",
        *([f"  cut: {lesson.cut}"] if split else []),
        f"  rounds: {lesson.short}",
        f"  batch: {lesson.batch}",
        f"  optimizer: {{lr: {lesson.lr:g}}}",
        f"  data: {described(lesson, rule, directory)}",
        *(["  pipeline: {micro: 4, probing: off, adapt: static}"] if scheme == "edgemove" else []),
    ]
    return "\n".join(lines) + "\n"
