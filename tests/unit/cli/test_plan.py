"""``testbed plan`` as it is called, on an experiment whose times are known and on runs that went as predicted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import yaml

from nodes.events import Span
from nodes.policies.decisions import Decision, lines
from nodes.policies.layers import LAYERS
from nodes.policies.layout import Layout
from nodes.policies.samples import FORMS
from nodes.policies.simulate import play
from nodes.policies.stage_times import operations
from testbed.cli import main
from testbed.experiment import load_plan
from testbed.run import reference
from testbed.run.planned import Planned, planned
from testbed.run.staging import AGAIN
from tests.unit.run.test_staging import LAST, TEXT, TIMES

WHOLE = {op: 3 * seconds for op, seconds in TIMES.items()}
"""Of whole batches: four micro-batches' samples, in less than their time."""
KINDS = {"F": "forward", "B": "backward", "FB": "tail-step", "U": "update"}
BATCHES = 12
USUAL = {"device": 0.1, "near": 1, "far": 0.8, "access": "20Mbit", "more": ", stages: 3"}


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv(reference.VARIABLE, str(tmp_path / "reference.json"))
    reference.store(reference.layers_key("vgg5", 4, 1, "", FORMS["digits"]), TIMES)
    reference.store(reference.layers_key("vgg5", 16, 1, "", FORMS["digits"]), WHOLE)
    path = tmp_path / "staged.yaml"
    path.write_text(TEXT % USUAL)
    return path


@pytest.fixture
def testbed(tmp_path, monkeypatch, capsys):
    def command(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["testbed", *words])
        monkeypatch.setenv("COLUMNS", "160")
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return command


def events(one: Planned, *, slower: float = 1.0, rounds: int = 2) -> list[Span]:
    """What a run would say in which everything takes as long as predicted, or so many times as long."""
    found: list[Span] = []
    layout, problem = one.staging.layout, one.problem
    assert one.prediction is not None
    micro = problem.micro
    for number in range(1, rounds + 1):
        begin = 1000.0 * number
        played = play(one.prediction.chain, problem.schedule, micro, BATCHES, layout.depths, trace=True)
        own = [s for s in played.spans if s.op in KINDS]
        for s in own:
            batch, m = (s.index, micro - 1) if s.op == "U" else divmod(s.index, micro)
            found.append(Span(kind=KINDS[s.op], node=s.where, part=f"stage{s.stage}:dev", round=number, batch=batch,
                              micro=m, begin=begin + slower * s.begin, end=begin + slower * s.end,
                              attrs={"stage": s.stage}))  # fmt: skip
        for stage, node in enumerate(layout.nodes):
            mine = [s for s in own if s.stage == stage]
            attrs = {
                "device": "dev", "stage": stage, "stages": layout.stages, "layers": list(layout.layers(stage)),
                "schedule": problem.schedule, "micro": micro, "depth": layout.depths[stage], "batches": BATCHES,
                "attempt": 0, "busy_s": slower * sum(s.end - s.begin for s in mine),
            }  # fmt: skip
            found.append(Span(kind="pipeline", node=node, part=f"stage{stage}:dev", round=number, attrs=attrs,
                              begin=begin + slower * min(s.begin for s in mine),
                              end=begin + slower * max(s.end for s in mine)))  # fmt: skip
    return found


def written(base: Path, spans: list[Span], scheme: str = "edgemove", run: str = "staged-1") -> Path:
    place = base / "runs" / run
    place.mkdir(parents=True)
    (place / "events.jsonl").write_bytes(b"".join(msgspec.json.encode(s) + b"\n" for s in spans))
    (place / "manifest.json").write_text(json.dumps({"run": run, "experiment": "staged", "reference_by_layer": TIMES}))
    (place / "summary.json").write_text(json.dumps({"run": run, "scheme": scheme, "experiment": "staged"}))
    return place


def test_what_is_planned_and_why(file, testbed) -> None:
    code, out, _ = testbed("plan", str(file))
    assert code == 0
    one = planned(load_plan(file), TIMES, WHOLE)["dev"]
    for said in (f"{one.prediction.seconds:.4g} s a batch predicted with 1f1b", "is the slowest", "<- slowest",
                 "update old at most", "one micro-batch at a time:", f"at most {one.over_turns:.2f} times as fast",
                 f"split, without a pipeline: {one.split.seconds:.4g} s", f"at most {one.speedup:.2f} times as fast",
                 "dev > edge-north > edge-south", "dev > edge-south", "dev: chains considered"):  # fmt: skip
        assert said in out, said
    best = min(c.score for c in one.best.considered if c.score is not None)
    assert one.best.score == best
    assert one.prediction.seconds == pytest.approx(one.best.seconds)


def test_the_bound_is_over_whole_batches_one_at_a_time(file, testbed) -> None:
    one = planned(load_plan(file), TIMES, WHOLE)["dev"]
    assert one.split.micro == 1
    assert len(one.split.layout.nodes) == 2
    work = sum(WHOLE.values())  # on nodes of 0.1, 1 and 0.8 of a core
    assert work < one.split.seconds < work / 0.1
    assert one.speedup == pytest.approx(one.split.seconds / (4 * one.prediction.bound))
    assert one.speedup < one.over_turns, "four micro-batches take longer than the batch that they make up"
    reference.store(reference.layers_key("vgg5", 16, 1, "", FORMS["digits"]), {})
    out = testbed("plan", str(file))[1]
    assert "times of whole batches are not measured yet; --measure does" in out
    told = json.loads(testbed("plan", str(file), "--format", "json")[1])["devices"]["dev"]
    assert (told["split"], told["speedup_bound"]) == (None, None)
    assert told["over_turns_bound"] == pytest.approx(one.over_turns)


def test_json_has_all_of_it(file, testbed) -> None:
    code, out, _ = testbed("plan", str(file), "--format", "json")
    assert code == 0
    told = json.loads(out)
    dev = told["devices"]["dev"]
    assert (told["experiment"], told["model"], told["micro"], told["schedule"]) == ("staged", "vgg5", 4, "1f1b")
    assert dev["chosen"]
    assert dev["nodes"][0] == "dev"
    assert dev["prediction"]["seconds"] == pytest.approx(dev["best"]["seconds"])
    assert dev["sequential"]["seconds"] > dev["prediction"]["seconds"]
    assert {tuple(one["nodes"]) for one in dev["best"]["considered"]} >= {("dev", "edge-north"), ("dev", "edge-south")}
    assert told["measured"] is None
    stages = json.loads(testbed("validate", str(file), "--format", "json")[1])["stages"]
    assert stages["dev"]["nodes"] == dev["nodes"]


def test_a_plan_that_is_given_stands_beside_the_best(file, testbed) -> None:
    given = "workload.pipeline.plan=[{node: device, layers: 6}, {node: edge-south}]"
    code, out, _ = testbed("plan", str(file), "--set", given)
    assert code == 0
    assert "the best would be dev 0.." in out
    assert "conv1 to fc1 on dev" in out
    told = json.loads(testbed("plan", str(file), "--set", given, "--format", "json")[1])["devices"]["dev"]
    assert (told["nodes"], told["chosen"]) == (["dev", "edge-south"], False)
    assert told["prediction"]["seconds"] > told["best"]["seconds"]


def test_what_cannot_be_says_why(file, testbed) -> None:
    code, out, _ = testbed("plan", str(file), "--set", "workload.cut=6")
    assert code == 0
    assert "not chosen: the file has a cut" in out
    assert "the best would be" in out
    plan = load_plan(file)
    for servers, missing in (({"edge-south"}, ""), ({"edge-north", "edge-south"}, "no plan for vgg5 on dev")):
        nodes = tuple(replace(n, memory=236 << 20) if n.name in servers else n for n in plan.nodes)
        one = planned(replace(plan, nodes=nodes), TIMES)["dev"]
        assert missing in one.why
        assert (one.best is None) == bool(missing)
        told = one.why if one.best is None else "; ".join(c.why for c in one.best.considered)
        assert "edge-south: needs" in told
        assert json.dumps(one.as_dict())


def test_nothing_to_plan(file, testbed) -> None:
    for scheme in ("local", "splitfed"):
        content = yaml.safe_load(file.read_text())
        content["workload"] |= {"scheme": scheme}
        if scheme == "splitfed":
            del content["workload"]["pipeline"]
        other = file.with_name(f"{scheme}.yaml")
        other.write_text(yaml.safe_dump(content))
        code, out, err = testbed("plan", str(other))
        assert (code, out) == (2, "")
        assert f"there is nothing to plan: {scheme} has no stages to place" in err
        assert "--scheme edgemove" in err


def test_times_that_are_not_known_are_measured_when_asked(file, testbed, monkeypatch) -> None:
    reference.path().unlink()
    code, out, err = testbed("plan", str(file))
    assert (code, out) == (2, "")
    assert "times by layer are not measured yet on this machine" in err
    assert "vgg5 in micro-batches of 4 samples" in err
    asked = []

    def measure(*work: object) -> dict[str, float]:
        asked.append(work)
        return dict.fromkeys(operations(LAYERS["vgg5"]), 0.02)

    monkeypatch.setattr("nodes.learn.layer_times.measure", measure)
    assert testbed("plan", str(file), "--measure")[0] == 0
    assert [one[:3] for one in asked] == [("vgg5", 4, 1), ("vgg5", 16, 1)]
    assert testbed("plan", str(file))[0] == 0  # they were kept
    assert testbed("plan", str(file), "--measure")[0] == 0
    assert len(asked) == 2


def test_a_run_that_went_as_predicted(file, tmp_path, testbed) -> None:
    """The same figures come out of events that the prediction itself was played into."""
    runs = ("--runs", str(tmp_path / "runs"))
    one = planned(load_plan(file), TIMES)["dev"]
    written(tmp_path, events(one))
    code, out, _ = testbed("plan", str(file), "--measured", "staged-1", *runs)
    assert code == 0
    assert "staged-1: predicted and measured" in out
    assert "rounds 1, 2, dev: conv1" in out
    told = json.loads(testbed("plan", str(file), "--measured", "staged-1", "--format", "json", *runs)[1])
    [layout] = told["measured"]["layouts"]
    assert layout["batch_s"] == pytest.approx(layout["predicted_s"], rel=0.02)
    assert layout["nodes"] == list(one.staging.layout.nodes)
    for stage in layout["stages"]:
        assert stage["batch_s"] == pytest.approx(stage["predicted_s"], rel=1e-6)


def test_a_run_that_took_longer(file, tmp_path, testbed) -> None:
    one = planned(load_plan(file), TIMES)["dev"]
    path = written(tmp_path, events(one, slower=1.25))
    told = json.loads(testbed("plan", str(file), "--measured", str(path), "--format", "json")[1])
    [layout] = told["measured"]["layouts"]
    assert layout["off"] == pytest.approx(0.25, abs=0.03)


def test_rounds_in_which_something_moved_are_left_out(file, tmp_path, testbed) -> None:
    one = planned(load_plan(file), TIMES)["dev"]
    spans = events(one)
    moved = Span(kind="relocate", node="dev", begin=2000.1, end=2000.2, attrs={"device": "dev", "stage": 1})
    path = written(tmp_path, [*spans, moved])
    told = json.loads(testbed("plan", str(file), "--measured", str(path), "--format", "json")[1])
    assert [one["rounds"] for one in told["measured"]["layouts"]] == [[1]]
    other = Span(kind="handover", node="dev", begin=1000.1, end=1000.2, attrs={"device": "dev"})
    path = written(tmp_path, [*spans, moved, other], run="staged-2")
    assert "no round in which all stages stayed" in testbed("plan", str(file), "--measured", str(path))[1]


def test_runs_that_cannot_be_compared(file, tmp_path, testbed) -> None:
    runs = ("--runs", str(tmp_path / "runs"))
    one = planned(load_plan(file), TIMES)["dev"]
    written(tmp_path, events(one))
    written(tmp_path, [s for s in events(one) if s.kind == "round"], run="empty")
    for words, said in (
        (("--measured", "staged-2"), "did you mean staged-1?"),
        (("--measured", "empty"), "a run without pipelines to compare with"),
        (("--measured", "staged-1", "--set", "workload.pipeline.schedule=sync"), "a run of another experiment"),
    ):
        code, out, err = testbed("plan", str(file), *words, *runs)
        assert (code, out) == (2, "")
        assert said in err, err


def test_a_run_is_told_what_to_do_again(file, tmp_path, testbed) -> None:
    """With --dry-run: read and checked, nothing is run."""
    decisions = tmp_path / "decisions.jsonl"
    layout = Layout((0, 2, LAST + 1), ("dev", "edge-south"))
    decisions.write_text("".join(lines([Decision("plan", "begin", "", 0.0, (1, 0, 0), "dev", layout, (4, 1))])))
    code, out, _ = testbed("run", str(file), "--decisions", str(decisions), "--dry-run")
    assert code == 0
    assert "conv1 to pool1 on dev (4 under way), conv2 to fc2 on edge-south" in out
    assert f"  {AGAIN}" in out
    assert "simple plan" not in out
    decisions.write_text(decisions.read_text().replace("edge-south", "edge-soth"))
    code, out, err = testbed("run", str(file), "--decisions", str(decisions), "--dry-run")
    assert (code, out) == (2, "")
    assert "did you mean 'edge-south'?" in err
