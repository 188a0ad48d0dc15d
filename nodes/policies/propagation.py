"""What reaches a receiver: the first half of the radio model, from where a device is to its signal-to-noise ratio.

``position -> path loss + shadowing -> received power -> SNR``

Plain functions, seeded, without a clock; units, and what the model leaves out: `nodes.policies.radio`.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from nodes.policies.radio import Array, Radio
from nodes.policies.randomness import generator

LIGHT = 299_792_458.0
"""Speed of light, m/s."""
THERMAL = -174.0
"""Thermal noise, dBm/Hz: k T at 290 K (Rappaport, Wireless Communications, 2nd ed., B.3)."""
_WAVES = 100
_CHUNK = 1024


def free_space_loss(distance: float, frequency: float) -> float:
    """Loss in free space in dB: ``20 log10(4 pi d f / c)`` (Friis 1946; Rappaport, 4.2)."""
    return 20 * math.log10(4 * math.pi * distance * frequency / LIGHT)


def path_loss(distance: Array | float, radio: Radio) -> Array:
    """Mean loss in dB by the log-distance model: ``PL(d) = PL(d0) + 10 n log10(d / d0)``.

    ``PL(d0)`` is free space's at the reference distance, and holds for all that is nearer. Source: Rappaport,
    Wireless Communications, 2nd ed., 4.9.1, eq. 4.67.
    """
    ratio = np.maximum(np.asarray(distance, dtype=float), radio.reference) / radio.reference
    return np.asarray(free_space_loss(radio.reference, radio.frequency) + 10 * radio.exponent * np.log10(ratio))


def shadowing(x: Array | float, y: Array | float, site: str, seed: int, radio: Radio) -> Array:
    """What obstacles add to the loss between a site and a place, in dB: a Gaussian field over the map.

    Mean 0, deviation ``radio.shadowing``; the correlation over a distance d is ``exp(-d / radio.correlation)``
    (Gudmundson, Electronics Letters 27(23), 1991). The field is a sum of 100 plane waves whose wave numbers are drawn
    from that correlation's spectrum (Cai and Giannakis, IEEE Trans. Veh. Tech. 52(6), 2003):
    ``sigma sqrt(2/N) sum cos(k_n . p + phi_n)`` with ``|k| = sqrt(1 / (1 - u)^2 - 1) / correlation``, u uniform.
    It depends on seed, site and place alone: whoever is there, whenever, by whatever steps, meets the same. Of its
    variance a share of ``radio.common`` comes from a second such field that is the same for all sites.
    """
    px, py = np.broadcast_arrays(np.asarray(x, dtype=float), np.asarray(y, dtype=float))
    if radio.shadowing == 0:
        return np.zeros(px.shape)
    return own_shadowing(px, py, site, seed, radio) + common_shadowing(px, py, seed, radio)


def own_shadowing(x: Array, y: Array, site: str, seed: int, radio: Radio) -> Array:
    """The part of `shadowing` that belongs to the way to one site, in dB."""
    return radio.shadowing * math.sqrt(1 - radio.common) * _field(x, y, seed, f"site {site}", radio.correlation)


def common_shadowing(x: Array, y: Array, seed: int, radio: Radio) -> Array:
    """The part of `shadowing` that is the same towards all sites, in dB."""
    if radio.common * radio.shadowing == 0:
        return np.zeros(x.shape)
    return radio.shadowing * math.sqrt(radio.common) * _field(x, y, seed, "all", radio.correlation)


def _field(x: Array, y: Array, seed: int, name: str, correlation: float) -> Array:
    kx, ky, phase = _waves(seed, name, correlation)
    px, py = x.ravel(), y.ravel()
    field = np.empty(px.shape)
    for i in range(0, len(px), _CHUNK):
        part = slice(i, i + _CHUNK)
        field[part] = np.cos(np.outer(px[part], kx) + np.outer(py[part], ky) + phase).sum(axis=1)
    return np.asarray(math.sqrt(2 / _WAVES) * field.reshape(x.shape))


@lru_cache(maxsize=1024)
def _waves(seed: int, name: str, correlation: float) -> tuple[Array, Array, Array]:
    draw = generator(seed, "shadowing", name)
    number = np.sqrt(1 / (1 - draw.random(_WAVES)) ** 2 - 1) / correlation
    angle, phase = 2 * np.pi * draw.random(_WAVES), 2 * np.pi * draw.random(_WAVES)
    return number * np.cos(angle), number * np.sin(angle), phase


def received(
    x: Array | float, y: Array | float, site: str, at: tuple[float, float], radio: Radio, seed: int
) -> Array:
    """Power in dBm that a device at (x, y) receives of a site at ``at``: ``tx + gain - loss - shadowing``."""
    distance = np.hypot(np.asarray(x, dtype=float) - at[0], np.asarray(y, dtype=float) - at[1])
    return np.asarray(radio.tx + radio.gain - path_loss(distance, radio) - shadowing(x, y, site, seed, radio))


def snr(power: Array | float, radio: Radio) -> tuple[Array, Array]:
    """Signal-to-noise ratio in dB (at the access point: up, at the device: down) of what a device receives in dBm.

    ``SNR = P - (-174 + 10 log10 B + NF + interference)``. The loss is the same both ways: up, the device's power
    takes the access point's place.
    """
    floor = THERMAL + 10 * math.log10(radio.bandwidth) + radio.interference
    down = np.asarray(power, dtype=float) - floor - radio.noise
    up = np.asarray(power, dtype=float) - radio.tx + radio.device_tx - floor - radio.site_noise
    return np.asarray(up), np.asarray(down)
