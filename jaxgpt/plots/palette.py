"""Colours that colour-blind readers tell apart (Okabe and Ito, 2008), each with a twin for dark pages."""

INK, MUTED, RULE, PAGE = "#1b1f24", "#66707b", "#d5dae0", "#ffffff"
GROUND = {"facecolor": PAGE, "edgecolor": "none", "pad": 1.5}
"""The box behind figures that a line would strike through."""

OWN, SEEN, UNSEEN = "#e69f00", "#0072b2", "#e6eaef"
"""Attention pictures: the query's own position, the keys that it sees, those that it does not."""

COSINES = ("#10233c", "#0072b2", "#e69f00", "#fff0b8")
"""Heat maps, by day and by night: what shades.py makes its scale of, from dark to light."""

_DARK = {INK: "#e8ebef", MUTED: "#98a3af", RULE: "#39414a", PAGE: "#14181d"}

_BASELINE = ("#56606b", "#a3aebb")
_ARMS = (
    ("#0072b2", "#58b0ec"),
    ("#d55e00", "#ff8f45"),
    ("#009e73", "#2fcf9f"),
    ("#b5588f", "#e79ac8"),
    ("#b07d00", "#f0b93a"),
    ("#3a96c4", "#8ad4fa"),
)


def colours(arms: list[str], baseline: str) -> dict[str, str]:
    """A colour for each arm: the baseline is grey, the others differ."""
    others = [arm for arm in arms if arm != baseline]
    return {baseline: _BASELINE[0]} | {arm: _ARMS[i % len(_ARMS)][0] for i, arm in enumerate(others)}


def of_series(names: list[str]) -> dict[str, str]:
    """A colour for each series of a ladder."""
    return {name: _ARMS[i % len(_ARMS)][0] for i, name in enumerate(names)}


def dark_twins() -> dict[str, str]:
    """Every light colour with the one that takes its place on a dark page."""
    return _DARK | dict([_BASELINE, *_ARMS])
