from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.errors import InputError
from nodes.policies.layout import Layout

U = Layout((0, 2, 5, 6), ("dev", "e", "dev"))


def test_what_it_tells():
    assert (U.device, U.layers, U.servers, U.ends_on_device) == ("dev", 6, ("e",), True)
    assert [U.node_of(k) for k in range(6)] == ["dev", "dev", "e", "e", "e", "dev"]
    assert str(Layout((0, 2, 5), ("dev", "e"))) == "dev 0..2 | e 2..5"
    assert not Layout((0, 3), ("dev",)).ends_on_device


def test_layers_that_move():
    assert U.moved(Layout((0, 3, 6), ("dev", "f"))) == ((2, "e", "dev"), (3, "e", "f"), (4, "e", "f"), (5, "dev", "f"))
    assert U.moved(U) == ()


@pytest.mark.parametrize(("stages", "bounds"), [
    ([("d", 2), ("e", None)], (0, 2, 7)), ([("d", None), ("e", 6)], (0, 1, 7)), ([("d", 3), ("e", 4)], (0, 3, 7)),
    ([("d", None)], (0, 7)), ([("d", 0), ("e", None)], (0, 0, 7)),
])  # fmt: skip
def test_as_one_writes_it(stages, bounds):
    assert Layout.of(stages, 7).bounds == bounds


@pytest.mark.parametrize("stages", [
    [], [("d", None), ("e", None)], [("d", 3), ("e", 3)], [("d", 8), ("e", None)], [("d", 7), ("e", None)],
    [("d", 3), ("e", 3), ("e", 1)], [("d", 3), ("e", -1), ("f", 5)], [("d", 1), ("d", None)],
])  # fmt: skip
def test_what_is_no_layout(stages):
    with pytest.raises(InputError):
        Layout.of(stages, 7)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_plain_data_and_back(sizes):
    layout = Layout.of([(f"n{i}", size) for i, size in enumerate(sizes)], sum(sizes))
    assert Layout.from_dict(layout.as_dict()) == layout


@pytest.mark.parametrize("bad", [{}, {"bounds": 3, "nodes": []}, {"bounds": ["a"], "nodes": []}, {"bounds": [0, 1]},
                                 {"bounds": [1, 2], "nodes": ["d"]}, {"bounds": [0, 0], "nodes": ["d"]}])  # fmt: skip
def test_no_plain_layout(bad):
    with pytest.raises(InputError):
        Layout.from_dict(bad)
