"""How figures are written: as many decimals as the interval warrants, and a true minus sign."""

import math
from collections.abc import Iterable, Sequence

from jaxgpt.lab.statistics.paired import Summary

_QUANTITIES = {
    "train/loss": ("training loss", "nats/token"),
    "val/loss": ("validation loss", "nats/token"),
    "val/bpb": ("validation loss", "bits per byte"),
    "val/sts": ("semantic similarity", "points of Spearman"),
    "val/alignment": ("alignment", ""),
    "val/uniformity": ("uniformity", ""),
    "val/accuracy": ("accuracy", ""),
    "val/f1": ("F1", ""),
    "val/f1_macro": ("macro F1", ""),
    "val/matthews": ("Matthews correlation", ""),
    "val/pearson": ("Pearson correlation", ""),
    "val/spearman": ("Spearman correlation", ""),
    "val/roc_auc": ("ROC-AUC", ""),
    "val/average_precision": ("average precision", ""),
    "val/calibration_error": ("expected calibration error", ""),
    "tokens_per_second": ("throughput", "tokens/s"),
    "mfu": ("model FLOPs utilisation", ""),
}
AMOUNTS = {"parameters": "parameters", "steps": "steps", "tokens": "tokens", "flops": "FLOPs", "seconds": "time"}
"""What runs have, take, or are given equal amounts of, in words."""
NONE = "–"
BEST = "best_"
"""In front of a figure that a run is judged by: its best value."""
_RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def quantity(metric: str) -> str:
    """The name of a metric in words: `val/loss` is "validation loss", `best_val/loss` "best validation loss"."""
    known = _QUANTITIES.get(metric.removeprefix(BEST))
    return metric if known is None else BEST.replace("_", " ") * metric.startswith(BEST) + known[0]


def unit(metric: str) -> str:
    """The metric's unit, empty when it has none."""
    return _QUANTITIES.get(metric.removeprefix(BEST), ("", ""))[1]


def with_unit(metric: str) -> str:
    """`validation loss (nats/token)`."""
    return f"{quantity(metric)} ({unit(metric)})" if unit(metric) else quantity(metric)


def decimals(summaries: Iterable[Summary]) -> int:
    """Decimals that show two significant digits of every interval's half width; one number for a whole column."""
    halves = [summary.half for summary in summaries if summary.n > 1 and summary.half > 0]
    return min(6, max(0, 1 - math.floor(math.log10(min(halves))))) if halves else 4


def number(value: float, places: int = 4, sign: bool = False) -> str:
    """`-0.03125` -> `−0.0312`; what is not finite reads `–`."""
    if not math.isfinite(value):
        return NONE
    text = f"{value:{'+' if sign else ''},.{places}f}"
    return text.replace("-", "−") if float(text.replace(",", "")) else text.lstrip("+-")


def listed(items: Sequence[str]) -> str:
    """Items as a sentence names them, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def span(counts: Iterable[int]) -> str:
    """The least to the most of some counts, `5 to 8`; one number where all are alike."""
    low, high = min(counts := list(counts)), max(counts)
    return f"{low} to {high}" if high > low else str(low)


def interval(summary: Summary, places: int) -> str:
    """`95% interval −0.0402 to −0.0221`, as a sentence holds it."""
    return f"95% interval {number(summary.low, places, True)} to {number(summary.high, places, True)}"


def mean_interval(summary: Summary, places: int) -> str:
    """A mean and half the width of its interval, `1.8862 ± 0.0031`; the mean alone where there is no interval."""
    if summary.n < 2:
        return number(summary.mean, places)
    return f"{number(summary.mean, places)} ± {number(summary.half, places)}"


def ends(summary: Summary, places: int) -> str:
    """An interval's two ends, `[−0.0402, −0.0221]`; a dash where there is none."""
    return f"[{number(summary.low, places, True)}, {number(summary.high, places, True)}]" if summary.n > 1 else NONE


def count(value: float) -> str:
    """`230400` -> `230,400`; what is not finite reads `–`."""
    return f"{value:,.0f}" if math.isfinite(value) else NONE


def short(value: float) -> str:
    """Two or three digits and a letter: `49152` -> `49.2k`, `1810000` -> `1.81M`; from 10¹⁵ on a power of ten."""
    if not math.isfinite(value):
        return NONE
    if not 1 <= value < 1e15:
        return scientific(value) if value >= 1 else f"{value:.3g}"
    power = min(4, int(math.log10(float(f"{value:.2e}")) / 3 + 1e-9))
    return f"{value / 1000**power:.3g}{('', 'k', 'M', 'B', 'T')[power]}"


def scientific(value: float) -> str:
    """`1.236e12` -> `1.24×10¹²`."""
    if not math.isfinite(value) or value <= 0:
        return NONE
    digits, power = f"{value:.2e}".split("e")
    return f"{digits}×10{str(int(power)).translate(_RAISED)}"


def p_value(p: float) -> str:
    """Two significant digits, `< 0.0001` below that."""
    if math.isnan(p):
        return NONE
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}" if p < 0.001 else f"{p:.3f}" if p < 0.0995 else f"{p:.2f}"


def equals_p(p: float) -> str:
    """`p = 0.012`, or `p < 0.0001`, as a sentence holds it."""
    return f"p {p_value(p)}" if p < 1e-4 else f"p = {p_value(p)}"
