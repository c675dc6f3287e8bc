"""Text in, ids out. Tokenizers, corpora, token files, batches. Imports no jax until a batch is asked for."""

from jaxgpt.text.batches.arrangement import Arrangement, RowPlan, Target
from jaxgpt.text.batches.data import Data, Source
from jaxgpt.text.batches.prepare import prepare
from jaxgpt.text.batches.training_data import TrainingData, batch_shapes
from jaxgpt.text.tokenizers.bpe import BPE
from jaxgpt.text.tokenizers.byte import Byte
from jaxgpt.text.tokenizers.byte_bpe import ByteBPE
from jaxgpt.text.tokenizers.char import Char
from jaxgpt.text.tokenizers.codec import Codec
from jaxgpt.text.tokenizers.marked import Marked
from jaxgpt.text.tokenizers.saved import load_codec
from jaxgpt.text.tokenizers.tokenizer import Tokenizer
from jaxgpt.text.tokenizers.wordpiece import WordPiece

__all__ = [
    "BPE",
    "Arrangement",
    "Byte",
    "ByteBPE",
    "Char",
    "Codec",
    "Data",
    "Marked",
    "RowPlan",
    "Source",
    "Target",
    "Tokenizer",
    "TrainingData",
    "WordPiece",
    "batch_shapes",
    "load_codec",
    "prepare",
]
