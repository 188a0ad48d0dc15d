from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from nodes.errors import RunError
from nodes.learn.aggregate import fedavg, merge, split
from nodes.learn.digest import weights_digest
from nodes.learn.models import build, cut


def models() -> dict[str, dict[str, Tensor]]:
    draw = torch.Generator().manual_seed(3)
    return {
        owner: {
            "w": torch.randn(50, generator=draw) * 10**scale,
            "norm.num_batches_tracked": torch.tensor(seen),
        }
        for owner, scale, seen in (("a", 0, 5), ("b", 6, 9), ("c", -6, 2))
    }


COUNTS = {"a": 100, "b": 37, "c": 263}


def test_weighted_by_samples() -> None:
    given = models()
    average = fedavg(given, COUNTS)
    expected = sum(given[o]["w"].double() * n for o, n in COUNTS.items()) / 400
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(average["w"], expected.float())
    assert average["w"].dtype == torch.float32


def test_order_of_owners_does_not_matter() -> None:
    given = models()
    digests = set()
    for order in itertools.permutations(given):
        average = fedavg({o: given[o] for o in order}, {o: COUNTS[o] for o in reversed(order)})
        digests.add(weights_digest(average))
    assert len(digests) == 1


def test_sums_run_in_the_order_of_names() -> None:
    """Numbers whose sum depends on the order even in double precision."""
    values = {"a": 1e17, "b": -1e17, "c": 1.0}  # 1 in this order, 0 where c comes before b
    given = {o: {"w": torch.tensor([v], dtype=torch.float64)} for o, v in values.items()}
    for order in itertools.permutations("abc"):
        average = fedavg({o: given[o] for o in order}, dict.fromkeys(order, 1))
        assert average["w"].item() == pytest.approx(1 / 3)


def test_equal_models_average_to_themselves() -> None:
    model = models()["b"]
    average = fedavg(dict.fromkeys(COUNTS, model), COUNTS)
    assert weights_digest(average) == weights_digest(model)
    assert weights_digest(fedavg({"a": model}, {"a": 359})) == weights_digest(model)


def test_counts_of_batches_take_the_largest() -> None:
    average = fedavg(models(), COUNTS)["norm.num_batches_tracked"]
    assert average.item() == 9
    assert (average.dtype, average.shape) == (torch.int64, ())


def test_an_average_shares_no_memory_with_its_models() -> None:
    given = models()
    before = {o: weights_digest(m) for o, m in given.items()}
    for tensor in fedavg(given, COUNTS).values():
        tensor.add_(1)
    assert {o: weights_digest(m) for o, m in given.items()} == before


def test_an_owner_may_weigh_nothing() -> None:
    given = models()
    assert torch.equal(fedavg(given, {"a": 1, "b": 0, "c": 0})["w"], given["a"]["w"])


def test_what_cannot_be_averaged() -> None:
    given = models()
    for weights in ({"a": 1, "b": 1}, {**COUNTS, "d": 1}):
        with pytest.raises(RunError, match="one weight for every model"):
            fedavg(given, weights)
    for weights in (dict.fromkeys("abc", 0), {**COUNTS, "a": -1}, {**COUNTS, "a": float("nan")}):
        with pytest.raises(RunError, match="positive sum"):
            fedavg(given, weights)
    with pytest.raises(RunError, match="positive sum"):
        fedavg({}, {})
    with pytest.raises(RunError, match="a and b differ in their layers"):
        fedavg({**given, "b": {"w": given["b"]["w"]}}, COUNTS)
    with pytest.raises(RunError, match="shape or type at w"):
        fedavg({**given, "b": {**given["b"], "w": torch.zeros(49)}}, COUNTS)


@pytest.mark.parametrize("k", range(8))
def test_split_and_merge_are_inverse(k: int) -> None:
    model = build("vgg5", 0, (3, 8, 8))
    whole = dict(model.state_dict())
    head, tail = cut(model, k)
    by_layer = split(whole, [name for name, _ in head.named_children()])
    assert by_layer.keys() == head.state_dict().keys()
    by_tensor = split(whole, tail.state_dict())
    assert by_tensor.keys() == tail.state_dict().keys()
    assert weights_digest(merge(by_layer, by_tensor)) == weights_digest(whole)


def test_halves_that_overlap() -> None:
    with pytest.raises(RunError, match=r"both hold fc\.weight"):
        merge({"fc.weight": torch.zeros(1)}, {"fc.weight": torch.zeros(1)})
