from __future__ import annotations

import json

import pytest

from testbed.cli import main
from tests.unit.experiment.test_motion import BASE

WALK = "t,node,x,y\n0,a,0,5\n0,b,100,5\n50,a,100,5\n60,a,130,5\n"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    def command(mobility: str, *arguments: str) -> tuple[int, str, str]:
        path = tmp_path / "exp.yaml"
        path.write_text(BASE + "".join(f"  {line}\n" for line in mobility.splitlines()))
        (tmp_path / "t.csv").write_text(WALK)
        monkeypatch.setattr("sys.argv", ["testbed", "mobility", str(path), *arguments])
        monkeypatch.setenv("COLUMNS", "140")
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return command


RADIO = "trace: t.csv\nassociation: strongest\nradio: {wifi: {shadowing: 0dB, device_tx: 16dBm}}\nprediction: oracle"


def test_tables(run):
    code, out, _ = run(RADIO)
    assert code == 0
    for word in ("2 devices, 2 sites, 1 handovers, 60 s", "│ a      │ west │ east │", "Mbit/s",
                 "predictions (oracle, 5 s ahead): 1 hits, 4.8 s", "0 misses"):  # fmt: skip
        assert word in out, out


def test_a_replay_at_another_pace_says_so(run):
    code, _, err = run("trace: {file: t.csv, scale: {time: 0.5}}")
    assert code == 0
    assert "replayed 2 times faster than recorded" in err
    assert "replayed" not in run("trace: t.csv")[2]


def test_json_and_map(run, tmp_path):
    code, out, err = run(RADIO, "--format", "json", "--map", str(tmp_path / "m.svg"))
    assert code == 0
    assert "map: " in err
    seen = json.loads(out)
    (handover,) = seen["handovers"]
    assert (handover["device"], handover["to"]) == ("a", "east")
    assert 25 < handover["at"] < 35
    assert [d["site"] for d in seen["devices"][0]["dwells"]] == ["west", "east"]
    assert seen["devices"][0]["dwells"][0]["up"] > 1e6
    assert "<svg" in (tmp_path / "m.svg").read_text()


def test_who_goes_out_of_coverage(run):
    _, out, _ = run("trace: t.csv\nradio: {wifi: {shadowing: 0dB, tx: 10dBm, device_tx: 10dBm}}")
    assert "out of coverage" in out
    assert "unshaped" not in out


def test_who_comes_and_goes(run, tmp_path):
    (tmp_path / "here.csv").write_text("device,joins,leaves\na,0,10\na,20.5,\nb,5,70\n")
    for mobility, dwell in (("", "b      │ east │ 1 "), ("trace: t.csv\n", "Mbit/s"),
                            ("moves: [a to east at 50% of round 2]\n", None)):  # fmt: skip
        code, out, _ = run(f"{mobility}presence: {{file: here.csv}}")
        assert code == 0
        for row in ("links down", "│ b      │ 0 s  │ 5 s     │ absent", "│ a      │ 10 s │ 20.5 s  │ absent",
                    "│ b      │ 70 s │ the end │ absent"):  # fmt: skip
            assert row in out, out
        assert (dwell in out) if dwell else ("dwell" not in out)


def test_scripted_moves(run):
    _, out, err = run("moves: [a to east every 20 rounds]")
    assert "0% of round 20" in out
    assert "after a run" in err
    assert "dwell" not in out


def test_what_is_wrong_is_told(run, tmp_path):
    assert run("trace: t.csv", "--map", str(tmp_path / "m.pdf"))[0] == 2
    code, _, err = run("trace: t.csv\nassociation: {strongest: {hysteresis: -1dB}}")
    assert code == 2
    assert "hysteresis: below 0" in err
