"""Codecs that run in Hugging Face `tokenizers`."""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from jaxgpt.spec import ConfigError
from jaxgpt.text.tokenizers.codec import END_OF_TEXT, Codec
from jaxgpt.text.tokenizers.cut import LONGEST, at_most, between_words
from jaxgpt.text.tokenizers.interruptible import interruptible
from jaxgpt.text.tokenizers.pair import PairTemplate
from jaxgpt.text.tokenizers.tokenizer_json import one_line

if TYPE_CHECKING:
    import tokenizers as hf


MASKS = ("[MASK]", "<mask>")
"""Names of the token that stands for a hidden one: BERT's and RoBERTa's."""
SOON = 4096
"""Characters that are encoded before anyone could press Ctrl-C."""
WHITE = re.compile(r"\s")
MOST = 1 << 22
"""Ids that a vocabulary may have: sixteen times as many as the largest has."""


class HuggingFaceCodec(Codec):
    """Any `tokenizers.Tokenizer`. `end_of_text` and `begin` name the tokens that end and begin a document, if the
    vocabulary has them."""

    form = "huggingface"

    def __init__(self, tokenizer: "hf.Tokenizer", end_of_text: str | None = END_OF_TEXT, begin: str | None = None):
        self._tokenizer = tokenizer
        with one_line("tokenizer"):
            tokenizer.encode_special_tokens = True  # their letters in a document are letters
            tokenizer.no_padding()
            tokenizer.no_truncation()
            self.vocab_size = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1
            if self.vocab_size > MOST:
                raise ConfigError(f"tokenizer: has an id {self.vocab_size - 1:,}; expected fewer than {MOST:,} ids")
            self.eot = tokenizer.token_to_id(end_of_text) if end_of_text is not None else None
            self.bos = tokenizer.token_to_id(begin) if begin is not None else None
            self.frame = _frame(tokenizer)
            self.pair = _pair(tokenizer)
            known = (tokenizer.token_to_id(name) for name in MASKS)
            self.mask = next((index for index in known if index is not None), None)

    def arrays(self, texts: Sequence[str]) -> list[np.ndarray]:
        """int64 ids, encoded on all cores, in calls that end soon.

        A text of more than `cut.LONGEST` characters is encoded in parts, and in a run of so many without any white
        space or punctuation they meet within a word.
        """
        pieces = [
            (row, part)
            for row, text in enumerate(texts)
            for part in self.parts(text.encode("utf-8", "replace").decode())
        ]
        ids: list[list[np.ndarray]] = [[] for _ in texts]
        for some in _groups(pieces):
            encode = partial(self._tokenizer.encode_batch_fast, [part for _, part in some], add_special_tokens=False)
            with one_line("tokenizer: cannot encode this text"):
                encodings = encode() if sum(len(part) for _, part in some) < SOON else interruptible(encode)
            for (row, _), encoding in zip(some, encodings, strict=True):
                ids[row].append(np.array(encoding.ids, np.int64))
        return [parts[0] if len(parts) == 1 else np.concatenate(parts) for parts in ids]

    def parts(self, text: str) -> Iterator[str]:
        """Cut between words where these rules part them anyway; else one part up to `cut.LONGEST` characters."""
        if self._parts_words:
            for words in between_words(text):
                yield from at_most(words)
            return
        for index, part in enumerate(at_most(text)):
            yield part[1:] if index and self._adds_space and part[0] == " " else part

    @cached_property
    def _parts_words(self) -> bool:
        """Whether a cut between words changes no id, whatever the words."""
        from tokenizers import normalizers, pre_tokenizers

        splitter, normalizer = self._tokenizer.pre_tokenizer, self._tokenizer.normalizer
        added = self._tokenizer.get_added_tokens_decoder().values()
        return (
            isinstance(splitter, pre_tokenizers.BertPreTokenizer)
            or (isinstance(splitter, pre_tokenizers.ByteLevel) and splitter.use_regex and not splitter.add_prefix_space)
        ) and (
            (normalizer is None or isinstance(normalizer, normalizers.BertNormalizer | normalizers.NFC))
            and all(
                token.special or not (token.lstrip or token.rstrip or WHITE.search(token.content)) for token in added
            )
        )

    @cached_property
    def _adds_space(self) -> bool:
        """Whether a text is read as if a space stood before it."""
        word, spaced = (self._tokenizer.encode(text, add_special_tokens=False).ids for text in ("a", " a"))
        both = self._tokenizer.encode("a a", add_special_tokens=False).ids
        return both == word + word != word + spaced

    def decode(self, ids: Sequence[int]) -> str:
        """The text by the vocabulary's own decoder; special tokens print by name, and ids without text not at all."""
        known = [int(token) for token in ids if 0 <= token < self.vocab_size]
        with one_line("tokenizer: cannot decode these ids"):
            return self._tokenizer.decode(known, skip_special_tokens=False)

    @cached_property
    def has_text(self) -> np.ndarray:
        """False in the gaps between the ids of the vocabulary and of its added tokens."""
        named_V = np.zeros(self.vocab_size, bool)
        named_V[list(self._tokenizer.get_vocab(with_added_tokens=True).values())] = True
        return named_V

    def tokenizer_json(self) -> str:
        """The tokenizer as the library itself writes it."""
        return self._tokenizer.to_str()


def _groups(pieces: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """Texts with their rows, so many together as make LONGEST characters."""
    some, size = list[tuple[int, str]](), 0
    for row, part in pieces:
        if some and size + len(part) > LONGEST:
            yield some
            some, size = [], 0
        some.append((row, part))
        size += len(part)
    if some:
        yield some


def _frame(tokenizer: "hf.Tokenizer") -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What its post-processor puts before and behind a text."""
    if tokenizer.post_processor is None:
        return (), ()
    plain, whole = (tokenizer.encode("a", add_special_tokens=special).ids for special in (False, True))
    start = next((i for i in range(len(whole)) if plain and whole[i : i + len(plain)] == plain), len(whole))
    return tuple(whole[:start]), tuple(whole[start + len(plain) :])


def _pair(tokenizer: "hf.Tokenizer") -> PairTemplate | None:
    """What its post-processor puts around two texts; None where it does not hold each once, the first one first."""
    if tokenizer.post_processor is None:
        return PairTemplate()
    encoding = tokenizer.encode("a", "a", add_special_tokens=True)
    texts = encoding.sequence_ids
    runs = [text for i, text in enumerate(texts) if text is not None and (i == 0 or texts[i - 1] != text)]
    if runs != [0, 1]:
        return None
    special = list(zip(encoding.ids, encoding.type_ids, strict=True))
    first, second, end = texts.index(0), texts.index(1), len(texts) - texts[::-1].index(1)
    between = first + texts.count(0)
    types = encoding.type_ids[first], encoding.type_ids[second]
    return PairTemplate(tuple(special[:first]), tuple(special[between:second]), tuple(special[end:]), types)


def with_ends(tokenizer: "hf.Tokenizer", texts: Sequence[str], bos: int | None, eot: int | None) -> HuggingFaceCodec:
    """The codec of a vocabulary, given in order of its ids, of which one may begin every text and one end it."""
    begin, end = (None if index is None else texts[index] for index in (bos, eot))
    if begin is not None:
        add_first(tokenizer, begin)
    return HuggingFaceCodec(tokenizer, end, begin)


def add_first(tokenizer: "hf.Tokenizer", token: str) -> None:
    """Makes transformers' AutoTokenizer put `token` before every text, as texts of this vocabulary start."""
    add_template(tokenizer, [token], [token, "$A"], [token, "$A", f"{token}:1", "$B:1"])


def add_template(tokenizer: "hf.Tokenizer", special: Sequence[str], single: list[str], pair: list[str]) -> None:
    """Puts special tokens around a text, and around two that are read as one; nothing where one of them is missing."""
    import tokenizers as hf

    ids = [(token, tokenizer.token_to_id(token)) for token in special]
    if all(index is not None for _, index in ids):
        tokenizer.post_processor = hf.processors.TemplateProcessing(single=single, pair=pair, special_tokens=ids)
