"""A corpus of files on disk."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from jaxgpt.spec import ConfigError
from jaxgpt.text.corpora.corpus import Corpus, Document, is_held_out
from jaxgpt.text.corpora.documents import has_documents, read_documents, read_text
from jaxgpt.text.corpora.files import Files
from jaxgpt.text.corpora.formats import format_of, own_source
from jaxgpt.text.corpora.utf8 import MARK, open_regular


@dataclass(frozen=True)
class FileCorpus(Corpus):
    """Files on disk. `files` holds (key, path) in order; the key is the path relative to the corpus."""

    name: str
    files: Files
    text_field: str
    val_fraction: float
    lossy: bool = False
    """Whether bytes that are not UTF-8 become U+FFFD rather than an error, and byte order marks stay."""
    _hashed: dict[Path, tuple[int, int]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Size and time of change of each file as it was hashed."""

    def hash(self) -> str:
        """Over every file's key, size and bytes, without its byte order mark, and a user's own format."""
        sha = hashlib.sha256()
        for key, path in self.files:
            with open_regular(path) as file:
                status = os.fstat(file.fileno())
                mark = MARK if not self.lossy and file.read(len(MARK)) == MARK else b""
                file.seek(len(mark))
                sha.update(f"{key}\0{status.st_size - len(mark)}\0".encode("utf-8", "surrogateescape"))
                while chunk := file.read(1 << 20):
                    sha.update(chunk)
            sha.update(own_source(format_of(path)).encode())
            self._hashed[path] = status.st_size, status.st_mtime_ns
        return sha.hexdigest()

    def documents(self) -> Iterator[Document]:
        """The documents of all files, one file after another."""
        for text, held_out, progress in self._split():
            if text:
                yield Document(text, held_out, progress)

    def _split(self) -> Iterator[Document]:
        if len(self.files) == 1 and not has_documents(self.files[0][1]):
            path = self.files[0][1]
            text = read_text(path, self.lossy)
            self.check_unchanged(path)
            cut = int(len(text) * (1 - self.val_fraction))
            yield Document(text[:cut], False, 1 - self.val_fraction)
            yield Document(text[cut:], True, 1.0)
            return
        sizes = [_status(path).st_size for _, path in self.files]
        total, before = max(sum(sizes), 1), 0
        for (key, path), size in zip(self.files, sizes, strict=True):
            if has_documents(path):
                for text, share in read_documents(path, self.text_field):
                    yield Document(text, is_held_out(text, self.val_fraction), (before + share * size) / total)
            else:
                held_out = is_held_out(key, self.val_fraction)
                yield Document(read_text(path, self.lossy), held_out, (before + size) / total)
            self.check_unchanged(path)
            before += size

    def check_unchanged(self, path: Path) -> None:
        """Raises ConfigError where a file was written to after it was hashed: the ids would not be of that hash."""
        status = _status(path)
        if self._hashed.get(path, now := (status.st_size, status.st_mtime_ns)) != now:
            raise ConfigError(f"{path}: changed while it was read; start again once nothing writes to it")


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; it was there before, start again") from None
