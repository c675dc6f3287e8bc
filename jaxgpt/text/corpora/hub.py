"""A data set from the Hugging Face hub as a corpus (extra `hf`)."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import first_line
from jaxgpt.text.corpora.corpus import Corpus, Document, is_held_out
from jaxgpt.text.corpora.documents import text_of


@dataclass(frozen=True)
class HubCorpus(Corpus):
    """The training split of `hub:NAME[:CONFIG]`; its own hash-split is the held-out part. Never runs remote code."""

    name: str
    text_field: str
    val_fraction: float

    @cached_property
    def _records(self) -> Any:
        try:
            import datasets
        except ImportError:
            raise ConfigError(
                f"data.corpus: '{self.name}' needs the datasets package; pip install 'jaxgpt[hf]'"
            ) from None
        _, name, *config = self.name.split(":")
        try:
            return datasets.load_dataset(name, *config, split="train")
        except Exception as error:  # the hub's client raises many kinds, network errors among them
            raise ConfigError(
                f"data.corpus: '{self.name}' cannot be loaded from the hub: {first_line(error)}"
            ) from None

    def _texts(self) -> Iterator[str]:
        for row, record in enumerate(self._records):
            yield text_of(record, self.text_field, f"{self.name}: row {row}")

    def hash(self) -> str:
        """Over every text and its length."""
        sha = hashlib.sha256()
        for text in self._texts():
            raw = text.encode("utf-8", "replace")
            sha.update(f"{len(raw)}\0".encode() + raw)
        return sha.hexdigest()

    def documents(self) -> Iterator[Document]:
        """The documents of the data set, in its order."""
        total = len(self._records)
        for row, text in enumerate(self._texts(), start=1):
            if text:
                yield Document(text, is_held_out(text, self.val_fraction), row / total)
