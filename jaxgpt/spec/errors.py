"""What a user sees when input is bad: one line a problem, never a traceback."""

import difflib
import reprlib
from collections.abc import Iterable, Mapping
from itertools import islice


class JaxgptError(Exception):
    """Base of every error that is the input's fault: one or more `problems` of one line each. The command line prints
    them and exits with `exit_status`."""

    exit_status = 2

    def __init__(self, problems: str | Iterable[str] = ()):
        lines = [problems] if isinstance(problems, str) else list(problems)
        self.problems = [_one_line(line) for line in lines]
        super().__init__("\n".join(self.problems))


class ConfigError(JaxgptError):
    """Bad fields. `problems` holds one line each: dotted path, value, what was expected, remedy."""


LONGEST = 2000
"""Characters of a problem. What is longer quotes a stranger's text that someone forgot to shorten."""
MOST_NAMES = 40
"""Names that are offered where none is near."""


def printable(text: str) -> str:
    """`text` on one line, with everything that a terminal would obey rather than show, escape sequences and changes of
    direction among them, spelled out: `\\x1b`, `\\n`."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _one_line(text: str) -> str:
    return cut(printable(text[: LONGEST + 1]), LONGEST)


def cut(text: str, most: int) -> str:
    """The text with at most so many characters, the last three of them dots where it goes on."""
    return text if len(text) <= most else text[: most - 3] + "..."


def quote(value: object, most: int = 60) -> str:
    """`value` as an error line shows it: its repr on one line, without control characters, at most `most` characters.

    Never fails: a stranger's integer may have too many digits for Python to print, and a string a million characters.
    """
    if isinstance(value, str | bytes):
        value = value[: most + 1]
    elif isinstance(value, int) and abs(value) >= 10**most:
        return f"an integer of {value.bit_length()} bits"
    try:
        text = reprlib.repr(value) if isinstance(value, Mapping | list | tuple | set) else repr(value)
    except Exception as error:  # of a class that we do not know
        text = f"<{type(value).__name__}: {type(error).__name__}>"
    return cut(printable(text), most)


def listed(names: Iterable[object], most: int = 8) -> str:
    """The first names of a stranger's file, as an error line shows them."""
    shown = [quote(str(name), 32)[1:-1] for name in islice(names, most + 1)]
    return ", ".join(shown[:most] + ["..."] * (len(shown) > most))


def short(names: Iterable[str]) -> list[str]:
    """Names of a stranger's file, as `did_you_mean` may offer them."""
    return [quote(name, 32)[1:-1] for name in islice(names, 20)]


def first_line(error: Exception) -> str:
    """The message of another library's error, kept to one line."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'lr'?`, or the names on offer when none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(word[:100], known, n=1, cutoff=0.5)
    if near:
        return f"; did you mean '{near[0]}'?"
    more = f", ... ({len(known)} in all)" if len(known) > MOST_NAMES else ""
    return f"; known: {', '.join(known[:MOST_NAMES])}{more}" if known else ""
