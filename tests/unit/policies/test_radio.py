from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.policies import tables
from nodes.policies.propagation import free_space_loss, path_loss, received, shadowing, snr
from nodes.policies.radio import airtime, coverage, error_rate, lte, quality, wifi

RADIOS = {"wifi": wifi(), "lte": lte(), "wide": wifi(bandwidth=80e6, streams=2), "n": wifi(standard="n")}
radios = st.sampled_from(list(RADIOS.values()))
metres = st.floats(0, 1e6)


def test_free_space_loss_of_a_metre():
    assert free_space_loss(1, 2.4e9) == pytest.approx(40.05, abs=0.01)  # the textbook's 40 dB
    assert free_space_loss(1, 5.2e9) == pytest.approx(46.77, abs=0.01)


def test_loss_grows_by_the_exponent_a_decade():
    radio = wifi(exponent=3.5)
    assert path_loss(100, radio) - path_loss(10, radio) == pytest.approx(35)
    assert path_loss(0, radio) == path_loss(1, radio) == pytest.approx(free_space_loss(1, 5.2e9))


@given(radios, metres, metres)
def test_who_is_nearer_loses_no_more(radio, one, other):
    near, far = sorted((one, other))
    assert path_loss(near, radio) <= path_loss(far, radio)


@given(st.floats(1, 400), st.floats(1, 400))
def test_without_shadowing_who_is_nearer_receives_no_less(one, other):
    near, far = sorted((one, other))
    radio = wifi(shadowing=0)
    assert received(near, 0, "a", (0, 0), radio, 1) >= received(0, far, "a", (0, 0), radio, 1) - 1e-9


def test_shadowing_depends_on_seed_site_and_place_only():
    radio = lte()
    x, y = np.linspace(0, 500, 50), np.linspace(0, 80, 50)
    whole = shadowing(x, y, "north", 7, radio)
    assert np.array_equal(whole, shadowing(x, y, "north", 7, radio))
    assert np.allclose(whole[::7], [float(shadowing(x[i], y[i], "north", 7, radio)) for i in range(0, 50, 7)])
    assert not np.allclose(whole, shadowing(x, y, "south", 7, radio))
    assert not np.allclose(whole, shadowing(x, y, "north", 8, radio))


def test_shadowing_has_the_deviation_and_correlation_asked_for():
    radio = wifi(shadowing=6, correlation=25)
    x = np.arange(0, 2000, 5.0)
    fields = np.array([shadowing(x, 0 * x, "a", seed, radio) for seed in range(60)])
    assert fields.std() == pytest.approx(6, rel=0.05)
    assert abs(fields.mean()) < 0.4
    for metres_apart in (10, 25, 50):
        n = metres_apart // 5
        found = (fields[:, n:] * fields[:, :-n]).mean() / fields.var()
        assert found == pytest.approx(math.exp(-metres_apart / 25), abs=0.05)


def test_noise_of_the_standard_gives_its_sensitivity():
    # A certified receiver takes -82 dBm at MCS 0, -64 dBm at MCS 7 (802.11-2020, Table 19-23).
    radio = wifi()
    for power, name in ((-82, "MCS 0"), (-64, "MCS 7"), (-70, "MCS 4")):
        entry = quality(float(snr(power, radio)[1]) + 0.02, radio).entry
        assert entry is not None
        assert entry.name.startswith(name)


def test_the_device_is_the_weaker_one():
    radio = wifi(tx=20, device_tx=14, noise=10, site_noise=7)
    up, down = snr(-60, radio)
    assert down - up == pytest.approx(6 - 3)


@pytest.mark.parametrize(
    ("radio", "mbit"),
    [
        (wifi(standard="n", efficiency=1, way=1), 65.0),  # 802.11-2020, 19.5: MCS 7, 20 MHz
        (wifi(efficiency=1, way=1), 78.0),  # 21.5: MCS 8, 20 MHz
        (wifi(bandwidth=40e6, efficiency=1, way=1), 180.0),  # MCS 9
        (wifi(bandwidth=80e6, streams=2, efficiency=1, way=1), 780.0),
        (lte(efficiency=1), 93.3),  # 100 blocks x 168000 symbols x 5.5547 bits
        (lte(bandwidth=5e6, efficiency=1), 23.3),
    ],
)
def test_rates_near_the_access_point_are_the_standards(radio, mbit):
    assert quality(80, radio).rate / 1e6 == pytest.approx(mbit, rel=0.002)


@pytest.mark.parametrize("table", [tables.WIFI, tables.LTE])
def test_tables_ascend(table):
    assert [e.snr for e in table] == sorted({e.snr for e in table})
    assert [e.bits for e in table] == sorted({e.bits for e in table})


@given(radios, st.floats(-60, 90), st.floats(-60, 90))
def test_more_signal_is_never_lossier(radio, one, other):
    weak, strong = (quality(r, radio) for r in sorted((one, other)))
    assert strong.rate >= weak.rate * 0.9  # a faster entry starts at 10 % errors
    assert 0 <= strong.loss <= 1
    assert strong.delay >= 0
    if weak.entry == strong.entry and weak.entry is not None:
        assert strong.rate >= weak.rate
        assert strong.loss <= weak.loss
        assert strong.delay <= weak.delay


@given(radios)
def test_one_in_ten_fails_at_a_threshold(radio):
    assert error_rate(0, radio) == pytest.approx(0.1)
    first = radio.entries[0].snr
    assert quality(first, radio).rate == pytest.approx(
        0.9 * radio.symbols * radio.entries[0].bits * radio.efficiency * radio.way
    )
    assert quality(first - radio.slope, radio).rate == 0


@given(radios, st.floats(0.5, 5))
def test_coverage_ends_where_a_tenth_is_lost_and_begins_higher(radio, slope):
    radio = wifi(slope=slope) if radio.name == "wifi" else lte(slope=slope)
    lost, back = coverage(radio)
    assert lost < back
    assert quality(lost, radio).loss == pytest.approx(0.1)
    assert quality(back, radio).loss <= 0.0201


rates = st.dictionaries(st.text(max_size=2), st.one_of(st.just(0.0), st.floats(1e3, 1e9)))


@given(rates, st.sampled_from(["time", "frames"]))
def test_airtime_sums_to_the_whole(alone, sharing):
    shares = airtime(alone, sharing)
    assert shares.keys() == alone.keys()
    assert all(share >= 0 for share in shares.values())
    assert math.fsum(shares.values()) == pytest.approx(1.0 if any(alone.values()) else 0.0)
    got = [shares[name] * rate for name, rate in alone.items() if rate]
    if sharing == "frames" and got:  # all get the same number of frames across
        assert max(got) == pytest.approx(min(got))


@pytest.mark.parametrize(
    "bad",
    [
        {"shadowing": -1}, {"exponent": 0}, {"efficiency": 1.5}, {"attempts": 0}, {"slope": 0}, {"tx": math.nan},
        {"bandwidth": 30e6}, {"streams": 9}, {"standard": "be"}, {"standard": "n", "bandwidth": 80e6},
    ],
)  # fmt: skip
def test_what_no_radio_can_be_is_refused(bad):
    with pytest.raises(ValueError, match=r"must be|has bandwidths|no Wi-Fi|shares above"):
        wifi(**bad)


def test_no_such_lte():
    with pytest.raises(ValueError, match=r"1\.4, 3, 5"):
        lte(bandwidth=7e6)
