"""Every file that text, rows of texts or ids are read from, damaged at random: read, or refused in one line."""

import json
import random
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bounds import outcome
from mutations import mutated_bytes, mutated_tree

from jaxgpt.evals.retrieval import read_retrieval
from jaxgpt.evals.sts import read_subsets
from jaxgpt.text import Byte, ByteBPE, Char, Data, Marked, RowPlan, prepare
from jaxgpt.text.batches.tokenfile import TokenWriter, open_token_file
from jaxgpt.text.corpora.columns import read_columns
from jaxgpt.text.corpora.named import open_corpus

TEXTS = [f"text {index}: naïve café, 日本 “語” 🙂\r\n\tline two " * (index % 4 + 1) for index in range(40)]
PLAIN = "\n".join(TEXTS).encode()
LINES = "\n".join(json.dumps({"text": text, "id": 1}) for text in TEXTS).encode()
TABLE = "".join(f'"{index}, a man","two ""dogs""",{index % 6}\r\n' for index in range(30)).encode()
MARKS = [
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xfe\xff",
    b"\xff\xfe\0\0",
    b"\0" * 9,
    b"\r",
    b"\x1b[2J",
    b"\xed\xa0\x80",
    b"\xf8",
]


def parquet() -> bytes:
    out = BytesIO()
    pq.write_table(pa.table({"text": TEXTS, "id": list(range(len(TEXTS)))}), out, row_group_size=9)
    return out.getvalue()


PARQUET = parquet()


def spoilt(raw: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        at = rng.choice([0, 0, rng.randrange(len(raw))])
        return raw[:at] + rng.choice(MARKS) + raw[at:]
    return (
        raw.decode().encode(rng.choice(["utf-16", "utf-32", "utf-16-le"]))
        if rng.random() < 0.1
        else mutated_bytes(raw, rng)
    )


def corpus(rng: random.Random, folder: Path) -> None:
    name = rng.choice(["a.txt", "a.JSONL", "a.jsonl", "a.md"])
    raw = LINES if name.lower().endswith("jsonl") else PLAIN
    if raw is LINES and rng.random() < 0.5:
        records = [json.dumps(mutated_tree({"text": text, "id": 1}, rng)) for text in TEXTS[:5]]
        (folder / name).write_text("\n".join(records), encoding="utf-8")
    else:
        (folder / name).write_bytes(spoilt(raw, rng))
    data = Data(corpus=str(folder / name), seq_len=8, documents=rng.choice(["cross", "separate"]))
    tokenizer = rng.choice([Byte(), Char(), ByteBPE(vocab_size=300)])
    prepared = prepare(data, tokenizer, 8, folder / "cache", quiet=True)
    assert prepared.batch(0, 0, 4)["tokens"].max() < prepared.codec.vocab_size


def records(rng: random.Random, folder: Path) -> None:
    (folder / "a.parquet").write_bytes(mutated_bytes(PARQUET, rng))
    for document in open_corpus(str(folder), "text", 0.1).documents():
        assert isinstance(document.text, str)


def table(rng: random.Random, folder: Path) -> Path:
    name = rng.choice(["a.csv", "a.tsv", "a.jsonl", "a.TXT"])
    raw = {".csv": TABLE, ".tsv": TABLE.replace(b",", b"\t"), ".jsonl": LINES.replace(b"text", b"sentence1")}.get(
        Path(name).suffix, PLAIN
    )
    (folder / name).write_bytes(spoilt(raw, rng))
    return folder / name


def columns(rng: random.Random, folder: Path) -> None:
    names, count = rng.choice([(None, None), (None, 2), (["sentence1"], None), (["a man", "id"], None)])
    for row in read_columns(table(rng, folder), names, count):
        assert all(isinstance(text, str) and text.strip() for text in row)


def similarity(rng: random.Random, folder: Path) -> None:
    path = table(rng, folder)
    for subset in read_subsets(rng.choice([path, folder])).values():
        assert len(subset.first) == len(subset.second) == len(subset.scores)


def retrieval(rng: random.Random, folder: Path) -> None:
    read = read_retrieval(table(rng, folder))
    assert len(read.relevant) == len(read.queries)


def rows(rng: random.Random, folder: Path) -> None:
    path = table(rng, folder)
    data = Data(corpus=str(path), columns=rng.choice([1, 2, ("sentence1",)]), seq_len=8)
    prepare(data, Byte(), 8, folder / "cache", quiet=True).batch(0, 0, 4)


def labelled(rng: random.Random, folder: Path) -> None:
    plan, columns = rng.choice(
        [
            (RowPlan(None, "joined", "class"), ("1", "2")),
            (RowPlan(None, "both_orders", "number"), ("1", "2")),
            (RowPlan(None, "candidates", "index"), ("context", "choices")),
        ]
    )
    if plan.target == "index":
        record = {"context": "a man", "choices": ["one", "two"], "gold": 1}
        lines = [json.dumps(mutated_tree(record, rng) if rng.random() < 0.3 else record) for _ in range(9)]
        path, raw = folder / "a.jsonl", "\n".join(lines).encode()
    else:
        path, raw = folder / "a.tsv", TABLE.replace(b",", b"\t")
    path.write_bytes(spoilt(raw, rng) if rng.random() < 0.7 else raw)
    fields = {"label": "gold" if plan.target == "index" else "3", "val_fraction": 0.2}
    if plan.target == "class":
        fields["balance"] = rng.choice(["none", "over", "under"])
    tokenizer = rng.choice([Byte(), Marked(base=Byte())])
    prepared = prepare(
        Data(corpus=str(path), columns=columns, **fields), tokenizer, 12, folder / "cache", True, plan=plan
    )
    for batch in (prepared.batch(0, 0, 4), *prepared.val_batches(4)):
        assert {name: (part.shape, part.dtype.name) for name, part in batch.items()} == prepared.shapes(4)
        assert batch["tokens"].max() < prepared.codec.vocab_size


def token_file(rng: random.Random, folder: Path) -> None:
    path = folder / "a.tokens"
    with TokenWriter(path, 257, "ab" * 32) as writer:
        for size in (3, 50, 9):
            writer.add(rng_ids(rng, size))
    raw = path.read_bytes()
    path.write_bytes(changed := mutated_bytes(raw[:200], rng) + raw[200:])
    assert len(open_token_file(path, 257, "ab" * 32).ids_N) == 62 and changed == raw


def rng_ids(rng: random.Random, size: int):
    import numpy as np

    return np.array([rng.randrange(257) for _ in range(size)])


FORMATS: dict[str, Callable[[random.Random, Path], None]] = {
    read.__name__: read for read in (corpus, records, columns, similarity, retrieval, rows, labelled, token_file)
}


def check(name: str, numbers: range, tmp_path: Path) -> None:
    for number in numbers:
        folder = tmp_path / str(number)
        folder.mkdir()
        assert not (fault := outcome(partial(FORMATS[name], random.Random(number), folder))), (number, fault)


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_data_are_read_or_refused_in_one_line(name: str, tmp_path: Path):
    check(name, range(25), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_many_damaged_data(name: str, tmp_path: Path):
    check(name, range(1000, 1300), tmp_path)
