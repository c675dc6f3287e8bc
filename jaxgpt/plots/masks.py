"""Pictures of a model's attention patterns, after Child et al. 2019, figure 3: what one query sees, who sees whom."""

import math
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from jaxgpt.ops.patterns import mean_keys
from jaxgpt.plots.look import STYLE
from jaxgpt.plots.palette import MUTED
from jaxgpt.plots.panels import LINE, draw_folded, draw_legend, draw_matrix, scale_of, write
from jaxgpt.plots.picture import DPI, checked, save
from jaxgpt.plots.views import HARD, View, fields, numbers, views
from jaxgpt.spec import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIDE, _FOLD = 1.92, 0.8  # inches, as all lengths here; _SIDE is 3 pixels for each of panels.CELLS
_COLUMNS, _GAP, _LEFT = 4, 0.44, 0.5


def draw_patterns(model: Any, length: int, path: Path) -> None:
    """Writes a picture of the patterns of `model` over a row of `length`, in the format that the file's ending names.

    Raises ConfigError for a model without patterns, an ending that cannot be written and a folder that is not there.
    """
    import matplotlib

    ending = checked(path, "--pattern")
    if not model.layer_patterns:
        raise ConfigError(f"--pattern: model.kind '{model.kind}' has no attention patterns; leave the option out")
    with matplotlib.rc_context(STYLE):
        save(_figure(views(model.layer_patterns, model.heads), length, model), path, ending)


def _figure(shown: tuple[View, ...], length: int, model: Any) -> "Figure":
    """Panels of one size, at most four to a row; placed by hand, so that no text moves or shrinks a matrix."""
    from matplotlib.figure import Figure

    scale = scale_of(shown, length)
    rows = math.ceil(len(shown) / _COLUMNS)
    columns = math.ceil(len(shown) / rows)
    details = [wrap(fields(view.pattern), 36, max_lines=3, placeholder=" …") for view in shown]
    title = 0.3 + LINE * max(map(len, details))
    tall, foot = title + _FOLD + 0.1 + _SIDE + 0.35, 0.65 + (0.36 if scale.cell > 1 else 0)
    wide, high = max(4.0, _LEFT + columns * (_SIDE + _GAP)), rows * tall + foot  # the legend needs 4 inches
    figure = Figure(figsize=(wide, high))

    def axes(x: float, y: float, w: float, h: float) -> "Axes":
        box = (x / wide, y / high, w / wide, h / high)
        ax = figure.add_axes(box, xticks=[], yticks=[], facecolor="none")
        ax.spines[:].set_visible(False)
        return ax

    for index, (view, lines) in enumerate(zip(shown, details, strict=True)):
        x, y = _LEFT + index % columns * (_SIDE + _GAP), foot + (rows - 1 - index // columns) * tall + 0.3
        draw_matrix(axes(x, y, _SIDE, _SIDE), view.pattern, scale, index % columns == 0)
        y += _SIDE + 0.1
        draw_folded(axes(x, y, _FOLD, _FOLD), view.pattern, scale, _FOLD * DPI)
        y += _FOLD
        write(axes(x + _FOLD + 0.1, y, 1, 1), _facts(view, length, model))
        write(axes(x, y + title - 0.25, 1, 1), lines, color=MUTED)
        axes(x, y + title - 0.2, 1, 1).text(0, 0, view.pattern.kind, fontsize=9.5, fontweight="bold")
    draw_legend(axes, _LEFT, foot - 0.05, int(wide * 15), shown, scale)
    return figure


def _facts(view: View, length: int, model: Any) -> list[str]:
    """Who uses the pattern, and what it keeps."""
    mean = mean_keys(view.pattern, length)
    share = f"{100 * mean / length:#.3g}".rstrip(".")
    facts = [f"layer{'s'[: len(view.layers) > 1]} {numbers(view.layers)} of{HARD}{model.depth}"]
    if view.heads:
        facts.append(f"head{'s'[: len(view.heads) > 1]} {numbers(view.heads)} of{HARD}{model.heads}")
    facts += [f"{share}% of pairs", f"{mean:,.1f} keys a{HARD}query"]
    return [line for fact in facts for line in wrap(fact, 22)]
