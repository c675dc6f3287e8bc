"""Characters as tokens: the vocabulary is the alphabet of the corpus, in code point order (nanoGPT's char setting)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgpt.spec import ConfigError
from jaxgpt.text.tokenizers.codec import Codec
from jaxgpt.text.tokenizers.tokenizer import Texts, Tokenizer


class Char(Tokenizer):
    """One token a character; no unknown and no end-of-text token."""

    covers_held_out = True

    def train(self, texts: Texts) -> Codec:
        """Learns the alphabet: all characters of the texts, sorted."""
        alphabet: set[str] = set()
        for text in texts():
            alphabet.update(text)
        return CharCodec("".join(sorted(alphabet)))


class CharCodec(Codec):
    """Id = rank of the character in `alphabet`, which is sorted and has no duplicates."""

    form = "char"
    eot = None

    def __init__(self, alphabet: str):
        self.alphabet = alphabet
        self.vocab_size = len(alphabet)
        self._points_V = np.array([ord(symbol) for symbol in alphabet], np.uint32)

    @classmethod
    def from_json(cls, tree: dict[str, Any], path: Path) -> "CharCodec":
        """The codec of a parsed `tokenizer.json`. Raises ConfigError when its vocabulary is not a sorted alphabet."""
        vocab = tree.get("model", {}).get("vocab") if isinstance(tree.get("model"), dict) else None
        if not isinstance(vocab, dict) or any(len(symbol) != 1 for symbol in vocab):
            raise ConfigError(f"{path}: model.vocab is not a map from single characters; save the char tokenizer again")
        alphabet = "".join(sorted(vocab))
        if [vocab[symbol] for symbol in alphabet] != list(range(len(alphabet))):
            raise ConfigError(f"{path}: model.vocab is not in code point order; save the char tokenizer again")
        return cls(alphabet)

    def arrays(self, texts: Sequence[str]) -> list[np.ndarray]:
        """int64 ranks. Raises ConfigError naming the first character outside the alphabet."""
        return [self._ranks(text) for text in texts]

    def _ranks(self, text: str) -> np.ndarray:
        points = np.frombuffer(text.encode("utf-32-le", "replace"), "<u4")
        ids = np.searchsorted(self._points_V, points)
        known = self._points_V[np.minimum(ids, self.vocab_size - 1)] == points if self.vocab_size else points < 0
        if not known.all():
            where = int(np.argmin(known))
            raise ConfigError(
                f"text: character {text[where]!r} at offset {where} is not among the {self.vocab_size} of the char "
                "tokenizer; remove it, or use the byte or byte_bpe tokenizer"
            )
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The characters, joined; U+FFFD for an id without one."""
        return "".join(self.alphabet[token] if 0 <= token < self.vocab_size else "\ufffd" for token in ids)

    def tokenizer_json(self) -> str:
        """A BPE vocabulary of single characters, without merges."""
        import tokenizers as hf

        vocab = {symbol: rank for rank, symbol in enumerate(self.alphabet)}
        tokenizer = hf.Tokenizer(hf.models.BPE(vocab=vocab, merges=[]))
        tokenizer.decoder = hf.decoders.Fuse()
        return tokenizer.to_str()
