"""The same ids as other libraries, on vocabularies made here and, where JAXGPT_DATA has them, on the published ones."""

import io
import json
from pathlib import Path

import gguf
import pytest
from mixed_text import mixed_lines

from jaxgpt.interop.gguf.header import read_header
from jaxgpt.interop.gguf.tokenizer import read_tokenizer
from jaxgpt.text import BPE, ByteBPE, WordPiece
from jaxgpt.text.tokenizers.published import PAIRS, read_merges

pytestmark = pytest.mark.parity
COUNT = 10_000
PLAIN = {"add_special_tokens": False, "split_special_tokens": True}
"""A text that spells a special token does not hold it."""
FOLDERS = {BPE: "gpt1_vocab", ByteBPE: "gpt2_vocab"}


@pytest.fixture(scope="module")
def lines():
    return ["", *mixed_lines(COUNT)]


def equal(ours, theirs, lines):
    """Names the first line that differs, instead of printing all of them."""
    wrong = [line for line, mine, other in zip(lines, ours, theirs, strict=True) if mine != other]
    assert not wrong, f"{len(wrong)} lines differ, first {wrong[0]!r}"


def published(kind: type[BPE] | type[ByteBPE], texts: list[str], folder: Path) -> Path:
    learned = json.loads(kind(vocab_size=2000, end_of_text=None).train(lambda: texts).tokenizer_json())["model"]
    (folder / "vocab.json").write_text(json.dumps(learned["vocab"]))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(map(" ".join, learned["merges"])) + "\n")
    return folder


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("kind", [BPE, ByteBPE])
def test_ids_equal_those_of_transformers(kind, real, lines, tmp_path, data_folder):
    transformers = pytest.importorskip("transformers")
    folder = data_folder / FOLDERS[kind] if real else published(kind, mixed_lines(2000, seed=1), tmp_path)
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}")
    vocab, merges = next(pair for pair in PAIRS if (folder / pair[0]).exists())
    peer = {BPE: transformers.OpenAIGPTTokenizer, ByteBPE: transformers.GPT2Tokenizer}[kind](
        vocab=json.loads((folder / vocab).read_text()), merges=read_merges(folder / merges)
    )
    ours = kind(path=str(folder)).train(lambda: ())
    equal(ours.encode_batch(lines), peer(lines, **PLAIN)["input_ids"], lines)


@pytest.mark.parametrize("lowercase", [True, False])
def test_wordpiece_ids_equal_those_of_transformers(lowercase, lines, tmp_path):
    transformers = pytest.importorskip("transformers")
    spec = WordPiece(vocab_size=2000, lowercase=lowercase)
    vocab = json.loads(spec.train(lambda: mixed_lines(2000, seed=1)).tokenizer_json())["model"]["vocab"]
    (tmp_path / "vocab.txt").write_text("\n".join(sorted(vocab, key=vocab.__getitem__)) + "\n", encoding="utf-8")
    peer = transformers.BertTokenizer(vocab=vocab, do_lower_case=lowercase)
    ours = WordPiece(path=str(tmp_path), lowercase=lowercase).train(lambda: ())
    equal(ours.encode_batch(lines), peer(lines, **PLAIN)["input_ids"], lines)


def test_ids_by_the_rule_that_gguf_calls_qwen2_equal_those_of_transformers(lines):
    transformers = pytest.importorskip("transformers")
    learned = ByteBPE(vocab_size=2000, end_of_text=None).train(lambda: mixed_lines(2000, seed=1)).tokenizer_json()
    vocab, merges = (json.loads(learned)["model"][key] for key in ("vocab", "merges"))
    peer = transformers.Qwen2Tokenizer(vocab=vocab, merges=[tuple(pair) for pair in merges])
    fields = {"model": "gpt2", "pre": "qwen2", "tokens": sorted(vocab, key=vocab.__getitem__)}
    fields["merges"] = [" ".join(pair) for pair in merges]
    ours = read_tokenizer({f"tokenizer.ggml.{key}": value for key, value in fields.items()})
    equal(ours.encode_batch(lines), peer(lines, **PLAIN)["input_ids"], lines)


@pytest.mark.parametrize("byte_fallback", [True, False])
@pytest.mark.parametrize("prefix", [True, False])
def test_sentencepiece_in_gguf_gives_its_ids(byte_fallback, prefix, lines, tmp_path):
    """A model that Google's library trains, copied into GGUF piece by piece with the gguf package."""
    sentencepiece = pytest.importorskip("sentencepiece")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(mixed_lines(4000, seed=1)),
        model_writer=model,
        model_type="bpe",
        vocab_size=6000,
        character_coverage=0.98,
        byte_fallback=byte_fallback,
        add_dummy_prefix=prefix,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    peer = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    writer = gguf.GGUFWriter(tmp_path / "v.gguf", "llama")
    ids = range(peer.get_piece_size())
    writer.add_tokenizer_model("llama")
    writer.add_token_list([peer.id_to_piece(i) for i in ids])
    writer.add_token_scores([peer.get_score(i) for i in ids])
    kinds = {gguf.TokenType.UNKNOWN: peer.is_unknown, gguf.TokenType.CONTROL: peer.is_control}
    kinds |= {gguf.TokenType.UNUSED: peer.is_unused, gguf.TokenType.BYTE: peer.is_byte}
    writer.add_token_types([next((kind for kind, holds in kinds.items() if holds(i)), 1) for i in ids])
    writer.add_bos_token_id(peer.bos_id())
    writer.add_eos_token_id(peer.eos_id())
    writer.add_add_space_prefix(prefix)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    ours = read_tokenizer(read_header(tmp_path / "v.gguf").fields)
    assert (ours.bos, ours.eot) == (peer.bos_id(), peer.eos_id())
    ids = ours.encode_batch(lines)
    equal(ids, peer.encode(lines), lines)
    if byte_fallback:
        equal([ours.decode(row) for row in ids], peer.decode(ids), lines)
