"""Codecs that run in Hugging Face `tokenizers`: what the learned vocabularies share."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from jaxgpt.spec import ConfigError
from jaxgpt.text.codec import END_OF_TEXT, Codec, first_line, read_json
from jaxgpt.text.locate import locate
from jaxgpt.text.tokenizer import Texts, Tokenizer

if TYPE_CHECKING:
    import tokenizers as hf


MASKS = ("[MASK]", "<mask>")
"""Names of the token that stands for a hidden one: BERT's and RoBERTa's."""


class HuggingFaceCodec(Codec):
    """Any `tokenizers.Tokenizer`. `end_of_text` and `begin` name the tokens that end and begin a document, if the
    vocabulary has them."""

    form = "huggingface"

    def __init__(self, tokenizer: "hf.Tokenizer", end_of_text: str | None = END_OF_TEXT, begin: str | None = None):
        from tokenizers.pre_tokenizers import BertPreTokenizer, ByteLevel

        tokenizer.encode_special_tokens = True  # their letters in a document are letters
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self.vocab_size = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        # Both part words at such a newline; of another's pre-tokenizer nothing is known.
        splitter = tokenizer.pre_tokenizer
        self.splits_at_lines = isinstance(splitter, BertPreTokenizer) or (
            isinstance(splitter, ByteLevel) and splitter.use_regex and not splitter.add_prefix_space
        )
        self.eot = tokenizer.token_to_id(end_of_text) if end_of_text is not None else None
        self.bos = tokenizer.token_to_id(begin) if begin is not None else None
        self.frame = _frame(tokenizer)
        found = (tokenizer.token_to_id(name) for name in MASKS)
        self.mask = next((index for index in found if index is not None), None)

    def arrays(self, texts: Sequence[str]) -> list[np.ndarray]:
        """int64 ids, encoded on all cores."""
        sound = [text.encode("utf-8", "replace").decode() for text in texts]
        encodings = self._tokenizer.encode_batch_fast(sound, add_special_tokens=False)
        return [np.array(encoding.ids, np.int64) for encoding in encodings]

    def decode(self, ids: Sequence[int]) -> str:
        """By the vocabulary's own decoder; special tokens print by name, and ids without text not at all."""
        known = [int(token) for token in ids if 0 <= token < self.vocab_size]
        return self._tokenizer.decode(known, skip_special_tokens=False)

    @cached_property
    def has_text(self) -> np.ndarray:
        """False in the gaps between the ids of the vocabulary and of its added tokens."""
        named_V = np.zeros(self.vocab_size, bool)
        named_V[list(self._tokenizer.get_vocab(with_added_tokens=True).values())] = True
        return named_V

    def tokenizer_json(self) -> str:
        """As `tokenizers` writes it."""
        return self._tokenizer.to_str()


def _frame(tokenizer: "hf.Tokenizer") -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What its post-processor puts before and behind a text."""
    if tokenizer.post_processor is None:
        return (), ()
    plain, whole = (tokenizer.encode("a", add_special_tokens=special).ids for special in (False, True))
    start = next((i for i in range(len(whole)) if plain and whole[i : i + len(plain)] == plain), len(whole))
    return tuple(whole[:start]), tuple(whole[start + len(plain) :])


def add_first(tokenizer: "hf.Tokenizer", token: str) -> None:
    """Makes transformers' AutoTokenizer put `token` before every text, as texts of this vocabulary start."""
    add_template(tokenizer, [token], [token, "$A"], [token, "$A", f"{token}:1", "$B:1"])


def add_template(tokenizer: "hf.Tokenizer", special: Sequence[str], single: list[str], pair: list[str]) -> None:
    """Puts special tokens around a text, and around two that are read as one; nothing where one of them is missing."""
    import tokenizers as hf

    ids = [(token, tokenizer.token_to_id(token)) for token in special]
    if all(index is not None for _, index in ids):
        tokenizer.post_processor = hf.processors.TemplateProcessing(single=single, pair=pair, special_tokens=ids)


def read(path: Path) -> "hf.Tokenizer":
    """A `tokenizer.json`. Raises ConfigError with one line when it is missing or malformed."""
    import tokenizers as hf

    read_json(path)
    try:
        return hf.Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust side raises bare Exception
        raise ConfigError(f"{path}: not a tokenizer.json: {first_line(error)}") from None


class Learned(Tokenizer):
    """A vocabulary learned from text, or imported when `path` is set."""

    model: ClassVar[str]
    """The model type a `tokenizer.json` of this kind holds."""
    vocab_size: int = Field(gt=0)
    """Entries to learn, special tokens included; fewer when the corpus is too small for so many. Import ignores it."""
    path: str | None = None
    """Imports instead of training: a `tokenizer.json`, or a folder with one or with the published vocabulary files."""
    end_of_text: str | None = END_OF_TEXT
    """The token that ends a document. Training adds it; an imported vocabulary either has it or has none."""

    @property
    def needs_text(self) -> bool:
        """Not when imported."""
        return self.path is None

    def train(self, texts: Texts) -> Codec:
        """Learns the vocabulary from `texts`, or imports it from `path`."""
        return HuggingFaceCodec(self._learn(texts) if self.path is None else self._import(self.path), self.end_of_text)

    def _import(self, name: str) -> "hf.Tokenizer":
        path = locate(name, "tokenizer.path")
        file = path / "tokenizer.json" if path.is_dir() else path
        if path.is_dir() and not file.exists():
            return self._published(path)
        model = read_json(file).get("model")
        kind = model.get("type") if isinstance(model, dict) else None
        if kind != self.model:
            raise ConfigError(
                f"tokenizer.path: {file} holds a {kind} vocabulary; a {self.kind} tokenizer is {self.model}"
            )
        return read(file)

    @abstractmethod
    def _learn(self, texts: Texts) -> "hf.Tokenizer":
        """A trained tokenizer."""

    @abstractmethod
    def _published(self, folder: Path) -> "hf.Tokenizer":
        """From the files that the paper's authors published. Raises ConfigError that names the files looked for."""
