"""The runtime half of a tokenizer: text to ids and back."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from jaxgpt.disk import atomic
from jaxgpt.spec import ConfigError
from jaxgpt.spec.arguments import instance, strings
from jaxgpt.text.tokenizers.cut import between_words
from jaxgpt.text.tokenizers.pair import Joined, PairTemplate
from jaxgpt.text.tokenizers.tokenizer_json import vouch

END_OF_TEXT = "<|endoftext|>"
"""GPT-2's name for the token that ends a document."""
SPACE = "\u0120"
"""How a byte-level vocabulary writes the space before a word."""


class Codec(ABC):
    """Encodes any text as ids in [0, vocab_size). Final subclasses say how.

    Special tokens are never read out of text: a document that happens to contain the letters `<|endoftext|>` cannot end
    itself. Lone surrogates, which no encoding of Unicode can carry, become `?`.
    """

    form: ClassVar[str]
    """Which subclass wrote a saved codec."""
    vocab_size: int
    eot: int | None
    """Id of the end-of-text token; None when the vocabulary has none."""
    bos: int | None = None
    """Id of the token that every text starts with, which generation puts in front and `encode` does not; None unless
    the vocabulary has one."""
    frame: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    """Ids that the vocabulary's template puts before and behind a text that is read as a whole: `[CLS]` and `[SEP]`."""
    pair: PairTemplate | None = PairTemplate()
    """What the template puts around two texts that are read as one; None where the template is of another form. A
    vocabulary without template puts the second text right behind the first."""
    mask: int | None = None
    """Id of the token that stands for a hidden one, `[MASK]`; None unless the vocabulary has one."""

    @abstractmethod
    def arrays(self, texts: Sequence[str]) -> list[np.ndarray]:
        """One 1-D integer array of ids for each text: `encode_batch` without the cost of Python integers."""

    def parts(self, text: str) -> Iterator[str]:
        """Parts of a long text whose ids, one after another, are its ids: `arrays` encodes it so."""
        return between_words(text)

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`. Bytes that are not UTF-8, as at the edge of a cut sequence, become U+FFFD, and so may ids
        without text."""

    @cached_property
    def has_text(self) -> np.ndarray:
        """bool (V,): which ids stand for a text or a special token. A vocabulary's ids may have gaps, and a model's
        table may have rows beyond it; what has no text is never drawn."""
        return np.ones(self.vocab_size, bool)

    @abstractmethod
    def tokenizer_json(self) -> str:
        """The whole codec in the format of Hugging Face `tokenizers`."""

    def encode(self, text: str) -> list[int]:
        """Ids of one text, no special tokens added. Raises ConfigError for what is no string."""
        instance("text", text, "a string", str)
        return self.arrays([text])[0].tolist()

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts, in parallel where the codec can. Raises ConfigError for what are no strings, and for a
        single one, which would be taken letter by letter."""
        if isinstance(texts, str):
            raise ConfigError("texts: a single string; expected a list of them; `encode` takes one text")
        return [ids.tolist() for ids in self.arrays(strings("texts", texts))]

    def word_starts(self, whole: bool) -> np.ndarray:
        """int8 (V,): 0 for special tokens, 1 for what begins a word, 2 for what continues one; if not `whole`, every
        token is a word. Raises ConfigError where this vocabulary does not mark its words."""
        starts_V = np.ones(self.vocab_size, np.int8)
        tree = json.loads(self.tokenizer_json())
        special = [token["id"] for token in tree.get("added_tokens", ()) if token["special"]]
        starts_V[special] = 0
        if whole:
            vocab, model = tree["model"]["vocab"], tree["model"]
            prefix = model.get("continuing_subword_prefix")
            byte_level = (tree.get("pre_tokenizer") or {}).get("type") == "ByteLevel"
            if not prefix and not byte_level:
                raise ConfigError(
                    "objective.masking.whole_word: this tokenizer does not mark words; use wordpiece or byte_bpe"
                )
            inside = [
                index
                for entry, index in vocab.items()
                if (entry.startswith(prefix) if prefix else not entry.startswith(SPACE)) and starts_V[index]
            ]
            starts_V[inside] = 2
        return starts_V

    def framed(self, texts: Sequence[str], limit: int) -> list[np.ndarray]:
        """Ids of many texts within their frame, int64, up to `limit` each: a text that is too long loses its end."""
        before, behind = (np.array(ids, np.int64) for ids in self.frame)
        room = max(limit - len(before) - len(behind), 0)
        return [np.concatenate([before, ids[:room], behind])[:limit] for ids in self.arrays(texts)]

    def joined(self, firsts: Sequence[str], seconds: Sequence[str] | None, limit: int) -> list[Joined]:
        """Each first text and its second as one row of ids within the template, up to `limit`; without seconds, each
        first text alone as `framed` has it, all of type 0. See `PairTemplate.join` for what a limit cuts.

        Raises ConfigError where the template holds no such pair, or the limit is too small for it.
        """
        if seconds is None:
            if limit <= (size := sum(map(len, self.frame))):
                raise ConfigError(
                    f"data.seq_len: {limit} tokens leave no room for a text beside the {size} that frame it; raise it "
                    f"to {size + 1} or more"
                )
            return [Joined(ids, np.zeros(len(ids), np.int8)) for ids in self.framed(firsts, limit)]
        if self.pair is None:
            raise ConfigError("tokenizer: its post-processor puts no two texts, each once and in order, into one row")
        texts = list(dict.fromkeys([*firsts, *seconds]))  # contexts and both orders repeat them
        ids = dict(zip(texts, self.arrays(texts), strict=True))
        pairs = zip(firsts, seconds, strict=True)
        return [self.pair.join(ids[first], ids[second], limit) for first, second in pairs]

    def continuation(self, before: Sequence[int], ids: Sequence[int]) -> str:
        """The text that `ids` add to that of `before`, which may start with `bos`: a vocabulary may spell the first
        word of a text without its space."""
        before = before[1:] if self.bos is not None and before[:1] == [self.bos] else before
        head, whole = self.decode(before), self.decode([*before, *ids])
        return whole[len(head) :] if whole.startswith(head) else self.decode(ids)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of `tokenizer_json` in hex: equal codecs give equal ids."""
        return hashlib.sha256(self.tokenizer_json().encode()).hexdigest()

    def save(self, directory: Path) -> None:
        """Writes `tokenizer.json` and `tokenizer_config.json`, which transformers' AutoTokenizer reads too."""
        config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "form": self.form}
        if self.eot is not None:
            config["eos_token"] = self.decode([self.eot])
        if self.bos is not None:
            config["bos_token"] = self.decode([self.bos])
        text = self.tokenizer_json()
        with atomic(Path(directory) / "tokenizer.json") as file:
            file.write(text.encode())
        vouch(text)
        with atomic(Path(directory) / "tokenizer_config.json") as file:
            file.write(json.dumps(config, indent=2).encode())
