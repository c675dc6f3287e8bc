"""Published vocabulary files keep their ids; a wrong path or file is one line."""

import itertools
import json
import re
from pathlib import Path

import pytest

from jaxgpt.spec import ConfigError
from jaxgpt.text import BPE, ByteBPE, Codec, Tokenizer, WordPiece
from jaxgpt.text.tokenizers.byte import symbols
from jaxgpt.text.tokenizers.published import PAIRS
from jaxgpt.text.tokenizers.saved import load_codec


def publish(codec: Codec, folder: Path, vocab_name: str, merges_name: str) -> None:
    """Writes a codec the way the papers' authors did: entries, specials included, and merges."""
    tree = json.loads(codec.tokenizer_json())
    added = {entry["content"]: entry["id"] for entry in tree["added_tokens"]}
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in tree["model"]["merges"]]
    folder.mkdir()
    (folder / vocab_name).write_text(json.dumps(tree["model"]["vocab"] | added))
    (folder / merges_name).write_text("#version: 0.2\n" + "\n".join(merges) + "\n")


@pytest.mark.parametrize("names", PAIRS)
@pytest.mark.parametrize("kind", [ByteBPE(vocab_size=400), BPE(vocab_size=200)])
def test_import_keeps_the_ids(
    kind: ByteBPE | BPE | WordPiece, names: tuple[str, str], texts: list[str], tmp_path: Path
):
    ours = kind.train(lambda: texts)
    publish(ours, tmp_path / "vocab", *names)
    spec = type(kind)(path=str(tmp_path / "vocab"))
    imported = spec.train(lambda: pytest.fail("an import reads no text"))
    assert not spec.needs_text
    assert imported.encode_batch(texts) == ours.encode_batch(texts)
    assert imported.vocab_size == ours.vocab_size
    if isinstance(kind, ByteBPE):
        assert imported.eot == ours.eot
    imported.save(tmp_path / "saved")
    assert load_codec(tmp_path / "saved").encode_batch(texts) == ours.encode_batch(texts)


CLASSES = re.compile(r"'(?:[stmd]|re|ve|ll)| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


def reference(text: str, vocab: dict[str, int], merges: list[list[str]]) -> list[int]:
    """Byte-level BPE as the paper's code does it: of all pairs in a word, merge the one learned first, everywhere."""
    ids, rank = [], {tuple(pair): order for order, pair in enumerate(merges)}
    for match in CLASSES.findall(text):
        word = [symbols()[byte] for byte in match.encode()]
        while pairs := [pair for pair in itertools.pairwise(word) if pair in rank]:
            first, second = min(pairs, key=rank.__getitem__)
            word = re.sub(f"{re.escape(f'{first} {second}')}(?= |$)", first + second, " ".join(word)).split(" ")
        ids += [vocab[symbol] for symbol in word]
    return ids


@pytest.mark.parametrize("vocab_size", [257, 300, 500])
def test_byte_bpe_equals_a_plain_reference(vocab_size: int, texts: list[str]):
    codec = ByteBPE(vocab_size=vocab_size).train(lambda: texts)
    model = json.loads(codec.tokenizer_json())["model"]
    for text in [*texts, "the  bananas'll\n\n stop__don't 12é345 🙂🙂 日本 語"]:
        assert codec.encode(text) == reference(text, model["vocab"], model["merges"])


@pytest.mark.parametrize("kind", [ByteBPE(vocab_size=400), BPE(vocab_size=200), WordPiece(vocab_size=200)])
def test_a_tokenizer_json_imports_by_file_and_by_folder(
    kind: ByteBPE | BPE | WordPiece, texts: list[str], tmp_path: Path, monkeypatch
):
    ours = kind.train(lambda: texts)
    ours.save(tmp_path / "vocab")
    monkeypatch.setenv("JAXGPT_DATA", str(tmp_path))
    for path in (tmp_path / "vocab", tmp_path / "vocab" / "tokenizer.json", "vocab"):
        imported = type(kind)(path=str(path)).train(lambda: ())
        assert (imported.encode_batch(texts), imported.eot) == (ours.encode_batch(texts), ours.eot)


def test_vocab_txt_imports(texts: list[str], tmp_path: Path):
    ours = WordPiece(vocab_size=200).train(lambda: texts)
    vocab = json.loads(ours.tokenizer_json())["model"]["vocab"]
    (tmp_path / "vocab.txt").write_text("\n".join(sorted(vocab, key=vocab.__getitem__)) + "\n")
    imported = WordPiece(path=str(tmp_path)).train(lambda: ())
    assert imported.encode_batch(texts) == ours.encode_batch(texts)
    assert (imported.eot, imported.vocab_size) == (ours.eot, ours.vocab_size)


def one_line(spec: Tokenizer, match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        spec.train(lambda: ())
    assert len(str(caught.value).splitlines()) == 1


def test_a_wrong_path_or_file_is_one_line(tmp_path: Path, texts: list[str], monkeypatch):
    monkeypatch.setenv("JAXGPT_DATA", str(tmp_path))
    (tmp_path / "gpt1_vocab").mkdir()
    one_line(
        ByteBPE(path="gpt1_vocba"), r"tokenizer\.path: 'gpt1_vocba' is not there: tried .*did you mean 'gpt1_vocab'"
    )
    one_line(
        ByteBPE(path="gpt1_vocab"), r"holds no vocabulary; expected tokenizer\.json, or vocab\.json with merges\.txt"
    )
    one_line(WordPiece(path="gpt1_vocab"), r"expected tokenizer\.json or vocab\.txt")
    (tmp_path / "gpt1_vocab" / "vocab.txt").write_text("the\n##s\n")
    one_line(WordPiece(path="gpt1_vocab"), r"vocab\.txt: has no \[UNK\]")
    ByteBPE(vocab_size=300).train(lambda: texts).save(tmp_path / "bpe")
    one_line(WordPiece(path="bpe"), r"holds a BPE vocabulary; a wordpiece tokenizer is WordPiece")


@pytest.mark.parametrize(
    ("vocab", "merges", "match"),
    [
        ("{", "", r"vocab\.json: not JSON"),
        ('{"a": 0}', "#version: 0.2\na b\n", r"merges\.txt: does not fit vocab\.json"),
        ('{"a": 0}', "#version: 0.2\nab\n", r"merges\.txt:2: expected two symbols"),
        ('{"a": "0"}', "", r"vocab\.json: 'a': '0'; ids must be whole numbers"),
    ],
)
def test_a_damaged_vocabulary_names_file_and_line(vocab: str, merges: str, match: str, tmp_path: Path):
    (tmp_path / "vocab.json").write_text(vocab)
    (tmp_path / "merges.txt").write_text(merges)
    one_line(ByteBPE(path=str(tmp_path)), match)
