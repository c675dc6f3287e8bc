"""From a pilot's spread to a number of seeds, by the noncentral t distribution.

Where n pairs, whose differences have standard deviation s, differ by d in truth, the t statistic is noncentral t with
n - 1 degrees of freedom and noncentrality d·sqrt(n)/s (Cohen 1988, chapter 2). A pilot's own s is a guess: from 4 seeds
the true one may be 0.57 to 3.7 times as large, so leave room.
"""

import math

import numpy as np

from jaxgpt.lab.statistics.paired import CLAIM
from jaxgpt.spec import JaxgptError


def sd_of_differences(sd: float, rho: float) -> float:
    """sd·sqrt(2(1 - rho)): spread of the per-seed differences of two arms that each spread by `sd` and correlate by
    `rho`. Unrelated seeds have rho = 0. Raises JaxgptError for a negative sd or a rho outside -1 to 1."""
    if not sd >= 0:
        raise JaxgptError(f"sd: {sd}; a standard deviation is 0 or more. A pilot needs at least two seeds to have one")
    if not -1 <= rho <= 1:
        raise JaxgptError(f"rho: {rho}; a correlation lies between -1 and 1. Take 0 where the pilot's is unknown")
    return sd * math.sqrt(2 * (1 - rho))


def power(n: int, sd_of_differences: float, detect: float, level: float = 0.05) -> float:
    """The chance that n pairs give p < `level`, two-sided, when the true mean difference is `detect`.

    0 for fewer than two pairs, which have no test. Raises JaxgptError unless detect > 0 and 0 < level < 1.
    """
    from scipy.special import nctdtr, stdtrit

    _check("detect", detect > 0, detect, "a difference above 0, in the metric's unit")
    _check("level", 0 < level < 1, level, "between 0 and 1, as 0.05")
    if n < 2:
        return 0.0
    if sd_of_differences == 0:
        return 1.0
    shift = detect * math.sqrt(n) / sd_of_differences
    edge = stdtrit(n - 1, 1 - level / 2)
    wrong_side = nctdtr(n - 1, shift, -edge)  # NaN where it is too small for scipy
    return float(1 - nctdtr(n - 1, shift, edge) + np.nan_to_num(wrong_side))


def pairs_needed(sd: float, rho: float, detect: float, power: float = 0.8, level: float = 0.05) -> int:
    """The fewest pairs, never below `CLAIM`, that find a true difference `detect` with this power.

    `sd` is the spread of one arm over seeds, `rho` the correlation of the pairs. One contrast: under Holm over m
    contrasts pass level / m, which is on the safe side. Raises JaxgptError as the two functions above.
    """
    _check("power", 0 < power < 1, power, "between 0 and 1, as 0.8")
    spread = sd_of_differences(sd, rho)
    low, high = CLAIM - 1, CLAIM
    while _power(high, spread, detect, level) < power:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _power(middle, spread, detect, level) < power else (low, middle)
    return high


_power = power  # `pairs_needed` has an argument of this name


def _check(field: str, good: bool, value: float, expected: str) -> None:
    if not good:
        raise JaxgptError(f"{field}: {value}; expected {expected}")
