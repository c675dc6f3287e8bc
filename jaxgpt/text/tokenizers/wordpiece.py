"""WordPiece: longest match first, continuations marked `##` (BERT, Devlin et al. 2019, section 3)."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from jaxgpt.spec import ConfigError
from jaxgpt.spec.small_file import read_small
from jaxgpt.text.tokenizers.alphabet import most_frequent
from jaxgpt.text.tokenizers.huggingface import MOST, add_template
from jaxgpt.text.tokenizers.learned import Learned
from jaxgpt.text.tokenizers.tokenizer import Texts
from jaxgpt.text.tokenizers.tokenizer_json import LARGEST

if TYPE_CHECKING:
    import tokenizers as hf

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


class WordPiece(Learned, kind="wordpiece"):
    """BERT's kind, uncased unless `lowercase` is off. `[SEP]` ends a document; read as a whole it starts with `[CLS]`.
    White space is lost."""

    citation = "Devlin et al. 2019, BERT, 3; Wu et al. 2016, Google's Neural Machine Translation System, 4.1"
    model = "WordPiece"
    vocab_size: int = Field(default=30522, ge=24, le=2**22)
    end_of_text: str | None = "[SEP]"
    lowercase: bool = True
    """Lower case and no accents. A `tokenizer.json` brings its own rule; `vocab.txt` follows this one."""

    def _learn(self, texts: Texts) -> "hf.Tokenizer":
        import tokenizers as hf

        tokenizer = self._pipeline(hf.models.WordPiece(unk_token="[UNK]"))
        # Each character comes with and without `##`, and may not crowd out the rest; words with a rare one are unknown.
        alphabet = most_frequent(texts, tokenizer.normalizer, limit=self.vocab_size // 4)
        special = list(dict.fromkeys([*SPECIAL, self.end_of_text or "[SEP]"]))
        trainer = hf.trainers.WordPieceTrainer(
            vocab_size=self.vocab_size,
            special_tokens=[*special, *alphabet, *("##" + symbol for symbol in alphabet)],
            initial_alphabet=alphabet,
            limit_alphabet=len(alphabet),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts(), trainer)
        vocab = json.loads(tokenizer.to_str())["model"]["vocab"]  # taken over, because characters are no special tokens
        tokenizer = self._pipeline(hf.models.WordPiece(vocab=vocab, unk_token="[UNK]"))
        tokenizer.add_special_tokens(special)
        return _framed(tokenizer)

    def _published(self, folder: Path) -> "hf.Tokenizer":
        import tokenizers as hf

        path = folder / "vocab.txt"
        if not path.exists():
            raise ConfigError(f"tokenizer.path: {folder} holds no vocabulary; expected tokenizer.json or vocab.txt")
        vocab = {entry: rank for rank, entry in enumerate(_lines(path))}
        if "[UNK]" not in vocab:
            raise ConfigError(f"{path}: has no [UNK] entry; expected BERT's vocab.txt, one entry a line")
        tokenizer = self._pipeline(hf.models.WordPiece(vocab=vocab, unk_token="[UNK]"))
        tokenizer.add_special_tokens([entry for entry in SPECIAL if entry in vocab])
        return _framed(tokenizer)

    def _pipeline(self, model: "hf.models.WordPiece") -> "hf.Tokenizer":
        import tokenizers as hf

        tokenizer = hf.Tokenizer(model)
        tokenizer.normalizer = hf.normalizers.BertNormalizer(lowercase=self.lowercase)
        tokenizer.pre_tokenizer = hf.pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = hf.decoders.WordPiece(prefix="##")
        return tokenizer


def _framed(tokenizer: "hf.Tokenizer") -> "hf.Tokenizer":
    """The tokenizer with BERT's template: `[CLS] text [SEP]`, and a second text in the second segment."""
    single = ["[CLS]", "$A", "[SEP]"]
    add_template(tokenizer, ("[CLS]", "[SEP]"), single, [*single, "$B:1", "[SEP]:1"])
    return tokenizer


def _lines(path: Path) -> list[str]:
    text = read_small(path, LARGEST).removesuffix("\n")
    if text.count("\n") >= MOST:
        raise ConfigError(f"{path}: {text.count(chr(10)) + 1:,} lines; expected fewer than {MOST:,}, an entry each")
    return text.split("\n")  # splitlines breaks at rare entries
