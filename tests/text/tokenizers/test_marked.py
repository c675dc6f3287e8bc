"""Marks are new ids behind a vocabulary's, framed as GPT-1 frames a task's input, here and for other libraries."""

import numpy as np
import pytest

from jaxgpt.spec import ConfigError
from jaxgpt.text import BPE, Byte, ByteBPE, Char, Marked, WordPiece
from jaxgpt.text.tokenizers.saved import load_codec

TEXTS = ["the cat sat on the mat", "on the _start_ of _classify_, naïve", "_delimiter_"]
BASES = [Byte(), BPE(vocab_size=60), ByteBPE(vocab_size=300), WordPiece(vocab_size=80)]


@pytest.fixture(params=BASES, ids=lambda base: base.kind)
def base(request):
    return request.param


def test_ids_are_the_bases_and_the_marks_lie_behind(base, tmp_path):
    """Also after a save; letters that spell a mark stay letters."""
    plain, marked = (tokenizer.train(lambda: iter(TEXTS)) for tokenizer in (base, Marked(base=base)))
    assert marked.encode_batch(TEXTS) == plain.encode_batch(TEXTS) and marked.eot == plain.eot
    start, delimiter, extract = range(plain.vocab_size, plain.vocab_size + 3)
    assert marked.vocab_size == extract + 1 and marked.frame == ((start,), (extract,))
    marked.save(tmp_path)
    again = load_codec(tmp_path)
    assert (again.digest, again.frame, again.pair, again.eot) == (marked.digest, marked.frame, marked.pair, plain.eot)
    first, second = plain.encode_batch(TEXTS[:2])
    ((alone, _),) = again.joined(TEXTS[:1], None, 99)
    assert alone.tolist() == [start, *first, extract]
    ((ids, types),) = again.joined(TEXTS[:1], TEXTS[1:2], 99)
    assert ids.tolist() == [start, *first, delimiter, *second, extract]
    assert types.tolist() == [0] * (len(first) + 2) + [1] * (len(second) + 1)
    assert [again.decode([mark]) for mark in (start, delimiter, extract)] == ["_start_", "_delimiter_", "_classify_"]


def test_transformers_reads_the_same(base, tmp_path):
    transformers = pytest.importorskip("transformers")
    marked = Marked(base=base, extract="[extract]").train(lambda: iter(TEXTS))
    marked.save(tmp_path)
    peer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for limit in (9, 99):
        ours = marked.joined(TEXTS[:1], TEXTS[:1], limit)[0]
        theirs = peer(TEXTS[0], TEXTS[0], truncation="longest_first", max_length=limit, return_token_type_ids=True)
        np.testing.assert_array_equal(ours.ids, theirs["input_ids"])
        np.testing.assert_array_equal(ours.types, theirs["token_type_ids"])
    assert peer(TEXTS[0])["input_ids"] == marked.framed(TEXTS[:1], 99)[0].tolist()


def test_marks_need_names_of_their_own_and_a_base_that_spells_anything():
    with pytest.raises(ValueError, match="give each a name of its own"):
        Marked(base=Byte(), start="x", extract="x")
    with pytest.raises(ValueError, match="base char cannot spell a new symbol"):
        Marked(base=Char())
    with pytest.raises(ValueError, match="base marked has marks of its own"):
        Marked(base=Marked(base=Byte()))
    with pytest.raises(ConfigError, match=r"'<.endoftext.>' is a token of the base already"):
        Marked(base=Byte(), start="<|endoftext|>").train(lambda: ())
