"""Kinds of radio, and what their links carry: the second half of the radio model. Plain functions without a clock.

``position -> path loss + shadowing -> received power -> SNR -> modulation and coding -> rate, delay, loss``

All up to the ratio is in `nodes.policies.propagation`. Distances are metres, powers dBm, gains and losses dB,
frequencies and bandwidths Hz, rates bit/s, times seconds. All functions take single numbers or numpy arrays. What the
model leaves out: interference between access points (they are on different channels; a constant ``interference`` margin
stands for the rest), fading faster than the reports that rate control follows, and the time that rate control needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nodes.policies import tables
from nodes.policies.tables import Entry

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Radio:
    """A kind of radio and the place it is used in. `wifi` and `lte` make them with defaults from the standards.

    Attributes:
        name: ``wifi`` or ``lte``.
        entries: Its rate table, thresholds ascending.
        symbols: Symbols a second over all subcarriers and streams: a rate is ``symbols x Entry.bits``.
        bandwidth: Noise bandwidth, Hz.
        frequency: Carrier, Hz.
        tx: Transmit power of an access point, dBm.
        device_tx: Of a device, dBm.
        gain: Gain of the access point's antenna, both ways, dBi.
        noise: Noise figure of a device's receiver, dB.
        site_noise: Of an access point's receiver, dB.
        exponent: Path-loss exponent: 2 free space, 2.7 to 3.5 urban, 4 to 6 obstructed in buildings (Rappaport,
            Table 4.2).
        reference: Distance up to which loss is that of free space, m.
        shadowing: Standard deviation of shadowing, dB; 0 for none.
        correlation: Distance at which shadowing's correlation has fallen to 1/e, m.
        common: Share of shadowing's variance that is the same towards all sites (what surrounds the device), 0 to 1.
        interference: Noise and interference above the receiver's own, dB.
        efficiency: Share of the air's capacity that frames get: the rest is contention, preambles, control.
        way: Share of the airtime that each direction has: half where both use one channel in turn, all of it where
            each has its own (FDD).
        attempts: Transmissions after which a frame is given up.
        retry: Time that a further transmission takes, s.
        slope: dB above threshold for which the error rate falls to a tenth.
    """

    name: str
    entries: tuple[Entry, ...]
    symbols: float
    bandwidth: float
    frequency: float
    tx: float
    device_tx: float
    noise: float
    site_noise: float
    gain: float = 0.0
    exponent: float = 3.0
    reference: float = 1.0
    shadowing: float = 4.0
    correlation: float = 20.0
    common: float = 0.0
    interference: float = 0.0
    efficiency: float = 0.7
    way: float = 1.0
    attempts: int = 4
    retry: float = 0.001
    slope: float = 2.0

    def __post_init__(self) -> None:
        positive = ("symbols", "bandwidth", "frequency", "exponent", "reference", "correlation", "slope")
        not_negative = ("shadowing", "interference", "retry", "noise", "site_noise")
        for name in (*positive, *not_negative, "tx", "device_tx", "gain", "common", "efficiency", "way"):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, not {value}")
            if (name in positive and value <= 0) or (name in not_negative and value < 0):
                raise ValueError(f"{name} must be {'more than 0' if name in positive else '0 or more'}, not {value}")
        if not (0 < self.efficiency <= 1 and 0 < self.way <= 1 and 0 <= self.common <= 1):
            raise ValueError("efficiency and way are shares above 0, common is one from 0 on")
        if self.attempts < 1 or not self.entries:
            raise ValueError("attempts must be at least 1, and the table must have entries")


def wifi(*, bandwidth: float = 20e6, streams: int = 1, standard: str = "ac", **changes: float) -> Radio:
    """Wi-Fi at 5.2 GHz.

    Defaults: 20 dBm at the access point and 15 dBm at devices (below the 23 dBm EIRP that ETSI EN 301 893 allows
    indoors), noise figure 10 dB as IEEE 802.11 assumes, 7 attempts (dot11ShortRetryLimit), both directions in turn.
    ``efficiency`` 0.7 and ``retry`` 1 ms are assumptions: what contention, preambles and acknowledgements of
    aggregated frames leave in usual networks.

    Args:
        bandwidth: 20, 40, 80 or 160 MHz (802.11n: 20 or 40), in Hz.
        streams: Spatial streams: each carries as much, at the thresholds of one. 1 to 8 (802.11n: 4).
        standard: ``n`` or ``ac``.
        **changes: Fields of `Radio`.

    Raises:
        ValueError: There is no such bandwidth or standard.
    """
    ht = {"n": True, "ac": False}.get(standard)
    if ht is None:
        raise ValueError(f"there is no Wi-Fi standard {standard!r} here: n or ac")
    widths = [w for w in tables.WIFI_SUBCARRIERS if not ht or w <= 40e6]
    if bandwidth not in widths or not 1 <= streams <= (4 if ht else 8):
        raise ValueError(f"802.11{standard} has bandwidths of {', '.join(f'{w / 1e6:g}' for w in widths)} MHz and 1 to "
                         f"{4 if ht else 8} streams")  # fmt: skip
    entries = tables.WIFI[: tables.HT_ENTRIES] if ht else tables.WIFI
    if not ht and bandwidth == 20e6 and streams not in (3, 6):
        entries = entries[:-1]  # MCS 9 does not exist there (802.11-2020, 21.5)
    settings: dict[str, float] = {
        "frequency": 5.2e9, "tx": 20.0, "device_tx": 15.0, "noise": 10.0, "site_noise": 10.0, "way": 0.5,
        "attempts": 7, "retry": 0.001, "efficiency": 0.7,
    }  # fmt: skip
    symbols = tables.WIFI_SUBCARRIERS[bandwidth] / tables.WIFI_SYMBOL * streams
    return _radio("wifi", entries, symbols, bandwidth, settings | changes)


def lte(*, bandwidth: float = 20e6, streams: int = 1, **changes: float) -> Radio:
    """LTE at 1.8 GHz, FDD.

    Defaults: 46 dBm at the base station, shadowing of 8 dB correlated over 50 m, half of it common to all sites (3GPP
    TR 36.814, A.2.1.1), an antenna of 15 dBi, noise figures of 9 dB at devices and 5 dB at base stations (TR 36.942),
    23 dBm at devices (power class 3, TS 36.101, 6.2.2), a hybrid-ARQ round of 8 ms (TS 36.321, FDD) and 4
    transmissions at most. The exponent 3.0 comes within 2 dB of TR 36.942's ``128.1 + 37.6 log10(km)`` from 500 m to
    1 km. A device uses the whole bandwidth up: real ones gather their power on a part of it when they are far.
    ``efficiency`` 0.75: of 14 symbols 3 are control, and reference signals take about a twentieth of the rest.

    Args:
        bandwidth: 1.4, 3, 5, 10, 15 or 20 MHz, in Hz.
        streams: Spatial layers: each carries as much, at the thresholds of one. 1 to 4.
        **changes: Fields of `Radio`.

    Raises:
        ValueError: There is no such bandwidth.
    """
    if bandwidth not in tables.LTE_BLOCKS or not 1 <= streams <= 4:
        widths = ", ".join(f"{w / 1e6:g}" for w in tables.LTE_BLOCKS)
        raise ValueError(f"LTE has bandwidths of {widths} MHz and 1 to 4 streams")
    blocks = tables.LTE_BLOCKS[bandwidth]
    settings: dict[str, float] = {
        "frequency": 1.8e9, "tx": 46.0, "device_tx": 23.0, "noise": 9.0, "site_noise": 5.0, "attempts": 4,
        "retry": 0.008, "efficiency": 0.75, "gain": 15.0, "exponent": 3.0, "shadowing": 8.0, "correlation": 50.0,
        "common": 0.5,
    }  # fmt: skip
    symbols = blocks * tables.LTE_SYMBOLS * streams
    return _radio("lte", tables.LTE, float(symbols), blocks * tables.LTE_BLOCK_WIDTH, settings | changes)


def _radio(name: str, entries: tuple[Entry, ...], symbols: float, width: float, settings: dict[str, float]) -> Radio:
    return Radio(name, entries, symbols, width, **settings)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Quality:
    """What one direction of a link carries at a signal-to-noise ratio, alone on its access point.

    Attributes:
        entry: Row of the rate table in use, None where not even the first holds.
        rate: bit/s that get across, repetitions taken off; 0 with no entry.
        delay: What repetitions add to the delay on average, s.
        loss: Share of frames lost for good, after all attempts.
    """

    entry: Entry | None
    rate: float
    delay: float
    loss: float


def error_rate(margin: Array | float, radio: Radio) -> Array:
    """Share of transmissions that fail, by the dB above the threshold: ``0.1 x 10^(-margin / slope)``, at most 1.

    The thresholds stand for 10 %; how fast it falls is an assumption: 1 dB a decade without fading, more with.
    """
    exponent = -1 - np.asarray(margin, dtype=float) / radio.slope
    return np.asarray(np.power(10.0, np.clip(exponent, -300, 0)))


def quality(ratio: float, radio: Radio) -> Quality:
    """Rate, delay and loss at a signal-to-noise ratio in dB, if rate control knows it.

    The fastest entry whose threshold is reached is used; below the first one, the first: its errors grow until
    nothing gets across. With an error rate p and R attempts: the rate is ``symbols x bits x efficiency x way x
    (1 - p)``, the delay grows by ``retry x (p + p^2 + ... + p^(R-1))``, and ``p^R`` is lost.
    """
    entry = next((e for e in reversed(radio.entries) if ratio >= e.snr), radio.entries[0])
    p = float(error_rate(ratio - entry.snr, radio))
    lost = p**radio.attempts
    if p >= 1:
        return Quality(None, 0.0, 0.0, 1.0)
    rate = radio.symbols * entry.bits * radio.efficiency * radio.way * (1 - p)
    return Quality(entry, rate, radio.retry * sum(p**k for k in range(1, radio.attempts)), lost)


def coverage(radio: Radio) -> tuple[float, float]:
    """SNR in dB below which a link is lost, and from which on it is there again.

    As TS 36.133, 7.6 has it of LTE's control channel (Qout and Qin): 10 % of frames lost for good, and 2 %. So a
    device at the border does not come and go with each decibel.
    """

    def at(loss: float) -> float:
        margin = -radio.slope * (1 + math.log10(loss) / radio.attempts)
        return radio.entries[0].snr + min(margin, 0.0)

    lost, back = at(0.1), at(0.02)
    return lost, max(back, lost + 1.0)


def airtime(alone: Mapping[str, float], sharing: str = "time") -> dict[str, float]:
    """Share of an access point's airtime that each of its devices gets when all have something to send; they sum to 1.

    ``time``: all the same share (LTE's proportional fair scheduler in the long run; airtime fairness in Wi-Fi).
    ``frames``: all the same number of frames, so slow devices take more time (802.11's contention: Heusse et al.,
    Performance anomaly of 802.11b, INFOCOM 2003): ``share_i = (1 / r_i) / sum(1 / r_j)``.

    Args:
        alone: bit/s that each would have alone. Who has none takes no share.
        sharing: ``time`` or ``frames``.
    """
    weights = {name: 1.0 if sharing == "time" else 1 / rate for name, rate in alone.items() if rate > 0}
    total = math.fsum(weights.values())
    return {name: weights[name] / total if name in weights else 0.0 for name in alone}
