"""Text out of files from outside, as UTF-8 whatever the locale; what is no such file is one line."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from jaxgpt.spec import ConfigError
from jaxgpt.spec.small_file import kind_of, open_at_once
from jaxgpt.spec.stand_in import HEAD, POINTERS, refuse_stand_in

MARK = b"\xef\xbb\xbf"
"""The byte order mark that some editors put in front of UTF-8; it is no part of the text."""
OTHERS = ((b"\xff\xfe\0\0", "UTF-32"), (b"\0\0\xfe\xff", "UTF-32"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))
"""The marks of encodings that are not read."""


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes. Raises ConfigError for what cannot be opened or read, and for what is no regular file, as a
    pipe, which would be waited for without end, or only a Git LFS pointer to one."""
    try:
        with open_at_once(path) as file:
            check_regular(path, os.fstat(file.fileno()))
            head = file.peek(HEAD)[:HEAD]
            if head.startswith(POINTERS):  # a web page, which is no stand-in here, may be what the text is about
                refuse_stand_in(path, head)
            yield file
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None


def check_regular(path: Path, status: os.stat_result) -> None:
    """Raises ConfigError, one line that says what it is, for what is no regular file."""
    if stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"{path}: cannot be read: Is a directory")
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{path}: {kind_of(status.st_mode)}; give a file, a folder, or a glob")


def unmarked(raw: bytes) -> bytes:
    """The beginning of a file without its byte order mark."""
    return raw.removeprefix(MARK)


def decoded(raw: bytes, where: Path | str, start: int = 0) -> str:
    """`raw`, which begins at byte `start` of a file, as text. Raises ConfigError that names `where`, the offset of the
    first bad byte in the file and, where the file tells it, its encoding."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        name = next((name for mark, name in OTHERS if not start and raw.startswith(mark)), None)
        encoding, source = ("", "ENCODING") if name is None else (f", but {name}", name)
        raise ConfigError(
            f"{where}: not UTF-8 at byte {start + error.start}{encoding}; convert it (iconv -f {source} -t UTF-8), or "
            "leave it out"
        ) from None


def lines(path: Path) -> Iterator[tuple[int, int, str]]:
    """`(number, end, line)` of each line of a file: counted from 1, the offset behind it, and its text with its line
    end. Raises ConfigError as `open_regular` and `decoded` do."""
    end = 0
    with open_regular(path) as file:
        for number, raw in enumerate(file, start=1):
            start, end = end, end + len(raw)
            if number == 1:
                raw, start = unmarked(raw), start + len(raw) - len(unmarked(raw))
            yield number, end, decoded(raw, f"{path}:{number}", start)


def sound(text: str) -> bool:
    """Whether a text has no half of a surrogate pair."""
    return without_surrogates(text) == text


def without_surrogates(text: str) -> str:
    """`text`, with `?` for each half of a surrogate pair, which JSON can spell and no encoding can carry."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
