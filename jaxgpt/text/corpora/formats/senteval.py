"""Scored pairs in two files, as SemEval's tasks of 2012 to 2016 come with SentEval."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from jaxgpt.spec import ConfigError
from jaxgpt.text.corpora.formats.format import Format, Record
from jaxgpt.text.corpora.utf8 import lines

NO_LINE = (0, 0, "")


class SentEval(Format, kind="senteval"):
    """Pairs in STS.input.X.txt, a tab between them, and their scores in STS.gs.X.txt: text1, text2, score."""

    citation = "Conneau & Kiela 2018"
    prefix, suffixes = "STS.input.", (".txt",)
    documents = False

    def records(self, path: Path, names: Sequence[str] | None = None) -> Iterator[Record]:
        """A record a pair of texts with its score; a pair whose line of the scores is blank is skipped."""
        scores = path.with_name("STS.gs." + path.name[len(self.prefix) :])
        for (number, _, line), (of, _, score) in zip_longest(lines(path), lines(scores), fillvalue=NO_LINE):
            if number != of:
                longer, shorter = (path, scores) if number > of else (scores, path)
                raise ConfigError(f"{longer}:{max(number, of)}: a line more than {shorter.name} has; they go together")
            texts = line.rstrip("\r\n").split("\t")
            if len(texts) != 2:
                raise ConfigError(f"{path}:{number}: {len(texts)} columns, expected two texts with a tab between")
            if score.strip():
                yield Record({"text1": texts[0], "text2": texts[1], "score": score.strip()}, f"{path}:{number}")
