"""Blobs by digest: once, whole, verified, within their room, over a restart."""

import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.errors import InputError, RunError
from nodes.learn.digest import arrays_digest, weights_digest
from nodes.platform import store as stores
from nodes.platform.store import DamagedError, Store
from nodes.wire.codec import DTYPES


def blob(n, size=100):
    return {"w": np.full(size, n, np.float32)}


def files(store):
    return sorted(p.name for p in store.directory.iterdir() if p.is_file())


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "blobs")


@given(st.dictionaries(
    st.text(max_size=3), st.tuples(st.sampled_from(sorted(DTYPES)), st.lists(st.integers(1, 3), max_size=3)), max_size=3
))
def test_arrays_have_the_digest_of_the_tensors_that_they_are(named):
    draw = np.random.default_rng(1)
    arrays = {n: np.asarray(draw.integers(0, 2, shape), dtype=dtype) for n, (dtype, shape) in named.items()}
    assert arrays_digest(arrays) == weights_digest({n: torch.from_numpy(np.array(a)) for n, a in arrays.items()})
    flipped = {n: a.T for n, a in arrays.items()}  # not contiguous
    assert arrays_digest(flipped) == arrays_digest({n: a.copy() for n, a in flipped.items()})


def test_nothing_is_stored_twice(store):
    digest = store.put(blob(1))
    before = (store.directory / files(store)[0]).stat().st_ino
    assert store.put(blob(1)) == digest
    assert len(store) == 1
    assert len(files(store)) == 1
    assert (store.directory / files(store)[0]).stat().st_ino == before
    assert store.missing([digest, "f" * 64, digest, "f" * 64]) == ["f" * 64]


def test_what_is_read_is_what_was_put_and_may_be_written_to(store):
    arrays = {"s": np.array(3.0), "e": np.zeros((0, 2), np.int64), "b": np.array([True])}
    got = store.get(store.put(arrays))
    assert got.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(got[name], array)
        assert got[name].flags.writeable
        assert got[name].shape == array.shape


@pytest.mark.parametrize("how", ["flipped", "short", "empty", "other", "gone"])
def test_a_damaged_blob_is_an_error_and_is_dropped(store, how):
    digest, other = store.put(blob(1)), store.put(blob(2))
    path = store.directory / f"{digest}.safetensors"
    data = path.read_bytes()
    path.chmod(0o644)
    match how:
        case "flipped":
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        case "short":
            path.write_bytes(data[:-1])
        case "empty":
            path.write_bytes(b"")
        case "other":
            path.write_bytes((store.directory / f"{other}.safetensors").read_bytes())
        case "gone":
            path.unlink()
    with pytest.raises(DamagedError, match=digest[:12]) as caught:
        store.get(digest)
    assert caught.value.digest == digest
    assert caught.value.remedy
    assert digest not in store
    assert store.missing([digest]) == [digest]
    assert not path.exists()
    assert store.get(other)["w"][0] == 2
    store.put(blob(1))
    assert store.get(digest)["w"][0] == 1


@pytest.fixture
def hashed(monkeypatch):
    """How often a blob was hashed."""
    count = []
    monkeypatch.setattr(stores, "arrays_digest", lambda arrays: count.append(1) or arrays_digest(arrays))
    return count


@pytest.mark.parametrize("how", ["put", "adopted", "put again", "got", "pinned"])
def test_a_file_whose_seal_is_unbroken_is_not_hashed_again(store, hashed, how):
    if how == "adopted":
        staging = store.staging("1")
        digest = stores.stage(staging, blob(1))
        store.adopt(staging, digest)
    else:
        digest = store.put(blob(1))
    if how == "put again":
        store.put(blob(1))
    if how == "got":
        store.get(digest)
    if how == "pinned":
        store.pin([digest])
    assert len(files(store)) == 1
    assert (store.directory / files(store)[0]).stat().st_mode & 0o777 == 0o444
    hashed.clear()
    seals = store.seals([digest, "0" * 64])
    assert seals.keys() == {digest}
    assert stores.read(store.directory, digest, seals[digest])["w"][0] == 1
    assert not hashed
    assert stores.read(store.directory, digest)["w"][0] == 1
    assert len(hashed) == 1
    store.drop(digest)
    assert not store.seals([digest])
    with pytest.raises(DamagedError, match="no such blob"):
        stores.read(store.directory, digest, seals[digest])


@pytest.mark.parametrize("how", ["written to", "in its place", "kept its time"])
def test_a_file_whose_seal_is_broken_is_hashed(store, hashed, how):
    digest = store.put(blob(1))
    path = store.directory / f"{digest}.safetensors"
    os.utime(path, ns=(1, 1))  # a kernel's clock may be coarse
    seal = stores.seal_of(path)
    damaged = path.read_bytes()[:-1] + b"x"
    if how == "in its place":
        path.unlink()
    else:
        path.chmod(0o644)
    path.write_bytes(damaged)
    if how == "kept its time":
        os.utime(path, ns=(1, 1))
        assert stores.seal_of(path)[:3] == seal[:3]
    hashed.clear()
    with pytest.raises(DamagedError, match="content of digest"):
        stores.read(store.directory, digest, seal)
    assert len(hashed) == 1
    store.put(blob(1))  # it is thought to be here; its seal is not made good by that
    assert not store.seals([digest])


def test_what_was_there_before_has_no_seal(tmp_path, hashed):
    digest = Store(tmp_path).put(blob(1))
    again = Store(tmp_path)
    assert not again.seals([digest])
    assert again.get(digest)["w"][0] == 1
    assert len(hashed) == 2


def test_a_blob_that_came_as_another_is_not_kept(store):
    with pytest.raises(DamagedError):
        store.put(blob(1), arrays_digest(blob(2)))
    assert len(store) == 0
    assert not files(store)


def test_a_digest_is_no_path(store):
    for bad in ("../" + "0" * 61, "", "A" * 64, "0" * 63, "/etc/passwd"):
        with pytest.raises(InputError, match="not a digest"):
            store.drop(bad)


def test_blobs_survive_a_restart_in_the_order_of_their_use(tmp_path):
    first = Store(tmp_path)
    digests = [first.put(blob(n)) for n in range(4)]
    for at, digest in enumerate(digests):  # file systems' clocks are coarse
        os.utime(first.directory / f"{digest}.safetensors", ns=(at, at))
    size = first.size(digests[0])
    first.get(digests[0])
    (tmp_path / ".half.123").write_bytes(b"x")
    first.staging("7")
    again = Store(tmp_path, limit=3 * size)
    assert again.missing(digests) == [digests[1]]
    assert again.get(digests[0])["w"][0] == 0
    assert not list(tmp_path.glob(".*"))
    assert not (tmp_path / "staging").exists()


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(["put", "get", "pin", "unpin"]), st.integers(0, 5)), max_size=30))
def test_the_room_is_kept_and_the_least_used_go_first(tmp_path_factory, acts):
    store = Store(tmp_path_factory.mktemp("s"), limit=3 * 500)
    digests = [arrays_digest(blob(n)) for n in range(6)]
    used, pins = [], []
    for act, n in acts:
        digest = digests[n]
        match act:
            case "put":
                if len(set(pins)) == 3 and digest not in used:
                    with pytest.raises(RunError, match="no room"):
                        store.put(blob(n))
                    continue
                store.put(blob(n))
            case "get":
                if digest not in used:
                    continue
                store.get(digest)
            case "pin" if digest in used and len({*pins, digest}) <= 3:
                store.pin([digest])
                pins.append(digest)
                continue
            case "unpin" if digest in pins:
                store.unpin([digest])
                pins.remove(digest)
                continue
            case _:
                continue
        used = [d for d in used if d != digest] + [digest]
        while len(used) > 3:
            used.remove(next(d for d in used if d not in pins))
        assert set(used) == {d for d in digests if d in store}
        assert store.bytes <= store.limit
        assert len(files(store)) == len(used)


def test_without_room_on_the_file_system_a_blob_is_refused(store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(RunError, match="No space left"):
        store.put(blob(1))
    assert len(store) == 0
    assert not files(store)


def test_what_nobody_takes_over_is_removed(store):
    staging = store.staging("1")
    digest = stores.stage(staging, blob(1))
    stores.reject(staging, [digest, digest, "0" * 64, "../../no-digest"])
    assert not list(staging.iterdir())


def test_a_file_that_is_gone_is_found_out_by_who_reads_it(store):
    digest = store.put(blob(1))
    (store.directory / f"{digest}.safetensors").unlink()
    assert store.put(blob(1)) == digest  # it is thought to be here
    with pytest.raises(DamagedError):
        store.get(digest)
    assert store.missing([digest]) == [digest]


def test_a_writers_blob_is_taken_over_once(store):
    staging = store.staging("1")
    digest = stores.stage(staging, blob(1))
    store.adopt(staging, digest)
    assert store.get(digest)["w"][0] == 1
    assert not list(staging.iterdir())
    stores.stage(staging, blob(1))
    store.adopt(staging, digest)
    assert len(store) == 1
    assert not list(staging.iterdir())
    with pytest.raises(DamagedError, match="not written"):
        store.adopt(staging, "0" * 64)
    store.discard(staging)
    assert not staging.exists()


def test_a_blob_that_is_too_large_is_refused(tmp_path):
    store = Store(tmp_path, limit=1000)
    small = store.put(blob(1, 100))
    with pytest.raises(RunError, match="no room") as caught:
        store.put(blob(2, 1000))
    assert caught.value.remedy
    staging = store.staging("1")
    with pytest.raises(RunError, match="no room"):
        store.adopt(staging, stores.stage(staging, blob(2, 1000)))
    assert not list(staging.iterdir())
    assert small in store
