from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.errors import InputError
from nodes.policies.decisions import ACTS, KINDS, Decision, begins, changes, lines, read
from nodes.policies.layout import Layout

LAYOUT = Layout((0, 1, 3), ("dev", "e"))
CHANGE = Decision("plan", "change", "it repays", 12.5, (2, 7, 0), "dev", LAYOUT, (3, 1), {"gain_s": 4.0})

counts = st.integers(0, 10**6)
drawn = st.builds(
    Decision, st.sampled_from(KINDS), st.sampled_from(ACTS), st.text(max_size=9), st.floats(0, 1e9),
    st.tuples(counts, counts, counts), st.text(max_size=3), st.sampled_from([None, LAYOUT]),
    st.lists(st.integers(1, 9), max_size=4).map(tuple),
    st.dictionaries(st.text(max_size=3), st.floats(allow_nan=False, allow_infinity=False), max_size=3),
)  # fmt: skip


@given(st.lists(drawn, max_size=4))
def test_what_is_written_is_read_again_to_the_bit(decisions):
    assert read("".join(lines(decisions))) == tuple(decisions)


def test_a_figure_without_bounds_is_left_out():
    one = Decision("plan", "change", "", 0, figures={"current_s": math.inf, "best_s": 1.0})
    assert read("".join(lines([one])))[0].figures == {"best_s": 1.0}


@pytest.mark.parametrize("line", ["{", "[]", "3", "{}", '{"version": 2}', "null",
                                  next(lines([CHANGE])).replace('"change"', '"fly"'),
                                  next(lines([CHANGE])).replace('"bounds": [0, 1, 3]', '"bounds": [0]'),
                                  next(lines([CHANGE])).replace("[2, 7, 0]", "[2, 7]")])  # fmt: skip
def test_a_line_that_is_no_decision_is_named(line):
    text = next(lines([CHANGE])) + "\n" + line.strip() + "\n"
    with pytest.raises(InputError) as refused:
        read(text, "run/decisions.jsonl")
    assert refused.value.where == "run/decisions.jsonl:3"


def test_a_replay_takes_the_changes_of_a_device_by_their_place():
    other = Decision("plan", "change", "", 1, (2, 7, 0), "dev-2", LAYOUT)
    kept = Decision("plan", "keep", "", 1, (2, 6, 0), "dev")
    probe = Decision("probe", "probe", "", 1, device="dev")
    assert changes([kept, CHANGE, other, probe], "dev") == {(2, 7, 0): CHANGE}
    for bad in ([CHANGE, CHANGE], [Decision("plan", "change", "", 1, device="dev")]):
        with pytest.raises(InputError, match="replayed"):
            changes(bad, "dev")


def test_a_replay_begins_as_the_other_run_began():
    first = Decision("plan", "begin", "chosen before the training", 0, (1, 0, 0), "dev", LAYOUT, (3, 1))
    assert begins([first, CHANGE]) == {"dev": first}
    assert begins([CHANGE]) == {}
    assert changes([first, CHANGE], "dev") == {(2, 7, 0): CHANGE}
    for bad in ([first, first], [Decision("plan", "begin", "", 0, device="dev")]):
        with pytest.raises(InputError, match="replayed"):
            begins(bad)
