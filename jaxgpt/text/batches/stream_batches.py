"""A text as streams that run side by side: a row goes on where the row in its place of the batch before ended.

So a model may carry its state from batch to batch. B streams, T tokens a row.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jaxgpt.spec import ConfigError
from jaxgpt.text.batches.tokenfile import TokenFile
from jaxgpt.text.batches.training_data import Shapes, TrainingData, stream_shapes
from jaxgpt.text.batches.val_pass import ValPass
from jaxgpt.text.batches.window_batches import tokens_per_byte
from jaxgpt.text.batches.windows import Batch, cut, grid_shift
from jaxgpt.text.tokenizers.codec import Codec


@dataclass(frozen=True, eq=False)
class StreamBatches(TrainingData):
    """A token file in B parts of equal length, of which each batch has the next T tokens.

    With `shuffle` the parts begin elsewhere in every epoch, by less than what a batch reads of the file.
    """

    codec: Codec
    corpus_hash: str
    train_tokens: int
    val_tokens: int
    """Held-out tokens that the validation pass predicts."""
    seq_len: int
    streams: int
    """Rows of a batch."""
    shuffle: bool
    train: TokenFile
    val: TokenFile

    def __post_init__(self) -> None:
        if not self._columns:
            raise ConfigError(
                f"data.streams: {len(self.train.ids_N)} tokens are too few for {self.streams} rows of {self.seq_len} "
                "and what follows; lower batch_size or data.seq_len"
            )

    @property
    def _columns(self) -> int:
        """Rows of a stream in an epoch; see `windows.grid`."""
        count, step = len(self.train.ids_N), self.streams * self.seq_len
        return max(1, (count - step) // step) if self.shuffle and count > step else (count - 1) // step

    @property
    def epoch_rows(self) -> int:
        """Those of all streams."""
        return self.streams * self._columns

    @cached_property
    def val_tokens_per_byte(self) -> float | None:
        """See `window_batches.tokens_per_byte`."""
        return tokens_per_byte(self.codec, (self.val,), (self.val_tokens,), False)

    def shapes(self, rows: int) -> Shapes:
        """See `stream_shapes`."""
        return stream_shapes(self.seq_len, rows)

    def batch(self, seed: int, start: int, stop: int) -> Batch:
        """Rows `start` to `stop - 1`: of B rows after one another each is of another stream."""
        row_B = np.arange(start, stop)
        step_B, stream_B = row_B // self.streams, row_B % self.streams
        epoch_B, column_B = step_B // self._columns, step_B % self._columns
        length = self._columns * self.seq_len
        slack = len(self.train.ids_N) - 1 - self.streams * length if self.shuffle else 0
        shift_B = np.array([grid_shift(seed, 0, int(epoch), slack) for epoch in epoch_B], int)
        batch = cut(self.train, shift_B + stream_B * length + column_B * self.seq_len, self.seq_len, False)
        del batch["weights"]  # all ones
        return batch | {"continues": (column_B > 0).astype(np.int32)}

    def val_batches(self, rows: int) -> ValPass:
        """The held-out tokens in `rows` streams, each predicted once, with `weights`. A model that carries its state
        reads all of a stream in one pass, whatever the length of a row."""
        length = -(-self.val_tokens // rows)  # of a stream; the last may be shorter

        def make(start: int, stop: int) -> Batch:
            row_B = np.arange(start, stop)
            stream_B, column_B = row_B % rows, row_B // rows
            first_B = column_B * self.seq_len
            batch = cut(self.val, stream_B * length + first_B, self.seq_len, False)
            at_BT = first_B[:, None] + np.arange(self.seq_len)
            inside_BT = (at_BT < length) & (stream_B[:, None] * length + at_BT < self.val_tokens)
            batch["weights"] *= inside_BT
            return batch | {"continues": (column_B > 0).astype(np.int32)}

        return ValPass(make, -(-length // self.seq_len) * rows if self.val_tokens else 0, rows)
