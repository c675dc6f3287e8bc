"""Names that parameters had in checkpoints of older versions."""

import re
from collections.abc import Collection

RENAMED = (
    (r"(^|/)norm_1(_after)?/", r"\1norm_attention\2/"),
    (r"(^|/)norm_2(_after)?/", r"\1norm_feed_forward\2/"),
    (r"(^|/)norm_e/", r"\1norm_embed/"),
    (r"(^|/)norm_f/", r"\1norm_final/"),
    (r"(^|/)head/", r"\1lm_head/"),
    (r"(^|/)task/", r"\1text_head/"),
    (r"(^|/)embed/bias$", r"\1blocks/bias"),
)
"""(pattern, place) over the paths of leaves, whether of parameters, of their averages or of the optimiser."""


def renamed(path: str) -> str:
    """The path that a leaf of an older checkpoint has today."""
    for old, new in RENAMED:
        path = re.sub(old, new, path)
    return path


def stored_names(saved: Collection[str], wanted: Collection[str]) -> dict[str, str]:
    """`{wanted: saved}` for those leaves that were saved under an older name."""
    today = {renamed(name): name for name in saved if name not in wanted}
    return {name: today[name] for name in wanted if name not in saved and name in today}
