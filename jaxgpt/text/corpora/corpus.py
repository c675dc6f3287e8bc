"""Corpora: where text comes from, what it hashes to, and which of it is held out.

Held out by document: a document belongs to validation when a hash says so, the hash of its path for a file and of its
text for a record, so the split depends on neither order nor seed, and equal records never sit on both sides. A corpus
of one text file is cut once instead, as nanoGPT does: the head trains, the tail validates.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple


class Document(NamedTuple):
    """One text, whether it is held out, and how far through the corpus it ends, from 0 to 1."""

    text: str
    held_out: bool
    progress: float


class Corpus(ABC):
    """A body of documents, with a name and a hash over all of its text."""

    name: str

    @abstractmethod
    def hash(self) -> str:
        """SHA-256 in hex over all the text and its order."""

    @abstractmethod
    def documents(self) -> Iterator[Document]:
        """A fresh pass, in a fixed order, without empty documents."""


def is_held_out(key: str, fraction: float) -> bool:
    """A fair coin of probability `fraction`, drawn from SHA-256 of the key."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "replace")).digest()[:8], "big") < fraction * 2**64
