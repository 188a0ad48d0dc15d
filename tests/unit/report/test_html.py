from __future__ import annotations

import json
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from testbed.report import write_report
from testbed.report.html import _facts
from testbed.report.load import load
from tests.unit.report.sample import write

RunOf = Callable[..., Path]
_VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """A page taken apart, strictly: every tag closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: Counter[str] = Counter()
        self.tags: Counter[str] = Counter()
        self.links: list[str] = []
        self.labels: list[str] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            if name == "id":
                self.ids[value or ""] += 1
            if name in ("href", "src", "xlink:href"):
                self.links.append(value or "")
            if name == "aria-label":
                self.labels.append(value or "")
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def page(both: Path) -> Page:
    return Page(write_report(both).read_text())


def test_it_needs_nothing_from_elsewhere(both: Path, page: Page) -> None:
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    text = (both / "report.html").read_text()
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}, "names of formats only"
    assert "<script" not in text
    assert not re.search(r"@import|url\((?!#)", text)


def test_ids_are_unique_and_what_is_referred_to_exists(both: Path, page: Page) -> None:
    assert [name for name, times in page.ids.items() if times > 1] == []
    text = (both / "report.html").read_text()
    referred = set(re.findall(r"url\(#([^)]+)\)", text)) | {link[1:] for link in page.links if link.startswith("#")}
    assert referred <= set(page.ids)


def test_everything_is_there(page: Page) -> None:
    for heading in ("Restart or migrate", "Schemes", "Accuracy", "Time of each round", "Timeline", "Moves", "Link use",
                    "CPU and memory of the nodes", "Calibration of the links", "Limits of the nodes",
                    "Where it comes from"):  # fmt: skip
        assert heading in page.text
    # saving, accuracy, rounds, timeline, links, queues, nodes of two schemes, and one for each of two moves in both
    assert page.tags["svg"] == 12
    for said in ("verdict: ok", "% saved", "f/(1+f)", "to south", "9f3a61c07be2", "4.77 MB", "thrown away", "6.18.5",
                 "model: vgg5"):  # fmt: skip
        assert said in page.text, said


def test_there_is_no_section_on_pipelines_without_one(page: Page) -> None:
    assert page.ids["pipeline"] == 0
    assert "Gantt" not in " ".join(page.labels)


def test_plots_are_described(page: Page) -> None:
    described = [label for label in page.labels if len(label) > 30]
    assert len(described) >= 9
    assert any("pi3-1 in round 2" in label for label in described)


def test_ink_follows_the_page(both: Path, page: Page) -> None:
    text = (both / "report.html").read_text()
    assert "var(--ink)" in text
    assert "prefers-color-scheme: dark" in text
    assert not re.search("#010203|#040506|#070809", text)


def test_the_same_run_gives_the_same_page(both: Path) -> None:
    first = write_report(both).read_bytes()
    assert write_report(both).read_bytes() == first
    assert list(both.glob("*.partial")) == []


def test_it_is_quick_and_small(run_of: RunOf) -> None:
    run = run_of(batches=50)
    begin = time.process_time()
    page = write_report(run)
    assert time.process_time() - begin < 5
    assert page.stat().st_size < 3e6


def test_one_scheme(run_of: RunOf) -> None:
    run = run_of(schemes=["fedfly"], rounds=3, batches=8)
    page = Page(write_report(run).read_text())
    assert "Restart or migrate" not in page.text
    assert "Missing" not in page.text
    assert page.tags["svg"] == 8


def test_a_run_without_moves(run_of: RunOf) -> None:
    page = Page(write_report(run_of(moves=(), rounds=2, batches=6)).read_text())
    assert page.tags["svg"] == 7
    assert page.ids["saving"] == page.ids["moves"] == 0


def test_a_failed_run_says_what_is_missing_and_shows_the_rest(run_of: RunOf) -> None:
    run = run_of(rounds=2, batches=6)
    shutil.rmtree(run / "fedfly")
    for name in ("summary.json", "calibration.json", "splitfed/summary.json"):
        (run / name).unlink()
    page = Page(write_report(run).read_text())
    assert "verdict: unknown" in page.text
    assert "Missing from this run's directory" in page.text
    assert "fedfly: was not run" in page.text
    assert "calibration.json: not there" in page.text
    assert "Timeline" in page.text
    assert page.tags["svg"] == 6


def test_a_run_that_failed_in_a_move(run_of: RunOf) -> None:
    run = run_of(schemes=["fedfly"])
    content = json.loads((run / "summary.json").read_text())
    unknown = ("downtime_s", "state_s", "state_bytes", "limit_s", "handover_gap_s", "round", "batch", "progress")
    content["moves"][1] |= dict.fromkeys(unknown)
    content |= {"verdict": "invalid", "reasons": ["pi4-1 stopped answering"], "weights_sha256": None, "accuracy": None}
    write(run / "summary.json", content)
    page = Page(write_report(run).read_text())
    assert "verdict: invalid" in page.text
    assert "pi4-1 stopped answering" in page.text


def test_an_empty_directory_has_a_report(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path).read_text())
    assert "Nothing was measured" in page.text
    assert "calibration.json: not there" in page.text


def test_a_missed_tolerance_is_marked(run_of: RunOf) -> None:
    text = write_report(run_of(missed=True, rounds=1, batches=4, moves=())).read_text()
    assert "Why the numbers of this run should not be trusted" in text
    assert re.search(r'class="bad">-6\.00 %<', text)
    assert not re.search(r'class="bad">-0\.20 %<', text)


def test_names_are_only_text(run_of: RunOf) -> None:
    hostile = "<script>alert(1)</script>"
    run = run_of(schemes=["fedfly"], rounds=1, batches=4)
    content = json.loads((run / "summary.json").read_text())
    content |= {"experiment": hostile, "reasons": [hostile + " & $\\frac{1}{0}$"], "verdict": "invalid"}
    content["moves"] = [{"device": hostile, "from": hostile, "to": hostile, "strategy": hostile, "at_s": 1.0}]
    content["devices"][hostile] = content["devices"]["pi3-1"]
    write(run / "summary.json", content)
    page = Page(write_report(run).read_text())
    assert page.tags["script"] == 0
    assert hostile in page.text


def test_many_devices_and_rounds_stay_readable(run_of: RunOf) -> None:
    devices = [f"pi4-{i}" for i in range(1, 31)]
    run = run_of(schemes=["fedfly"], devices=devices, rounds=14, batches=2, moves=[("pi4-30", 12, 0.5, "south")])
    page = Page(write_report(run).read_text())
    assert "12 of 30 devices" in page.text
    assert "All 14 rounds are in metrics.csv" in page.text
    assert load(run).devices[0] == "pi4-30"
    assert "pi4-30 moves from north to south" in page.text


def test_data_that_is_made_up_is_called_so(run_of: RunOf) -> None:
    path = run_of()
    file = path / "manifest.json"
    manifest = json.loads(file.read_text())
    for used, told in (
        ({"set": "motion", "synthetic": True}, "motion (synthetic)"), ({"set": "wisdm", "synthetic": False}, "wisdm"),
    ):  # fmt: skip
        write(file, {**manifest, "data": used})
        assert dict(_facts(load(path)))["data"] == told
    write(file, manifest)
    assert "data" not in dict(_facts(load(path)))
