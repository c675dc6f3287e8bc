"""A vocabulary with three marks of its own: where a task's input starts, what parts its texts, what reads it out."""

from typing import Self

from pydantic import Field, model_validator

from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote
from jaxgpt.text.tokenizers.codec import Codec
from jaxgpt.text.tokenizers.huggingface import HuggingFaceCodec, add_template
from jaxgpt.text.tokenizers.tokenizer import Texts, Tokenizer
from jaxgpt.text.tokenizers.tokenizer_json import one_line


class Marked(Tokenizer):
    """Another vocabulary and three special tokens behind its ids, by which a decoder reads a task's input: `start text
    extract`, and of two texts `start text delimiter text extract`."""

    citation = "Radford et al. 2018, Improving Language Understanding by Generative Pre-Training, 3.3"
    marks = 3
    base: Tokenizer
    """The vocabulary of the texts; a template of its own gives way."""
    start: str = Field(default="_start_", min_length=1, max_length=100)
    delimiter: str = Field(default="_delimiter_", min_length=1, max_length=100)
    extract: str = Field(default="_classify_", min_length=1, max_length=100)
    """The last token of an input: what the model makes of it is what is classified."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({*self.names}) < self.marks:
            raise ValueError(f"start, delimiter and extract are {quote(self.names)}; give each a name of its own")
        if self.base.covers_held_out:
            raise ValueError(f"base {self.base.kind} cannot spell a new symbol; use byte, byte_bpe, bpe or wordpiece")
        if self.base.marks:
            raise ValueError(f"base {self.base.kind} has marks of its own; take its base")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The marks in the order of their ids."""
        return self.start, self.delimiter, self.extract

    @property
    def needs_text(self) -> bool:
        """Whether its base has yet to learn."""
        return self.base.needs_text

    def train(self, texts: Texts) -> Codec:
        """The base's codec with the marks. Raises ConfigError where the base knows a token of such a name already."""
        import tokenizers as hf

        base = self.base.train(texts)
        tokenizer = hf.Tokenizer.from_str(base.tokenizer_json())
        for name in self.names:
            if tokenizer.token_to_id(name) is not None:
                raise ConfigError(
                    f"tokenizer: {quote(name)} is a token of the base already; give the mark another name"
                )
        with one_line("tokenizer: cannot take marks"):
            tokenizer.add_special_tokens(list(self.names))
            single = [self.start, "$A", self.extract]
            add_template(tokenizer, self.names, single, [self.start, "$A", self.delimiter, "$B:1", f"{self.extract}:1"])
        ids = [tokenizer.token_to_id(name) for name in self.names]
        if ids != [*range(base.vocab_size, base.vocab_size + self.marks)]:
            raise ConfigError(f"tokenizer: its marks get the ids {ids}, not those behind the base's {base.vocab_size}")
        ends = [None if index is None else base.decode([index]) for index in (base.eot, base.bos)]
        return HuggingFaceCodec(tokenizer, *ends)
