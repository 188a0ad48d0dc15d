"""Tensors in files: as safetensors has them, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from nodes.errors import RunError
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
