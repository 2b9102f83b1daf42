"""Counter-based random masks: Philox-4x32-10 (Salmon et al. 2011), for numpy and torch alike.

A mask element depends on (seed, purpose, layer, direction, sample id, step, unit) and on nothing
else: not on the batch it is drawn in, nor on the order of drawing. Counter words:

    c0 = unit // 4          c1 = step          c2 = sample id, low 32 bits
    c3 = purpose | direction << 3 | layer << 4 | (sample id >> 32) << 16

Key words: the low and the high half of the seed. Word `unit % 4` of the output belongs to the unit;
the element is dropped where (word >> 8) < floor(p * 2^24), an exact comparison of integers.
"""

from __future__ import annotations

from typing import Any

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
LOW = 0xFFFFFFFF

RECURRENT, ZONEOUT_H, ZONEOUT_C, WEIGHT_DROP, INPUT, BETWEEN, OUTPUT, DROPOUT = range(8)


def _multiply(a: int, b: Any) -> tuple[Any, Any]:
    """High and low 32 bits of a * b, both below 2^32, in wrapping signed 64-bit arithmetic."""
    low, high = a * (b & 0xFFFF), a * (b >> 16)
    total = low + ((high & 0xFFFF) << 16)
    return (high >> 16) + (total >> 32), total & LOW


def philox(counter: tuple[Any, Any, Any, Any], key: tuple[Any, Any]) -> tuple[Any, Any, Any, Any]:
    """Ten rounds on 32-bit words held in (broadcastable) int64 arrays."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = _multiply(MULTIPLIERS[0], c0)
        high1, low1 = _multiply(MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + WEYL[0]) & LOW, (k1 + WEYL[1]) & LOW
    return c0, c1, c2, c3


def words(
    seed: Any, purpose: int, layer: int, direction: int, sample: Any, step: Any, unit: Any
) -> Any:
    """24-bit random integers; `sample`, `step`, `unit` are broadcastable int64 arrays.

    `seed` is an int64 scalar array (or int). The result has the broadcast shape.
    """
    lanes = quads(seed, purpose, layer, direction, sample, step, unit >> 2)
    lane = unit & 3
    word = (lane == 0) * lanes[0] + (lane == 1) * lanes[1]
    return word + (lane == 2) * lanes[2] + (lane == 3) * lanes[3]


def quads(
    seed: Any, purpose: int, layer: int, direction: int, sample: Any, step: Any, quad: Any
) -> tuple[Any, Any, Any, Any]:
    """The words of units 4 * quad, ... 4 * quad + 3: all that one block of Philox gives."""
    c3 = purpose | direction << 3 | layer << 4
    high = ((sample >> 32) & 0xFFFF) << 16
    counter = (quad & LOW, step & LOW, sample & LOW, high | c3)
    c0, c1, c2, c3 = philox(counter, (seed & LOW, (seed >> 32) & LOW))
    return c0 >> 8, c1 >> 8, c2 >> 8, c3 >> 8


def dropped(probability: float, word: Any) -> Any:
    """Boolean mask, true with `probability`, from `words`."""
    return word < int(probability * (1 << 24))
