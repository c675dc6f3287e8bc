"""Where a long text may be cut, so that no call into a tokenizer takes long: memory stays small and Ctrl-C is heard.

Two kinds of places. Between words the ids are those of the whole text: GPT-2's and BERT's rules part words there
anyway. Inside a run of characters without any such place, as in DNA or in a megabyte of spaces, a cut may change a few
ids around it; it comes only where a run is longer than any word that people write.
"""

import re
from collections.abc import Iterable, Iterator

BETWEEN = re.compile(r"(?<=\S)(?=[ \n]\S)")
"""Before a single space or newline that stands between two other characters."""
WITHIN = re.compile(r"(?<=[^\W_])(?=[!-/:-@\[-`{-~\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f])")
"""Between a letter or number and punctuation: exact too, where a run has it."""
RUN = 2048
"""Characters of a run, of white space or without any, from which on learning cuts it. The time that `tokenizers` takes
to learn from a word grows with its square; 2,048 keep a megabyte of one word within seconds. (Llama 3 cuts at 25,000 to
encode, and SentencePiece leaves out sentences of more than 4,192 bytes to learn.)"""
PART = 1 << 16
"""Characters from which on a text is cut between words, to learn from it or to encode it on all cores."""
LONGEST = 1 << 20
"""Characters of a text that are encoded at once: a second, and up to half a gigabyte."""
_LONG_RUN = re.compile(rf"(?<!\S)\S{{{RUN + 1},}}|(?<!\s)\s{{{RUN + 1},}}")


def between_words(text: str) -> Iterator[str]:
    """Parts of at least PART characters but for the last, cut between words only."""
    begin = 0
    while boundary := BETWEEN.search(text, begin + PART):
        yield text[begin : boundary.start()]
        begin = boundary.start()
    yield text[begin:]


def at_most(text: str) -> Iterator[str]:
    """Parts of at most LONGEST characters: cut between words if one ends in a part's second half, else within a run."""
    begin = 0
    while len(text) - begin > LONGEST:
        boundary = BETWEEN.search(text, begin + LONGEST // 2, begin + LONGEST)
        end = boundary.start() if boundary else _within(text, begin, LONGEST)
        yield text[begin:end]
        begin = end
    yield text[begin:]


def to_learn(texts: Iterable[str]) -> Iterator[str]:
    """`texts` in parts that a vocabulary is learned from in linear time. What they spell is the same, and so are their
    words, but for those in runs of more than RUN characters."""
    for text in texts:
        for part in between_words(text):
            begin = 0
            for run in _LONG_RUN.finditer(part):
                at = run.start()
                while run.end() - at > RUN:
                    at = _within(part, at, RUN)
                    yield part[begin:at]
                    begin = at
            yield part[begin:]


def _within(text: str, begin: int, size: int) -> int:
    """Where to cut a run: at punctuation in the second half of `size` characters from `begin`, else behind them."""
    boundary = WITHIN.search(text, begin + size // 2, begin + size)
    return boundary.start() if boundary else begin + size
