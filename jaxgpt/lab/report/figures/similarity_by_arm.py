"""Heat maps side by side, one an arm: whose diagonal fades with the human score while the rest stays dark?"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxgpt.lab.analysis.findings import Findings, Outcome
from jaxgpt.lab.report.arm_colours import of_arms
from jaxgpt.lab.run_files import read_json
from jaxgpt.plots.heatmap import draw_map, fold, mark_scores, style_colour_bar
from jaxgpt.plots.palette import MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from jaxgpt.evals.heat import Heat

FILE = "similarity.json"
"""What the trainer leaves in a run's folder, where `eval.sts` measures it."""
_GAP = 0.3  # inches from map to map


def read_heat(findings: Findings, outcome: Outcome) -> "Heat | None":
    """The map of one run; None where it has not finished, or left none."""
    content = read_json(findings.folder / outcome.cell.path / FILE) if outcome.status == "finished" else {}
    if not content:
        return None
    from jaxgpt.evals.heat import Heat  # brings jax, which a report without maps does not need

    try:
        return Heat.of_json(content).checked()
    except (KeyError, TypeError, ValueError):  # another's file, or of another time
        return None


def by_arm(findings: Findings) -> "dict[str, Heat]":
    """The mean map of each arm, over its finished runs; arms without a map are left out.

    A cosine that is not a number in one run is none in the mean. A run that holds other texts than its arm's first one
    (the file of pairs has changed between them) has no part in it.
    """
    maps = {}
    for arm in findings.arms:
        heats = [heat for outcome in arm.finished if (heat := read_heat(findings, outcome))]
        if heats:
            same_texts = [heat.cosines for heat in heats if heat[:2] == heats[0][:2]]
            maps[arm.name] = heats[0]._replace(cosines=np.mean(same_texts, axis=0))
    return maps


def grid(count: int) -> tuple[int, int]:
    """Rows and columns of so many maps."""
    columns = {1: 1, 2: 2, 4: 2}.get(count, 3)
    return math.ceil(count / columns), columns


def height(count: int) -> float:
    """Inches that so many maps need at a width of 5."""
    rows, columns = grid(count)
    return 1.1 + rows * (min(4.4 / columns - _GAP, 2.4) + 0.6)


def draw_heat(ax: "Axes", findings: Findings) -> None:
    """Draws in place of the axes a map for each arm, with one bar of colours."""
    import matplotlib

    heats, colour = by_arm(findings), of_arms(findings.plan.experiment)
    rows, columns = grid(len(heats))
    figure: Figure = ax.figure  # type: ignore[assignment]
    margins = figure.subplotpars.right - figure.subplotpars.left  # which the layout does without
    inches = (figure.get_figwidth() * ax.get_position().width / margins - 0.5) / columns - _GAP
    size = matplotlib.rcParams["font.size"]
    letters, small = int(72 * (inches + 0.2) / (0.55 * size)), min(0.83 * size, 7 * inches)
    spec = ax.get_subplotspec()
    assert spec is not None
    ax.remove()
    halves = spec.subgridspec(2, 1, height_ratios=[1e-3, 1], hspace=0)
    head = figure.add_subplot(halves[0])  # as high as its title, which stands in line with other panels'
    head.set_axis_off()
    head.set_title("Cosines of scored pairs", loc="right")
    part = figure.add_subfigure(halves[1], facecolor="none")
    axes = list(part.subplots(rows, columns, squeeze=False, gridspec_kw={"hspace": 0.05}).flat)
    for empty in axes[len(heats) :]:
        empty.set_axis_off()
    axes = axes[: len(heats)]
    for index, (panel, (name, heat)) in enumerate(zip(axes, heats.items(), strict=True)):
        panel.set_facecolor("none")
        image = draw_map(panel, heat, 72 * inches / len(heat.scores))
        if index % columns == 0:
            mark_scores(panel, heat)
        panel.set_title(fold(name, letters), color=colour[name], fontweight="bold", fontsize="small", loc="left", pad=3)
        panel.set_xlabel(_means(heat), color=MUTED, fontsize=small, labelpad=3)
    part.supylabel("human score", fontsize=matplotlib.rcParams["axes.labelsize"])
    look: Any = {"location": "bottom", "aspect": 30, "shrink": 0.6, "panchor": False}  # maps stay in the middle
    style_colour_bar(part.colorbar(image, ax=axes, label="cosine", extend="min", **look))


def _means(heat: "Heat") -> str:
    """What the eye should find, in two figures."""
    pairs = np.eye(len(heat.scores), dtype=bool)
    parts = {"pairs": heat.cosines[pairs], "rest": heat.cosines[~pairs]}
    figures = {name: part.mean() if part.size else np.nan for name, part in parts.items()}
    return ", ".join(f"{name} {mean:.2f}" if np.isfinite(mean) else f"{name} –" for name, mean in figures.items())
