"""What a run trains on: batches as a pure function of seed and rows, and what every one of them holds.

B rows, T tokens a row.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

from jaxgpt.spec import ConfigError
from jaxgpt.text.batches.arrangement import RowPlan, sequences
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
    labels: tuple[str, ...] | None = None
    """The names of classes by the numbers that batches have for them, where rows are labelled with classes."""
    label_counts: tuple[int, ...] | None = None
    """How many rows of an epoch each of `labels` has."""
    scale: tuple[float, float] | None = None
    """Mean and standard deviation of the training rows' scores, where rows are labelled with scores."""
    candidates: int | None = None
    """How many candidates the longest row has, where rows are made of candidates."""

    @property
    @abstractmethod
    def epoch_rows(self) -> int:
        """Rows that make an epoch, of all sources together."""

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


def batch_shapes(data: Data, length: int, plan: RowPlan, rows: int) -> Shapes:
    """The `shapes` of data that are yet to be prepared; no text is read. Raises ConfigError where only the text tells
    how many candidates a row has."""
    if data.texts:
        count = sequences(plan.arrangement, data)
        if not count:
            raise ConfigError("data.candidates: known once the text is read; say how many the longest row has")
        return text_shapes(count, length, plan, rows)
    if data.streams:
        return stream_shapes(length, rows)
    return window_shapes(data.documents == "separate", length, plan.words is not None, rows)


def window_shapes(separate: bool, length: int, words: bool, rows: int) -> Shapes:
    """What a batch of windows holds: `tokens` and `targets`, and where documents are `separate` what keeps them so."""
    whole = ArrayShape((rows, length), "int32")
    shapes = {"tokens": whole, "targets": whole}
    if separate:
        shapes |= {"segments": whole, "positions": whole, "weights": whole._replace(dtype="float32")}
    return shapes | ({"words": whole} if words else {})


def stream_shapes(length: int, rows: int) -> Shapes:
    """What a batch of streams holds: `tokens`, `targets`, and `continues`, 1 where a row goes on from the batch before
    and 0 where it begins."""
    return window_shapes(False, length, False, rows) | {"continues": ArrayShape((rows,), "int32")}


def text_shapes(count: int, length: int, plan: RowPlan, rows: int) -> Shapes:
    """What a batch of rows of texts holds: `tokens` and `segments`, then `tokens_1` and `segments_1`, and so on; where
    texts are joined their `token_types` too, and `label` or `score` where rows have one."""
    kinds = ("tokens", "segments") if plan.arrangement == "apart" else ("tokens", "segments", "token_types")
    names = [f"{name}_{i}" if i else name for i in range(count) for name in kinds]
    shapes = dict.fromkeys(
        [*names, *(["words"] if plan.words is not None else [])], ArrayShape((rows, length), "int32")
    )
    if plan.target is None:
        return shapes
    label = ("score", "float32") if plan.target == "number" else ("label", "int32")
    return shapes | {label[0]: ArrayShape((rows,), label[1])}
