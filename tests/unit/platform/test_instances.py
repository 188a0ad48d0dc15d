"""Real processes: what is measured, what is given back, and what becomes of functions that misbehave."""

import os
import select
import signal
import subprocess
import sys

import numpy as np
import pytest

from nodes.platform import messages as ms
from nodes.platform import store as stores
from nodes.platform import tending
from nodes.platform.functions import MIB
from nodes.platform.instances import Pool
from nodes.platform.outcomes import Invocation
from nodes.platform.store import Store
from testbed.run import birth
from tests.unit.platform.fakes import Clock
from tests.unit.platform.pools import drive, gone, invoke, write

MEMORY = 1 << 30


@pytest.fixture
def pool(tmp_path):
    made = Pool(Store(tmp_path / "blobs"), MEMORY)
    yield made
    made.close()


def resident(pid):
    """Bytes that a process has; none if there is no such process."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        return None


def test_a_users_function_is_given_its_inputs_and_its_outputs_are_kept(tmp_path, pool):
    path = write(tmp_path, """
@plain(inputs={"weights": Tensors(), "share": float}, outputs={"weights": Tensors(like="weights"), "torch": bool})
def scale(weights, share):
    import os, sys
    print("what it prints is in nobody's way")
    open("scratch", "w").write("and what it writes goes with it")
    return {"weights": {name: (a * share).astype(a.dtype) for name, a in weights.items()},
            "torch": "torch" in sys.modules}
""")
    weights = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(4)}
    digest = pool.store.put(weights)
    got = []

    def done(outcome):
        got.append(outcome)
        pool.store.pin(outcome.outputs.values())

    pool.submit(Invocation("scale", path, inputs={"weights": digest}, values={"share": 2}), done)
    drive([pool], lambda: got)
    [first] = got
    assert first.ok, first.reason
    np.testing.assert_array_equal(pool.store.get(first.outputs["weights"])["w"], 2 * weights["w"])
    assert first.values == {"torch": False}
    assert (first.read, first.written) == (32, 32)
    assert first.cold
    assert min(first.process_s, first.imports_s, first.start_cpu_s) > 0
    assert first.asked <= first.sent <= first.begin <= first.end <= first.ended
    assert 10e6 < first.memory < 64e6
    again = invoke(pool, "scale", path, inputs={"weights": digest}, values={"share": 2})
    assert again.outputs == first.outputs  # the same content: kept once
    assert not again.cold
    assert len(pool.store) == 2
    [staging] = (pool.store.directory / "staging").iterdir()
    assert sorted(p.name for p in staging.iterdir()) == ["scratch"]
    pool.drain()
    drive([pool], lambda: not pool.pids())
    assert list((pool.store.directory / "staging").iterdir()) == []


def test_scale_to_zero_gives_the_memory_back(tmp_path):
    path = write(tmp_path, """
kept = []
@plain(outputs={"pid": int}, memory=300 * MIB)
def hold():
    import os
    kept.append(bytearray(100 * MIB))
    return {"pid": os.getpid()}
""")
    clock = Clock()
    pool = Pool(Store(tmp_path / "blobs"), MEMORY, clock=clock, keep_alive=60)
    try:
        got = invoke(pool, "hold", path)
        pid = got.values["pid"]
        assert pool.pids() == [pid]
        assert resident(pid) > 100 * 2**20
        assert got.memory > 100 * 2**20
        clock.now += 60
        gone(pool, pid)
        assert resident(pid) is None  # the process is not there any more, and so is what it had
        assert pool.used == 0
        assert invoke(pool, "hold", path).values["pid"] != pid
        assert pool.cold["hold"] == 2
    finally:
        pool.close()


BAD = """
import os, signal, sys
class Own(BaseException):
    pass

@plain(inputs={"how": str}, outputs={"pid": int, "w": Tensors({"w": ("float32", (2,))}, optional=True)})
def misbehave(how):
    match how:
        case "raise":
            raise ValueError("no such thing")
        case "deep":
            import json
            json.loads("{")
        case "exit":
            sys.exit("enough")
        case "interrupt":
            raise KeyboardInterrupt
        case "vanish":
            os._exit(7)
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "shape":
            import numpy
            return {"pid": 1, "w": {"w": numpy.zeros(3, "float32")}}
        case "nothing":
            return None
        case "unspeakable":
            return {"pid": object()}
        case "hang":
            while True:
                pass
        case "leak":
            leak = []
            while True:
                leak.append(bytearray(MIB))
        case "deaf":
            signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
            while True:
                pass
        case "close":
            os.closerange(3, 100)
            while True:
                pass
        case "babble":
            for fd in range(3, 100):
                try:
                    os.write(fd, bytes([255]) * 64)
                except OSError:
                    pass
            while True:
                pass
    return {"pid": os.getpid()}
"""


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ("raise", "raised", ["misbehave", "ValueError: no such thing", "mine.py:16"]),
        ("deep", "raised", ["JSONDecodeError", "mine.py:19", "decoder.py"]),
        ("exit", "raised", ["SystemExit: enough"]),
        ("interrupt", "raised", ["KeyboardInterrupt"]),
        ("vanish", "died", ["misbehave", "exit code 7"]),
        ("crash", "died", ["misbehave", "signal 11"]),
        ("shape", "returned", ["misbehave", "float32[2]", "float32[3]"]),
        ("nothing", "returned", ["misbehave", "NoneType"]),
        ("unspeakable", "returned", ["misbehave", "pid as int"]),
        ("hang", "time", ["misbehave", "1 s"]),
        ("deaf", "time", ["misbehave"]),
        ("leak", "memory", ["misbehave", "resident"]),
        ("close", "died", ["misbehave"]),
        ("babble", "died", ["misbehave"]),
    ],
)
def test_a_function_that_misbehaves_fails_and_the_next_call_has_a_fresh_instance(tmp_path, pool, how, kind, said):
    path = write(tmp_path, BAD)
    before = invoke(pool, "misbehave", path, values={"how": "well"}).values["pid"]
    got = invoke(pool, "misbehave", path, values={"how": how}, time_limit=1 if kind == "time" else 60)
    assert (got.kind, got.instance) == (kind, 1)
    assert [text for text in said if text not in got.reason] == []
    assert "Traceback" not in got.reason
    after = invoke(pool, "misbehave", path, values={"how": "well"}).values["pid"]
    assert after != before
    assert before not in pool.pids()
    assert resident(before) is None
    assert (pool.cold["misbehave"], pool.warm["misbehave"], pool.failed) == (2, 1, {kind: 1})


@pytest.mark.parametrize(
    ("body", "said"),
    [("def f(:\n", "mine.py:7"), ("1 / 0\n", "ZeroDivisionError"), ("x = 1\n", "declares no function"),
     ("import os\nos._exit(5)\n", "exit code 5")],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_told_of(tmp_path, pool, body, said):
    got = invoke(pool, "f", write(tmp_path, body))
    assert got.kind == "no-start"
    assert said in got.reason
    drive([pool], lambda: not pool.pids())


def test_a_damaged_blob_is_told_of_and_dropped_and_the_instance_stays(tmp_path, pool):
    path = write(tmp_path, '@plain(inputs={"w": Tensors()})\ndef take(w): return {}\n')
    digest = pool.store.put({"w": np.zeros(100)})
    assert invoke(pool, "take", path, inputs={"w": digest}).ok
    file = pool.store.directory / f"{digest}.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.chmod(0o644)
    file.write_bytes(data)
    got = invoke(pool, "take", path, inputs={"w": digest})
    assert got.kind == "damaged"
    assert digest[:12] in got.reason
    assert pool.store.missing([digest]) == [digest]
    pool.store.put({"w": np.zeros(100)})
    assert invoke(pool, "take", path, inputs={"w": digest}).ok
    assert (pool.cold["take"], pool.warm["take"]) == (1, 2)


def test_an_instance_is_told_the_seals_of_its_inputs(tmp_path, pool, monkeypatch):
    path = write(tmp_path, '@plain(inputs={"w": Tensors()})\ndef take(w): return {}\n')
    digest, told = pool.store.put({"w": np.zeros(100)}), []
    real = ms.Invoke
    monkeypatch.setattr(ms, "Invoke", lambda *args: told.append(args[3]) or real(*args))
    assert invoke(pool, "take", path, inputs={"w": digest}).ok
    assert told == [pool.store.seals([digest])]
    assert told[0]


def test_what_is_given_wrongly_is_not_the_functions_fault(tmp_path, pool):
    path = write(tmp_path, '@plain(inputs={"n": int}, outputs={"n": int})\ndef f(n): return {"n": n}\n')
    for values in ({}, {"n": "one"}, {"n": 1, "m": 2}, {"n": object()}):
        got = invoke(pool, "f", path, values=values)
        assert got.kind == "given", values
    assert invoke(pool, "f", path, values={"n": 3}).values == {"n": 3}
    assert pool.cold["f"] == 1


def test_the_peak_is_that_of_its_own_call(tmp_path, pool):
    path = write(tmp_path, """
@plain(inputs={"size": int}, memory=300 * MIB)
def use(size):
    bytearray(size)
    return {}
""")
    peaks = [invoke(pool, "use", path, values={"size": size}).memory for size in (0, 100 << 20, 0)]
    assert peaks[1] - peaks[0] > 99 << 20
    assert peaks[2] < peaks[0] + (20 << 20)


def test_a_provisioned_one_has_its_memory_beforehand(tmp_path, monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", birth.ALLOCATOR)  # as in containers: what is freed stays with the process
    has = []
    for touch in (0, tending.TOUCH):
        monkeypatch.setattr(tending, "TOUCH", touch)
        pool, ready = Pool(Store(tmp_path / str(touch)), MEMORY), []
        pool.submit(Invocation("aggregate", idle=True), ready.append)
        drive([pool], lambda ready=ready: ready)
        has += [resident(pid) for pid in pool.pids()]
        pool.close()
    assert has[1] - has[0] > 0.8 * tending.TOUCH > 0


def test_of_what_is_kept_there_are_so_many_with_so_much_memory(pool):
    ready = []
    for size in (90, 90, 90, 120):
        pool.submit(Invocation("broadcast", memory=size * MIB, idle=True), ready.append)
    drive([pool], lambda: len(ready) == 4)
    pool.drain({"broadcast": (2, 90 * MIB)})
    drive([pool], lambda: len(pool.pids()) == 2)
    assert pool.used == 180 * MIB


def test_what_a_function_started_ends_with_it(tmp_path, pool):
    path = write(tmp_path, """
@plain(outputs={"pid": int})
def spawn():
    import subprocess
    child = subprocess.Popen(["sleep", "1000"])
    child.returncode = 0
    return {"pid": child.pid}
""")
    pid = invoke(pool, "spawn", path).values["pid"]
    watch = select.poll()
    fd = os.pidfd_open(pid)
    watch.register(fd, select.POLLIN)
    assert not watch.poll(0)
    pool.drain()
    assert watch.poll(30_000)
    os.close(fd)


def test_what_a_function_forked_ends_with_it_however_it_ends(tmp_path):
    path = write(tmp_path, """
@plain(outputs={"pid": int}, streams=True)
def fork(stream):
    import os, time
    pid = os.fork()  # has the socket, too
    if not pid:
        time.sleep(1000)
    stream.say(str(pid).encode())
    stream.receive(None)
    os._exit(3)
""")
    said, got = [], []
    pool = Pool(Store(tmp_path / "blobs"), MEMORY, say=lambda invocation, frame: said.append(int(frame)))
    id_ = pool.submit(Invocation("fork", path), got.append)
    drive([pool], lambda: said)
    fd = os.pidfd_open(said[0])
    pool.send(id_, ms.Said(b"end"))
    drive([pool], lambda: got)
    assert (got[0].kind, "exit code 3" in got[0].reason) == ("died", True)
    pool.close()
    watch = select.poll()
    watch.register(fd, select.POLLIN)
    assert watch.poll(30_000)
    os.close(fd)


def test_at_the_end_the_pool_waits_for_processes_and_for_nothing_else(tmp_path):
    path = write(tmp_path, '@plain()\ndef f(): return {}\n')
    before = len(os.listdir("/proc/self/fd"))
    pool = Pool(Store(tmp_path / "blobs"), MEMORY)
    invoke(pool, "f", path)
    [pid] = pool.pids()
    pool.close()
    assert resident(pid) is None
    assert len(os.listdir("/proc/self/fd")) == before


AGENT = """
import sys
from pathlib import Path
from nodes.platform.instances import Pool
from nodes.platform.outcomes import Invocation
from nodes.platform.store import Store
from testbed.run import birth
from tests.unit.platform.pools import drive, invoke
said = []
pool = Pool(Store(Path(sys.argv[1])), 1 << 30, say=lambda invocation, frame: said.append(frame))
print(invoke(pool, "pid", sys.argv[2]).values["pid"], flush=True)   # idle
pool.submit(Invocation("busy", sys.argv[2]), print)
drive([pool], lambda: said)
print(said[0].decode(), flush=True)
sys.stdin.read()
"""


def test_instances_die_with_their_agent_and_leave_nothing(tmp_path):
    path = write(tmp_path, """
import os
@plain(outputs={"pid": int})
def pid():
    return {"pid": os.getpid()}

@plain(streams=True)
def busy(stream):
    stream.say(str(os.getpid()).encode())
    while True:
        pass
""")
    blobs = tmp_path / "blobs"
    agent = subprocess.Popen(
        [sys.executable, "-c", AGENT, str(blobs), path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with agent:
        pids = [int(agent.stdout.readline()) for _ in range(2)]
        watch = [os.pidfd_open(pid) for pid in pids]
        agent.send_signal(signal.SIGKILL)
    for fd in watch:
        ends = select.poll()
        ends.register(fd, select.POLLIN)
        assert ends.poll(30_000)
        os.close(fd)
    Store(blobs)
    assert list(blobs.iterdir()) == []


def test_without_room_for_its_outputs_an_instance_leaves_none_and_stays(tmp_path, monkeypatch):
    from nodes.platform.instance import Instance
    from nodes.platform.library import Path, load

    path = write(tmp_path, """
@plain(inputs={"a": Tensors()}, outputs={"c": Tensors(), "d": Tensors()})
def f(a):
    return {"c": {"w": a["w"] + 1}, "d": {"w": a["w"] + 2}}
""")
    store = Store(tmp_path / "blobs")
    digest, staging, replace = store.put({"w": np.zeros(3)}), store.staging("1"), os.replace
    instance = Instance(None, ms.Start("f", path, str(store.directory), str(staging), 0.0), load(Path(path))["f"])

    def second_is_too_much(*paths):
        if list(staging.glob("[!.]*")):
            raise OSError(28, "No space left on device")
        replace(*paths)

    monkeypatch.setattr("os.replace", second_is_too_much)
    got = instance.answer(ms.Invoke(1, {"a": digest}, {}))
    assert (got.kind, "No space left" in got.reason) == ("no-room", True)
    assert list(staging.iterdir()) == []
    monkeypatch.setattr("os.replace", replace)
    assert len(instance.answer(ms.Invoke(2, {"a": digest}, {})).outputs) == 2


def test_a_warm_call_reads_and_writes_each_blob_once_and_imports_nothing(tmp_path, monkeypatch):
    """What a warm call does beyond its work: the count of it, not the time (`benchmarks/warm_calls.py`)."""
    from nodes.platform.instance import Instance
    from nodes.platform.library import Path, load

    path = write(tmp_path, """
@plain(inputs={"a": Tensors(), "b": Tensors(many=True)}, outputs={"c": Tensors(), "d": Tensors()})
def f(a, b):
    return {"c": a, "d": {"w": b["x"]["w"] + b["y"]["w"]}}
""")
    count = {"read": 0, "stage": 0, "hash": 0}

    def counted(name, call):
        def counting(*args):
            count[name] += 1
            return call(*args)

        return counting

    store = Store(tmp_path / "blobs")
    digests = [store.put({"w": np.full(3, n)}) for n in range(3)]
    monkeypatch.setattr(stores, "read", counted("read", stores.read))
    monkeypatch.setattr(stores, "stage", counted("stage", stores.stage))
    monkeypatch.setattr(stores, "arrays_digest", counted("hash", stores.arrays_digest))
    staging = store.staging("1")
    instance = Instance(None, ms.Start("f", path, str(store.directory), str(staging), 0.0), load(Path(path))["f"])
    before = set(sys.modules)
    inputs = {"a": digests[0], "b": {"x": digests[1], "y": digests[2]}}
    got = instance.answer(ms.Invoke(1, inputs, {}, store.seals(digests)))
    assert isinstance(got, ms.Result)
    assert count == {"read": 3, "stage": 2, "hash": 2}
    instance.answer(ms.Invoke(1, inputs, {}))
    assert count == {"read": 6, "stage": 4, "hash": 7}
    assert set(sys.modules) == before
    assert got.outputs["c"] == digests[0]
    assert store.put({"w": np.full(3, 3)}) == got.outputs["d"]
