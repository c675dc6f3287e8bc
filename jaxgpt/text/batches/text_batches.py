"""What training on separate texts reads: rows of texts, as their objective arranges them in rows of tokens.

B rows, T tokens, K rows of tokens for each row of texts.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from jaxgpt.spec import ConfigError
from jaxgpt.text.batches.arrangement import RowPlan
from jaxgpt.text.batches.balance import BalancedRows
from jaxgpt.text.batches.data import Data
from jaxgpt.text.batches.encoded_rows import EncodedRows, encode_rows
from jaxgpt.text.batches.labels import Targets, targets
from jaxgpt.text.batches.training_data import Shapes, TrainingData, text_shapes
from jaxgpt.text.batches.val_pass import ValPass
from jaxgpt.text.batches.windows import Batch, window_order, with_words
from jaxgpt.text.corpora.columns import TextRow, text_rows
from jaxgpt.text.corpora.corpus import Corpus, is_held_out
from jaxgpt.text.corpora.file_corpus import FileCorpus
from jaxgpt.text.tokenizers.codec import Codec


@dataclass(frozen=True, eq=False)
class TextBatches(TrainingData):
    """Rows of texts, all of them in memory."""

    codec: Codec
    corpus_hash: str
    train_tokens: int
    val_tokens: int
    seq_len: int
    shuffle: bool
    weights: tuple[float, ...]
    plan: RowPlan
    train: tuple[EncodedRows, ...]
    val: tuple[EncodedRows, ...]
    targets: Targets | None
    balanced: tuple[BalancedRows, ...] | None
    """For each source the rows of an epoch, where classes are balanced."""
    starts_V: np.ndarray | None = None
    """`Codec.word_starts`, where batches are to tell words."""

    @property
    def labels(self) -> tuple[str, ...] | None:  # type: ignore[override]
        """Those of the training rows."""
        return None if self.targets is None else self.targets.labels

    @property
    def label_counts(self) -> tuple[int, ...] | None:  # type: ignore[override]
        """Those of the rows of an epoch, balanced or not."""
        if self.targets is None or self.labels is None:
            return None
        counts = np.zeros(len(self.labels), int)
        for source, label_N in enumerate(self.targets.train):
            counts += (
                np.bincount(label_N, minlength=len(counts))
                if self.balanced is None
                else (self.balanced[source].each * np.bincount(np.unique(label_N), minlength=len(counts)))
            )
        return tuple(counts.tolist())

    @property
    def scale(self) -> tuple[float, float] | None:  # type: ignore[override]
        """That of the training rows' scores."""
        return None if self.targets is None else self.targets.scale

    @property
    def candidates(self) -> int | None:  # type: ignore[override]
        """K, where a row of tokens is a candidate."""
        return self.train[0].columns if self.plan.arrangement == "candidates" else None

    @cached_property
    def epoch_rows(self) -> int:
        """All training rows once, or as many as balance the classes."""
        return sum(self._sizes)

    @property
    def _sizes(self) -> tuple[int, ...]:
        return tuple(len(part) for part in self.balanced or self.train)

    @property
    def val_tokens_per_byte(self) -> None:
        """None: bits per byte are for losses that score every token."""

    def shapes(self, rows: int) -> Shapes:
        """The arrays of a batch of rows of texts; see `text_shapes`."""
        return text_shapes(self.train[0].columns, self.seq_len, self.plan, rows)

    def batch(self, seed: int, start: int, stop: int) -> Batch:
        """Rows `start` to `stop - 1`, as `EncodedRows.rows` makes them; every row of a source comes once an epoch, but
        where classes are balanced."""
        order = window_order(self._sizes, self.weights, seed, self.shuffle)
        picked = [order[row] for row in range(start, stop)]
        if self.balanced is not None:
            picked = [(source, 0, self.balanced[source].row(seed, epoch, row)) for source, epoch, row in picked]
        sources_B = np.array([source for source, _, _ in picked], int)
        return self._gather(
            self.train, self.targets and self.targets.train, sources_B, np.array([row for _, _, row in picked], int)
        )

    def val_batches(self, rows: int) -> ValPass:
        """One pass over the held-out rows; rows that fill up the last batch have no token."""
        sizes = [len(part) for part in self.val]
        index_R = np.concatenate([np.arange(size) for size in sizes])
        sources_R = np.repeat(np.arange(len(sizes)), sizes)

        def make(start: int, stop: int) -> Batch:
            return self._gather(self.val, self.targets and self.targets.val, sources_R[start:stop], index_R[start:stop])

        return ValPass(make, len(index_R), rows)

    def _gather(
        self,
        parts: Sequence[EncodedRows],
        targets: Sequence[np.ndarray] | None,
        sources_B: np.ndarray,
        index_B: np.ndarray,
    ) -> Batch:
        """Rows of the sources `parts`, and what they are labelled with."""
        out: Batch = {}
        for source, part in enumerate(parts):
            rows_B = sources_B == source
            arrays = part.rows(index_B[rows_B], self.seq_len)
            if targets is not None:
                arrays["score" if self.plan.target == "number" else "label"] = targets[source][index_B[rows_B]]
            for name, rows in arrays.items():
                out.setdefault(name, np.empty((len(index_B), *rows.shape[1:]), rows.dtype))[rows_B] = rows
        return with_words(out, self.starts_V)


def read_rows(corpus: Corpus, data: Data, spread: bool = False) -> list[TextRow]:
    """The corpus's rows of texts, those of `apart` one text each; `spread` as in `text_rows`. Raises ConfigError naming
    file and row."""
    if not isinstance(corpus, FileCorpus):
        raise ConfigError(f"data.columns: reads files, not {corpus.name}; save it as .jsonl, .csv, .tsv or .txt first")
    names, count = (None, data.columns) if isinstance(data.columns, int) else (data.columns, None)
    rows = []
    for _, path in corpus.files:
        rows += list(text_rows(path, names, count, data.label, spread))
        corpus.check_unchanged(path)
    return [TextRow(row.where, (text,)) for row in rows for text in row.texts] if data.apart else rows


_NEWEST: dict[tuple[object, ...], TextBatches] = {}


class RowFiles(NamedTuple):
    """Where rows of texts come from."""

    corpora: Sequence[Corpus]
    """Split by the hash of a row's first text, unless there is a `val_corpus`."""
    val_corpus: Corpus | None
    """Held out whole."""
    hashes: Sequence[str]
    """Of all of them."""


def prepare_texts(data: Data, plan: RowPlan, codec: Codec, files: RowFiles, length: int) -> TextBatches:
    """The batches of a run. Raises ConfigError, one line, on any bad input.

    The newest are remembered: a sweep asks for the same many times.
    """
    key = (*files.hashes, codec.digest, length, data.model_dump_json(), plan)
    if key not in _NEWEST:
        batches = _prepare(data, plan, codec, files, length)
        while len(_NEWEST) >= 4:
            _NEWEST.pop(next(iter(_NEWEST)))
        _NEWEST[key] = batches
    return _NEWEST[key]


def _prepare(data: Data, plan: RowPlan, codec: Codec, files: RowFiles, length: int) -> TextBatches:
    corpora, val_corpus, hashes = files
    spread = plan.arrangement == "candidates"
    rows = [read_rows(corpus, data, spread) for corpus in corpora]
    train_rows, val_rows = (
        [[row for row in part if _held_out(row, data) is out] for part in rows] for out in (False, True)
    )
    for corpus, part, rest in zip(corpora, train_rows, val_rows, strict=True):
        if not len(part) or (data.val_fraction and not len(rest)):
            what = "holds out all rows" if not len(part) else "holds out no row"
            raise ConfigError(f"data.val_fraction: {data.val_fraction} {what} of '{corpus.name}'; change it")
    if val_corpus is not None:
        val_rows = [read_rows(val_corpus, data, spread)]
    columns = _columns(data, plan, [*train_rows, *val_rows])
    train, val = (
        tuple(encode_rows(codec, part, plan.arrangement, columns, length) for part in parts)
        for parts in (train_rows, val_rows)
    )
    given = None if plan.target is None else targets(plan.target, train_rows, val_rows)
    return TextBatches(
        codec=codec,
        corpus_hash=hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest(),
        train_tokens=sum(int(part.starts[-1]) for part in train),
        val_tokens=sum(int(part.starts[-1]) for part in val),
        seq_len=length,
        shuffle=data.shuffle,
        weights=tuple(source.weight for source in data.sources),
        plan=plan,
        train=train,
        val=val,
        targets=given,
        balanced=None
        if given is None or data.balance == "none"
        else tuple(BalancedRows(label_N, data.balance) for label_N in given.train),
        starts_V=None if plan.words is None else codec.word_starts(plan.words),
    )


def _held_out(row: TextRow, data: Data) -> bool:
    return is_held_out(row.texts[0], data.val_fraction)


def _columns(data: Data, plan: RowPlan, parts: Sequence[Sequence[TextRow]]) -> int:
    """How many rows of tokens a row becomes. Raises ConfigError where that is not the same in all parts."""
    if plan.arrangement == "candidates":
        counts = {len(row.texts) - 1: row.where for part in parts for row in reversed(part)}
        most = max(counts)
        if data.candidates is not None and most > data.candidates:
            raise ConfigError(f"{counts[most]}: {most} candidates; data.candidates says {data.candidates} at most")
        return data.candidates or most
    texts = {len(part[0].texts) for part in parts if part}
    if len(texts) > 1:
        raise ConfigError("data.corpus: sources have rows of different numbers of texts; set data.columns")
    return {"apart": texts.pop(), "joined": 1, "both_orders": 2}[plan.arrangement]
