"""The Children's Book Test as it is published (Hill et al. 2016): `cbtest_NE_valid_2500ex.txt` and its like."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxgpt.spec import ConfigError
from jaxgpt.text.corpora.formats.format import Format, Record
from jaxgpt.text.corpora.utf8 import lines

BLANK = "XXXXX"
"""What stands for the missing word."""


class BookTest(Format):
    """Blocks of numbered lines: twenty sentences, and one with a blank, the word that is missing, and ten candidates.

    Fields: `context`, all up to the blank; `rest`, what follows it; `choices` and `gold`, the word.
    """

    citation = "Hill et al. 2016"
    suffixes = (".txt",)
    prefix = "cbtest"
    documents = False

    def records(self, path: Path, names: Sequence[str] | None = None) -> Iterator[Record]:
        """A record a block."""
        before: list[str] = []
        for number, end, line in lines(path):
            if number == 1:
                size = path.stat().st_size
            if not line.strip():
                continue
            where = f"{path}:{number}"
            place, space, text = line.strip().partition(" ")
            sentence, *cells = text.split("\t")
            if not (space and place.isascii() and place.isdigit()):
                raise ConfigError(f"{where}: expected a number, a space and a sentence")
            if not cells:
                before.append(sentence.strip())
                continue
            choices = cells[-1].split("|")
            if BLANK not in sentence or len(cells) < 2 or cells[0] not in choices:
                raise ConfigError(f"{where}: expected a sentence with {BLANK}, its word and candidates, between tabs")
            start, _, rest = sentence.partition(BLANK)
            context = " ".join([*before, start.strip()]).strip()
            fields = {"context": context, "rest": rest.rstrip(), "choices": choices, "gold": cells[0]}
            yield Record(fields, where, min(end / size, 1.0))
            before = []
        if before:
            raise ConfigError(f"{where}: ends within a block, before its sentence with {BLANK}; fetch the file again")
