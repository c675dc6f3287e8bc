"""The patterns that are measured, by name, at the lengths of a card and in tiny shapes."""

from itertools import pairwise

import numpy as np

from jaxgpt.ops.attention import Kernel, Scores, Side
from jaxgpt.ops.patterns import Banded, Bidirectional, Causal, Dilated, Fixed, GlobalWindow, Pattern, Sinks, Strided
from jaxgpt.seams import members

ELSEWHERE = ("auto", "ring", "gathered")
"""Kernels that on one device are other kernels."""


def patterns(small: bool) -> dict[str, Pattern]:
    """Those of the figures."""
    window, stride, summary, dilation = (16, 8, 2, 4) if small else (1024, 128, 32, 8)
    return {
        "dense": Causal(),
        "band": Banded(window=window),
        "strided": Strided(stride=stride),
        "fixed": Fixed(stride=stride, summary=summary),
        "dilated": Dilated(window=window // 2, dilation=dilation),
    }


def more_patterns(small: bool) -> dict[str, Pattern]:
    """Those that must be right besides."""
    window = 16 if small else 256
    return {
        "bidirectional": Bidirectional(),
        "sinks": Sinks(window=window, count=4),
        "global": GlobalWindow(window=window, count=4),
    }


def row(pattern: Pattern, length: int) -> Scores:
    """A row of one text."""
    at = np.arange(length, dtype=np.int32)
    return Scores(pattern, Side(at), Side(at), numbering="row")


def packed(pattern: Pattern, length: int) -> Scores:
    """A row (B 1) of three documents, whose positions start anew, and padding."""
    ends = [0, length // 5, length // 2 + 3, length - 5, length]
    segment, at = np.zeros((2, 1, length), np.int32)
    for number, (start, stop) in enumerate(pairwise(ends), 1):
        segment[0, start:stop] = number % 4  # the fourth is padding, segment 0
        at[0, start:stop] = np.arange(stop - start)
    side = Side(at, segment)
    return Scores(pattern, side, side, numbering="documents")


def kernels() -> dict[str, Kernel]:
    """One of every kind that the seam has."""
    return {kind: cls() for kind, cls in sorted(members("kernel").items()) if kind not in ELSEWHERE}
