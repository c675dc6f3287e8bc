"""One model's heat map, large, with the texts beside it: `jaxgpt eval RUN sts --picture FILE`."""

from collections.abc import Callable
from math import cos, radians, sin
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxgpt.plots.heatmap import draw_map, fold, style_colour_bar
from jaxgpt.plots.look import STYLE
from jaxgpt.plots.palette import MUTED
from jaxgpt.plots.picture import checked, save
from jaxgpt.spec import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxgpt.evals import EvalTask
    from jaxgpt.evals.heat import Heat
    from jaxgpt.evals.vectors import Encode

OPTION, LETTERS = "--picture", 40
_CELL, _WORDS, _FOOT = 0.32, 2.75, 0.9
"""Inches: a cell's side, a text's length, the space below."""
_SLOPE = 50  # degrees
_NOTE = "rows: first texts\ncolumns: second texts\nframed: the pairs, from the\nhighest human score down"


def drawing(task: "EvalTask", path: Path) -> Callable[["Encode", str], None]:
    """What draws a model's map into `path`, given its encoder and name; all else is looked at now.

    Raises ConfigError for a task that has no map, an ending that cannot be written and a folder that is not there.
    """
    from jaxgpt.evals.heat import heat

    ending = checked(path, OPTION)
    subsets = task.scored_pairs()
    if not subsets:
        raise ConfigError(
            f"{OPTION}: task '{task.title}' has no scored pairs to draw; leave the option out, or ask for sts"
        )
    return lambda encode, name: draw_alone(heat(encode, subsets), name, path, ending)


def draw_alone(heat: "Heat", name: str, path: Path, ending: str) -> None:
    """Writes the map of the model `name`, with its texts, their scores and cosines."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        save(_figure(heat, name), path, ending, bbox_inches="tight", pad_inches=0.1)  # texts may be wide, or short


def shorten(text: str, letters: int = LETTERS) -> str:
    """Text in one line of at most so many letters, cut behind a word unless that takes half of it away."""
    line = " ".join(text.split())
    if len(line) <= letters:
        return line
    cut, words = line[: letters - 1], line[:letters].rpartition(" ")[0]
    return (words.rstrip(" ,;:") if len(words) > letters / 2 else cut) + "…"


def _figure(heat: "Heat", name: str) -> "Figure":
    """Placed by hand: no text moves or shrinks the map."""
    from matplotlib.figure import Figure

    pairs = len(heat.scores)
    side, slope = max(_CELL * pairs, 1.6), radians(_SLOPE)
    wide, high = _WORDS + side + _WORDS * cos(slope), _FOOT + side + _WORDS * sin(slope)
    figure, cell = Figure(figsize=(wide, high)), side / pairs
    ax = figure.add_axes((_WORDS / wide, _FOOT / high, side / wide, side / high))
    image = draw_map(ax, heat, 72 * cell)
    word: Any = {"parse_math": False, "fontsize": 8, "annotation_clip": False, "textcoords": "offset points"}
    figures: Any = {"ha": "right", "va": "center", "fontsize": 8, "transform": ax.get_yaxis_transform()}
    for row, (first, second) in enumerate(zip(heat.first, heat.second, strict=True)):
        ax.annotate(shorten(first), (-0.5, row), (-5, 0), ha="right", va="center", **word)
        slant: Any = {"rotation": _SLOPE, "rotation_mode": "anchor"}
        ax.annotate(shorten(second), (row, -0.5), (0, 5), ha="left", va="center", **slant, **word)
        ax.text(1 + 0.45 / side, row, f"{heat.scores[row]:.2f}", **figures)
        ax.text(1 + 1.05 / side, row, f"{heat.cosines[row, row]:.2f}", color=MUTED, **figures)
    for right, head in ((0.45, "human\nscore"), (1.05, "cosine")):
        ax.text(1 + right / side, pairs - 0.2, head, **(figures | {"color": MUTED, "va": "top"}))
    title = fold(name, 30)
    figure.text(0, 1, title, va="top", fontsize=9.5, fontweight="bold", parse_math=False)
    figure.text(
        0, 1 - (0.17 * len(title.splitlines()) + 0.1) / high, _NOTE, va="top", fontsize=8, color=MUTED, linespacing=1.4
    )
    bar = figure.add_axes((_WORDS / wide, (_FOOT - 0.35) / high, min(side, 3) / wide, 0.11 / high))
    style_colour_bar(figure.colorbar(image, cax=bar, orientation="horizontal", label="cosine", extend="min"))
    return figure
