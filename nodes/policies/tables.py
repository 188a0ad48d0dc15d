"""Rate tables: from which signal-to-noise ratio on a radio uses which modulation and coding, and what that carries.

Sources:

- **Wi-Fi**: receiver minimum input sensitivity at a packet error rate of 10 %, IEEE Std 802.11-2020, Table 19-23 (HT,
  802.11n, MCS 0 to 7) and Table 21-25 (VHT, 802.11ac, MCS 8 and 9), 20 MHz. The standard assumes a noise figure of
  10 dB and 5 dB of implementation margin (17.3.10.2); thermal noise in 20 MHz is -101 dBm. So a threshold here is
  ``sensitivity + 101 - 10``: what every certified receiver reaches. Good ones do up to 5 dB better. Channels twice as
  wide have twice the noise and sensitivities 3 dB higher: the thresholds are the same. Data subcarriers and symbol
  times: 802.11-2020, Tables 19-6 and 21-5.
- **LTE**: modulation and coding of each CQI and its spectral efficiency, 3GPP TS 36.213, Table 7.2.3-1. The standard
  says "block error rate at most 10 %" and leaves the SINR to the receiver: the thresholds are those of the Vienna LTE
  simulator (AWGN, link level; Mehlfuehrer et al., EUSIPCO 2009; ``cqiMapper.m`` of its system-level part). Resource
  blocks per bandwidth: 3GPP TS 36.101, Table 5.6-1; a block is 12 subcarriers of 14 symbols a millisecond
  (TS 36.211, 6.2.3, normal cyclic prefix).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One row of a rate table.

    Attributes:
        name: Index in the standard, modulation and code rate.
        snr: Least signal-to-noise ratio in dB: one transmission in ten fails there.
        bits: Information bits that a symbol of a subcarrier carries.
    """

    name: str
    snr: float
    bits: float


def _wifi(mcs: int, modulation: str, bits: int, code: tuple[int, int], sensitivity: float) -> Entry:
    return Entry(f"MCS {mcs} ({modulation} {code[0]}/{code[1]})", sensitivity + 101 - 10, bits * code[0] / code[1])


WIFI: tuple[Entry, ...] = (
    _wifi(0, "BPSK", 1, (1, 2), -82),
    _wifi(1, "QPSK", 2, (1, 2), -79),
    _wifi(2, "QPSK", 2, (3, 4), -77),
    _wifi(3, "16-QAM", 4, (1, 2), -74),
    _wifi(4, "16-QAM", 4, (3, 4), -70),
    _wifi(5, "64-QAM", 6, (2, 3), -66),
    _wifi(6, "64-QAM", 6, (3, 4), -65),
    _wifi(7, "64-QAM", 6, (5, 6), -64),
    _wifi(8, "256-QAM", 8, (3, 4), -59),
    _wifi(9, "256-QAM", 8, (5, 6), -57),
)
"""802.11ac (VHT), one spatial stream; the first eight are also 802.11n's (HT)."""

HT_ENTRIES = 8
"""How many of `WIFI` 802.11n has."""

WIFI_SUBCARRIERS = {20e6: 52, 40e6: 108, 80e6: 234, 160e6: 468}
"""Data subcarriers by bandwidth in Hz."""

WIFI_SYMBOL = 4e-6
"""Seconds of an OFDM symbol with the long guard interval (800 ns)."""


def _lte(cqi: int, modulation: str, code: int, efficiency: float, sinr: float) -> Entry:
    return Entry(f"CQI {cqi} ({modulation} {code}/1024)", sinr, efficiency)


LTE: tuple[Entry, ...] = (
    _lte(1, "QPSK", 78, 0.1523, -6.934),
    _lte(2, "QPSK", 120, 0.2344, -5.147),
    _lte(3, "QPSK", 193, 0.3770, -3.18),
    _lte(4, "QPSK", 308, 0.6016, -1.254),
    _lte(5, "QPSK", 449, 0.8770, 0.761),
    _lte(6, "QPSK", 602, 1.1758, 2.70),
    _lte(7, "16-QAM", 378, 1.4766, 4.697),
    _lte(8, "16-QAM", 490, 1.9141, 6.528),
    _lte(9, "16-QAM", 616, 2.4063, 8.576),
    _lte(10, "64-QAM", 466, 2.7305, 10.37),
    _lte(11, "64-QAM", 567, 3.3223, 12.3),
    _lte(12, "64-QAM", 666, 3.9023, 14.18),
    _lte(13, "64-QAM", 772, 4.5234, 15.89),
    _lte(14, "64-QAM", 873, 5.1152, 17.82),
    _lte(15, "64-QAM", 948, 5.5547, 19.83),
)
"""LTE, one transmit antenna port."""

LTE_BLOCKS = {1.4e6: 6, 3e6: 15, 5e6: 25, 10e6: 50, 15e6: 75, 20e6: 100}
"""Resource blocks by bandwidth in Hz."""

LTE_BLOCK_WIDTH = 180e3
"""Hz of a resource block: twelve subcarriers of 15 kHz."""

LTE_SYMBOLS = 12 * 14 * 1000
"""Symbols that the subcarriers of one resource block carry in a second."""
