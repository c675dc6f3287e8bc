"""Names that leaves had in checkpoints of older versions, and leaves that have gone."""

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
    (r"^opt_state/inner_state/", "opt_state/"),
)
"""(pattern, place) over the paths of leaves, whether of parameters, of their averages or of the optimiser."""
DROPPED = re.compile(r"opt_state/(count$|hyperparams)")
"""What the optimiser's state held beside that of its parts: settings, which the run's own fields say."""


def renamed(path: str) -> str:
    """The path that a leaf of an older checkpoint has today."""
    for old, new in RENAMED:
        path = re.sub(old, new, path)
    return path


def dropped(path: str) -> bool:
    """Whether a leaf of an older checkpoint is no part of a state any more."""
    return DROPPED.match(path) is not None


def stored_names(saved: Collection[str], wanted: Collection[str]) -> dict[str, str]:
    """`{wanted: saved}` for those leaves that were saved under an older name."""
    today = {renamed(name): name for name in saved if name not in wanted}
    return {name: today[name] for name in wanted if name not in saved and name in today}
