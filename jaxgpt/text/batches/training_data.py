"""What a run trains on: batches as a pure function of seed and rows, and what every one of them holds.

B rows, T tokens a row.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

from jaxgpt.text.batches.data import Data
from jaxgpt.text.batches.val_pass import ValPass
from jaxgpt.text.batches.windows import Batch
from jaxgpt.text.tokenizers.codec import Codec


class ArrayShape(NamedTuple):
    """One array of a batch: the arguments of `jax.ShapeDtypeStruct`."""

    shape: tuple[int, ...]
    """Rows, then tokens where there are more dimensions. Arrays of one batch may differ in all but their rows: a mesh
    splits each by its own shape."""
    dtype: str


Shapes = dict[str, ArrayShape]
"""The shape and dtype of each array of a batch, by the array's name."""


class TrainingData(ABC):
    """A run's text with its vocabulary. `prepare` gives one of the kinds there are."""

    codec: Codec
    corpus_hash: str
    """SHA-256 in hex over the text of all sources."""
    train_tokens: int
    val_tokens: int

    @property
    @abstractmethod
    def val_tokens_per_byte(self) -> float | None:
        """Tokens that the validation pass scores over the UTF-8 bytes that they spell; None: no bits per byte."""

    @abstractmethod
    def shapes(self, rows: int) -> Shapes:
        """What `batch` gives for so many rows, whatever the seed and the rows: one compiled step serves a run."""

    @abstractmethod
    def batch(self, seed: int, start: int, stop: int) -> Batch:
        """Global rows `start` to `stop - 1`; row r is the same in any slicing, on any number of hosts."""

    @abstractmethod
    def val_batches(self, rows: int) -> ValPass:
        """One pass over what is held out, in order, `rows` rows a batch; the last batch is filled up with rows that
        count nothing. Has the arrays of `batch`, and may have more. Empty where nothing is held out."""


def batch_shapes(data: Data, length: int, words: bool, rows: int) -> Shapes:
    """The `shapes` of data that are yet to be prepared; no text is read. `words`: whether words are numbered."""
    if data.texts:
        return text_shapes(data.texts, length, words, rows)
    return window_shapes(data.documents == "separate", length, words, rows)


def window_shapes(separate: bool, length: int, words: bool, rows: int) -> Shapes:
    """What a batch of windows holds: `tokens` and `targets`, and where documents are `separate` what keeps them so."""
    whole = ArrayShape((rows, length), "int32")
    shapes = {"tokens": whole, "targets": whole}
    if separate:
        shapes |= {"segments": whole, "positions": whole, "weights": whole._replace(dtype="float32")}
    return shapes | ({"words": whole} if words else {})


def text_shapes(texts: int, length: int, words: bool, rows: int) -> Shapes:
    """What a batch of rows of texts holds: `tokens` and `segments`, then `tokens_1` and `segments_1`, and so on."""
    names = [f"{name}_{i}" if i else name for i in range(texts) for name in ("tokens", "segments")]
    return dict.fromkeys([*names, *(["words"] if words else [])], ArrayShape((rows, length), "int32"))
