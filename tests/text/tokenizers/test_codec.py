"""Round trips, classes of characters, save and load, for every tokenizer kind."""

import json
import os
import re
import subprocess
import sys
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxgpt.spec import ConfigError, members, parse
from jaxgpt.text import BPE, Byte, ByteBPE, Char, Codec, Data, Tokenizer, WordPiece
from jaxgpt.text.tokenizers.byte import symbols
from jaxgpt.text.tokenizers.cut import BETWEEN
from jaxgpt.text.tokenizers.huggingface import HuggingFaceCodec
from jaxgpt.text.tokenizers.learned import Learned
from jaxgpt.text.tokenizers.saved import load_codec

SAMPLE = "don't stop; the café's naïve 1234 x=1  \n\tstate_of_the_art 日本語 🙂👩‍👩‍👧 Ünïcode\r\n" * 3
KINDS: dict[str, Tokenizer] = {
    "byte": Byte(),
    "char": Char(),
    "byte_bpe": ByteBPE(vocab_size=400),
    "bpe": BPE(vocab_size=200),
    "wordpiece": WordPiece(vocab_size=200),
}


@cache
def codec(kind: str) -> Codec:
    return KINDS[kind].train(lambda: [SAMPLE])


def test_every_kind_is_covered():
    assert set(members("tokenizer")) >= set(KINDS)


@pytest.mark.parametrize("kind", ["byte", "byte_bpe"])
@given(text=st.text() | st.text(alphabet="ab 1'\n\t日🙂́=<|endoftext>", max_size=60))
def test_any_unicode_round_trips(kind: str, text: str):
    assert codec(kind).decode(codec(kind).encode(text)) == text


@given(text=st.text(alphabet=SAMPLE))
def test_char_round_trips_over_its_alphabet(text: str):
    assert codec("char").decode(codec("char").encode(text)) == text


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(alphabet=SAMPLE, max_size=80))
def test_ids_lie_in_the_vocabulary_and_batches_equal_singles(kind: str, text: str):
    ids = codec(kind).encode(text)
    assert all(0 <= token < codec(kind).vocab_size for token in ids)
    assert codec(kind).encode_batch([text, "the", text]) == [ids, codec(kind).encode("the"), ids]


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_lossy_kinds_reach_a_fixed_point(kind: str):
    once = codec(kind).decode(codec(kind).encode("don't stop the café"))
    assert codec(kind).encode(once) == codec(kind).encode("don't stop the café")


@pytest.mark.parametrize("kind", KINDS)
def test_save_and_load_are_the_identity(kind: str, tmp_path):
    before = codec(kind)
    before.save(tmp_path)
    after = load_codec(tmp_path)
    assert type(after) is type(before)
    assert (after.vocab_size, after.eot, after.digest) == (before.vocab_size, before.eot, before.digest)
    assert after.encode(SAMPLE) == before.encode(SAMPLE)
    assert after.decode(after.encode(SAMPLE)) == before.decode(before.encode(SAMPLE))


@pytest.mark.parametrize("kind", ["byte", "char"])
def test_the_saved_file_means_the_same_to_hugging_face(kind: str, tmp_path):
    import tokenizers as hf

    codec(kind).save(tmp_path)
    other = hf.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert other.encode(SAMPLE).ids == codec(kind).encode(SAMPLE)
    assert other.decode(codec(kind).encode(SAMPLE)) == SAMPLE
    assert other.get_vocab_size() == codec(kind).vocab_size


def test_byte_ids_are_bytes_and_the_stand_ins_are_gpt2s():
    assert codec("byte").encode("é\n") == [0xC3, 0xA9, 10]
    assert codec("byte").vocab_size == 257 and codec("byte").eot == 256
    assert codec("byte").decode([104, 256, 105]) == "h<|endoftext|>i"
    assert (symbols()[0], symbols()[32], symbols()[33], symbols()[255]) == ("Ā", "Ġ", "!", "ÿ")
    assert len(set(symbols())) == 256


def test_char_ids_rank_the_alphabet_as_nanogpt_does():
    assert Char().train(lambda: ["hello", " world"]).encode("hello") == [
        sorted(set("hello world")).index(symbol) for symbol in "hello"
    ]


def test_char_names_the_character_it_lacks():
    with pytest.raises(ConfigError, match=r"character 'z' at offset 1 is not among the 2"):
        Char().train(lambda: ["ab"]).encode("az")


def test_byte_bpe_never_merges_across_classes_of_characters():
    clash = ByteBPE(vocab_size=2000).train(lambda: ["dog. dog! dog1 1dog dog_a  dog\ndog's 12.5" * 50])
    entries = json.loads(clash.tokenizer_json())["model"]["vocab"]
    for entry in (clash.decode([token]) for token in entries.values()):
        body = entry.removeprefix(" ")
        classes = {bool(re.fullmatch(p, body)) for p in (r"[^\W\d_]*", r"\d*", r"\s*", r"[^\w\s]*|_*|'[a-z]+")}
        assert True in classes or "\ufffd" in entry, entry
    assert {"dog", " dog"} <= {clash.decode([token]) for token in entries.values()}


def test_byte_bpe_has_gpt2s_shape():
    learned = codec("byte_bpe")
    assert learned.eot == learned.vocab_size - 1
    assert learned.decode([learned.eot]) == "<|endoftext|>"
    assert learned.vocab_size <= 400
    bare = ByteBPE(vocab_size=300, end_of_text=None).train(lambda: [SAMPLE])
    assert bare.eot is None and bare.vocab_size == 300


@pytest.mark.parametrize("kind", ["byte", "byte_bpe", "bpe", "wordpiece"])
def test_text_cannot_spell_a_special_token(kind: str):
    learned = codec(kind)
    assert learned.eot is not None
    assert learned.eot not in learned.encode(f"a {learned.decode([learned.eot])} b")


@pytest.mark.parametrize("kind", KINDS)
def test_lone_surrogates_become_question_marks(kind: str):
    learned = KINDS[kind].train(lambda: ["a?b"])
    assert learned.encode("a\ud800b") == learned.encode("a?b")


@pytest.mark.parametrize("kind", [BPE, WordPiece, ByteBPE])
def test_the_vocabulary_stays_within_its_size(kind: type[Learned]):
    many = "".join(chr(code) for code in range(0x4E00, 0x4E00 + 600))
    learned = kind(vocab_size=300).train(lambda: [many, " ".join(many)])
    assert learned.vocab_size <= 300


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_deterministic_and_reads_texts_afresh(kind: str, texts: list[str]):
    learned = [KINDS[kind].train(lambda: iter(texts)) for _ in range(2)]
    assert learned[0].digest == learned[1].digest


@pytest.mark.parametrize("content", ["", "[]", "{", '{"model": {"type": "BPE"}}', '{"model": 3}'])
def test_a_damaged_saved_tokenizer_is_one_line(content: str, tmp_path):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ConfigError, match=r"tokenizer\.json: ") as caught:
        load_codec(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("vocab", [{"ab": 0}, {"a": 1}, {"b": 0, "a": 1}, None])
def test_a_damaged_alphabet_is_one_line(vocab, tmp_path):
    codec("char").save(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocab}}))
    with pytest.raises(ConfigError, match=r"tokenizer\.json: model\.vocab"):
        load_codec(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(alphabet=SAMPLE, max_size=80).map(lambda text: text.replace("=", "\n")))
def test_words_encode_apart_as_together(kind: str, text: str):
    apart = codec(kind).encode_batch(BETWEEN.split(text))
    assert [token for ids in apart for token in ids] == codec(kind).encode(text)


@pytest.mark.parametrize("kind", KINDS)
def test_every_id_of_a_trained_vocabulary_has_text(kind: str):
    assert codec(kind).has_text.shape == (codec(kind).vocab_size,) and codec(kind).has_text.all()
    assert isinstance(codec(kind).decode([10**6, -1]), str)


def test_gaps_between_ids_have_no_text():
    import tokenizers as hf

    tokenizer = hf.Tokenizer(hf.models.BPE(vocab={"a": 0, "b": 3}, merges=[]))
    tokenizer.add_special_tokens(["<|endoftext|>"])
    gaps = HuggingFaceCodec(tokenizer)
    assert gaps.has_text.tolist() == [True, False, True, True]  # the special token counts on from the number of entries
    assert gaps.decode([0, 1, 3]) == gaps.decode([0, 3])


def test_load_of_a_missing_folder_names_the_file(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere/tokenizer\.json: no such file"):
        load_codec(tmp_path / "nowhere")


def test_a_users_own_kind_joins_the_seam():
    class Reversed(Tokenizer):
        def train(self, texts):
            return codec("byte")

    try:
        assert isinstance(members("tokenizer")["reversed"](), Reversed)
    finally:
        Tokenizer._members.pop("reversed")


def test_the_data_block_refuses_an_empty_mixture():
    with pytest.raises(ConfigError, match="corpus"):
        parse(Data, {"corpus": []})


def test_import_pulls_in_nothing_heavy():
    code = "import sys, jaxgpt.text; print([m for m in ('jax', 'grain', 'tokenizers', 'pyarrow') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ), check=True)
    assert out.stdout.strip() == "[]"
