"""What a link's settings may say in good form and still not mean, alone and with each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from testbed.emulation.links.shape import Schedule, Shape
from testbed.emulation.links.spreads import below_zero, longest
from testbed.errors import InputError
from testbed.experiment import resolve
from testbed.experiment.document import Document, Steps
from testbed.experiment.limits import LARGEST_QUEUE, LEAST_QUEUE, LONGEST_DELAY
from testbed.experiment.model import Spec
from testbed.experiment.units import format_duration, format_fraction, format_size
from testbed.experiment.ways import WAYS, Layer, Setting, Way, one_way, settings

CUT_OFF = 0.01
"""Share of delays that a table may bring below 0, where they are cut off."""


@dataclass(frozen=True)
class _Fault:
    """What is wrong with one direction of a link; both directions often have the same."""

    path: Steps
    message: str
    wanted: str | None = None
    found: str | None = None
    remedy: str | None = None


def check(spec: Spec, document: Document) -> list[InputError]:
    """All problems of links' settings."""
    problems: list[InputError] = []
    for layers in resolve.link_sections(spec):
        if not layers[-1].settings.model_fields_set:
            continue  # nothing new is said here
        faults: dict[str, list[_Fault]] = {}
        traces = []
        for way in WAYS:
            found = settings(layers, way)
            try:
                one = one_way(document, found, way)
            except InputError as error:
                problems.append(error)
                continue
            faults[way] = list(_faults(layers, found, one, spec.dilation or 1.0))
            traces.append(one.trace)
        section = layers[-1].section
        if "loop" in layers[-1].settings.model_fields_set and traces == [None] * len(WAYS):
            problems.append(document.problem(
                (*section, "loop"), f"{section[0]}.{section[1]}: there is no trace to loop", wanted="a trace beside it",
                remedy="add a trace, or take loop out",
            ))  # fmt: skip
        problems += _placed(document, section, faults)
    return problems


def _placed(document: Document, section: Steps, faults: dict[str, list[_Fault]]) -> Iterator[InputError]:
    """The faults as errors, with the direction's name unless both have the same (`raise_all` tells those once)."""
    for way, found in faults.items():
        others = [fault for other, all_ in faults.items() if other != way for fault in all_]
        for fault in found:
            label = "" if fault in others else f" going {way}"
            yield document.problem(
                (*fault.path, way),
                f"{section[0]}.{section[1]}: {fault.message}{label}",
                wanted=fault.wanted, found=fault.found, remedy=fault.remedy,
            )  # fmt: skip


def _faults(layers: Sequence[Layer], found: dict[str, Setting], way: Way, dilation: float) -> Iterator[_Fault]:
    section, own = layers[-1].section, layers[-1].settings.model_fields_set
    shape, trace = way.shape, way.trace
    yield from _delay(section, shape, dilation)
    yield from _losses(section, shape)
    yield from _queue(section, found, shape)
    if shape.reorder and not shape.delay and not (trace and any(step.delay for step in trace.steps)):
        yield _Fault(
            (*section, "reorder"), "nothing can be reordered without a delay: packets skip it",
            wanted="a delay", found=f"reorder {format_fraction(shape.reorder)}, delay 0",
            remedy="add delay: 10ms, or take reorder out",
        )  # fmt: skip
    if "distribution" in own and shape.spread.table and not shape.jitter:
        yield _Fault(
            (*section, "distribution"), "a distribution without a jitter: nothing would vary",
            wanted="a jitter", found=f"distribution {found['distribution'].value}, jitter 0", remedy="add jitter: 2ms",
        )  # fmt: skip
    if trace is not None:
        yield from _trace(section, shape, trace, dilation)


def _delay(section: Steps, shape: Shape, dilation: float) -> Iterator[_Fault]:
    if not shape.spread.table and shape.jitter > shape.delay:
        yield _Fault(
            (*section, "jitter"),
            "jitter larger than the delay it spreads around",
            wanted=f"at most {format_duration(shape.delay)}",
            found=format_duration(shape.jitter),
            remedy=f"raise delay to {format_duration(shape.jitter)} or lower jitter",
        )
    elif (share := below_zero(shape.spread, shape.delay, shape.jitter)) > CUT_OFF:
        yield _Fault(
            (*section, "jitter"),
            f"jitter too large for the delay it spreads around: {format_fraction(share)} of delays would be below 0",
            wanted=f"at most {format_fraction(CUT_OFF)} of them",
            found=f"{format_duration(shape.jitter)} ({shape.spread.name}) around {format_duration(shape.delay)}",
            remedy="raise delay or lower jitter",
        )
    most = longest(shape.spread, shape.delay, shape.jitter)
    if most * dilation > LONGEST_DELAY:
        with_jitter = f" ({format_duration(shape.delay)} and jitter)" if shape.jitter else ""
        yield _Fault(
            (*section, "delay" if shape.delay >= shape.jitter else "jitter"),
            f"a delay above what the clock can hold{_times(dilation)}",
            wanted=f"at most {format_duration(LONGEST_DELAY / dilation)}, jitter included",
            found=f"{format_duration(most)}{with_jitter}",
            remedy="mind the unit: 100ms is a long way already",
        )


def _losses(section: Steps, shape: Shape) -> Iterator[_Fault]:
    if shape.loss_share >= 1:
        yield _Fault(
            (*section, "loss"),
            f"a loss of {'1' if shape.bursts is None else 'this kind'} is every packet",
            wanted="below 100%",
            remedy="write 1% if you mean one in a hundred",
        )
    if shape.bursts is not None and not shape.loss_share:
        yield _Fault(
            (*section, "loss"), "nothing is lost: bad and good are both 0%", wanted="bad above 0%",
            remedy="leave bad out for 100%, or write loss: 0",
        )  # fmt: skip
    for key, word in (("corrupt", "damaged"), ("reorder", "sent ahead")):
        if getattr(shape, key) >= 1:
            yield _Fault(
                (*section, key), f"every packet would be {word}", wanted="below 100%",
                remedy="write 1% if you mean one in a hundred",
            )  # fmt: skip


def _queue(section: Steps, found: dict[str, Setting], shape: Shape) -> Iterator[_Fault]:
    limit = found["queue"]
    if shape.queue is None or shape.rate is None or not limit.section:
        return
    written = limit.value.seconds
    held = f"{format_size(shape.queue)}" + (f", {format_duration(written)} at its rate" if written is not None else "")
    least, most = (format_duration(size * 8 / shape.rate) for size in (LEAST_QUEUE, LARGEST_QUEUE))
    if shape.queue < LEAST_QUEUE:
        yield _Fault(
            (*section, "queue"), "the queue cannot hold two packets", wanted=f"at least {LEAST_QUEUE}B, {least} at "
            "its rate", found=held, remedy="write 2p or more, or leave it out",
        )  # fmt: skip
    elif shape.queue > LARGEST_QUEUE:
        yield _Fault(
            (*section, "queue"), "the queue is larger than a link can have",
            wanted=f"at most {format_size(LARGEST_QUEUE)}, {most} at its rate", found=held,
            remedy="write 100ms, or leave it out",
        )  # fmt: skip


def _trace(section: Steps, shape: Shape, trace: Schedule, dilation: float) -> Iterator[_Fault]:
    """What a trace says, against the settings that stay in force while it plays."""
    path = (*section, "trace")
    delays = {shape.delay if step.delay is None else step.delay for step in trace.steps}
    if delays:
        low, high = min(delays), max(delays)
        uniform = not shape.spread.table
        if low < shape.delay and (
            low < shape.jitter if uniform else below_zero(shape.spread, low, shape.jitter) > CUT_OFF
        ):
            yield _Fault(
                path, "the trace has delays that are too short for the link's jitter",
                wanted=f"jitter that fits around {format_duration(low)}", found=format_duration(shape.jitter),
                remedy="lower jitter, or set it to 0",
            )  # fmt: skip
        if high > shape.delay and longest(shape.spread, high, shape.jitter) * dilation > LONGEST_DELAY:
            yield _Fault(
                path, f"the trace has a delay above what the clock can hold{_times(dilation)}",
                wanted=f"at most {format_duration(LONGEST_DELAY / dilation)}, jitter included",
                found=format_duration(high), remedy="mind the unit of the trace's delays",
            )  # fmt: skip
    if shape.bursts is not None and any(step.loss is not None for step in trace.steps):
        yield _Fault(
            path, "the trace says how much is lost, and the link loses in bursts", wanted="one of them",
            remedy="take the column loss out of the trace, or write the link's loss as a plain share",
        )  # fmt: skip


def _times(dilation: float) -> str:
    return f" at a dilation of {dilation:g}" if dilation > 1 else ""
