"""The ledger of micro-batches: what is missing, what was done twice, and what nobody can have seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nodes.events import Span
from testbed.run.microbatches import Row, ledger, section, wrong

MICRO = 2


def work(kind: str, stage: int, batch: int, micro: int, attempt: int = 0, node: str = "", number: int = 1, **more):
    layers = {"layers": more["layers"]} if "layers" in more else {}
    return Span(
        kind=kind, node=node or ("d1", "ea", "eb")[stage], part=f"stage{stage}:d1", begin=0.0, end=1.0, round=number,
        batch=batch, micro=micro, attrs={"stage": stage, "attempt": attempt, **layers},
    )  # fmt: skip


def batch(number: int, bounds=(0, 2, 5), attempt: int = 0, round: int = 1) -> list[Span]:
    found = []
    last = len(bounds) - 2
    for stage in range(last + 1):
        layers = [bounds[stage], bounds[stage + 1]]
        ways = ("tail-step",) if stage == last else ("forward", "backward") if layers != [0, 0] else ("forward",)
        found += [work(way, stage, number, m, attempt, number=round) for way in ways for m in range(MICRO)]
        found.append(work("update", stage, number, MICRO - 1, attempt, number=round, layers=layers))
    return found


def told(attempt: int = 0, batches: int = 3, number: int = 1) -> list[Span]:
    common = {"device": "d1", "attempt": attempt}
    return [
        Span(kind="round", node="d1", begin=0.0, end=1.0, round=number, attrs={"batches": batches, **common}),
        Span(kind="delivered", node="cloud", begin=1.0, end=1.0, round=number, attrs=common),
    ]


def all_of(**more) -> list[Span]:
    return [span for b in range(3) for span in batch(b, **more)]


def without(spans: list[Span], which: Callable[[Span], bool]) -> list[Span]:
    return [span for span in spans if not which(span)]


def row(spans: list[Span], died: tuple[str, ...] = ()) -> Row:
    [found] = ledger(spans, died)
    return found


@pytest.mark.parametrize("bounds", [(0, 2, 5), (0, 1, 3, 5), (0, 0, 5), (0, 5)])
def test_every_micro_batch_once(bounds) -> None:
    found = row([*all_of(bounds=bounds), *told()])
    assert (found.missing, found.repeated, found.unseen) == ((), (), ())
    assert (found.applied, found.given_up, found.attempt) == (6, 0, 0)
    assert wrong([found]) == []
    assert section([found])["exact"]


def test_only_the_attempt_that_counted_counts() -> None:
    spans = [*batch(0), *batch(1), *all_of(attempt=1), *told(attempt=1)]
    found = row(spans)
    assert (found.attempt, found.missing, found.repeated) == (1, (), ())
    assert found.given_up == len(batch(0)) * 2
    # The one after it was begun for nothing: the aggregator had the model.
    found = row([*all_of(), *batch(0, attempt=1), *told(attempt=0)])
    assert (found.attempt, found.missing, found.given_up) == (0, (), len(batch(0)))
    # None counted: the round was averaged without this device.
    assert ledger(all_of()) == []


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (("forward", 0, 1, 0), "batch 1: forward of micro-batch 0 on stage 0"),
        (("backward", 0, 2, 1), "batch 2: backward of micro-batch 1 on stage 0"),
        (("tail-step", 1, 0, 1), "batch 0: tail-step of micro-batch 1 on stage 1"),
        (("update", 1, 1, 1), "batch 1: update of micro-batch 1 on stage 1"),
    ],
)
def test_what_is_missing_is_named_and_so_is_what_was_done_twice(lost, said) -> None:
    def it(span: Span) -> bool:
        return (span.kind, span.attrs.get("stage"), span.batch, span.micro) == lost

    spans = [*all_of(), *told()]
    found = row(without(spans, it))
    assert (found.missing, found.repeated) == ((said,), ())
    assert "missing" in wrong([found])[0]
    twice = row([*spans, *filter(it, spans)])
    assert (twice.missing, twice.repeated) == ((), (said,))
    assert section([twice])["repeated"] == [f"d1, round 1: {said}"]
    assert not section([twice])["exact"]


def test_what_a_dead_server_took_with_it_is_not_missing() -> None:
    cut = without([*all_of(), *told()], lambda s: s.node == "ea" and s.batch == 2 and s.kind == "update")
    assert row(cut, ("ea",)).unseen == ("batch 2: update of micro-batch 1 on stage 1",)
    assert row(cut, ("ea",)).missing == ()
    assert row(cut, ("eb",)).missing != ()
    all_gone = without([*all_of(), *told()], lambda s: s.node == "ea" and s.batch == 2)
    found = row(all_gone, ("ea",))
    assert len(found.unseen) == 3
    assert found.missing == ()


def test_cuts_may_change_from_batch_to_batch_but_hold_the_whole_model() -> None:
    spans = [*batch(0), *batch(1, bounds=(0, 1, 3, 5)), *batch(2, bounds=(0, 5)), *told()]
    assert row(spans).missing == ()
    gap = [*batch(0), *batch(1), *batch(2), *told()]
    for span in gap:
        if span.kind == "update" and span.batch == 1 and span.attrs["stage"] == 1:
            span.attrs["layers"] = [3, 5]
    assert row(gap).missing == ("batch 1: layers between those of its stages: [(0, 2), (3, 5)]",)


def test_batches_that_are_not_there() -> None:
    assert len(row([*batch(0), *batch(1), *told()]).missing) == 1 + 2 * MICRO + 2 + MICRO - 1
    assert row([*all_of(), *batch(3), *told()]).repeated == ("batch 3 of 3",)
    assert row([*all_of(), told()[1]]).missing == ("the end of the round",)


def test_what_a_standby_does_along_is_no_second_time() -> None:
    again = [Span(kind="replay-step", node="eb", begin=0.0, end=1.0, part="stage1:d1", round=1, attrs={"stage": 1})]
    assert row([*all_of(), *again, *told()]).repeated == ()


def test_the_sum_of_all() -> None:
    spans = [*all_of(), *told(), *batch(0, round=2), *all_of(round=2, attempt=1), *told(attempt=1, number=2)]
    found = section(ledger(spans))
    assert (found["rounds"], found["applied"], found["begun_again"]) == (2, 12, 1)
    assert found["given_up"] == len(batch(0))
    assert section([])["exact"]
