"""Logs of rising factorials, x (x + 1) ... (x + count - 1), of whole arrays and to 1e-10."""

import math

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.float64]

_SHIFT, _HUGE = 6, 20_000
_lgamma = np.vectorize(math.lgamma, otypes=[float])
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)


def rise(start: Floats, count: Floats) -> Floats:
    """The log of x (x + 1) ... (x + count - 1), by Stirling's series beyond x + 6.

    `start` > 0 has shape (R, ...), `count` >= 0 has shape (R,). Where rounding would pass 1e-10 the
    product's own function takes over, so that both round alike.
    """
    end = start + count.reshape(-1, *(1,) * (start.ndim - 1))
    risen = _risen(start, end)
    huge = count > _HUGE
    if huge.any():
        risen[huge] = _lgamma(end[huge]) - _lgamma(start[huge])
    return risen


def _risen(start: Floats, end: Floats) -> Floats:
    high, low = end + _SHIFT, start + _SHIFT
    grown = (high - 0.5) * np.log(high) - (low - 0.5) * np.log(low) - (high - low)
    lifted: Floats = grown + _series(high) - _series(low)
    return lifted + np.log(_shifted(start) / _shifted(end))


def _series(x: Floats) -> Floats:
    inverse = 1 / x
    square = inverse * inverse
    total = np.full_like(x, _STIRLING[-1])
    for term in _STIRLING[-2::-1]:
        total *= square
        total += term
    total *= inverse
    return total


def _shifted(x: Floats) -> Floats:
    """The factors x (x + 1) ... (x + 5), taken in pairs from both ends."""
    ends = x * (x + (_SHIFT - 1))
    product: Floats = ends * (ends + 4) * (ends + 6)
    return product
