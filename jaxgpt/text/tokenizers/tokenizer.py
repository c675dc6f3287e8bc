"""The tokenizer seam: a spec that names a kind of vocabulary, and trains or imports the codec."""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import ClassVar

from jaxgpt.spec import Seam
from jaxgpt.text.tokenizers.codec import Codec

Texts = Callable[[], Iterable[str]]
"""Starts a fresh pass over the training texts each time it is called."""


class Tokenizer(Seam, seam="tokenizer"):
    """Text to ids. A spec says which kind; `train` makes the codec that runs."""

    covers_held_out: ClassVar[bool] = False
    """Whether the vocabulary must be made from held-out text too, because it has no way to spell a new symbol."""

    marks: ClassVar[int] = 0
    """How many ids, its last ones, it adds to another vocabulary: weights that know that one alone lack their rows."""

    @property
    def needs_text(self) -> bool:
        """Whether `train` reads its texts; when false the codec is the same for every corpus."""
        return True

    @abstractmethod
    def train(self, texts: Texts) -> Codec:
        """The codec for a corpus. Deterministic in `texts`. Raises ConfigError on a bad vocabulary file."""
