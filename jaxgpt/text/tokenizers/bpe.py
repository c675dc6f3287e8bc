"""BPE over the characters of lower-cased words, with an end-of-word mark (GPT-1, Radford et al. 2018, section 4.1)."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from jaxgpt.text.tokenizers.alphabet import most_frequent
from jaxgpt.text.tokenizers.learned import Learned
from jaxgpt.text.tokenizers.published import read_bpe
from jaxgpt.text.tokenizers.tokenizer import Texts

if TYPE_CHECKING:
    import tokenizers as hf

UNKNOWN = "<unk>"
END_OF_WORD = "</w>"


class BPE(Learned, kind="bpe"):
    """GPT-1's kind: lower case, no accents, words split at punctuation, `</w>` closes a word. White space is lost.

    The original cleans text with ftfy and splits it with spaCy; this is the BasicTokenizer path that transformers'
    OpenAIGPTTokenizer takes, with the same ids. Published: 40,478 entries, without an end-of-text token.
    """

    citation = "Radford et al. 2018, Improving Language Understanding by Generative Pre-Training, 4.1"
    model = "BPE"
    vocab_size: int = Field(default=40478, ge=4, le=2**22)

    def _learn(self, texts: Texts) -> "hf.Tokenizer":
        import tokenizers as hf

        tokenizer = _pipeline(hf.models.BPE(unk_token=UNKNOWN, end_of_word_suffix=END_OF_WORD))
        # Each character comes with and without the mark, and may not crowd out the merges; rare ones are unknown.
        alphabet = most_frequent(texts, tokenizer.normalizer, limit=self.vocab_size // 4)
        trainer = hf.trainers.BpeTrainer(
            vocab_size=self.vocab_size - (self.end_of_text is not None),
            special_tokens=[UNKNOWN, *alphabet, *(symbol + END_OF_WORD for symbol in alphabet)],
            initial_alphabet=alphabet,
            limit_alphabet=len(alphabet),
            end_of_word_suffix=END_OF_WORD,
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts(), trainer)
        learned = json.loads(tokenizer.to_str())["model"]  # taken over, because characters are no special tokens
        merges = [tuple(pair) for pair in learned["merges"]]
        tokenizer = _pipeline(
            hf.models.BPE(vocab=learned["vocab"], merges=merges, unk_token=UNKNOWN, end_of_word_suffix=END_OF_WORD)
        )
        if self.end_of_text is not None:
            tokenizer.add_special_tokens([self.end_of_text])
        return tokenizer

    def _published(self, folder: Path) -> "hf.Tokenizer":
        return _pipeline(read_bpe(folder, unk_token=UNKNOWN, end_of_word_suffix=END_OF_WORD, fuse_unk=False))


def _pipeline(model: "hf.models.BPE") -> "hf.Tokenizer":
    import tokenizers as hf

    tokenizer = hf.Tokenizer(model)
    tokenizer.normalizer = hf.normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = hf.pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = hf.decoders.BPEDecoder(suffix=END_OF_WORD)
    return tokenizer
