"""Byte-level BPE (GPT-2, Radford et al. 2019, section 2.2)."""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from jaxgpt.text.tokenizers.learned import Learned
from jaxgpt.text.tokenizers.published import read_bpe
from jaxgpt.text.tokenizers.tokenizer import Texts

if TYPE_CHECKING:
    import tokenizers as hf


class ByteBPE(Learned, kind="byte_bpe"):
    """256 base symbols, merges within GPT-2's classes of characters only; any Unicode text round trips.

    GPT-2 and GPT-3: 256 bytes, 50,000 merges and the end-of-text token, 50,257 entries.
    """

    citation = "Radford et al. 2019, Language Models are Unsupervised Multitask Learners, 2.2"
    model = "BPE"
    vocab_size: int = Field(default=50257, ge=257, le=2**22)

    def _learn(self, texts: Texts) -> "hf.Tokenizer":
        import tokenizers as hf

        tokenizer = _pipeline(hf.models.BPE())
        trainer = hf.trainers.BpeTrainer(
            vocab_size=self.vocab_size - (self.end_of_text is not None),
            initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts(), trainer)
        if self.end_of_text is not None:  # after training, so that it takes the last id, as GPT-2's did
            tokenizer.add_special_tokens([self.end_of_text])
        return tokenizer

    def _published(self, folder: Path) -> "hf.Tokenizer":
        tokenizer = _pipeline(read_bpe(folder))
        if self.end_of_text is not None and tokenizer.token_to_id(self.end_of_text) is not None:
            tokenizer.add_special_tokens([self.end_of_text])
        return tokenizer


def _pipeline(model: "hf.models.BPE") -> "hf.Tokenizer":
    import tokenizers as hf

    tokenizer = hf.Tokenizer(model)
    tokenizer.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = hf.decoders.ByteLevel()
    return tokenizer
