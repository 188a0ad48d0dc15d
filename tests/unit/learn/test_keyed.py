from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.learn import keyed


def test_a_key_draws_the_same_whatever_was_drawn_before() -> None:
    first = torch.rand(5, generator=keyed.torch_generator(1, "a", "noise", round=2, batch=3))
    keyed.numpy_generator(1, "a", "noise").random(100)
    torch.rand(7)
    again = torch.rand(5, generator=keyed.torch_generator(1, "a", "noise", round=2, batch=3))
    assert torch.equal(first, again)
    one = keyed.numpy_generator(1, "a", "noise", micro=1).random(5)
    assert np.array_equal(one, keyed.numpy_generator(1, "a", "noise", micro=1).random(5))


def test_every_part_of_a_key_counts() -> None:
    base = (1, "a", "noise", 0, 0, 0)
    keys = {keyed.key(*base)}
    for at, value in enumerate((2, "b", "crop", 1, 1, 1)):
        keys.add(keyed.key(*base[:at], value, *base[at + 1 :]))
    assert len(keys) == 7


@settings(database=None)
@given(st.text(max_size=4), st.text(max_size=4), st.text(max_size=4), st.text(max_size=4))
def test_two_names_never_run_together(owner: str, purpose: str, owner2: str, purpose2: str) -> None:
    same = keyed.key(0, owner, purpose) == keyed.key(0, owner2, purpose2)
    assert same == ((owner, purpose) == (owner2, purpose2))


def test_permutation_holds_each_once_and_is_fixed_for_all_versions() -> None:
    assert sorted(keyed.permutation(1000, 1, "a", "shuffle")) == list(range(1000))
    assert keyed.permutation(8, 7, "pi3-1", "shuffle", round=1).tolist() == [2, 5, 4, 6, 7, 3, 0, 1]
    assert keyed.permutation(0, 1, "a", "shuffle").tolist() == []


