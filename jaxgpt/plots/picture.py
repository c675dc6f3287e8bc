"""A picture that a verb writes where its user says: the place is checked first, the file is whole or absent."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxgpt.disk import atomic, typed
from jaxgpt.plots.palette import PAGE
from jaxgpt.spec import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 200
_UNDRAWABLE = {"pgf", "raw", "rgba"}  # text that needs TeX, and pixels without their shape
_OPTIONS: dict[str, Any] = {
    "png": {"pil_kwargs": {"optimize": True}},
    "pdf": {"metadata": {"CreationDate": None}},
    "svg": {"metadata": {"Date": None}},
}
_BEGINNINGS = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml", "jpg": b"\xff\xd8", "jpeg": b"\xff\xd8"}


def checked(path: Path, option: str) -> str:
    """The format that the file's ending names. Raises ConfigError, with `option` in front, for an ending that cannot be
    written, a folder that is not there, and a file whose place a picture must not take: one that is none."""
    from matplotlib.backend_bases import FigureCanvasBase

    ending = path.suffix[1:].lower()
    if ending not in FigureCanvasBase.get_supported_filetypes().keys() - _UNDRAWABLE:
        raise ConfigError(f"{option}: '{typed(path)}' does not end in a picture's format; use .png, .pdf or .svg")
    if not path.parent.is_dir():
        raise ConfigError(
            f"{option}: '{typed(path)}': there is no folder '{typed(path.parent)}'; make it, or name another"
        )
    if path.is_file() and not _begins(path).startswith(_BEGINNINGS.get(ending, ())):
        raise ConfigError(
            f"{option}: '{typed(path)}' is there already, is no {ending} and is not written over; choose another name"
        )
    return ending


def _begins(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(5)
    except OSError:
        return b""


def save(figure: "Figure", path: Path, ending: str, **options: Any) -> None:
    """Writes `figure` in the format that `checked` gave, as `savefig` does; the same figure gives the same bytes."""
    with atomic(path) as file:
        figure.savefig(file, format=ending, dpi=DPI, facecolor=PAGE, **_OPTIONS.get(ending, {}), **options)
