"""Answers about texts: as the objective gives them for each row alone, in order, in few compiled shapes."""

import itertools
import json

import numpy as np
import pytest
from close import assert_close

from jaxgpt.inference import answers as answering
from jaxgpt.inference.loaded import Loaded
from jaxgpt.models import BERT, GPT2
from jaxgpt.objectives import Similarity
from jaxgpt.runs import ObjectiveRun
from jaxgpt.spec import ConfigError, parse
from jaxgpt.text import WordPiece
from jaxgpt.text.tokenizers.byte import ByteCodec

SIZE = {"num_layers": 1, "d_model": 16, "num_heads": 4, "context": 24}
WORDS = ["banana", "bandana", "an", "nab", "bad", "dab"]
LABELS = ("bad", "so so", "good")
rng = np.random.default_rng(0)
TEXTS = [" ".join(rng.choice(WORDS, n)) for n in rng.choice([1, 6, 13, 29], 11)]
PAIRS = list(itertools.pairwise(TEXTS))


@pytest.fixture(scope="module")
def wordpiece():
    return WordPiece(vocab_size=40).train(lambda: WORDS * 3)


@pytest.fixture(scope="module")
def bert(weights, wordpiece):
    def of(**head):
        model = BERT(
            **SIZE,
            vocab_size=wordpiece.vocab_size,
            masked_head=False,
            text_head={"kind": "task", "dropout": 0.5} | head,
        )
        return Loaded(model, model, weights(model), wordpiece)

    return of


@pytest.fixture(scope="module")
def gpt(weights):
    model = GPT2(**SIZE, vocab_size=257, text_head={"kind": "task", "labels": LABELS})
    return Loaded(model, model, weights(model), ByteCodec())


def alone(m, ids, types=None):
    """(C,): what the head says of one row by itself, without any padding."""
    given = {} if types is None else {"token_types": np.asarray(types, np.int32)[None]}
    return np.asarray(
        m.model.build().apply({"params": m.params}, np.asarray(ids)[None], **given, method="represent")[0]
    )


def softmax(x):
    e = np.exp(np.asarray(x, float) - np.max(x))
    return e / e.sum()


def test_each_text_gets_its_own_label(gpt):
    results = gpt.classify(TEXTS, batch_size=4, quiet=True)
    assert len(results) == len(TEXTS)
    for text, result in zip(TEXTS, results, strict=True):
        want = softmax(alone(gpt, gpt.tokenizer.encode(text)[:24]))
        assert list(result.probabilities) == list(LABELS) and result.label == LABELS[want.argmax()]
        assert_close(list(result.probabilities.values()), want.tolist(), 3e-6)


@pytest.mark.slow
def test_pairs_are_joined_as_the_template_says(bert):
    m = bert(labels=LABELS)
    vocab = json.loads(m.tokenizer.tokenizer_json())["model"]["vocab"]
    first, second = m.tokenizer.encode_batch(["an nab", "bad"])
    ids = [vocab["[CLS]"], *first, vocab["[SEP]"], *second, vocab["[SEP]"]]
    (result,) = m.classify([("an nab", "bad")], quiet=True)
    want = alone(m, ids, [0] * (len(first) + 2) + [1] * (len(second) + 1))
    assert_close(list(result.probabilities.values()), softmax(want).tolist(), 3e-6)
    assert m.classify(PAIRS, batch_size=3, quiet=True)[2].label == m.classify(PAIRS[2:3], quiet=True)[0].label


def test_a_number_is_on_the_scale_of_the_data(bert):
    m = bert(scale=(2.5, 1.5))
    scores = m.rate(PAIRS, batch_size=4, quiet=True)
    assert scores.shape == (10,) and scores.dtype == np.float32
    plain = Loaded(m.model, m.model.evolve(text_head={"kind": "task", "scale": (0.0, 1.0)}), m.params, m.codec)
    assert_close(scores, 2.5 + 1.5 * plain.rate(PAIRS, quiet=True), 3e-6)


def test_similarity_is_the_same_whichever_comes_first(bert, tiny):
    m = bert(scale=(2.5, 1.5))
    spec = {"objective": "similarity", "model": m.model.model_dump(), "data": {"columns": 2, "label": "3"}}
    run = tiny().model_dump() | spec
    m = Loaded(parse(ObjectiveRun, run), m.model, m.params, m.codec)
    assert isinstance(m.spec.objective, Similarity)
    scores = m.similarity(PAIRS, quiet=True)
    assert np.ptp(scores) > 0.1
    assert_close(m.similarity([pair[::-1] for pair in PAIRS], quiet=True), scores, 3e-6)


def test_the_best_of_as_many_candidates_as_there_are(bert):
    m = bert()
    groups = [["an", "nab bad"], ["dab", "an an an", "banana"], ["nab", "bad"]]
    chosen = m.choose(TEXTS[:3], groups, quiet=True)
    assert [len(each.probabilities) for each in chosen] == [2, 3, 2]
    for each in chosen:
        assert each.index == np.argmax(each.probabilities) and sum(each.probabilities) == pytest.approx(1, abs=1e-6)
    alone = m.choose(TEXTS[2:3], groups[2:], quiet=True)[0]
    assert_close(list(chosen[2].probabilities), list(alone.probabilities), 3e-6)


def test_the_batch_size_changes_nothing_and_few_shapes_are_compiled(gpt):
    answering._outputs.clear_cache()
    texts = ["a" * n for n in rng.integers(1, 60, 100)]
    results = gpt.classify(texts, batch_size=8, quiet=True)
    assert 1 < answering._outputs._cache_size() <= 4  # 8, 12, 16, 24
    assert [each.label for each in results[:5]] == [gpt.classify([text], quiet=True)[0].label for text in texts[:5]]
    assert gpt.classify([]) == []


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda m: m.classify("banana"), r"texts: a single string; expected a list of texts, or of pairs"),
        (lambda m: m.classify(7), r"texts: 7, expected a list"),
        (
            lambda m: m.classify(["an", ("an", "nab")]),
            r"texts: row 1 is \('an', 'nab'\); expected a text, as",
        ),
        (lambda m: m.classify(["an", None]), r"texts: row 1 is None; expected a text, or a pair"),
        (lambda m: m.classify(["an", ""]), r"row 1: \('',\) has no token; leave it out"),
        (lambda m: m.classify(["an"], batch_size=0), r"batch_size: 0, expected a whole number"),
        (lambda m: m.rate(["an"]), r"regress: these weights answer by objective classify; use m\.classify"),
        (lambda m: m.choose(["an"], [["an", "nab"]]), r"choice: these weights answer by objective classify"),
        (lambda m: m.choose(["an", "nab"], [["an", "nab"]]), r"candidates: 1 rows for 2 contexts"),
        (lambda m: m.choose(["an"], [["nab"]]), r"candidates: row 0 is \['nab'\]; expected two texts or more"),
        (lambda m: m.choose("an", [["nab"]]), r"contexts, candidates: expected a list of texts, and as many lists"),
    ],
)
def test_bad_input_is_one_line(gpt, call, line):
    with pytest.raises(ConfigError, match=line) as caught:
        call(gpt)
    assert len(caught.value.problems) == 1


def test_a_model_without_a_head_for_tasks_is_told(weights):
    model = GPT2(**SIZE, vocab_size=257)
    m = Loaded(model, model, weights(model), ByteCodec())
    with pytest.raises(ConfigError, match=r"model\.text_head: these weights have no head for tasks; train one"):
        m.classify(["an"])
