"""Reading a small text file that may come from a stranger: a config, a plan, a result, a list of words."""

import os
import stat
from io import BufferedReader
from pathlib import Path

from jaxgpt.spec.errors import ConfigError, quote
from jaxgpt.spec.stand_in import refuse_stand_in

MOST = 1 << 20
"""Bytes that a file of settings may have. The largest that we write has some ten thousand."""


def read_small(path: str | Path, most: int = MOST) -> str:
    """The text of a regular file of at most `most` bytes, UTF-8 whatever the locale, without its byte order mark.

    Line ends are as they stand in the file. Raises ConfigError, one line that begins with the path, for what is
    missing, unreadable, too large, not UTF-8, or no regular file: a pipe, which would never end, a device, a folder, or
    a link to one of these; and for a Git LFS pointer or a web page.
    """
    raw = read_small_bytes(path, most)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8: byte {error.object[error.start]:#04x} at offset {error.start:,}; save it as UTF-8"
        ) from None


def read_small_bytes(path: str | Path, most: int = MOST) -> bytes:
    """The bytes of a regular file of at most `most`. Raises as `read_small` does."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{path}: {kind_of(status.st_mode)}; give a regular file")
        if status.st_size > most:
            raise ConfigError(f"{path}: {status.st_size:,} bytes; at most {most:,} are read")
        with open_at_once(path) as file:
            raw = file.read(most + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a NUL character
        raise ConfigError(f"{quote(str(path))}: not a path: {error}") from None
    if len(raw) > most:  # it grew, or says nothing of its size as files under /proc do
        raise ConfigError(f"{path}: more than {most:,} bytes; no more are read")
    refuse_stand_in(path, raw)
    return raw


def open_at_once(path: str | Path) -> BufferedReader:
    """Opens a file to be read as bytes, without waiting where a pipe has taken its place in between."""
    return open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")


def kind_of(mode: int) -> str:
    """What a path leads to that is no regular file."""
    if stat.S_ISDIR(mode):
        return "is a folder"
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        return "is a pipe"
    return "is a device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else "is no regular file"
