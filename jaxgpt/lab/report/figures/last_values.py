"""Where runs were measured once or twice, and there are no curves to draw: what each arm ended at."""

from typing import TYPE_CHECKING, Any

from jaxgpt.lab.analysis.findings import Findings
from jaxgpt.lab.number_format import with_unit
from jaxgpt.lab.report.arm_colours import of_arms
from jaxgpt.lab.report.escape import for_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def has_curves(findings: Findings) -> bool:
    """Whether some run was measured three times, or none at all yet."""
    return max((len(outcome.curve) for outcome in findings.outcomes), default=0) not in (1, 2)


def draw_last_values(ax: "Axes", findings: Findings) -> None:
    """For each arm its runs as dots, one a seed, their mean and its 95% t interval."""
    from matplotlib.ticker import MaxNLocator

    experiment = findings.plan.experiment
    colours = of_arms(experiment)
    dots: Any = {"alpha": 0.45, "markersize": 3.6, "markeredgewidth": 0}
    for row, arm in enumerate(findings.arms):
        colour, summary = colours[arm.name], arm.summary
        ax.plot(
            [outcome.value for outcome in arm.finished], [-row - 0.2] * len(arm.finished), "o", color=colour, **dots
        )
        if summary.n > 1:
            ax.plot([summary.low, summary.high], [-row, -row], color=colour, linewidth=2)
        ax.plot([summary.mean], [-row], "D", color=colour, markersize=5.5, markeredgewidth=0)
    ax.set_yticks([-row for row in range(len(findings.arms))], [for_figure(arm.name) for arm in findings.arms])
    for text, arm in zip(ax.get_yticklabels(), findings.arms, strict=True):
        text.set_color(colours[arm.name])
        text.set_fontweight("bold")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.margins(x=0.08)
    ax.set_xlabel(for_figure(with_unit(experiment.metric)))
    ax.set_title("Mean over seeds, 95% interval", loc="right")
