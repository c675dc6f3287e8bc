"""Corpora: where text comes from, what it hashes to, and which of it is held out.

Held out by document: a document belongs to validation when a hash says so, the hash of its path for a file and of its
text for a record, so the split depends on neither order nor seed, and equal records never sit on both sides. A corpus
of one text file is cut once instead, as nanoGPT does: the head trains, the tail validates.
"""

import glob
import hashlib
import os
import sysconfig
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from jaxgpt.spec import ConfigError
from jaxgpt.text.locate import locate
from jaxgpt.text.records import RECORD_SUFFIXES, read_records, read_text

TEXT_SUFFIXES = frozenset({".txt", ".csv", ".tsv"})
"""What else a folder is searched for; the last two hold rows of texts, for `data.columns`."""
STDLIB_SKIPS = frozenset({"site-packages", "dist-packages", "__pycache__"})


class Document(NamedTuple):
    """One text, whether it is held out, and how far through the corpus it ends, from 0 to 1."""

    text: str
    held_out: bool
    progress: float


class Corpus(ABC):
    """Text with an identity."""

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


@dataclass(frozen=True)
class FileCorpus(Corpus):
    """Files on disk. `files` holds (key, path) in order; the key is the path relative to the corpus."""

    name: str
    files: tuple[tuple[str, Path], ...]
    text_field: str
    val_fraction: float
    lossy: bool = False
    """Whether bytes that are not UTF-8 become U+FFFD rather than an error."""

    def hash(self) -> str:
        """Over every file's key, size and bytes."""
        sha = hashlib.sha256()
        for key, path in self.files:
            try:
                with path.open("rb") as file:
                    sha.update(f"{key}\0{os.fstat(file.fileno()).st_size}\0".encode())
                    while chunk := file.read(1 << 20):
                        sha.update(chunk)
            except OSError as error:
                raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        return sha.hexdigest()

    def documents(self) -> Iterator[Document]:
        """File after file."""
        for text, held_out, progress in self._split():
            if text:
                yield Document(text, held_out, progress)

    def _split(self) -> Iterator[Document]:
        if len(self.files) == 1 and self.files[0][1].suffix not in RECORD_SUFFIXES:
            text = read_text(self.files[0][1], self.lossy)
            cut = int(len(text) * (1 - self.val_fraction))
            yield Document(text[:cut], False, 1 - self.val_fraction)
            yield Document(text[cut:], True, 1.0)
            return
        sizes = [path.stat().st_size for _, path in self.files]
        total, before = max(sum(sizes), 1), 0
        for (key, path), size in zip(self.files, sizes, strict=True):
            if path.suffix in RECORD_SUFFIXES:
                for text, share in read_records(path, self.text_field):
                    yield Document(text, is_held_out(text, self.val_fraction), (before + share * size) / total)
            else:
                held_out = is_held_out(key, self.val_fraction)
                yield Document(read_text(path, self.lossy), held_out, (before + size) / total)
            before += size


def open_corpus(name: str, text_field: str, val_fraction: float) -> Corpus:
    """The corpus that a name means (`Source.corpus`). Raises ConfigError that says what was tried."""
    if name == "stdlib":
        return FileCorpus(name, stdlib_files(), text_field, val_fraction, lossy=True)
    if name.startswith("hub:"):
        from jaxgpt.text.hub import HubCorpus  # here: it subclasses Corpus

        return HubCorpus(name, text_field, val_fraction)
    return FileCorpus(name, _find_files(name), text_field, val_fraction)


def stdlib_files() -> tuple[tuple[str, Path], ...]:
    """The running Python's own library as source text, its tests included: about 30 MB on every machine."""
    root = Path(sysconfig.get_path("stdlib"))
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in STDLIB_SKIPS]  # never entered: they can be vast
        found += [Path(folder, name) for name in names if name.endswith(".py")]
    return tuple(sorted((path.relative_to(root).as_posix(), path) for path in found if path.is_file()))


def _find_files(name: str) -> tuple[tuple[str, Path], ...]:
    if glob.has_magic(name):
        roots = [root for root in (os.environ.get("JAXGPT_DATA"), "") if root is not None]
        for root in roots:
            paths = [Path(path) for path in glob.glob(os.path.join(root, name), recursive=True) if os.path.isfile(path)]
            if paths:
                return _keyed(paths)
        raise ConfigError(f"data.corpus: no file matches '{name}'" + (f" here or in {roots[0]}" if roots[0] else ""))
    path = locate(name, "data.corpus")
    if path.is_file():
        return ((path.name, path),)
    paths = [file for file in path.rglob("*") if file.suffix in RECORD_SUFFIXES | TEXT_SUFFIXES and file.is_file()]
    if not paths:
        raise ConfigError(
            f"data.corpus: {path} holds no .txt, .jsonl or .parquet; give a glob such as '{path}/**/*.py'"
        )
    return _keyed(paths)


def _keyed(paths: list[Path]) -> tuple[tuple[str, Path], ...]:
    root = Path(os.path.commonpath([path.parent for path in paths]))
    return tuple(sorted((path.relative_to(root).as_posix(), path) for path in paths))
