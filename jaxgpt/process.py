"""The process that runs a verb: what must be settled before anything large is imported."""

import _signal  # at hand in every Python; `signal` itself takes longer to import than an impatient finger
import errno
import io
import os
import sys

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from typing import Any

BROKEN_PIPE = 128 + 13
"""Exit status, as shells count it, of a program whose reader is gone."""


class _Stream(io.FileIO):
    """Standard output or standard error, which never fail with a traceback.

    Standard output: once its reader is gone (`jaxgpt list | head -1`) the process ends, quietly; on a full disk it says
    so. Standard error: what cannot be written is dropped, for a run must not be lost because nobody watches it.
    """

    def write(self, data: "Any", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if self.fileno() == 2:
                return len(data)
            if error.errno == errno.EPIPE:
                os._exit(BROKEN_PIPE)
            print(f"error: standard output cannot be written: {error.strerror}", file=sys.stderr)
            os._exit(2)


def prepare_process() -> None:
    """Ctrl-C ends the process at once until a verb has something to save, even inside compiled code or an import, where
    Python's own answer comes late, as a traceback, or never. The three standard streams are kept open, and become such
    as `_Stream` says; characters that a terminal cannot show become `?`."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # else the parent chose: nohup, a shell's `&`
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file to be opened would take its place, and the libraries' logs
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = _wrapped(1, sys.stdout, "replace")
    sys.stderr = _wrapped(2, sys.stderr, "backslashreplace")


def _wrapped(number: int, old: "Any", errors: str) -> io.TextIOWrapper:
    raw = _Stream(number, "wb", closefd=False)
    at_once = number == 2 or raw.isatty()
    encoding = getattr(old, "encoding", None) or "utf-8"
    unbuffered = getattr(old, "write_through", False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors, line_buffering=at_once, write_through=unbuffered)
