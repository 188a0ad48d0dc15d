"""What a file declares, without running it where it could do harm."""

import pytest

from nodes.errors import InputError
from nodes.platform.describing import describe
from nodes.platform.library import Path
from tests.unit.platform.pools import write


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
