"""How long a pool's instances stay, and what their time is counted as."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.platform.instances import KEEP_ALIVE
from nodes.platform.outcomes import Invocation
from nodes.platform.slots import Crowd
from tests.unit.platform.fakes import Clock
from tests.unit.platform.pool_bed import F, G, beds


@pytest.fixture
def make(tmp_path):
    yield from beds(tmp_path)


def test_one_that_nobody_needs_ends_after_its_time_and_not_before(make):
    bed = make()
    fake = bed.cold()
    bed.run(fake)
    bed.after(KEEP_ALIVE - 0.001)
    assert not fake.killed
    assert bed.pool.warm_functions() == {"f": 1}
    bed.submit()
    bed.run(fake)  # used again: its time begins anew
    bed.after(KEEP_ALIVE - 0.001)
    assert not fake.killed
    fake.dies_at_once = False
    bed.clock.now += 0.001
    assert bed.pool.due() == 0.0
    bed.pool.step()
    assert fake.killed
    assert (bed.pool.used, bed.pool.warm_functions()) == (100, {})  # its memory is not back before it is gone
    fake.die(-9)
    bed.pool.step()
    assert (bed.pool.used, bed.pool.pids(), bed.pool.due()) == (0, [], None)
    assert not fake.directory.exists()
    [life] = bed.pool.lives
    assert life.idle_s == life.ended - life.born
    assert (life.invocations, life.starting_s, life.busy_s) == (2, 0.0, 0.0)
    assert life.idle_s == pytest.approx(2 * KEEP_ALIVE - 0.001)


def test_an_instances_time_is_told_apart(make):
    bed = make()
    bed.submit()
    bed.clock.now += 2
    bed.fakes[0].ready()
    bed.pool.step()
    bed.clock.now += 3
    bed.run(bed.fakes[0])
    bed.clock.now += 5
    [life] = bed.pool.alive()
    assert (life.starting_s, life.busy_s, life.idle_s, life.ended - life.born) == (2, 3, 5, 10)
    bed.submit()
    bed.clock.now += 7
    bed.pool.cancel(2)
    bed.pool.step()
    assert [(life.starting_s, life.busy_s, life.idle_s) for life in bed.pool.lives] == [(2, 10, 5)]


def test_how_many_started_meanwhile_is_told_of_a_cold_start(make):
    bed = make()
    for invocation in (F, G):
        bed.submit(invocation)
    bed.clock.now += 4
    bed.fakes[1].ready("g")
    bed.pool.step()
    bed.clock.now += 4
    bed.fakes[0].ready()
    bed.pool.step()
    second, first = bed.run(bed.fakes[1]), bed.run(bed.fakes[0])
    assert second.crowd == pytest.approx(2.0)
    assert first.crowd == pytest.approx(8 / 6)  # 4 s with the other one, 4 s alone: alone it would have taken 6
    bed.cold(Invocation("h", "/mine.py", memory=100))
    assert bed.run(bed.fakes[2]).crowd == 1.0


def test_one_that_is_killed_while_it_starts_is_in_nobodys_way(make):
    bed = make()
    id_ = bed.submit(F)
    bed.pool.cancel(id_)
    bed.pool.step()
    bed.submit(G)
    bed.clock.now += 4
    bed.fakes[1].ready("g")
    bed.pool.step()
    assert bed.run(bed.fakes[1]).crowd == 1.0


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 3)), max_size=20))
def test_what_each_would_have_taken_alone_is_together_the_time_in_which_any_was_there(moves):
    clock = Clock()
    crowd, inside, alone, busy = Crowd(clock), {}, 0.0, 0.0
    for seconds, who in [*moves, *((1.0, who) for who in range(4))]:
        busy += seconds if inside else 0.0
        clock.now += seconds
        if who in inside:
            since, entered = inside.pop(who)
            alone += (clock.now - since) / crowd.leave(entered)
        elif len(inside) < 4 and seconds != 1.0:
            inside[who] = clock.now, crowd.enter()
    assert not inside
    assert alone == pytest.approx(busy, abs=1e-6)


def test_one_that_is_held_stays_and_has_all_its_time_afterwards(make):
    bed = make(keep_alive=10)
    fake = bed.cold()
    bed.run(fake)
    bed.clock.now += 9
    bed.pool.hold(True)
    bed.after(1000)
    assert not fake.killed
    bed.pool.hold(False)
    bed.after(9.9)
    assert not fake.killed
    bed.after(0.2)
    assert fake.killed
    bed.pool.step()
    [life] = bed.pool.lives
    assert life.idle_s == pytest.approx(1019.1)


def test_without_keeping_alive_every_call_is_cold(make):
    bed = make(keep_alive=0)
    for n in range(3):
        bed.run(bed.cold())
        assert bed.fakes[n].killed
    assert (bed.pool.cold, bed.pool.warm) == ({"f": 3}, {})


def test_in_dilated_time_everything_may_take_longer(make):
    bed = make(dilation=3.0, keep_alive=10)
    fake = bed.cold(time_limit=5)
    bed.after(14.9)
    assert not bed.came
    bed.run(fake)
    bed.after(29.9)
    assert not fake.killed
    bed.after(0.2)
    assert fake.killed
