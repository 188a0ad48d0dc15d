"""Declarations, files of functions, and what functions are given and return."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.errors import InputError, RoambedError, RunError
from nodes.platform import library
from nodes.platform.checking import check_given, check_names, check_returned
from nodes.platform.functions import MIB, Tensors, Value, function
from nodes.wire.codec import DTYPES
from tests.unit.platform.pools import write

A_DIGEST = "0" * 64


def declared(call=lambda weights, share: {}, **more):
    settings = {"inputs": {"weights": Tensors(), "share": float}, "outputs": {}, "memory": MIB, "name": "f"} | more
    return function(**settings)(call)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"memory": 0}, "memory"),
        ({"memory": 1.5}, "memory"),
        ({"memory": True}, "memory"),
        ({"time_limit": 0}, "time limit"),
        ({"time_limit": float("nan")}, "time limit"),
        ({"time_limit": float("inf")}, "time limit"),
        ({"name": "Bad Name"}, "no name"),
        ({"inputs": ["weights"]}, "by name"),
        ({"inputs": {"weights": 3}}, "no type"),
        ({"inputs": {"weights": Tensors()}}, "does not declare"),
        ({"inputs": {"weights": Tensors(), "share": float, "more": int}}, "does not take"),
        ({"outputs": {"w": Tensors(like="share")}}, "like no input"),
        ({"outputs": {"w": Tensors(like="nothing")}}, "like no input"),
        ({"outputs": {"w": Tensors(many=True)}}, "many"),
        ({"streams": True}, "does not take"),
        ({"call": 3}, "no function"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused_where_it_stands(more, said):
    with pytest.raises(InputError, match=said) as caught:
        declared(**more)
    if "call" not in more:
        assert caught.value.where.startswith(f"{__file__}:")
    assert caught.value.wanted or caught.value.found


def test_a_declared_function_is_still_the_function():
    @function(inputs={"share": float}, outputs={"half": float}, memory=MIB)
    def take_half(share):
        return {"half": share / 2}

    assert take_half(share=3.0) == {"half": 1.5}
    assert take_half.name == "take-half"
    assert take_half.interface.inputs == {"share": "float"}
    assert msgspec.json.decode(msgspec.json.encode(take_half.interface), type=type(take_half.interface))


@pytest.mark.parametrize(
    ("body", "said", "line"),
    [
        ("def broken(:\n    pass\n", "no Python", 7),
        ("x = 1\n", "declares no function", None),
        ("import nothing_of_that_name\n", "fails when it is imported", 7),
        ("\n\n1 / 0\n", "ZeroDivisionError", 9),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3", 8),
        ("@plain(inputs={'a': float})\ndef f(b): return {}\n", "does not declare", 7),
        ("@plain()\ndef measure(): return {}\n", "taken", 7),
        ("@plain()\ndef aggregate(): return {}\n", "takes something else", 7),
        ("@plain()\ndef f(): return {}\n@plain(name='f')\ndef g(): return {}\n", "taken", 9),
        ("\0", "no Python", None),
    ],
)
def test_a_file_that_cannot_be_used_says_why_and_where(tmp_path, body, said, line):
    path = write(tmp_path, body)
    with pytest.raises(InputError, match=said) as caught:
        library.load(library.Path(path))
    where = f"{path}:{line}" if line else path
    assert caught.value.where == where


def test_a_file_that_is_not_there_or_has_another_function(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        library.find("f", str(tmp_path / "none.py"))
    path = write(tmp_path, "@plain()\ndef other_one(): return {}\n")
    with pytest.raises(InputError, match="no function f") as caught:
        library.find("f", path)
    assert caught.value.found == "other-one"
    with pytest.raises(InputError, match="no function f") as caught:
        library.find("f")
    assert "train-device" in caught.value.wanted


def test_functions_that_a_file_only_imports_are_not_its_own(tmp_path):
    path = write(tmp_path, "from nodes.platform.builtin import evaluate\n@plain()\ndef mine(): return {}\n")
    assert sorted(library.load(library.Path(path))) == ["mine"]


def test_every_built_in_can_be_found():
    for name in library.BUILT_IN:
        assert library.find(name).name == name


@pytest.mark.parametrize(
    ("inputs", "values", "said"),
    [
        ({}, {"share": 1.0}, "digests"),
        ({"weights": A_DIGEST}, {}, "values"),
        ({"weights": A_DIGEST, "x": A_DIGEST}, {"share": 1.0}, "digests"),
        ({"weights": A_DIGEST}, {"share": 1.0, "x": 1}, "values"),
        ({"weights": {"a": A_DIGEST}}, {"share": 1.0}, "one digest"),
    ],
)
def test_an_invocation_names_what_is_declared_and_nothing_else(inputs, values, said):
    with pytest.raises(InputError, match=said) as caught:
        check_names(declared(), inputs, values)
    assert "f" in caught.value.message


def test_what_may_be_left_out_has_its_default():
    made = declared(inputs={"weights": Tensors(optional=True), "share": Value(float, 0.3)})
    check_names(made, {}, {})
    assert check_given(made, {}, {}) == {"weights": None, "share": 0.3}


def test_a_given_tensor_or_value_that_is_another_is_refused():
    made = declared(inputs={"weights": Tensors({"w": ("float32", (2, None))}), "share": float})
    good = {"w": np.zeros((2, 7), np.float32)}
    assert check_given(made, {"weights": good}, {"share": 1})["share"] == 1.0
    for bad in (np.zeros((3, 7), np.float32), np.zeros((2, 7)), np.zeros((2, 7, 1), np.float32)):
        with pytest.raises(InputError, match="function f") as caught:
            check_given(made, {"weights": {"w": bad}}, {"share": 1})
        assert caught.value.wanted == "w: float32[2, any]"
    with pytest.raises(InputError, match="share"):
        check_given(made, {"weights": good}, {"share": "much"})


OUT = {"weights": Tensors(like="weights"), "count": int, "note": Value(str, "")}
SAME = {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "NoneType"),
        ([SAME, 3], "list"),
        ({"weights": SAME}, "found:  weights"),
        ({"weights": SAME, "count": 1, "more": 2}, "more"),
        ({"weights": SAME, "count": "1"}, "count as int"),
        ({"weights": SAME, "count": 1.5}, "count as int"),
        ({"weights": SAME, "count": object()}, "count as int"),
        ({"weights": 3, "count": 1}, "arrays by name"),
        ({"weights": {"w": [1.0]}, "count": 1}, "arrays by name"),
        ({"weights": {1: SAME["w"]}, "count": 1}, "arrays by name"),
        ({"weights": {}, "count": 1}, "weights with w"),
        ({"weights": {"w": SAME["w"].T}, "count": 1}, r"float32\[3, 2\]"),
        ({"weights": {"w": SAME["w"].astype(np.float64)}, "count": 1}, r"float64\[2, 3\]"),
        ({"weights": {**SAME, "v": SAME["w"]}, "count": 1}, "no others"),
        ({"weights": {"w": np.array(["a"])}, "count": 1}, "types that can be sent"),
    ],
)
def test_what_is_not_declared_is_not_returned(returned, said):
    made = declared(outputs=OUT)
    with pytest.raises(RunError, match="(?s)function f returned what it does not declare.*" + said) as caught:
        check_returned(made, returned, {"weights": SAME})
    assert isinstance(caught.value, RoambedError)
    assert caught.value.wanted
    assert caught.value.found


def test_what_is_declared_is_returned_plain():
    import torch

    made = declared(outputs=OUT)
    tensor = torch.ones(2, 3, requires_grad=True)
    tensors, values = check_returned(made, {"weights": {"w": tensor}, "count": np.int64(3)}, {"weights": SAME})
    assert values == {"count": 3}
    assert type(values["count"]) is int
    assert isinstance(tensors["weights"]["w"], np.ndarray)
    scalar = {"w": np.array(2.0)}
    tensors, _ = check_returned(made, {"weights": {"w": 3 * scalar["w"]}, "count": 1}, {"weights": scalar})
    assert tensors["weights"]["w"].shape == ()  # what numpy makes of it is no array any more


@given(st.sampled_from(sorted(DTYPES)), st.lists(st.integers(0, 3), max_size=3), st.data())
def test_a_declared_shape_takes_exactly_the_arrays_that_have_it(dtype, shape, data):
    wanted = tuple(data.draw(st.sampled_from([n, None])) for n in shape)
    other = data.draw(st.lists(st.integers(0, 3), max_size=3))
    made = declared(outputs={"out": Tensors({"a": (dtype, wanted)})})
    fits = len(other) == len(wanted) and all(w is None or w == n for w, n in zip(wanted, other, strict=True))
    check_returned(made, {"out": {"a": np.zeros(shape, dtype)}}, {})
    if not fits:
        with pytest.raises(RunError):
            check_returned(made, {"out": {"a": np.zeros(other, dtype)}}, {})
    with pytest.raises(RunError):
        check_returned(made, {"out": {"a": np.zeros(shape, "int16" if dtype != "int16" else "int8")}}, {})
