"""Alignment against uniformity: how near vectors of like texts lie, and how evenly all of them cover the sphere."""

from statistics import mean
from typing import TYPE_CHECKING

from jaxgpt.lab.analysis.findings import Findings, Outcome
from jaxgpt.lab.report.arm_colours import of_arms
from jaxgpt.lab.report.figures.labels import Point, name_points
from jaxgpt.plots.palette import MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEYS = "val/uniformity", "val/alignment"


def measured(findings: Findings) -> dict[str, list[Outcome]]:
    """The finished runs, by arm, that have both figures (`eval.sts` measures them); arms without any are left out."""
    by_arm = {
        arm.name: [o for o in arm.finished if all(isinstance(o.result.get(key), int | float) for key in KEYS)]
        for arm in findings.arms
    }
    return {name: outcomes for name, outcomes in by_arm.items() if outcomes}


def draw_sphere(ax: "Axes", findings: Findings) -> None:
    """A dot for each run, a diamond for its arm's mean; towards the lower left both are better (Wang & Isola 2020)."""
    from matplotlib.ticker import MaxNLocator

    colour = of_arms(findings.plan.experiment)
    means: dict[str, Point] = {}
    dots: list[Point] = []
    for name, outcomes in measured(findings).items():
        across, up = ([float(outcome.result[key]) for outcome in outcomes] for key in KEYS)
        ax.plot(across, up, "o", color=colour[name], alpha=0.45, markersize=3.6, markeredgewidth=0)
        ax.plot([mean(across)], [mean(up)], "D", color=colour[name], markersize=5.5, markeredgewidth=0)
        means[name] = mean(across), mean(up)
        dots += zip(across, up, strict=True)
    ax.margins(0.18)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_locator(MaxNLocator(4))
    better = ax.annotate("↙ better", (0, 0), (4, 4), "axes fraction", "offset points", color=MUTED)
    ax.set_xlabel("uniformity")
    ax.set_ylabel("alignment")
    ax.set_title("Vectors on the sphere", loc="right")
    name_points(ax, means, colour, dots, [better])
