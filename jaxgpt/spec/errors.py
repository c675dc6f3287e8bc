"""What a user sees when input is bad: one line a problem, never a traceback."""

import difflib
from collections.abc import Iterable


class JaxgptError(Exception):
    """Base of every error that is the input's fault. The command line prints it and exits with status 2."""


class ConfigError(JaxgptError):
    """One or more bad fields. `problems` holds one line each: dotted path, value, what was expected, remedy."""

    def __init__(self, problems: str | Iterable[str]):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'lr'?`, or the names on offer when none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; known: {', '.join(known)}" if known else ""
