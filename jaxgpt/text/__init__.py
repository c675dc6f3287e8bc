"""F1: text in, ids out. Tokenizers, corpora, token files, batches. Imports no jax until a batch is asked for."""

from jaxgpt.text.bpe import BPE
from jaxgpt.text.build import prepare
from jaxgpt.text.byte import Byte
from jaxgpt.text.byte_bpe import ByteBPE
from jaxgpt.text.char import Char
from jaxgpt.text.codec import Codec
from jaxgpt.text.data import Data, Source
from jaxgpt.text.prepared import Prepared
from jaxgpt.text.texts import PreparedTexts
from jaxgpt.text.tokenizer import Tokenizer
from jaxgpt.text.wordpiece import WordPiece

__all__ = [
    "BPE",
    "Byte",
    "ByteBPE",
    "Char",
    "Codec",
    "Data",
    "Prepared",
    "PreparedTexts",
    "Source",
    "Tokenizer",
    "WordPiece",
    "prepare",
]
