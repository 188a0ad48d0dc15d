from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from testbed.report.junit import write_junit
from testbed.report.load import load
from tests.unit.report.sample import write

RunOf = Callable[..., Path]


def written(run: Path) -> dict[str, str]:
    """Every case with what is wrong with it, empty where nothing is."""
    path = write_junit(load(run), run / "junit.xml")
    suite = ElementTree.parse(path).getroot()[0]
    found = {}
    for case in suite:
        failure = case.find("failure")
        found[f"{case.get('classname')}: {case.get('name')}"] = "" if failure is None else failure.text or "?"
    assert suite.get("tests") == str(len(found))
    assert suite.get("failures") == str(sum(bool(v) for v in found.values()))
    return found


def test_a_good_run_passes_every_case(both: Path) -> None:
    found = written(both)
    assert set(found.values()) == {""}
    assert len(found) == 1 + 6 + 2 * (4 + 2)
    for name in ("run: verdict", "links: north--south", "splitfed.moves: pi3-1 to south in round 2",
                 "fedfly.rounds: round 4"):  # fmt: skip
        assert f"fedfly.{name}" in found


def test_a_missed_tolerance_fails_its_link_and_the_verdict(run_of: RunOf) -> None:
    found = written(run_of(missed=True))
    assert [name for name, problem in found.items() if problem] == ["fedfly.run: verdict", "fedfly.links: north--south"]


def test_what_did_not_happen_fails(run_of: RunOf) -> None:
    run = run_of(schemes=["fedfly"])
    content = json.loads((run / "summary.json").read_text())
    content["rounds"] = 2
    content["weights_sha256"] = None
    content["moves"] = [content["moves"][0] | {"downtime_s": None, "at_s": content["duration_s"] + 1}]
    write(run / "summary.json", content)
    failed = {name: problem for name, problem in written(run).items() if problem}
    assert failed == {
        "fedfly.fedfly.rounds: round 3": "round 3 was not completed",
        "fedfly.fedfly.rounds: round 4": "round 4 was not completed",
        "fedfly.fedfly.moves: pi3-1 to south in round 2": "pi3-1 was not seen training again after its move to south",
        "fedfly.fedfly.moves: pi4-1 to south": "the move of pi4-1 to south did not happen",
    }


def test_a_scheme_that_was_not_run_fails(run_of: RunOf) -> None:
    run = run_of(rounds=1, batches=2, moves=())
    shutil.rmtree(run / "fedfly")
    (run / "summary.json").unlink()
    found = written(run)
    assert found["fedfly.run: fedfly"] == "fedfly: was not run"


def test_what_xml_cannot_hold_is_replaced(run_of: RunOf) -> None:
    run = run_of(schemes=["fedfly"], rounds=1, batches=2, moves=())
    content = json.loads((run / "summary.json").read_text())
    write(run / "summary.json", content | {"verdict": "invalid", "reasons": ["killed \x1b[31m <&> \x00"]})
    assert written(run)["fedfly.run: verdict"] == "verdict: invalid\nkilled ?[31m <&> ?"
