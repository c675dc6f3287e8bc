"""What training on separate texts reads: rows of one or more short texts, each within its vocabulary's frame.

B rows, T tokens, C texts a row, N rows of a corpus.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxgpt.spec import ConfigError
from jaxgpt.text.batches.data import Data
from jaxgpt.text.batches.training_data import Shapes, TrainingData, text_shapes
from jaxgpt.text.batches.val_pass import ValPass
from jaxgpt.text.batches.windows import Batch, window_order, with_words
from jaxgpt.text.corpora.columns import read_columns
from jaxgpt.text.corpora.corpus import Corpus, is_held_out
from jaxgpt.text.corpora.file_corpus import FileCorpus
from jaxgpt.text.tokenizers.codec import Codec


@dataclass(frozen=True, eq=False)
class EncodedRows:
    """One source's rows, encoded: text i is `ids[starts[i] : starts[i + 1]]`; a row's C texts follow one another."""

    ids: np.ndarray
    starts: np.ndarray
    columns: int

    def __len__(self) -> int:
        """How many rows of texts there are."""
        return (len(self.starts) - 1) // self.columns

    def rows(self, index_B: np.ndarray, length: int) -> Batch:
        """`tokens` and `segments`, 1 where a token is the text's own, int32 (B, T), of a row's first text;
        `tokens_1`, `segments_1` of its second, and so on. Padding is 0."""
        batch: Batch = {}
        for column in range(self.columns):
            text_B = index_B * self.columns + column
            at_BT = self.starts[text_B][:, None] + np.arange(length)
            real_BT = at_BT < self.starts[text_B + 1][:, None]
            name = f"_{column}" if column else ""
            batch["tokens" + name] = np.where(real_BT, self.ids[np.minimum(at_BT, len(self.ids) - 1)], 0).astype(
                np.int32
            )
            batch["segments" + name] = real_BT.astype(np.int32)
        return batch


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
    train: tuple[EncodedRows, ...]
    val: tuple[EncodedRows, ...]
    starts_V: np.ndarray | None = None
    """`Codec.word_starts`, where batches are to tell words."""

    @property
    def val_tokens_per_byte(self) -> None:
        """None: bits per byte are for losses that score every token."""

    def shapes(self, rows: int) -> Shapes:
        """The tokens and segments of each text of a row, and `words` where they are numbered."""
        return text_shapes(self.train[0].columns, self.seq_len, self.starts_V is not None, rows)

    def batch(self, seed: int, start: int, stop: int) -> Batch:
        """Rows `start` to `stop - 1`, as `EncodedRows.rows` makes them; every row of a source comes once an epoch."""
        order = window_order(tuple(len(part) for part in self.train), self.weights, seed, self.shuffle)
        picked = [order[row] for row in range(start, stop)]
        sources_B = np.array([source for source, _, _ in picked], int)
        return self._gather(self.train, sources_B, np.array([row for _, _, row in picked], int))

    def val_batches(self, rows: int) -> ValPass:
        """One pass over the held-out rows; rows that fill up the last batch have no token."""
        sizes = [len(part) for part in self.val]
        index_R = np.concatenate([np.arange(size) for size in sizes])
        sources_R = np.repeat(np.arange(len(sizes)), sizes)

        def make(start: int, stop: int) -> Batch:
            return self._gather(self.val, sources_R[start:stop], index_R[start:stop])

        return ValPass(make, len(index_R), rows)

    def _gather(self, parts: Sequence[EncodedRows], sources_B: np.ndarray, index_B: np.ndarray) -> Batch:
        out: Batch = {}
        for source in range(len(parts)):
            rows_B = sources_B == source
            for name, rows in parts[source].rows(index_B[rows_B], self.seq_len).items():
                out.setdefault(name, np.empty((len(index_B), *rows.shape[1:]), rows.dtype))[rows_B] = rows
        return with_words(out, self.starts_V)


def read_rows(corpus: Corpus, data: Data) -> list[tuple[str, ...]]:
    """The corpus's rows of texts, those of `apart` one text each. Raises ConfigError naming file and row."""
    if not isinstance(corpus, FileCorpus):
        raise ConfigError(f"data.columns: reads files, not {corpus.name}; save it as .jsonl, .csv, .tsv or .txt first")
    names, count = (None, data.columns) if isinstance(data.columns, int) else (data.columns, None)
    rows = []
    for _, path in corpus.files:
        rows += read_columns(path, names, count)
        corpus.check_unchanged(path)
    return [(text,) for row in rows for text in row] if data.apart else rows


def prepare_texts(
    data: Data,
    codec: Codec,
    corpora: Sequence[Corpus],
    hashes: Sequence[str],
    length: int,
    starts_V: np.ndarray | None,
) -> TextBatches:
    """Rows encoded, and split by the hash of their first text. Raises ConfigError, one line, on any bad input."""
    train, val = zip(
        *(_encoded(data, codec, corpus, digest, length) for corpus, digest in zip(corpora, hashes, strict=True)),
        strict=True,
    )
    if len({part.columns for part in train}) > 1:
        raise ConfigError("data.corpus: sources have rows of different numbers of texts; set data.columns")
    for corpus, part, rest in zip(corpora, train, val, strict=True):
        if not len(part) or (data.val_fraction and not len(rest)):
            what = "holds out all rows" if not len(part) else "holds out no row"
            raise ConfigError(f"data.val_fraction: {data.val_fraction} {what} of '{corpus.name}'; change it")
    return TextBatches(
        codec=codec,
        corpus_hash=hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest(),
        train_tokens=sum(int(part.starts[-1]) for part in train),
        val_tokens=sum(int(part.starts[-1]) for part in val),
        seq_len=length,
        shuffle=data.shuffle,
        weights=tuple(source.weight for source in data.sources),
        train=train,
        val=val,
        starts_V=starts_V,
    )


_NEWEST: dict[tuple[str, ...], tuple[EncodedRows, EncodedRows]] = {}


def _encoded(data: Data, codec: Codec, corpus: Corpus, digest: str, length: int) -> tuple[EncodedRows, EncodedRows]:
    """Rows that train, and rows that are held out. The newest are remembered: a sweep asks for the same many times."""
    key = (digest, codec.digest, str(length), data.model_dump_json())
    if key not in _NEWEST:
        rows = read_rows(corpus, data)
        held_out = [is_held_out(row[0], data.val_fraction) for row in rows]
        parts = [[row for row, out in zip(rows, held_out, strict=True) if out is which] for which in (False, True)]
        columns = len(rows[0]) if rows else 1
        while len(_NEWEST) >= 4:
            _NEWEST.pop(next(iter(_NEWEST)))
        _NEWEST[key] = (_texts(codec, parts[0], columns, length), _texts(codec, parts[1], columns, length))
    return _NEWEST[key]


def _texts(codec: Codec, rows: Sequence[tuple[str, ...]], columns: int, length: int) -> EncodedRows:
    ids = codec.framed([text for row in rows for text in row], length)
    starts = np.concatenate([[0], np.cumsum([len(text) for text in ids], dtype=np.int64)])
    flat = np.concatenate(ids).astype(np.int32) if ids else np.zeros(1, np.int32)
    return EncodedRows(flat, starts.astype(np.int64), columns)
