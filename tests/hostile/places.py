"""What may stand where a file should be."""

import os
from collections.abc import Callable
from pathlib import Path


def _folder(path: Path) -> None:
    path.mkdir()


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _circle(path: Path) -> None:
    path.symlink_to(path.name)


def _nowhere(path: Path) -> None:
    path.symlink_to("nowhere")


def _vast(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


IN_ITS_PLACE: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: None,
    "empty": lambda path: path.write_bytes(b""),
    "a folder": _folder,
    "a pipe": os.mkfifo,
    "a link to a device": _endless,
    "a link to itself": _circle,
    "a link to nothing": _nowhere,
    "vast": _vast,
}
