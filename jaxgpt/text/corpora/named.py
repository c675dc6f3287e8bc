"""The corpus that a name in a config means."""

from jaxgpt.text.corpora.corpus import Corpus
from jaxgpt.text.corpora.file_corpus import FileCorpus
from jaxgpt.text.corpora.files import find_files, stdlib_files
from jaxgpt.text.corpora.hub import HubCorpus


def open_corpus(name: str, text_field: str, val_fraction: float, field: str = "data.corpus") -> Corpus:
    """The corpus that a name means (`Source.corpus`), which stands in `field`. Raises ConfigError that says what was
    tried."""
    if name == "stdlib":
        return FileCorpus(name, stdlib_files(), text_field, val_fraction, lossy=True)
    if name.startswith("hub:"):
        return HubCorpus(name, text_field, val_fraction)
    return FileCorpus(name, find_files(name, field), text_field, val_fraction)
