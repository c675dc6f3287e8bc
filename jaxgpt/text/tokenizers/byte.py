"""Bytes as tokens: nothing to learn, any text round trips."""

from collections.abc import Sequence

import numpy as np

from jaxgpt.text.tokenizers.codec import END_OF_TEXT, Codec
from jaxgpt.text.tokenizers.tokenizer import Texts, Tokenizer


class Byte(Tokenizer):
    """The 256 bytes of UTF-8 and an end-of-text token: 257 entries."""

    @property
    def needs_text(self) -> bool:
        """False: the 256 bytes need no text to learn from."""
        return False

    def train(self, texts: Texts) -> Codec:
        """The byte codec; `texts` is not read."""
        return ByteCodec()


class ByteCodec(Codec):
    """Id = byte value; 256 ends a text."""

    form = "byte"
    vocab_size = 257
    eot = 256

    def arrays(self, texts: Sequence[str]) -> list[np.ndarray]:
        """uint8 views of the UTF-8 bytes."""
        return [np.frombuffer(text.encode("utf-8", "replace"), np.uint8) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """The bytes as UTF-8, split at end-of-text tokens, which print by name."""
        pieces, piece = [], bytearray()
        for token in ids:
            if token == self.eot:
                pieces.append(piece.decode("utf-8", "replace") + END_OF_TEXT)
                piece = bytearray()
            else:
                piece += bytes([token]) if 0 <= token < 256 else "\ufffd".encode()
        return "".join([*pieces, piece.decode("utf-8", "replace")])

    def tokenizer_json(self) -> str:
        """Byte-level BPE with no merges."""
        import tokenizers as hf

        tokenizer = hf.Tokenizer(
            hf.models.BPE(vocab={symbol: byte for byte, symbol in enumerate(symbols())}, merges=[])
        )
        tokenizer.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.decoder = hf.decoders.ByteLevel()
        tokenizer.add_special_tokens([END_OF_TEXT])
        return tokenizer.to_str()


def symbols() -> list[str]:
    """GPT-2's printable stand-in for each byte: itself where Latin-1 prints it, else the next character from U+0100."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    rest = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(rest)) for byte in range(256)]
