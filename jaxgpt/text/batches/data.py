"""The `data:` block of a run: which text, how it is split, and how it is cut into rows."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from jaxgpt.spec import Spec
from jaxgpt.spec.sizes import Length, Tokens


class Source(Spec):
    """One corpus of a mixture, and how often rows are drawn from it."""

    corpus: str
    """`stdlib`, a name in the folder JAXGPT_DATA, a file, a folder, a glob, or `hub:NAME[:CONFIG]`. Of a folder all
    files of a known `format` that are not hidden: .txt, .csv, .tsv, .jsonl and .parquet, in any case of the letters."""
    weight: float = Field(default=1.0, gt=0, le=1e30)
    """Share of the rows, relative to the other sources."""


class Data(Spec):
    """Text in, rows of `seq_len` tokens out."""

    corpus: str | tuple[Source, ...] = "stdlib"
    """One corpus as `Source.corpus` names it, or a mixture as a list of `{corpus, weight}`."""
    columns: Annotated[int, Field(gt=0, le=1024)] | tuple[str, ...] | None = None
    """Rows of texts, each apart, instead of windows of one text: how many columns of a .csv or .tsv without header, or
    the names of columns or of fields. The first text of a row is the anchor, the second its positive, further
    ones hard negatives. A .txt has one text a line: 1."""
    apart: bool = False
    """Whether every text of a record is a row of its own."""
    text_field: str = "text"
    """The field that holds the text in .jsonl, .parquet and hub records."""
    seq_len: Length | None = None
    """Tokens of a row; None: as many as the model's context."""
    val_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Share held out: the tail of a single text file, otherwise whole documents chosen by hash. 0: no validation."""
    val_tokens: Tokens | None = None
    """Held-out tokens that validation predicts, always the same ones. None: all. A mixture divides them by weight."""
    val_bytes: Tokens | None = None
    """Instead of `val_tokens`, the same in bytes of the held-out text: every tokenizer is scored on the same text, but
    for the first token and a cut last one."""
    documents: Literal["cross", "separate"] = "cross"
    """`cross`: attention and targets run over document boundaries (GPT-2, GPT-3). `separate`: they stop there."""
    shuffle: bool = True
    """Rows in an order drawn from the seed, on a grid that shifts every epoch. False: in the order of the text."""

    @field_validator("corpus")
    @classmethod
    def _not_empty(cls, value: str | tuple[Source, ...]) -> str | tuple[Source, ...]:
        if not value:
            raise ValueError("empty; name a corpus such as 'stdlib', or list {corpus, weight} entries")
        return value

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if self.val_tokens is not None and self.val_bytes is not None:
            raise ValueError("val_tokens and val_bytes both limit validation; set one of them to null")
        if self.columns is not None and (self.val_tokens or self.val_bytes or self.documents != "cross"):
            raise ValueError(
                "val_tokens, val_bytes and documents are about windows of text; leave them out with columns"
            )
        if self.columns is None and self.apart:
            raise ValueError("apart needs columns: say which of a record's texts")
        return self

    @property
    def texts(self) -> int:
        """The number of texts in a row; 0 where rows are windows of a corpus."""
        if self.columns is None:
            return 0
        return 1 if self.apart else self.columns if isinstance(self.columns, int) else len(self.columns)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The corpus as a mixture: a single one has weight 1."""
        return (Source(corpus=self.corpus),) if isinstance(self.corpus, str) else self.corpus
