"""The same ids as transformers, on vocabularies made here and, where JAXGPT_DATA has them, on the published ones."""

import json
from pathlib import Path

import pytest

from jaxgpt.text import BPE, ByteBPE
from jaxgpt.text.published import PAIRS, read_merges

pytestmark = pytest.mark.parity
MIXED = [
    "Don't  stop,\nthe CAFÉ's naïve 1234; x=1\t\r\n",
    "日本語中文 🙂👩‍👩‍👧 \u0301\u200b\u00a0\u3000\x00\x7f\x85",
    "İıſß ½²Ⅷ٣'ll",
    "",
]
FOLDERS = {BPE: "gpt1_vocab", ByteBPE: "gpt2_vocab"}


def published(kind: type[BPE] | type[ByteBPE], texts: list[str], folder: Path) -> Path:
    learned = json.loads(kind(vocab_size=400, end_of_text=None).train(lambda: texts).tokenizer_json())["model"]
    (folder / "vocab.json").write_text(json.dumps(learned["vocab"]))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(map(" ".join, learned["merges"])) + "\n")
    return folder


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("kind", [BPE, ByteBPE])
def test_ids_equal_those_of_transformers(kind, real, texts, tmp_path, data_folder):
    transformers = pytest.importorskip("transformers")
    folder = data_folder / FOLDERS[kind] if real else published(kind, texts, tmp_path)
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}")
    vocab, merges = next(pair for pair in PAIRS if (folder / pair[0]).exists())
    peer = {BPE: transformers.OpenAIGPTTokenizer, ByteBPE: transformers.GPT2Tokenizer}[kind](
        vocab=json.loads((folder / vocab).read_text()), merges=read_merges(folder / merges)
    )
    ours = kind(path=str(folder)).train(lambda: ())
    assert ours.encode_batch(texts + MIXED) == peer(texts + MIXED, add_special_tokens=False)["input_ids"]
