"""Where a pipeline goes on when its servers are gone, and when they count as gone."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.policies import layouts
from nodes.policies.fallback import MOVING, SURE, WAIT, Doubt, following, preferred, stalled, weigh
from nodes.policies.layouts import PipelineLayout
from nodes.policies.offers import NodeOffer
from nodes.policies.order import depths
from nodes.wire.messages import Holds

SERVERS = ("ea", "eb", "ec", "ed")
RULES = {"schedule": "1f1b", "micro": 4, "depth": None}


def lay(text: str, *bounds: int) -> PipelineLayout:
    nodes = tuple(text.split())
    return PipelineLayout((0, *bounds), nodes, depths("1f1b", len(nodes), 4))


def after(layout: PipelineLayout, gone: str, spare: str = "") -> PipelineLayout:
    return following(layout, gone.split(), spare.split(), **RULES)


THREE = lay("dev ea eb", 2, 4, 7)
U_SHAPE = lay("dev ea eb dev", 1, 3, 5, 7)
ALONE = lay("dev", 7)


@pytest.mark.parametrize(
    ("layout", "gone", "spare", "then"),
    [
        (THREE, "eb", "ea eb ec ed", lay("dev ea ec", 2, 4, 7)),
        (THREE, "ea eb", "ec ed", lay("dev ec ed", 2, 4, 7)),
        (THREE, "eb", "ea eb", lay("dev ea", 2, 7)),
        (THREE, "ea", "", lay("dev eb", 2, 7)),
        (THREE, "ea eb", "ec", lay("dev ec", 2, 7)),
        (THREE, "ea eb ec", "ec", ALONE),
        (THREE, "ec", "ed", THREE),
        (U_SHAPE, "ea", "ec", lay("dev ec eb dev", 1, 3, 5, 7)),
        (U_SHAPE, "ea", "", lay("dev eb dev", 1, 5, 7)),
        (U_SHAPE, "eb", "", lay("dev ea dev", 1, 5, 7)),
        (U_SHAPE, "ea eb", "", ALONE),
        (lay("dev ea eb ec", 0, 2, 4, 7), "eb", "", lay("dev ea ec", 0, 4, 7)),
        (lay("dev ea ea", 2, 4, 7), "ea", "eb", lay("dev eb eb", 2, 4, 7)),  # two stages of one server stay together
        (lay("dev ea", 0, 7), "ea", "", ALONE),  # a device that had no layers has all
        (ALONE, "ea", "", ALONE),
    ],
)
def test_another_server_else_fewer_stages_else_the_device_alone(layout, gone, spare, then) -> None:
    assert after(layout, gone, spare) == then


@given(st.data())
def test_whatever_is_gone_what_follows_is_a_layout_without_it(data) -> None:
    layers, labels = 9, data.draw(st.sampled_from(["leave", "stay"]))
    schedule = data.draw(st.sampled_from(["sync", "1f1b", "sequential"]))
    stages = data.draw(st.integers(3 if labels == "stay" else 2, 4))
    first = data.draw(st.integers(0, 3))
    cuts = data.draw(st.lists(st.integers(4, layers - 1), min_size=stages - 2, max_size=stages - 2, unique=True))
    nodes = data.draw(st.lists(st.sampled_from(SERVERS), min_size=stages - 1, max_size=stages - 1))
    if labels == "stay":
        nodes[-1] = "dev"
    rules = {"schedule": schedule, "micro": 4, "depth": None}
    layout = PipelineLayout((0, first, *sorted(cuts), layers), ("dev", *nodes), depths(schedule, stages, 4))
    gone, spare = (data.draw(st.lists(st.sampled_from(SERVERS), unique=True)) for _ in range(2))
    then = following(layout, gone, spare, **rules)

    layouts.require(then, layers) if then.stages > 1 else None
    assert then.bounds[0] == 0
    assert then.bounds[-1] == layers
    assert all(a < b for a, b in pairwise(then.bounds[1:]))
    assert not set(then.nodes) & set(gone)
    assert set(then.nodes) <= {"dev", *nodes, *spare}
    assert then.nodes[0] == "dev"
    assert then.bounds[1] >= first  # what is to be kept on the device stays there
    assert (then.nodes[-1] == "dev") == (labels == "stay" or then.stages == 1)
    assert "dev" not in then.nodes[1:-1]
    assert set(then.bounds) <= set(layout.bounds)  # no cut where none was
    if not set(gone) & set(layout.nodes):
        assert then == layout
    usable = {node for node in (*nodes, *spare) if node not in gone} - {"dev"}
    assert (then.stages == 1) == (not usable)
    assert following(then, gone, spare, **rules) == then


def test_servers_are_tried_in_the_order_of_what_is_known_of_them() -> None:
    assert preferred(["ec", "ea", "eb"], near="eb") == ["eb", "ea", "ec"]
    offers = {
        "ea": NodeOffer("ea", 1e6, 1e6, ratio=0.5), "eb": NodeOffer("eb", 2e6, 2e6, ratio=0.5),
        "ec": NodeOffer("ec", 9e6, 9e6, ratio=0.1, admits=False), "ed": NodeOffer("ed", 0.0, 0.0),
    }  # fmt: skip
    assert preferred([*SERVERS, "ee"], "ea", offers) == ["eb", "ea", "ee"]


# --- asking ---------------------------------------------------------------------------------------------

MINE = (2, 1)


def held(node: str, round: int = 2, attempt: int = 1, **more) -> Holds:
    return Holds(node, 1, True, round=round, attempt=attempt, **more)


WELL = {(1, "ea"): held("ea"), (2, "eb"): held("eb"), (1, "ec"): Holds("ec", 1, False)}


def ask(*askings, layout=THREE, reached=True):
    doubt, verdict = Doubt(), WAIT
    for answers in askings:
        assert not verdict.reopen
        doubt, verdict = weigh(doubt, layout, MINE, answers, reached)
    return doubt, verdict


def test_all_is_well() -> None:
    doubt, verdict = ask(*[WELL] * 50)
    assert verdict == WAIT
    assert doubt == Doubt(50)


def test_a_server_that_is_silent_while_others_answer_is_gone() -> None:
    silent = {key: one for key, one in WELL.items() if key[1] != "eb"}
    assert ask(*[silent] * (SURE - 1))[1] == WAIT
    assert ask(*[silent] * SURE)[1].gone == ("eb",)
    assert ask(*[silent] * (SURE - 1), WELL, *[silent] * (SURE - 1))[1] == WAIT  # not in a row
    assert set(ask(*[{}] * SURE)[1].gone) == {"ea", "eb"}  # the aggregator answers


def test_a_server_that_is_to_hand_its_layers_over_must_not_be_silent_either() -> None:
    doubt, _ = weigh(Doubt(), THREE, MINE, WELL, True, also=("ed",))
    assert weigh(doubt, THREE, MINE, WELL, True, also=("ed",))[1].gone == ("ed",)


def test_out_of_reach_of_all_nothing_is_lost() -> None:
    assert ask(*[{}] * 50, reached=False)[1] == WAIT
    silent = {key: one for key, one in WELL.items() if key[1] != "eb"}
    doubt, _ = ask(*[silent] * (SURE - 1))
    doubt, _ = weigh(doubt, THREE, MINE, {}, False)
    assert weigh(doubt, THREE, MINE, silent, True)[1] == WAIT  # who has been out of reach begins to count anew


@pytest.mark.parametrize("lost", [Holds("eb", 1, False), held("eb", attempt=0), held("eb", round=1),
                                  held("eb", standby=True)])  # fmt: skip
def test_a_stage_that_its_server_does_not_have_is_opened_again_there(lost) -> None:
    answers = WELL | {(2, "eb"): lost}
    assert ask(*[answers] * SURE)[1] == WAIT
    verdict = ask(*[answers] * (SURE + 1))[1]
    assert verdict.reopen
    assert verdict.gone == ()


def test_a_stage_that_moves_is_waited_for() -> None:
    moving = WELL | {(2, "eb"): held("eb", leaving=True)}
    assert ask(*[moving] * MOVING)[1] == WAIT
    assert ask(*[moving] * (MOVING + 1))[1].reopen
    assert ask(*[moving] * 3, moving | {(2, "ec"): held("ec")}, *[moving] * MOVING)[1] == WAIT  # it has come
    doubt = Doubt()
    for times in range(SURE + 1):  # where it goes to may be the one that says nothing
        doubt, verdict = weigh(doubt, THREE, MINE, moving, True, asked=("ea", "eb", "ec", "ed"))
        assert verdict.reopen == (times == SURE)


def test_nothing_goes_on_although_all_answer() -> None:
    assert stalled(THREE, 1).gone == ()
    assert stalled(THREE, 2).gone == ("eb",)
    assert stalled(lay("dev ea", 2, 7), 3).gone == ("ea",)
    assert stalled(ALONE, 4) == stalled(ALONE, 1)
    assert all(stalled(THREE, n).reopen for n in (1, 2, 3))
