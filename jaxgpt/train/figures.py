"""What a pass over held-out rows comes to, from the metrics of its batches on the host."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from jaxgpt.objectives import Objective

ROWS = "rows/"
"""Metrics below this have a value for each row of a batch."""


def figures(objective: Objective, parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, float]:
    """`val/loss`, the mean over the batches' weights, and `val/<name>` of what the objective measures of all rows that
    are real. Those are NaN where the answer to a row is not finite."""
    pairs = [(float(part["loss"]), float(part["weight"])) for part in parts]
    total = sum(weight for _, weight in pairs)
    loss = {"val/loss": sum(loss * weight for loss, weight in pairs) / total}
    if "rows/real" not in parts[0]:
        return loss
    real_N = np.concatenate([part["rows/real"] for part in parts])
    outputs_NC, target_N = (
        np.concatenate([part[ROWS + name] for part in parts])[real_N] for name in ("outputs", "target")
    )
    if not np.isfinite(outputs_NC).all():
        return loss | {f"val/{name}": math.nan for name in objective.measures(outputs_NC.shape[1])}
    return loss | {f"val/{name}": float(value) for name, value in objective.figures(outputs_NC, target_N).items()}
