"""Rows of texts as ids in memory: as many rows of tokens for each as the objective's arrangement makes of it.

B rows, T tokens, K rows of tokens for each row of texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxgpt.text.batches.arrangement import Arrangement
from jaxgpt.text.batches.windows import Batch
from jaxgpt.text.corpora.columns import TextRow
from jaxgpt.text.tokenizers.codec import Codec
from jaxgpt.text.tokenizers.pair import Joined


@dataclass(frozen=True, eq=False)
class EncodedRows:
    """One source's rows, encoded: row of tokens i is `ids[starts[i] : starts[i + 1]]`; the K of a row follow one
    another."""

    ids: np.ndarray
    starts: np.ndarray
    columns: int
    """K."""
    types: np.ndarray | None = None
    """int8, the token type of each of `ids`; None: texts stand apart, and batches have none."""

    def __len__(self) -> int:
        """How many rows of texts there are."""
        return (len(self.starts) - 1) // self.columns

    def rows(self, index_B: np.ndarray, length: int) -> Batch:
        """`tokens`, `segments`, 1 where there is a token, and `token_types` where texts are joined, int32 (B, T);
        `tokens_1` and so on of a row's second row of tokens. Padding is 0."""
        batch: Batch = {}
        for column in range(self.columns):
            text_B = index_B * self.columns + column
            at_BT = self.starts[text_B][:, None] + np.arange(length)
            real_BT = at_BT < self.starts[text_B + 1][:, None]
            inside_BT = np.minimum(at_BT, len(self.ids) - 1)
            name = f"_{column}" if column else ""
            batch["tokens" + name] = np.where(real_BT, self.ids[inside_BT], 0).astype(np.int32)
            batch["segments" + name] = real_BT.astype(np.int32)
            if self.types is not None:
                batch["token_types" + name] = np.where(real_BT, self.types[inside_BT], 0).astype(np.int32)
        return batch


def encode_rows(
    codec: Codec, rows: Sequence[TextRow], arrangement: Arrangement, columns: int, length: int
) -> EncodedRows:
    """Rows of texts as `columns` rows of up to `length` tokens each; a row with fewer candidates has empty ones.

    Raises ConfigError as `Codec.joined` does.
    """
    if arrangement == "apart":
        ids = codec.framed([text for row in rows for text in row.texts], length)
        return EncodedRows(*_flat(ids), columns)
    joined = iter(_joined(codec, rows, arrangement, length))
    nothing = Joined(np.zeros(0, np.int64), np.zeros(0, np.int8))
    sequences = []
    for row in rows:
        count = len(row.texts) - 1 if arrangement == "candidates" else columns
        sequences += [next(joined) if column < count else nothing for column in range(columns)]
    types = [sequence.types for sequence in sequences]
    flat = np.concatenate(types) if types else np.zeros(0, np.int8)
    return EncodedRows(*_flat([sequence.ids for sequence in sequences]), columns, flat if len(flat) else np.zeros(1))


def _joined(codec: Codec, rows: Sequence[TextRow], arrangement: Arrangement, length: int) -> list[Joined]:
    """The rows of tokens of all rows, one after another, without those that are empty."""
    if arrangement == "candidates":
        pairs = [(row.texts[0], other) for row in rows for other in row.texts[1:]]
    elif arrangement == "both_orders":
        pairs = [pair for row in rows for pair in (row.texts, row.texts[::-1])]  # type: ignore[misc]
    else:
        firsts = [row.texts[0] for row in rows]
        seconds = [row.texts[1] for row in rows] if rows and len(rows[0].texts) > 1 else None
        return codec.joined(firsts, seconds, length)
    return codec.joined([first for first, _ in pairs], [second for _, second in pairs], length)


def _flat(sequences: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """All ids, one after another and never none at all, and where each sequence starts and the last one ends."""
    starts = np.concatenate([[0], np.cumsum([len(ids) for ids in sequences], dtype=np.int64)])
    flat = np.concatenate(sequences).astype(np.int32) if sequences else np.zeros(0, np.int32)
    return flat if len(flat) else np.zeros(1, np.int32), starts.astype(np.int64)
