"""Two texts read as one: what a vocabulary's template puts around them, and which of them a limit cuts."""

from typing import NamedTuple

import numpy as np

from jaxgpt.spec import ConfigError


class Joined(NamedTuple):
    """A text, or two as one, within their template."""

    ids: np.ndarray
    """int64 (T,)."""
    types: np.ndarray
    """int8 (T,): the token types that the template gives, 0 for the first text and 1 for the second in BERT's."""


class PairTemplate(NamedTuple):
    """Ids in front of a pair, between its texts and behind it, each with its token type."""

    before: tuple[tuple[int, int], ...] = ()
    between: tuple[tuple[int, int], ...] = ()
    behind: tuple[tuple[int, int], ...] = ()
    types: tuple[int, int] = (0, 1)
    """Token types of the first text and of the second."""

    @property
    def size(self) -> int:
        """How many ids the template adds to a pair."""
        return len(self.before) + len(self.between) + len(self.behind)

    def join(self, first: np.ndarray, second: np.ndarray, limit: int) -> Joined:
        """Both texts within the template, up to `limit` ids: the longer text loses its end first, the template nothing.

        Raises ConfigError where the limit leaves no token to each text.
        """
        room = limit - self.size
        if room < 2:
            raise ConfigError(
                f"data.seq_len: {limit} tokens leave no room for two texts beside the {self.size} that frame them; "
                f"raise it to {self.size + 2} or more"
            )
        lengths = longest_first(len(first), len(second), room)
        ids, types = np.empty(self.size + sum(lengths), np.int64), np.empty(self.size + sum(lengths), np.int8)
        at = 0
        for special, text, kind in (
            (self.before, first[: lengths[0]], self.types[0]),
            (self.between, second[: lengths[1]], self.types[1]),
            (self.behind, first[:0], 0),
        ):
            for token, of in special:
                ids[at], types[at] = token, of
                at += 1
            ids[at : at + len(text)], types[at : at + len(text)] = text, kind
            at += len(text)
        return Joined(ids, types)


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of two texts of these lengths stay in `room`: the longer is cut until both are equally long, then
    both are; of an odd room the longer has one more (Hugging Face's `longest_first`)."""
    if first + second <= room:
        return first, second
    short = min(first, second, room // 2)
    return (room - short, short) if first > second else (short, room - short)
