"""Usual ways to lay out arms: each change alone, all but one, every combination; and contrasts that read them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

Changes = Mapping[str, Mapping[str, Any]]
"""A change's name to its dotted overrides."""
Arms = dict[str, dict[str, Any]]


def one_at_a_time(changes: Changes, base: str = "base") -> Arms:
    """The base, and each change alone: what does each add?"""
    return {base: {}} | {name: dict(change) for name, change in changes.items()}


def hold_one_out(changes: Changes, whole: str = "all") -> Arms:
    """All changes together, and all but each: what does each contribute given the others? Compare with `whole`."""

    def merged(left_out: str | None) -> dict[str, Any]:
        return {path: value for name, change in changes.items() if name != left_out for path, value in change.items()}

    return {whole: merged(None)} | {f"no-{name}": merged(name) for name in changes}


def factorial(factors: Mapping[str, Changes]) -> Arms:
    """Every combination of one level a factor, named `level+level`; `factors` maps a factor to its levels."""
    levels = [list(changes.items()) for changes in factors.values()]
    return {
        "+".join(name for name, _ in chosen): {path: value for _, change in chosen for path, value in change.items()}
        for chosen in product(*levels)
    }


def main_effects(factors: Mapping[str, Sequence[str] | Changes]) -> dict[str, dict[str, float]]:
    """Contrasts for `factorial`: each level of a factor minus its first, averaged over the other factors' levels.

    Raises ValueError where two factors share a level's name, for a contrast is named by levels.
    """
    names = [list(levels) for levels in factors.values()]
    shared = [level for level, times in Counter(level for levels in names for level in levels).items() if times > 1]
    if shared:
        raise ValueError(f"main_effects: level {shared[0]!r} belongs to several factors; give each a name of its own")
    contrasts = {}
    for index, levels in enumerate(names):
        reference, *others = levels
        for level in others:
            weights: dict[str, float] = {}
            share = 1 / len(list(product(*(n for i, n in enumerate(names) if i != index))))
            for chosen in product(*names):
                if chosen[index] in (level, reference):
                    weights["+".join(chosen)] = share if chosen[index] == level else -share
            contrasts[f"{level} - {reference}"] = weights
    return contrasts


def interaction(factors: Mapping[str, Sequence[str] | Changes]) -> dict[str, dict[str, float]]:
    """The contrast that asks whether one factor's effect depends on the other: two factors of two levels each.

    (b2 - b1 at a2) minus (b2 - b1 at a1), halved so that it is in the metric's unit as main effects are. Raises
    ValueError for other layouts.
    """
    names = [list(levels) for levels in factors.values()]
    if (sizes := [len(levels) for levels in names]) != [2, 2]:
        raise ValueError(f"interaction: expected two factors of two levels each, got {sizes}")
    (a1, a2), (b1, b2) = names
    signs = {f"{a2}+{b2}": 0.5, f"{a2}+{b1}": -0.5, f"{a1}+{b2}": -0.5, f"{a1}+{b1}": 0.5}
    return {f"{a2} x {b2}": signs}
