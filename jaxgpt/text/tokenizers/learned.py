"""Vocabularies that are learned from text, or imported: what their kinds share."""

import threading
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote
from jaxgpt.spec.small_file import read_small
from jaxgpt.text.corpora.locate import locate
from jaxgpt.text.tokenizers.codec import END_OF_TEXT, Codec
from jaxgpt.text.tokenizers.cut import to_learn
from jaxgpt.text.tokenizers.huggingface import HuggingFaceCodec
from jaxgpt.text.tokenizers.interruptible import interruptible, until
from jaxgpt.text.tokenizers.tokenizer import Texts, Tokenizer
from jaxgpt.text.tokenizers.tokenizer_json import LARGEST, one_line, parsed, read

if TYPE_CHECKING:
    import tokenizers as hf


class Learned(Tokenizer):
    """A vocabulary learned from text, or imported when `path` is set."""

    model: ClassVar[str]
    """The model type a `tokenizer.json` of this kind holds."""
    vocab_size: int = Field(gt=0, le=2**22)
    """Entries to learn, special tokens included; fewer when the corpus is too small for so many. Import ignores it."""
    path: str | None = None
    """Imports instead of training: a `tokenizer.json`, or a folder with one or with the published vocabulary files."""
    end_of_text: str | None = END_OF_TEXT
    """The token that ends a document. Training adds it; an imported vocabulary either has it or has none."""

    @property
    def needs_text(self) -> bool:
        """Whether it has yet to learn: false for an imported vocabulary."""
        return self.path is None

    def train(self, texts: Texts) -> Codec:
        """Learns the vocabulary from `texts`, or imports it from `path`."""
        if self.path is not None:
            with one_line(f"tokenizer.path: {self.path}"):
                return HuggingFaceCodec(self._import(self.path), self.end_of_text)
        stopped = threading.Event()
        learned = interruptible(lambda: self._learn(lambda: until(stopped, to_learn(texts()))), stopped)
        return HuggingFaceCodec(learned, self.end_of_text)

    def _import(self, name: str) -> "hf.Tokenizer":
        path = locate(name, "tokenizer.path")
        file = path / "tokenizer.json" if path.is_dir() else path
        if path.is_dir() and not file.exists():
            return self._published(path)
        model = parsed(read_small(file, LARGEST), file).get("model")
        kind = model.get("type") if isinstance(model, dict) else None
        if kind != self.model:
            shown = quote(kind)[1:-1] if isinstance(kind, str) else None
            raise ConfigError(
                f"tokenizer.path: {file} holds a {shown} vocabulary; a {self.kind} tokenizer is {self.model}"
            )
        return read(file)

    @abstractmethod
    def _learn(self, texts: Texts) -> "hf.Tokenizer":
        """Trains on the texts and returns the tokenizer."""

    @abstractmethod
    def _published(self, folder: Path) -> "hf.Tokenizer":
        """Reads the files that the paper's authors published. Raises ConfigError that names the files looked for."""
