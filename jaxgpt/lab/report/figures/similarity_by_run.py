"""Every run's heat map, arms down and seeds across: how much of an arm's picture is chance."""

from jaxgpt.lab.analysis.findings import Findings
from jaxgpt.lab.report.arm_colours import of_arms
from jaxgpt.lab.report.figures.figure import document
from jaxgpt.lab.report.figures.similarity_by_arm import read_heat
from jaxgpt.plots.heatmap import draw_map, fold
from jaxgpt.plots.look import STYLE
from jaxgpt.plots.palette import MUTED

_SIDE, _GAP, _LEFT, _TOP = 0.8, 0.1, 1.25, 0.25  # inches


def every_run(findings: Findings) -> tuple[str, float]:
    """An SVG document and its width in inches; ("", 0) where no run has left a map. A map links to its run's row."""
    import matplotlib
    from matplotlib.figure import Figure

    heats = {outcome.cell.id: heat for outcome in findings.outcomes if (heat := read_heat(findings, outcome))}
    arms = [arm for arm in findings.arms if any(outcome.cell.id in heats for outcome in arm.outcomes)]
    if not arms:
        return "", 0.0
    seeds = sorted({outcome.cell.run.seed for arm in arms for outcome in arm.outcomes})
    colour, step = of_arms(findings.plan.experiment), _SIDE + _GAP
    wide, high = _LEFT + step * len(seeds), _TOP + step * len(arms)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(wide, high))
        for column, seed in enumerate(seeds):
            across = (_LEFT + step * column + _SIDE / 2) / wide
            figure.text(across, 1 - 0.6 * _TOP / high, f"seed {seed}", color=MUTED, ha="center", va="center")
        for row, arm in enumerate(arms):
            up = high - _TOP - step * row - _SIDE
            middle, name = (up + _SIDE / 2) / high, fold(arm.name, 17)
            figure.text(0, middle, name, va="center", color=colour[arm.name], fontweight="bold")
            for outcome in arm.outcomes:
                across = _LEFT + step * seeds.index(outcome.cell.run.seed)
                ax = figure.add_axes((across / wide, up / high, _SIDE / wide, _SIDE / high), facecolor="none")
                if heat := heats.get(outcome.cell.id):
                    draw_map(ax, heat, 72 * _SIDE / len(heat.scores)).set_url(f"#run-{outcome.cell.id}")
                else:
                    ax.set_axis_off()
                    why = "no map" if outcome.status == "finished" else outcome.status
                    ax.text(0.5, 0.5, why, color=MUTED, ha="center", va="center", transform=ax.transAxes)
        return document(figure), wide
