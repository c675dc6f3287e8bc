"""The `data:` block of a run: which text, how it is split, and how it is cut into rows."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from jaxgpt.spec import Spec
from jaxgpt.spec.sizes import Count, Length, Tokens


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
    """Rows of texts instead of windows of one text: how many columns of a .csv or .tsv without header, or the names of
    columns or of fields; in a table without header a name is a column's number, from 1 (`["4"]`). What a row's texts
    are to each other, the objective says: to a contrast the first is the anchor, the second its positive, further ones
    hard negatives. A .txt has one text a line: 1."""
    label: str | None = None
    """The column or field that holds a row's label, named as `columns` are: the name of a class, a score, or the place
    of the right candidate, from 0."""
    candidates: Count | None = None
    """How many candidates the longest row has, where one field holds a list of them. None: the text is read to tell."""
    balance: Literal["none", "over", "under"] = "none"
    """How often rows of a class come in an epoch: as often as they are there; all classes as often as the largest, by
    repeating rows (`over`), or as the smallest, by leaving out others in each epoch (`under`)."""
    apart: bool = False
    """Whether every text of a record is a row of its own."""
    text_field: str = "text"
    """The field that holds the text in .jsonl, .parquet and hub records."""
    seq_len: Length | None = None
    """Tokens of a row; None: as many as the model's context."""
    val_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Share held out: the tail of a single text file, otherwise whole documents chosen by hash. 0: no validation."""
    val_corpus: str | None = None
    """A corpus of its own that is held out whole, named as `corpus` is; val_fraction is then 0."""
    val_tokens: Tokens | None = None
    """Held-out tokens that validation predicts, always the same ones. None: all. A mixture divides them by weight."""
    val_bytes: Tokens | None = None
    """Instead of `val_tokens`, the same in bytes of the held-out text: every tokenizer is scored on the same text, but
    for the first token and a cut last one."""
    documents: Literal["cross", "separate"] = "cross"
    """`cross`: attention and targets run over document boundaries (GPT-2, GPT-3). `separate`: they stop there."""
    shuffle: bool = True
    """Rows in an order drawn from the seed, on a grid that shifts every epoch. False: in the order of the text."""
    streams: bool = False
    """Whether a row goes on where the row in its place of the batch before ended, and the model carries its state on:
    truncated backpropagation through time (Mikolov et al. 2010; Zaremba et al. 2014)."""

    @model_validator(mode="before")
    @classmethod
    def _held_out_whole(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("val_corpus") is not None:
            return {"val_fraction": 0.0} | value
        return value

    @field_validator("columns", "label", mode="before")
    @classmethod
    def _numbers_name(cls, value: Any, info: ValidationInfo) -> Any:
        """A column's number, written as one."""
        if isinstance(value, list | tuple):
            return [str(name) if type(name) is int else name for name in value]
        return str(value) if info.field_name == "label" and type(value) is int else value

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
        if self.val_corpus is not None and self.val_fraction:
            raise ValueError(
                f"val_corpus '{self.val_corpus}' is held out whole; leave val_fraction {self.val_fraction} out"
            )
        if self.streams and (self.columns is not None or len(self.sources) > 1 or self.documents != "cross"):
            raise ValueError(
                "streams are one corpus that is read on and on; leave columns, further sources and documents out"
            )
        if self.columns is None and self.apart:
            raise ValueError("apart needs columns: say which of a record's texts")
        return self

    @model_validator(mode="after")
    def _labelled(self) -> Self:
        names = range(1, self.columns + 1) if isinstance(self.columns, int) else self.columns or ()
        if self.label is None:
            if self.balance != "none":
                raise ValueError(f"balance '{self.balance}' needs label, by which rows are balanced")
            return self
        if not names:
            raise ValueError("label needs columns: say which texts it is the label of")
        if self.apart:
            raise ValueError("label is a row's, and apart makes every text a row of its own; leave one out")
        if isinstance(self.columns, int) and not self.numbered:
            raise ValueError(
                f"label '{self.label}' is a name, and columns {self.columns} are those of a table without header; give "
                "the label's column by number, or the columns by name"
            )
        if self.label in {str(name) for name in names}:
            raise ValueError(f"label '{self.label}' is one of the columns; a label is no text of its row")
        return self

    @property
    def numbered(self) -> bool:
        """Whether columns and label are numbers, as in a table without header."""
        names = () if self.columns is None or isinstance(self.columns, int) else self.columns
        return all(
            name.isascii() and name.isdigit() for name in (*names, *([] if self.label is None else [self.label]))
        )

    @property
    def holds_out(self) -> bool:
        """Whether some text is held out for validation."""
        return self.val_corpus is not None or self.val_fraction > 0

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
