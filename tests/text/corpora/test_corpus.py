"""Corpora: found by name, split for good, hashed by content, read in every format; bad ones refused in a line."""

import hashlib
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxgpt.spec import ConfigError
from jaxgpt.text import Char
from jaxgpt.text.corpora.files import stdlib_files
from jaxgpt.text.corpora.named import open_corpus

RECORDS = [f"document {index} " * (index % 5 + 1) for index in range(50)]


def split(name: str | Path, text_field: str = "text", val_fraction: float = 0.2) -> tuple[list[str], list[str]]:
    documents = list(open_corpus(str(name), text_field, val_fraction).documents())
    progress = [document.progress for document in documents]
    assert progress == sorted(progress) and progress[-1] == pytest.approx(1)
    return tuple([d.text for d in documents if d.held_out is side] for side in (False, True))  # type: ignore[return-value]


def hash_of(name: str | Path) -> str:
    return open_corpus(str(name), "text", 0.1).hash()


def refused(name: str | Path, match: str, text_field: str = "text") -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        list(open_corpus(str(name), text_field, 0.1).documents())
    assert len(str(caught.value).splitlines()) == 1


def test_stdlib_is_source_text_of_this_python():
    keys = [key for key, _ in stdlib_files()]
    assert {"os.py", "json/decoder.py"} <= set(keys) and keys == sorted(keys)
    assert not any("site-packages" in key or "__pycache__" in key for key in keys)
    assert sum(path.stat().st_size for _, path in stdlib_files()) > 5e6


def test_one_text_file_is_cut_as_nanogpt_cuts_it(tmp_path: Path):
    text = "abcdefghij" * 7 + "é\r\n"
    (tmp_path / "input.txt").write_bytes(text.encode())
    cut = int(len(text) * 0.9)
    for name in (tmp_path / "input.txt", tmp_path, tmp_path / "*.txt"):
        assert split(name, val_fraction=0.1) == ([text[:cut]], [text[cut:]])


def test_documents_are_split_by_hash_and_order_does_not_matter(tmp_path: Path):
    lines = [json.dumps({"text": text}) for text in RECORDS]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    (tmp_path / "b.jsonl").write_text("\n\n".join(lines[::-1] + lines[:5]) + "\n")
    train, val = split(tmp_path / "a.jsonl")
    assert sorted(train + val) == sorted(RECORDS) and 0 < len(val) < 25
    again, again_val = split(tmp_path / "b.jsonl")
    assert (set(again), set(again_val)) == (set(train), set(val))
    assert split(tmp_path / "a.jsonl", val_fraction=0)[1] == []


def test_formats_agree(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"id": 1, "body": text}) for text in RECORDS))
    pq.write_table(pa.table({"body": RECORDS}), tmp_path / "a.parquet", row_group_size=7)
    assert split(tmp_path / "a.jsonl", "body") == split(tmp_path / "a.parquet", "body")


def test_the_hash_follows_content_and_names_only(corpus: Path, tmp_path: Path):
    before = hash_of(corpus)
    assert hash_of(f"{corpus}/*.txt") == before
    assert hash_of(corpus.rename(tmp_path / "moved")) == before
    (tmp_path / "moved" / "00.txt").write_text("b")
    changed = hash_of(tmp_path / "moved")
    (tmp_path / "moved" / "00.txt").rename(tmp_path / "moved" / "000.txt")
    assert len({before, changed, hash_of(tmp_path / "moved")}) == 3


def test_a_bare_name_is_looked_up_in_the_data_folder_first(corpus: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("JAXGPT_DATA", str(tmp_path))
    assert hash_of("corpus") == hash_of("corpus/*.txt") == hash_of(corpus)
    refused("corpsu", r"data\.corpus: 'corpsu' is not there: tried .*/corpsu and .*/corpsu; .*did you mean 'corpus'")
    refused("*.none", r"data\.corpus: no file matches '\*\.none' here or in ")


def test_bad_corpora_are_one_line(tmp_path: Path, monkeypatch):
    monkeypatch.delenv("JAXGPT_DATA", raising=False)
    refused(tmp_path / "none.txt", r"none\.txt' is not there: tried ")
    refused(tmp_path, r"holds no \.csv, .*\.txt.*; give a glob such as")
    (tmp_path / "a.jsonl").write_text('{"text": "ok"}\n{"text": 3}\n')
    refused(tmp_path / "a.jsonl", r"a\.jsonl:2: field 'text' is a number, expected a string")
    (tmp_path / "b.jsonl").write_text('{"body": "ok", "id": 1}\n')
    refused(tmp_path / "b.jsonl", r"b\.jsonl:1: no field 'text'; it has body, id; set data\.text_field")
    (tmp_path / "c.jsonl").write_text('{"text": "ok"}\n{"tex')
    refused(tmp_path / "c.jsonl", r"c\.jsonl:2: not a JSON object")
    (tmp_path / "d.parquet").write_bytes(b"PAR1 no")
    refused(tmp_path / "d.parquet", r"d\.parquet: not a readable parquet file")
    pq.write_table(pa.table({"body": ["a"]}), tmp_path / "e.parquet")
    refused(tmp_path / "e.parquet", r"e\.parquet: no field 'text'; it has body")
    pq.write_table(pa.table({"text": ["a", None]}), tmp_path / "f.parquet")
    refused(tmp_path / "f.parquet", r"f\.parquet: row 2: field 'text' is NoneType")
    (tmp_path / "g.txt").write_bytes(b"ab\xff")
    refused(tmp_path / "g.txt", r"g\.txt: not UTF-8 at byte 2; convert it")
    (tmp_path / "h.txt").write_bytes("ab".encode("utf-16"))
    refused(tmp_path / "h.txt", r"h\.txt: not UTF-8 at byte 0, but UTF-16; convert it \(iconv -f UTF-16 -t UTF-8\)")
    (tmp_path / "i.jsonl").write_bytes(b'{"text": "ok"}\n{"text": "\xe9"}\n')
    refused(tmp_path / "i.jsonl", r"i\.jsonl:2: not UTF-8 at byte 25; convert it")
    (tmp_path / "j.jsonl").write_text('{"text": ' + "9" * 5000 + "}\n")
    refused(tmp_path / "j.jsonl", r"j\.jsonl:1: field 'text' is a number, expected a string")
    (tmp_path / "k.jsonl").write_text(json.dumps({"x" * 1000 + "\x1b": 1} | dict.fromkeys(map(str, range(999)))))
    refused(tmp_path / "k.jsonl", r"k\.jsonl:1: no field 'text'; it has x{28}\.\., 0, 1, 2, 3, 4, 5, 6, \.\.\.; set")


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.parquet"])
def test_a_git_lfs_pointer_is_no_text(name: str, tmp_path: Path):
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    refused(tmp_path / name, f"{name}: a Git LFS pointer, not the file itself; run `git lfs pull`")


MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "A.TXT", "A.JSONL"])
def test_a_byte_order_mark_is_no_text(name: str, tmp_path: Path):
    record = '{"text": "a \ufeff b"}' if name.lower().endswith("jsonl") else "a \ufeff b"
    for folder, mark in (("with", MARK), ("without", b"")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(mark + record.encode())
    texts = [
        [d.text for d in open_corpus(str(tmp_path / folder), "text", 0).documents()] for folder in ("with", "without")
    ]
    assert texts == [["a \ufeff b"]] * 2  # inside a text it stays
    assert hash_of(tmp_path / "with") == hash_of(tmp_path / "without")


def test_the_hash_of_a_file_is_that_of_its_name_size_and_bytes(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\0")
    assert hash_of(tmp_path / "a.txt") == hashlib.sha256(b"a.txt\x009\0one\r\ntwo\0").hexdigest()


def test_half_a_surrogate_pair_is_read_as_every_codec_does(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"text": "a\\ud800b"}')
    (document,) = open_corpus(str(tmp_path), "text", 0).documents()
    assert document.text == "a?b"
    assert Char().train(lambda: [document.text]).encode("a?b") == [1, 0, 2]


@pytest.mark.parametrize("name", ["a.txt", "b.jsonl"])
@pytest.mark.parametrize("files", [1, 2])
def test_a_file_that_changes_or_goes_is_one_line(name: str, files: int, tmp_path: Path):
    path = tmp_path / name
    for index in range(files):
        (tmp_path / f"{index}{name}").write_text('{"text": "a b c"}\n')
    path.write_text('{"text": "a b c"}\n')
    corpus = open_corpus(str(path if files == 1 else tmp_path), "text", 0.5)
    corpus.hash()
    assert list(corpus.documents())
    path.write_text('{"text": "another"}\n')
    with pytest.raises(ConfigError, match=f"{name}: changed while it was read; start again"):
        list(corpus.documents())
    path.unlink()
    for read in (corpus.hash, lambda: list(corpus.documents())):
        with pytest.raises(ConfigError, match=f"{name}: cannot be read: No such file"):
            read()


def test_empty_files_are_no_documents(tmp_path: Path):
    for name in ("a.txt", "b.jsonl"):
        (tmp_path / name).write_bytes(b"")
        assert list(open_corpus(str(tmp_path / name), "text", 0.1).documents()) == []
    assert list(open_corpus(str(tmp_path), "text", 0.1).documents()) == []


def test_text_is_utf8_whatever_the_locale(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes("naïve 日本".encode())
    code = (
        "import sys; from jaxgpt.text.corpora.named import open_corpus; "
        "print([ascii(document.text) for document in open_corpus(sys.argv[1], 'text', 0).documents()])"
    )
    env = dict(os.environ) | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    out = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, env=env, check=True)
    assert eval(out.stdout) == [ascii("naïve 日本")]


def test_the_hub_extra_is_asked_for_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    refused("hub:roneneldan/TinyStories", r"needs the datasets package; pip install 'jaxgpt\[hf\]'")


def test_a_hub_data_set_reads_like_json_lines(monkeypatch, tmp_path: Path):
    def load_dataset(*name: str, split: str):
        if name != ("owner/name", "config"):
            raise OSError(f"no {name}\nsecond line")
        assert split == "train"
        return [{"text": text} for text in RECORDS]

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in RECORDS))
    assert split("hub:owner/name:config") == split(tmp_path / "a.jsonl")
    assert hash_of("hub:owner/name:config") == hash_of("hub:owner/name:config")
    refused("hub:other", r"'hub:other' cannot be loaded from the hub: no \('other',\)$")
    refused("hub:owner/name:config", r"row 0: no field 'body'; it has text", text_field="body")
