"""Learning curves with bands: the whole of training, and its end enlarged where the arms part."""

from typing import TYPE_CHECKING, Any

from jaxgpt.lab.analysis.findings import Findings
from jaxgpt.lab.number_format import with_unit
from jaxgpt.lab.question.experiment import Experiment
from jaxgpt.lab.report.arm_colours import of_arms
from jaxgpt.lab.report.escape import for_figure
from jaxgpt.lab.statistics.paired import Summary
from jaxgpt.plots.palette import GROUND, MUTED, PAGE, RULE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Band = tuple[list[float], list[Summary]]
"""Tokens, and the summary over seeds at each."""

_DIVERGED: Any = {"linewidth": 0.8, "linestyle": (0, (3, 2))}
_TOKENS = ((1e9, "billions"), (1e6, "millions"), (1e3, "thousands"))


def draw_curves(ax: "Axes", findings: Findings) -> None:
    """Mean over seeds with its 95% t interval, all of training and, enlarged, its end; diverged runs dashed."""
    from matplotlib.ticker import MaxNLocator

    experiment = findings.plan.experiment
    colour, strength = of_arms(experiment), _strength(experiment)
    bands = {arm.name: band for arm in findings.arms if (band := arm.band())[0]}
    longest = max((at for outcome in findings.outcomes for at, _ in outcome.curve), default=1.0)
    scale, word = next(((s, w) for s, w in _TOKENS if longest >= 2 * s), (1.0, ""))
    falls = experiment.better == "lower"
    # A falling curve leaves the upper right free, a rising one the lower right.
    end = ax.inset_axes((0.4, 0.4 if falls else 0.12, 0.6, 0.58), facecolor=PAGE, zorder=3)
    for panel, since in ((ax, 0.04), (end, 0.7)):
        for name, (tokens, summaries) in bands.items():
            _draw_band(panel, [at / scale for at in tokens], summaries, colour[name], strength.get(name, 1))
        _set_limits(panel, bands, since * longest, scale, longest)
    for arm in findings.arms:
        for outcome in arm.outcomes:
            if outcome.status == "diverged" and outcome.curve:
                at, values = zip(*outcome.curve, strict=True)
                ax.plot([tokens / scale for tokens in at], values, color=colour[arm.name], **_DIVERGED)
    ax.set_xlim(0)
    _make_room(ax, bands, scale, falls)
    end.grid(axis="y", color=RULE, linewidth=0.6)
    end.set_axisbelow(True)
    for connector in ax.indicate_inset_zoom(end, edgecolor=MUTED, linewidth=0.6, alpha=0.7).connectors or ():
        connector.set_visible(False)  # they would strike through the inset's tick labels
    end.tick_params(labelsize="small")
    for panel in (ax, end):
        panel.xaxis.set_major_locator(MaxNLocator(5 if panel is ax else 3))
        panel.yaxis.set_major_locator(MaxNLocator(5 if panel is ax else 4))
    for tick in (*end.get_xticklabels(), *end.get_yticklabels()):
        tick.set_bbox(GROUND)
    ax.set_xlabel(f"tokens seen ({word})" if word else "tokens seen")
    ax.set_ylabel(for_figure(with_unit(experiment.metric.removeprefix("best_"))))
    ax.set_title("Mean over seeds, 95% band")
    named = _named(experiment)
    _label_ends(end, {name: (t[-1] / scale, s[-1].mean) for name, (t, s) in bands.items() if name in named}, colour)


def _draw_band(ax: "Axes", x: list[float], summaries: list[Summary], colour: str, strength: float) -> None:
    half = [s.half if s.n > 1 else 0.0 for s in summaries]
    low = [s.mean - h for s, h in zip(summaries, half, strict=True)]
    high = [s.mean + h for s, h in zip(summaries, half, strict=True)]
    ax.fill_between(x, low, high, color=colour, alpha=0.18 * strength, linewidth=0)
    alone = "o" if len(x) == 1 else None
    ax.plot(x, [s.mean for s in summaries], color=colour, alpha=strength, linewidth=1.5, marker=alone, markersize=4)


def _strength(experiment: Experiment) -> dict[str, float]:
    """How strongly each rung of a ladder is drawn: the arms of a series share its colour, and grow darker."""
    rungs = experiment.ladder.rungs.values() if experiment.ladder else ()
    return {arm: 0.4 + 0.6 * (i + 1) / len(arms) for arms in rungs for i, arm in enumerate(arms)}


def _named(experiment: Experiment) -> list[str]:
    """The arms whose curves bear a name: all, or of a ladder's series the ends."""
    rungs = experiment.ladder.rungs if experiment.ladder else {}
    between = {arm for arms in rungs.values() for arm in arms[1:-1]}
    return [arm for arm in experiment.arms if arm not in between]


def _set_limits(ax: "Axes", bands: dict[str, Band], since: float, scale: float, until: float) -> None:
    """Limits that show training from `since` tokens on, in x and in y."""
    shown = [
        bound
        for tokens, summaries in bands.values()
        for at, s in zip(tokens, summaries, strict=True)
        if at >= since
        for bound in ((s.low, s.high) if s.n > 1 else (s.mean,))
    ]
    if shown and max(shown) > min(shown):
        pad = 0.06 * (max(shown) - min(shown))
        ax.set_ylim(min(shown) - pad, max(shown) + pad)
    ax.set_xlim(since / scale, until / scale)


def _make_room(ax: "Axes", bands: dict[str, Band], scale: float, falls: bool) -> None:
    """Widens y until the curves, from where the enlargement begins, keep to the three tenths that it leaves."""
    import numpy as np

    x = np.linspace(0.26, 1, 40) * ax.get_xlim()[1]
    means = [
        np.interp(x, np.divide(tokens, scale), [s.mean for s in summaries]) for tokens, summaries in bands.values()
    ]
    low, high = ax.get_ylim()
    if means and falls:
        ax.set_ylim(low, max(high, low + (float(np.max(means)) - low) / 0.29))
    elif means:
        ax.set_ylim(min(low, high - (high - float(np.min(means))) / 0.29), high)


def _label_ends(ax: "Axes", last: dict[str, tuple[float, float]], colour: dict[str, str]) -> None:
    """Names at the curves' ends, pushed apart so that none covers another."""
    figure: Figure = ax.figure  # type: ignore[assignment]
    figure.draw_without_rendering()
    points = {name: ax.transData.transform(end)[1] * 72 / figure.dpi for name, end in last.items()}
    floor = -float("inf")
    for name in sorted(points, key=lambda end: points[end]):
        height = max(points[name], floor)
        floor = height + 11.5
        offset = (5, height - points[name])
        ax.annotate(
            name, last[name], offset, textcoords="offset points", color=colour[name], va="center", fontweight="bold"
        )
