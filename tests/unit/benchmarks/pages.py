"""What the page of every grid has, whatever it is about."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.grid.machine import Machine
from benchmarks.grid.page import Page

HERE = Machine((("machine", "a test"),))


def require_whole(page: Page, folder: Path, results: Mapping[str, Any], cells: Sequence[Any]) -> None:
    """The page of results that keep every promise has every figure, every cell and every plot, and misses nothing."""
    page.write(folder, results, cells, HERE, quick=False, data="embedded")
    text = (folder / f"{page.name}.md").read_text()
    told = json.loads((folder / f"{page.name}.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    for name in told.keys() - {"cases", "invalid_cells"}:
        assert f"`{name}`" in text
    for cell in cells:
        assert f"`{cell.name}`" in text
    assert "missed" not in text
    assert "A quick run" not in text
    drawn = list(folder.glob("*.svg"))
    assert {one.stem for one in drawn} == page.plots(results, cells).keys() != set()
    for one in drawn:
        ET.fromstring(one.read_text())
        assert one.name in text


def require_even_tables(page: Page, results: Mapping[str, Any], cells: Sequence[Any]) -> None:
    """A table has as many columns in each line, also where nothing was measured."""
    for there in (results, {}):
        columns = 0
        for line in page.text(there, cells, HERE, [], quick=True, data="x").splitlines():
            if not line.startswith("|"):
                columns = 0
                continue
            columns = columns or line.count("|")
            assert line.count("|") == columns, line


def require_unmeasured(page: Page, cells: Sequence[Any]) -> None:
    """Where nothing was measured the page says so, and has no plots."""
    text = page.text({}, cells, HERE, [], quick=True, data="digits")
    assert "A quick run" in text
    assert "not measured" in text
    assert f"0 of {len(cells)} measured, **{len(cells)} failed**" in text
    assert page.plots({}, cells) == {}
