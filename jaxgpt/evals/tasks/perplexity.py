"""Perplexity of texts, by whatever unit: token of the vocabulary, original word, byte, character."""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from jaxgpt.evals.measured import Measured, of_sums
from jaxgpt.evals.model import EvalModel
from jaxgpt.evals.pairs import Pair, Scored, first_id
from jaxgpt.evals.tasks.detokenizers import DETOKENIZERS, DetokenizerName
from jaxgpt.evals.tasks.task import Ask, EvalTask
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote
from jaxgpt.spec.sizes import Length
from jaxgpt.text.corpora.columns import text_of
from jaxgpt.text.corpora.formats import format_of
from jaxgpt.text.corpora.utf8 import lines

HEADING = re.compile(r"^ = [^=\n].* = $", re.MULTILINE)
"""The first line of an article of WikiText."""


class Document(NamedTuple):
    """A text, and what its loss is divided by: as the file has it, before anything is made of it."""

    text: str
    words: int
    lines: int
    bytes: int
    characters: int


class Perplexity(EvalTask):
    """How well a model foresees texts.

    Each document is read from its beginning, after the token that texts begin with, in windows of the model's context:
    every token is foretold once, from at least `stride` fewer tokens than the context where there are as many before
    it. Words, bytes and characters are counted in the file as it stands, whatever a detokeniser makes of it, as
    Radford et al. 2019 (GPT-2), section 3.1, scale losses: never compare figures of different units.
    """

    citation = "Radford et al. 2019 (GPT-2), section 3.1"
    stride: Length | None = None
    """Tokens that are foretold in each window; None: all, so that windows share none (lm-eval's rolling ones)."""
    context: Length | None = None
    """Tokens of a window; None: the model's context."""
    documents: Literal["file", "lines", "articles"] = "file"
    """What is read from a beginning: the whole file, each of its lines that is not empty, or each article of WikiText.
    Of .jsonl and tables each row is one."""
    column: str = "text"
    """The field of such rows."""
    detokenizer: DetokenizerName = "none"
    """What makes text of words with spaces around all of them."""

    def opened(self) -> Ask:
        """See `EvalTask.opened`."""
        path = self.file
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder; expected a file")
        form = format_of(path)
        if form is not None and not form.one_column:
            texts = [text_of(record, self.column) for record in form.records(path, [self.column])]
        else:
            texts = self._split("".join(line for _, _, line in lines(path)))
        if not texts:
            raise ConfigError(f"{path}: holds no text")
        detokenize = DETOKENIZERS[self.detokenizer]
        documents = [_document(text, detokenize(text)) for text in texts[: self.limit]]
        return partial(self._ask, documents)

    def _split(self, whole: str) -> list[str]:
        if self.documents == "lines":
            return [line for line in whole.splitlines() if line.strip()]
        if self.documents == "file":
            return [whole] if whole.strip() else []
        starts = [match.start() for match in HEADING.finditer(whole)]
        if not starts:
            raise ConfigError(f"documents: {quote(self.path)} has no line such as ' = Title = '; use documents=file")
        return [whole[start:end] for start, end in zip(starts, [*starts[1:], len(whole)], strict=True)]

    def _ask(self, documents: Sequence[Document], model: EvalModel) -> Measured:
        size = min(self.context or model.room, model.room)
        step = min(self.stride or size, size)
        begin = first_id(model.codec, "perplexity: the first token has none before it")
        ids = [array.tolist() for array in model.codec.arrays([document.text for document in documents])]
        asked = [list(windows([begin, *row], size, step)) for row in ids]
        scored = iter(model.score([pair for row in asked for pair in row]))
        parts = [[(next(scored), len(pair.continuation)) for pair in row] for row in asked]
        nats = [-sum(each.log_prob for each, _ in row) for row in parts]
        sums = [
            [nat, sum(n for _, n in row), d.words, d.words + d.lines, d.bytes, d.characters]
            for nat, row, d in zip(nats, parts, documents, strict=True)
        ]
        if len(documents) == 1:  # the interval is over its windows, and what they do not have is shared out by tokens
            sums = _of_windows(sums[0], parts[0])
        units = ("token", "word", "word_or_line_end", "byte", "character")
        names = [self.figure(f"per_{unit}") for unit in units]
        names += [self.figure("bits_per_byte"), self.figure("bits_per_character")]
        totals = np.sum(sums, 0)
        facts = {self.figure("documents"): len(documents), self.figure("windows"): sum(map(len, asked))}
        facts |= {self.figure(f"{unit}s"): int(total) for unit, total in zip(units, totals[1:].round(), strict=True)}

        def of(s: np.ndarray) -> list[np.ndarray]:
            return [*(np.exp(s[0] / s[place]) for place in range(1, 6)), *(s[0] / s[p] / np.log(2) for p in (4, 5))]

        rows = [
            {"document": number, "nats": nat, "tokens": len(row), "words": d.words, "bytes": d.bytes}
            for number, (nat, row, d) in enumerate(zip(nats, ids, documents, strict=True), 1)
        ]
        return Measured(tuple(names), len(sums), of_sums(sums, of), {}, facts, rows)


def _document(original: str, text: str) -> Document:
    return Document(
        text, len(original.split()), original.count("\n"), len(original.encode("utf-8", "replace")), len(original)
    )


def windows(ids: list[int], size: int, step: int) -> Iterator[Pair]:
    """Pairs of what is read and what is foretold: `step` tokens at a time, the first window as many as it holds. The
    last window reaches back as far as it can."""
    end = 1
    while end < len(ids):
        start, end = end, min(len(ids), end + (size if end == 1 else step))
        context = ids[max(0, end - 1 - size) : start]
        yield Pair(context, ids[start:end])


def _of_windows(sums: Sequence[float], parts: Sequence[tuple[Scored, int]]) -> list[list[float]]:
    tokens = sums[1]
    return [[-each.log_prob, n, *(total * n / tokens for total in sums[2:])] for each, n in parts]
