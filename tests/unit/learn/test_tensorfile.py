"""Tensors in files: as safetensors has them, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from nodes.errors import InputError, RunError
from nodes.learn import tensorfile


def test_others_read_what_is_written_whatever_lies_how_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    grid = np.arange(6, dtype=np.float32).reshape(2, 3)
    arrays = {"t": grid.T, "part": grid[:, 1], "s": np.array(2.5), "none": np.zeros((0, 2), np.int16), "b": grid > 2}
    tensorfile.write(path, arrays, {"about": "something"})
    for found in (load_file(path), tensorfile.read(path)[0]):
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
            np.testing.assert_array_equal(found[name], array)
    assert tensorfile.read(path)[1] == {"about": "something"}
    assert path.stat().st_mode & 0o777 == 0o644
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    tensorfile.write(path, arrays, {}, 0o444)
    assert path.stat().st_mode & 0o777 == 0o444


def test_arrays_may_be_written_to_and_lie_as_their_type_wants_it(tmp_path: Path) -> None:
    arrays = {f"{n}{kind}": np.ones(3, kind) for n, kind in enumerate(("uint8", "float64", "float16", "bool"))}
    tensorfile.write(tmp_path / "x", arrays, {})
    found, _ = tensorfile.read(tmp_path / "x")
    for array in found.values():
        assert array.flags.aligned
        array[:] = 0
    assert not any(array.any() for array in found.values())
    assert all(arrays[name].all() for name in arrays)


def entry(kind: str = "F32", shape: object = (2,), first: int = 0, end: int = 8) -> dict[str, object]:
    return {"dtype": kind, "shape": shape, "data_offsets": (first, end)}


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ({"x": entry()}, 7), ({"x": entry()}, 9), ({"x": entry(first=4, end=12)}, 12), ({"x": entry(shape=(3,))}, 8),
        ({"x": entry("F8_E4M3")}, 8), ({"x": entry(shape=(-1, -2))}, 8), ({"x": entry(), "y": entry()}, 8),
        ({"x": entry(), "y": entry(first=4, end=12)}, 12), ({"x": {"dtype": "F32"}}, 8), (["x"], 8),
        ({"__metadata__": {"a": 1}, "x": entry()}, 8), ("", 0),
    ],
)  # fmt: skip
def test_files_that_are_damaged(tmp_path: Path, header: object, body: int) -> None:
    path, text = tmp_path / "x", json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(body))
    with pytest.raises(InputError, match="cannot be read"):
        tensorfile.read(path)


@pytest.mark.parametrize("data", [b"", b"\x01", b"\xff" * 40, bytes(8), bytes(7) + b"\x80" + b"{}"])
def test_files_of_something_else(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    for path in (tmp_path / "x", tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="cannot be read"):
            tensorfile.read(path)


def test_what_cannot_be_written_is_told_of_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match="cannot be written") as caught:
        tensorfile.write(tmp_path / "no" / "x", {"x": np.zeros(3)}, {})
    assert caught.value.remedy
    path = tmp_path / "x"
    tensorfile.write(path, {"x": np.zeros(3)}, {})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(RunError, match="No space left"):
        tensorfile.write(path, {"x": np.ones(3)}, {})
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert not tensorfile.read(path)[0]["x"].any()
