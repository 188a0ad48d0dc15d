"""What a unit fetches from others and gives to them, on a network and a pool that are none."""

import numpy as np
import pytest

from nodes.platform.blobs import FETCH_S
from nodes.platform.store import PIECE
from nodes.wire.platform_messages import Blob, NoBlob, WantBlob
from tests.unit.platform.unit_bed import arrays, digest_of, large, needs, units


@pytest.fixture
def unit(tmp_path):
    yield from units(tmp_path)


def test_what_nobody_waits_for_comes_piece_by_piece(tmp_path, unit):
    digest, store = large(tmp_path)
    unit.invoke(1, gently=True, **needs(digest))
    came = []
    while unit.sent:
        source, wanted, _ = unit.sent.popleft()
        assert (source, wanted) == ("cloud", WantBlob(digest, len(came)))
        data, pieces = store.piece(digest, wanted.piece)
        came.append(len(data))
        assert not unit.fakes
        unit.blobs.hear("cloud", Blob(digest, wanted.piece, pieces), {"": data}, 40_000)
    assert came == [PIECE] * 6 + [store.size(digest) - 6 * PIECE]
    np.testing.assert_array_equal(unit.store.get(digest)["a"], store.get(digest)["a"])
    [fake] = unit.fakes
    fake.ready()
    unit.pool.step()
    fake.result()
    unit.step()
    [ended] = unit.ended
    assert (ended.kind, ended.fetched) == ("", 7 * 40_000)
    [fetch] = [s for s in unit.spans if s.kind == "fetch"]
    assert fetch.bytes == store.size(digest)


def test_once_somebody_waits_for_it_all_of_it_is_asked_for(tmp_path, unit):
    digest, store = large(tmp_path)
    unit.invoke(1, gently=True, **needs(digest))
    unit.invoke(2, **needs(digest))
    assert [wanted for _, wanted, _ in unit.sent] == [WantBlob(digest, 0), WantBlob(digest)]
    data, pieces = store.piece(digest, 0)
    unit.blobs.hear("cloud", Blob(digest, 0, pieces), {"": data}, 77)
    assert len(unit.sent) == 2
    unit.blobs.hear("cloud", Blob(digest), store.get(digest), 77)
    assert len(unit.fakes) == 2
    unit.blobs.hear("cloud", Blob(digest, 0, pieces), {"": data}, 77)  # late, and no matter
    assert not unit.notes


def test_pieces_that_are_no_blob_are_none(tmp_path, unit):
    digest, store = large(tmp_path)
    unit.invoke(1, gently=True, **needs(digest))
    unit.blobs.hear("cloud", Blob(digest, 0, 1), {"": store.piece(digest, 0)[0]}, 77)
    unit.step()
    assert [(ended.kind, digest in unit.store) for ended in unit.ended] == [("missing", False)]


def test_a_piece_is_given_as_it_is_asked_for_and_none_of_what_is_not_here(tmp_path, unit):
    digest, store = large(tmp_path)
    unit.blobs.hear("eb", WantBlob(digest, 0), {}, 9)
    answer = unit.sent.pop()[1]
    assert isinstance(answer, NoBlob)
    assert "no such blob" in answer.reason
    unit.store.put(store.get(digest))
    unit.blobs.hear("eb", WantBlob(digest, 6), {}, 9)
    _, answer, tensors = unit.sent.pop()
    assert answer == Blob(digest, 6, 7)
    np.testing.assert_array_equal(tensors[""], store.piece(digest, 6)[0])
    unit.blobs.hear("eb", WantBlob(digest, 7), {}, 9)
    assert isinstance(unit.sent.pop()[1], NoBlob)


def test_what_is_not_here_is_fetched_once_and_then_run(tmp_path, unit):
    digest = digest_of(tmp_path, 1)
    unit.invoke(1, **needs(digest))
    unit.invoke(2, **needs(digest, source="eb"))
    assert list(unit.sent) == [("cloud", WantBlob(digest), {})]
    assert not unit.fakes
    unit.clock.now += 2
    unit.blobs.hear("cloud", Blob(digest), arrays(1), 77)
    assert len(unit.fakes) == 2
    for fake in unit.fakes:
        fake.ready()
        unit.pool.step()
        fake.result(values={"n": 3})
    unit.step()
    first, second = unit.ended
    assert (first.call, first.kind, first.values, first.fetched) == (1, "", {"n": 3}, 77)
    assert first.fetched_from == {"cloud": 77}
    assert second.fetched == 0  # it came for another one
    assert (first.cold, first.start_s, first.work_s, first.cpu_s) == (True, 0.75, 1.0, 0.626)
    assert unit.cold == {"f": 0.75}
    [fetch] = [s for s in unit.spans if s.kind == "fetch"]
    assert (fetch.peer, fetch.end - fetch.begin, fetch.bytes) == ("cloud", 2.0, 77)
    [one, _] = [s for s in unit.spans if s.kind == "function"]
    assert (one.attrs["fetch_s"], one.attrs["function"], one.bytes) == (2.0, "f", 77)
    unit.invoke(3, **needs(digest))  # here by now
    assert len(unit.sent) == 1
    assert len(unit.calls) == 1


def test_blobs_of_several_units_are_all_waited_for(tmp_path, unit):
    one, two = digest_of(tmp_path, 1), digest_of(tmp_path, 2)
    unit.invoke(1, inputs={"many": {"a": one, "b": two}}, where={one: "cloud", two: "d1"})
    assert [(to, body.digest) for to, body, _ in unit.sent] == [("cloud", one), ("d1", two)]
    unit.blobs.hear("d1", Blob(two), arrays(2), 5)
    assert not unit.fakes
    unit.store.limit = 3 * unit.store.bytes
    for value in range(10, 20):
        unit.store.put(arrays(value))
    unit.blobs.hear("cloud", Blob(one), arrays(1), 6)  # what came before has stayed meanwhile
    assert len(unit.fakes) == 1


@pytest.mark.parametrize("how", ["said", "other", "damaged", "late", "gone", "deaf", "nowhere", "itself"])
def test_what_cannot_be_had_ends_the_call_and_says_why(tmp_path, unit, how):
    digest = digest_of(tmp_path, 1)
    if how == "deaf":
        unit.deaf.add("cloud")
    unit.invoke(1, **needs(digest, source={"nowhere": "", "itself": "ea"}.get(how, "cloud")))
    match how:
        case "said":
            unit.blobs.hear("cloud", NoBlob(digest, "not here"), {}, 1)
        case "other":  # who was not asked has no say
            unit.blobs.hear("eb", Blob(digest), arrays(1), 1)
            unit.blobs.hear("eb", NoBlob(digest, "no"), {}, 1)
            assert not unit.ended
            assert len(unit.notes) == 2
            unit.blobs.lost("eb")
            assert not unit.ended
            unit.blobs.lost("cloud")
        case "damaged":
            unit.blobs.hear("cloud", Blob(digest), arrays(2), 1)
        case "late":
            unit.clock.now += FETCH_S
        case "gone":
            unit.blobs.lost("cloud")
    assert unit.blobs.due() == (0.0 if how in ("late", "deaf") else None)
    unit.step()
    [ended] = unit.ended
    said = {"said": "not here", "other": "gone", "damaged": "content of digest", "late": "no answer in time",
            "gone": "cloud is gone", "deaf": "cannot be reached", "nowhere": "nobody was named",
            "itself": "nobody was named"}  # fmt: skip
    assert (ended.kind, said[how] in ended.reason) == ("missing", True)
    assert ended.lacks == ((digest, "ea"), *([(digest, "cloud")] if how == "said" else []))
    assert not unit.fakes
    unit.deaf.clear()
    unit.invoke(2, **needs(digest))  # it may be asked for again
    assert unit.sent[-1][1] == WantBlob(digest)


def test_what_was_fetched_for_a_call_that_is_cancelled_is_told(tmp_path, unit):
    one, two = digest_of(tmp_path, 1), digest_of(tmp_path, 2)
    unit.invoke(1, inputs={"many": {"a": one, "b": two}}, where={one: "cloud", two: "d1"})
    unit.blobs.hear("cloud", Blob(one), arrays(1), 77)
    unit.calls.cancel(1)
    [ended] = unit.ended
    assert (ended.kind, ended.fetched, ended.fetched_from) == ("cancelled", 77, {"cloud": 77})
    [span] = [span for span in unit.spans if span.kind == "function"]
    assert span.bytes == 77
    unit.blobs.hear("d1", Blob(two), arrays(2), 5)
    assert not unit.store._pins
    assert len(unit.ended) == 1


def test_blobs_are_given_but_for_those_that_do_not_leave(tmp_path, unit):
    kept, own = unit.store.put(arrays(1)), unit.store.put(arrays(2))
    unit.blobs.private.add(own)
    for digest in (kept, own, "0" * 64, "../x"):
        unit.blobs.hear("d1", WantBlob(digest), {}, 1)
    (_, blob, tensors), *refused = unit.sent
    assert blob == Blob(kept)
    np.testing.assert_array_equal(tensors["a"], arrays(1)["a"])
    assert [(to, type(body), tensors) for to, body, tensors in refused] == [("d1", NoBlob, {})] * 3
    assert ["does not leave" in body.reason for _, body, _ in refused] == [True, False, False]
