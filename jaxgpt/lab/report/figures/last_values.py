"""Where runs were measured once or twice, and there are no curves to draw: what each arm ended at."""

from typing import TYPE_CHECKING

from jaxgpt.lab.analysis.findings import Findings
from jaxgpt.lab.number_format import with_unit
from jaxgpt.lab.report.arm_colours import of_arms
from jaxgpt.lab.report.escape import for_figure
from jaxgpt.lab.report.figures.rows import draw_row, name_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def has_curves(findings: Findings) -> bool:
    """Whether some run was measured three times, or none at all yet."""
    return max((len(outcome.curve) for outcome in findings.outcomes), default=0) not in (1, 2)


def draw_last_values(ax: "Axes", findings: Findings) -> None:
    """For each arm its runs as dots, one a seed, their mean and its 95% t interval."""
    experiment = findings.plan.experiment
    colours = of_arms(experiment)
    for row, arm in enumerate(findings.arms):
        draw_row(ax, row, [outcome.value for outcome in arm.finished], arm.summary, colours[arm.name])
    names = [arm.name for arm in findings.arms]
    name_rows(ax, names, [colours[name] for name in names])
    ax.margins(x=0.08)
    ax.set_xlabel(for_figure(with_unit(experiment.metric)))
    ax.set_title("Mean over seeds, 95% interval", loc="right")
