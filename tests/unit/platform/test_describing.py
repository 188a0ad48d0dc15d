"""What a file declares, without running it where it could do harm."""

import pytest

from nodes.errors import InputError
from nodes.platform.describing import describe
from nodes.platform.library import Path
from tests.unit.platform.pools import LIGHT, write


def test_a_file_says_what_it_declares_whatever_it_prints(tmp_path):
    path = write(tmp_path, """
print("hello")
@plain(inputs={"w": Tensors({"a": ("float32", (2, None))}), "n": int}, outputs={"m": Tensors(like="w")})
def f(w, n):
    return {"m": w}
""")
    found = describe(Path(path))
    assert list(found) == ["f"]
    assert found["f"].inputs == {"w": "a: float32[2, any]", "n": "int"}
    assert found["f"].outputs == {"m": "tensors like w"}
    assert (found["f"].memory, found["f"].time_limit, found["f"].torch) == (64 << 20, 30, False)


@pytest.mark.parametrize(
    ("body", "said"),
    [("def f(:\n", "mine.py:7: this is no Python"), ("import os\nos._exit(5)\n", "exit code 5"),
     ("@plain(memory=0)\ndef f(): return {}\n", "memory"), ("", "declares no function")],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_an_error(tmp_path, body, said):
    with pytest.raises(InputError) as caught:
        describe(Path(write(tmp_path, body)))
    assert said in str(caught.value)


def test_a_file_that_hangs_is_given_up(tmp_path):
    with pytest.raises(InputError, match="too long"):
        describe(Path(write(tmp_path, "while True:\n    pass\n")), seconds=2)


@pytest.mark.parametrize("cookie", ["", "# -*- coding: latin-1 -*-\n"])
def test_a_file_that_is_not_utf8_is_an_error_with_its_line(tmp_path, cookie):
    """Python would take one that says so; but it is kept in the run's manifest, which is UTF-8."""
    path = Path(write(tmp_path, ""))
    path.write_bytes(cookie.encode() + path.read_bytes() + "# mod\u00e8le\n".encode("latin-1"))
    lines = path.read_bytes().count(b"\n")
    with pytest.raises(InputError) as caught:
        describe(path)
    assert caught.value.where == f"{path}:{lines}"
    assert "not UTF-8" in caught.value.message
    assert caught.value.found == "byte 0xe8"
    assert "save it" in caught.value.remedy
    path.write_bytes(b"\xef\xbb\xbf" + (LIGHT + "@plain()\ndef f(): return {}\n").encode())
    assert list(describe(path)) == ["f"], "a byte order mark is no harm"


AGGREGATE = """
@plain(name="aggregate", inputs={{"models": {models}, "samples": {samples}}}, outputs={{"weights": {weights}}})
{how}
    return {{"weights": next(iter(models.values()))}}
"""
FITS = {"models": "Tensors(many=True)", "samples": "dict[str, float]", "weights": "Tensors()",
        "how": "def mine(models, samples):"}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [({"models": "Tensors()"}, "takes models as something else"), ({"samples": "list[int]"}, "takes samples"),
     ({"weights": "Tensors(optional=True)"}, "gives weights"), ({"weights": "float"}, "gives weights"),
     ({"how": "def mine(models):"}, "inputs that it does not take"),
     ({"how": "async def mine(models, samples):"}, "plain"),
     ({"how": "def mine(models, samples):\n    yield 1"}, "plain"),
     ({"how": "def mine(models, /, **more):"}, "position")],
)  # fmt: skip
def test_what_stands_in_for_a_built_in_one_can_be_called_like_it(tmp_path, change, said):
    """Found out before anything is built, and not by the first invocation."""
    assert list(describe(Path(write(tmp_path, AGGREGATE.format(**FITS))))) == ["aggregate"]
    with pytest.raises(InputError) as caught:
        describe(Path(write(tmp_path, AGGREGATE.format(**FITS | change))))
    assert said in caught.value.message
    assert caught.value.where.startswith(str(tmp_path / "mine.py:"))


def test_what_stands_in_takes_what_may_be_left_out(tmp_path):
    """A head is invoked without weights where its tail sends them."""
    ports = {
        "task": "Any", "node": "str", "owner": "str", "round": "int", "weights": "Tensors(optional=True)",
        "keep": "Tensors(optional=True)", "dilation": "Value(float, 1.0)",
    }  # fmt: skip
    gives = {"weights": "Tensors(optional=True)", "samples": "int", "batches": "int", "loss_sum": "float",
             "moved": "str", "pacing": "dict[str, float]"}  # fmt: skip

    def body(takes):
        i, o = (", ".join(f"{name!r}: {port}" for name, port in one.items()) for one in (takes, gives))
        declared = f"name='train-device', streams=True, inputs={{{i}}}, outputs={{{o}}}"
        return f"from typing import Any\n@plain({declared})\ndef mine(**given): return {{}}\n"

    assert list(describe(Path(write(tmp_path, body(ports))))) == ["train-device"]
    assert list(describe(Path(write(tmp_path, body(ports | {"task": "dict", "round": "float"}))))) == ["train-device"]
    with pytest.raises(InputError) as caught:
        describe(Path(write(tmp_path, body(ports | {"weights": "Tensors()"}))))
    assert (caught.value.wanted, caught.value.found) == ("tensors, or nothing", "tensors")
    with pytest.raises(InputError, match="takes task as something else"):
        describe(Path(write(tmp_path, body(ports | {"task": "str"}))))
