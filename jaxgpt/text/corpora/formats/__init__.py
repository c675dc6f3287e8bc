"""The formats of files that text is read from: what a name says, and the records within."""

from jaxgpt.text.corpora.formats.book_test import BookTest
from jaxgpt.text.corpora.formats.format import Format, Number, Record, endings, format_of, own_source
from jaxgpt.text.corpora.formats.json_lines import JSONLines
from jaxgpt.text.corpora.formats.parquet import Parquet
from jaxgpt.text.corpora.formats.plain_text import PlainText
from jaxgpt.text.corpora.formats.senteval import SentEval
from jaxgpt.text.corpora.formats.table import CSV, TSV

__all__ = [
    "CSV",
    "TSV",
    "BookTest",
    "Format",
    "JSONLines",
    "Number",
    "Parquet",
    "PlainText",
    "Record",
    "SentEval",
    "endings",
    "format_of",
    "own_source",
]
