"""Two texts read as one stand within the vocabulary's template, whole, and the longer text loses its end first."""

import itertools

import numpy as np
import pytest
import tokenizers as hf
from tokenizers import processors

from jaxgpt.spec import ConfigError
from jaxgpt.text import WordPiece
from jaxgpt.text.tokenizers.byte import ByteCodec
from jaxgpt.text.tokenizers.huggingface import HuggingFaceCodec
from jaxgpt.text.tokenizers.pair import longest_first
from jaxgpt.text.tokenizers.saved import load_codec

LETTERS = {letter: index for index, letter in enumerate("abcdef")} | {"<s>": 6, "</s>": 7}
ENDS = ("</s>", 7), ("<s>", 6)
PROCESSORS = {
    "none": None,
    "gpt2": processors.ByteLevel(),
    "bert": processors.BertProcessing(*ENDS),
    "roberta": processors.RobertaProcessing(*ENDS),
    "template": processors.Sequence(
        [
            processors.ByteLevel(),
            processors.TemplateProcessing(
                single="<s> $A </s>", pair="<s> $A </s> </s> $B:1 </s>:1", special_tokens=[("<s>", 6), ("</s>", 7)]
            ),
        ]
    ),
}


def vocabulary(processor):
    tokenizer = hf.Tokenizer(hf.models.BPE(vocab=LETTERS, merges=[]))
    tokenizer.add_special_tokens(["<s>", "</s>"])
    if processor is not None:
        tokenizer.post_processor = processor
    return tokenizer


@pytest.mark.parametrize("name", PROCESSORS)
def test_a_pair_is_cut_as_by_the_library_that_wrote_the_template(name):
    """RoBERTa's two separators and BERT's token types among them, whatever the lengths; HF drops no frame either."""
    codec = HuggingFaceCodec(vocabulary(PROCESSORS[name]), None)
    reference = vocabulary(PROCESSORS[name])
    texts = ["a", "ab", "abcdef", "fedcbafe"]
    pairs = list(itertools.product(texts, texts))
    for limit in (codec.pair.size + 2, codec.pair.size + 5, 9, 40):
        reference.enable_truncation(limit)
        for (first, second), joined in zip(pairs, codec.joined(*zip(*pairs, strict=True), limit), strict=True):
            want = reference.encode(first, second)
            assert (joined.ids.tolist(), joined.types.tolist()) == (want.ids, want.type_ids), (first, second, limit)
    assert codec.joined(["ab"], None, 9)[0].ids.tolist() == codec.framed(["ab"], 9)[0].tolist()


def test_a_saved_template_comes_back(tmp_path):
    codec = WordPiece(vocab_size=90).train(lambda: ["stop the banana 1234 [CLS]"] * 4)
    codec.save(tmp_path)
    again = load_codec(tmp_path)
    assert again.pair == codec.pair and codec.pair.types == (0, 1) and codec.pair.size == 3
    ((ids, types),) = codec.joined(["stop the"], ["the banana"], 40)
    assert again.decode(ids) == "[CLS] stop the [SEP] the banana [SEP]"
    assert types.tolist() == [0] * (ids.tolist().index(codec.eot) + 1) + [1] * int(types.sum())


def test_without_a_template_the_second_text_follows_the_first():
    (joined,) = ByteCodec().joined(["ab"], ["xyz"], 4)
    assert bytes(joined.ids.tolist()) == b"abxy" and joined.types.tolist() == [0, 0, 1, 1]


def test_a_limit_that_leaves_a_text_nothing_is_one_line():
    codec = HuggingFaceCodec(vocabulary(PROCESSORS["roberta"]), None)
    with pytest.raises(ConfigError, match=r"data\.seq_len: 5 tokens leave no room .* the 4 that frame them; .* 6"):
        codec.joined(["ab"], ["a"], 5)
    with pytest.raises(
        ConfigError, match=r"data\.seq_len: 2 tokens leave no room for a text beside the 2 .* 3 or more"
    ):
        codec.joined(["ab"], None, 2)


def test_a_template_that_turns_the_texts_round_is_refused_once_a_pair_is_asked_for():
    turned = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $B $A:1", special_tokens=[("<s>", 6), ("</s>", 7)]
    )
    codec = HuggingFaceCodec(vocabulary(turned), None)
    assert codec.joined(["a"], None, 4)[0].ids.tolist() == [6, 0]
    with pytest.raises(ConfigError, match="post-processor"):
        codec.joined(["a"], ["b"], 9)


def test_the_longer_text_is_cut_first():
    for first, second, room in itertools.product(range(1, 9), range(1, 9), range(2, 20)):
        a, b = longest_first(first, second, room)
        assert a + b == min(room, first + second) and 1 <= a <= first and 1 <= b <= second
        if (a, b) != (first, second):
            assert abs(a - b) <= 1 or (a == first and a < b) or (b == second and b < a)
    assert np.array([longest_first(5, 5, 7), longest_first(9, 2, 5)]).tolist() == [[3, 4], [3, 2]]
