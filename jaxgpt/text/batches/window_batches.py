"""Windows of a text as batches, and the fixed validation pass over its held-out part."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jaxgpt.text.batches.tokenfile import TokenFile
from jaxgpt.text.batches.training_data import Shapes, TrainingData, window_shapes
from jaxgpt.text.batches.val_pass import ValPass
from jaxgpt.text.batches.windows import Batch, gather, grid, grid_shift, window_order, with_words
from jaxgpt.text.tokenizers.byte import symbols
from jaxgpt.text.tokenizers.codec import Codec

_MANY = 1 << 24
"""Tokens looked up at a time: a held-out part can be larger than memory."""


@dataclass(frozen=True, eq=False)
class WindowBatches(TrainingData):
    """Rows cut from token files."""

    codec: Codec
    corpus_hash: str
    train_tokens: int
    val_tokens: int
    """Held-out tokens that the validation pass predicts; `separate` leaves the first of each document unscored."""
    seq_len: int
    separate: bool
    shuffle: bool
    weights: tuple[float, ...]
    train: tuple[TokenFile, ...]
    val: tuple[TokenFile, ...]
    val_limits: tuple[int, ...]
    """For each source, how many held-out tokens the pass predicts."""
    starts_V: np.ndarray | None = None
    """`Codec.word_starts`, where batches are to tell words."""

    @property
    def epoch_rows(self) -> int:
        """The windows of all sources."""
        return sum(windows for windows, _ in self._grids)

    @cached_property
    def _grids(self) -> list[tuple[int, int]]:
        return [grid(len(file.ids_N), self.seq_len, self.shuffle) for file in self.train]

    @cached_property
    def val_tokens_per_byte(self) -> float | None:
        """See `tokens_per_byte`."""
        return tokens_per_byte(self.codec, self.val, self.val_limits, self.separate)

    def shapes(self, rows: int) -> Shapes:
        """The arrays of a batch of windows; see `window_shapes`."""
        return window_shapes(self.separate, self.seq_len, self.starts_V is not None, rows)

    def batch(self, seed: int, start: int, stop: int) -> Batch:
        """Rows `start` to `stop - 1`: windows as `windows.cut` makes them, in an order that the seed decides."""
        grids = self._grids
        order = window_order(tuple(windows for windows, _ in grids), self.weights, seed, self.shuffle)
        picked = [order[row] for row in range(start, stop)]
        starts = [
            grid_shift(seed, source, epoch, grids[source][1]) + window * self.seq_len
            for source, epoch, window in picked
        ]
        sources_B, starts_B = np.array([source for source, _, _ in picked], int), np.array(starts, int)
        batch = gather(self.train, sources_B, starts_B, self.seq_len, self.separate)
        if not self.separate:
            del batch["weights"]  # all ones: a training row never runs past its file
        return with_words(batch, self.starts_V)

    def val_batches(self, rows: int) -> ValPass:
        """One pass over the held-out tokens in order, with `weights` (float32) by which every target is scored once."""
        grids = [np.arange(0, limit, self.seq_len) for limit in self.val_limits]
        starts_R, sources_R = np.concatenate(grids), np.repeat(np.arange(len(grids)), [len(grid) for grid in grids])

        def make(start: int, stop: int) -> Batch:
            sources_B, starts_B = sources_R[start:stop], starts_R[start:stop]
            batch = gather(self.val, sources_B, starts_B, self.seq_len, self.separate)
            target_BT = starts_B[:, None] + np.arange(1, self.seq_len + 1)
            batch["weights"] *= target_BT <= np.array(self.val_limits)[sources_B][:, None]
            return with_words(batch, self.starts_V)

        return ValPass(make, len(starts_R), rows)


def tokens_per_byte(codec: Codec, val: Sequence[TokenFile], limits: Sequence[int], separate: bool) -> float | None:
    """Tokens a byte of the held-out text, by which a loss compares between tokenizers.

    A loss in nats a token times this, over ln 2, is in bits per byte. An end-of-text
    token counts as a token of no bytes. None when the tokenizer loses text (see `spelled`) or nothing is held out.
    """
    bytes_V = spelled(codec)
    if bytes_V is None:
        return None
    tokens = size = 0
    for file, limit in zip(val, limits, strict=True):
        tokens += limit
        for start in range(1, limit + 1, _MANY):
            size += int(bytes_V[file.ids_N[start : min(start + _MANY, limit + 1)]].sum())
        if separate:
            firsts_D = file.starts_D[(file.starts_D > 0) & (file.starts_D <= limit)]
            tokens -= len(firsts_D)
            size -= int(bytes_V[file.ids_N[firsts_D]].sum())
    return tokens / size if size else None


def spelled(codec: Codec) -> np.ndarray | None:
    """int64 (V,): how many UTF-8 bytes each id spells; 0 for special tokens, which stand for no text.

    None for a vocabulary that does not give back every text byte by byte, such as WordPiece and GPT-1's BPE: what it
    drops (case, white space, rare characters) is never predicted, so bits per byte would flatter it.
    """
    tree = json.loads(codec.tokenizer_json())
    special = [token for token in tree["added_tokens"] if token["special"]]
    if tree["model"]["type"] != "BPE" or tree["normalizer"] is not None or len(special) != len(tree["added_tokens"]):
        return None
    vocab, splitter = tree["model"]["vocab"], tree["pre_tokenizer"] or {}
    by_bytes = splitter.get("type") == "ByteLevel" and not splitter["add_prefix_space"] and vocab.keys() >= {*symbols()}
    if not by_bytes and codec.form != "char":
        return None
    bytes_V = np.zeros(codec.vocab_size, np.int64)
    for entry, token in vocab.items():
        bytes_V[token] = len(entry) if by_bytes else len(entry.encode())
    bytes_V[[token["id"] for token in special]] = 0
    return bytes_V
